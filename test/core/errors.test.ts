import t from 'tap';
import * as appendErrors from '../../src/core/errors/append-errors.ts';
import * as dataErrors from '../../src/core/errors/data-errors.ts';
import * as handlerErrors from '../../src/core/errors/handler-errors.ts';
import * as inputErrors from '../../src/core/errors/input-errors.ts';
import * as serverErrors from '../../src/core/errors/server-errors.ts';
import { MillraceError } from '../../src/core/errors/millrace-error.ts';

const errors = {
  MillraceError,
  ...appendErrors,
  ...dataErrors,
  ...handlerErrors,
  ...inputErrors,
  ...serverErrors,
};

const samples: MillraceError[] = [
  new errors.ConfigError(['REDIS_URL: bad']),
  new errors.UnknownEventTypeError('x', ['a']),
  new errors.InvalidEventError('x', 'items.0', 'bad'),
  new errors.SchemaNotRegisteredError(['order.created: not registered']),
  new errors.InvalidTextError('the event id', 'must be a string, it is null'),
  new errors.OversizeError('event', 2, 1, 'bytes. Shrink it'),
  new errors.CorruptDataError('decode', 'bad bytes'),
  new errors.UnreadableRowError('v@1', 'o-17', 'mr:{0}:view:v@1:o-17', 'it is no JSON'),
  new errors.EnvelopeError('id', 'decode', 'is not valid UTF-8'),
  new errors.BackpressureError({ reason: 'bytes', actual: 2, limit: 3, retryAfterMs: 4 }),
  new errors.ClosedError('the publisher'),
  new errors.ProducerGapError('p', 1, 2, 3),
  new errors.DurabilityError('fsync', 'not synced'),
  new errors.UnknownOutcomeError('append'),
  new errors.ServerUnreachableError('redis://h:1', 'refused'),
  new errors.ConnectionSetupError(
    'redis://h:1',
    'SELECT 99',
    'ERR DB index is out of range',
    'Name another one',
  ),
  new errors.RedisReplyError('append', 'OOM command not allowed'),
  new errors.WritesRefusedError('to start', 'OOM', 'Redis refused SET: OOM'),
  new errors.SettingsChangedError('mr', 4, 16),
  new errors.RedisServerNotFoundError(['PATH']),
  new errors.NonRetryableError('no'),
  new errors.HandlerTimeoutError('f', 'e', 10),
  new errors.LeaseLostError('f', 1),
  new errors.SetupError('f', {
    name: 'Error',
    message: 'db down',
    stack: 'Error: db down\n    at mine.ts:1:1',
  }),
  new errors.ThreadDeathError('f', 'exit'),
  new errors.DispatcherDeathError('f', 'e', 3),
  new errors.ParkedLimitError('f', 's', 3),
  new errors.GroupLostError('f', 1, 'NOGROUP'),
  new errors.ScheduleFullError(1, 2),
  new errors.EmitLoopError('f', 'e', 64),
  new errors.EmitClosedError('f', 'e'),
  new errors.DecisionError('order', 'decide returned undefined'),
];

t.test(
  'every error class is in the table, named as its class, with a code of its own',
  async (t) => {
    const classes = Object.values(errors).filter((c) => c !== errors.MillraceError);
    t.equal(samples.length, classes.length, 'one sample a class');
    for (const sample of samples) {
      t.equal(sample.name, sample.constructor.name);
      t.ok(sample instanceof Error);
      t.match(sample.message, /\S/);
    }
    t.equal(new Set(samples.map((e) => e.code)).size, samples.length, 'codes are unique');
  },
);

t.test('worth a retry and outcome unknown are answered by the error', async (t) => {
  t.ok(new errors.RedisReplyError('x', 'LOADING Redis is loading').retryable);
  t.notOk(new errors.RedisReplyError('x', 'WRONGTYPE Operation').retryable);
  t.equal(new errors.RedisReplyError('x', 'NOGROUP No such key').reply, 'NOGROUP');
  t.ok(new errors.UnknownOutcomeError('x').outcomeUnknown);
  t.notOk(new errors.InvalidEventError('x', '', 'y').retryable);
  t.notOk(
    new errors.UnknownOutcomeError('x', { notSent: 'no connection' }).outcomeUnknown,
    'what was not sent was not executed',
  );
  t.notOk(
    new errors.ConnectionSetupError('x', 'SELECT 99', 'ERR DB index is out of range', '').retryable,
  );
  t.ok(new errors.ConnectionSetupError('x', 'PING', 'LOADING Redis is loading', '').retryable);
});

t.test('a config error lists every problem', async (t) => {
  const error = new errors.ConfigError(['one', 'two']);
  t.match(error.message, /one[\s\S]*two/);
  t.same(error.problems, ['one', 'two']);
});

t.test('a subclass keeps its own name', async (t) => {
  class CardRefused extends errors.NonRetryableError {}
  t.equal(new CardRefused('x').name, 'CardRefused');
});
