import t from 'tap';
import { MillraceError } from '../../src/core/errors/millrace-error.ts';
import { UnknownOutcomeError } from '../../src/core/errors/server-errors.ts';
import * as errors from '../../src/registry/schema-errors.ts';
import { AdminAddressError } from '../../src/admin/server.ts';
import { toApiError } from '../../src/admin/registry-errors.ts';

const finding = {
  rule: 'R',
  path: 'a.B.c',
  reader: 'int32',
  writer: 'string',
  what: 'it changed',
  cure: 'Put it back',
  breaks: 'both',
} as const;
const samples: MillraceError[] = [
  new errors.IncompatibleSchemaError('order.created', 'FULL', [finding]),
  new errors.UnknownSubjectError('order.created'),
  new errors.UnknownVersionError('order.created', 3),
  new errors.UnknownSchemaError('no schema 7'),
  new errors.DeletionError('order.created', 1, 'already'),
  new errors.SchemaReferencedError('order.created', 1, ['version 1 of "x"']),
  new errors.RegistryFullError('subjects', 10),
  new errors.RegistryInputError('level', 'no level'),
  new AdminAddressError('127.0.0.1', 1, Object.assign(new Error('taken'), { code: 'EADDRINUSE' })),
];

t.test(
  'every error class of the registry is named as its class, with a code of its own',
  async (t) => {
    const classes = Object.values(errors).filter(
      (value) => typeof value === 'function' && value.prototype instanceof MillraceError,
    );
    t.equal(samples.length, classes.length + 1, 'one sample a class');
    for (const sample of samples) t.equal(sample.name, sample.constructor.name);
    t.equal(new Set(samples.map((error) => error.code)).size, samples.length, 'codes are unique');
  },
);

t.test('a finding is told with its field and its cure', async (t) => {
  t.match(samples[0]?.message, /R a\.B\.c: it changed\. Put it back/);
});

t.test(
  "what is the caller's has a code of the Confluent API, what passes is 503, the rest is ours",
  async (t) => {
    for (const sample of samples.slice(0, 8)) {
      const answer = toApiError(sample);
      t.ok(answer && answer.status >= 400 && answer.status < 500, sample.name);
    }
    t.match(toApiError(new UnknownOutcomeError('x')), { status: 503, errorCode: 50003 });
    t.equal(toApiError(new Error('a bug')), null);
  },
);
