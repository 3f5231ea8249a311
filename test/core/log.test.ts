/** An error as the log shows it, with pino's own serializer. */
import { Writable } from 'node:stream';
import { pino } from 'pino';
import t from 'tap';
import { RedisReplyError, UnknownOutcomeError } from '../../src/core/errors/server-errors.ts';
import { logWith } from '../../src/millrace.ts';

/** Logs the error. @returns `err` of its line */
function logged(error: unknown): Record<string, unknown> {
  const lines: string[] = [];
  const stream = new Writable({
    write(chunk: Buffer, _encoding, done) {
      lines.push(chunk.toString());
      done();
    },
  });
  logWith(pino(stream))('error', 'failed', { err: error, function: 'f' });
  const line = JSON.parse(lines[0] ?? '') as Record<string, unknown>;
  t.match(line, { msg: 'failed', function: 'f' });
  return line['err'] as Record<string, unknown>;
}

const REPLY = 'MISCONF Errors writing to the AOF file';
const refusal = () => new RedisReplyError('commit.lua', REPLY, { cause: new Error(REPLY) });

t.test('the text of a cause stands once in a line', async (t) => {
  const err = logged(refusal());
  t.match(err, { type: 'RedisReplyError', code: 'REDIS_REPLY', reply: 'MISCONF', retryable: true });
  t.equal(String(err['message']).split(REPLY).length, 2);
  t.equal(String(err['stack']).split(REPLY).length, 2);
  t.match(err['stack'], /log\.test\.[jt]s/);
});

t.test('a cause behind a cause, and one that says more, are kept', async (t) => {
  const error = new UnknownOutcomeError('take.lua', { cause: refusal() });
  const { message } = logged(error);
  t.match(message, /^Redis did not answer take\.lua.*: Redis refused commit\.lua: MISCONF/);
  t.equal(String(message).split(REPLY).length, 2);
  t.ok(
    error.cause instanceof RedisReplyError && error.cause.cause,
    'the error itself is as it was',
  );
});

t.test('errors in a circle, and what is no error', async (t) => {
  const one = new Error('one');
  const two = new Error('two', { cause: one });
  one.cause = two;
  t.match(logged(two)['message'], /^two: one/);
  t.equal(logged('text'), 'text');
});
