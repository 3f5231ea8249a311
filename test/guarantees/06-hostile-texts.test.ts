/**
 * A handler may throw anything: the event becomes dead, its record is readable, and its lane goes
 * on.
 */
import fc from 'fast-check';
import t from 'tap';
import { listDeadLetters, type DeadLetter } from '../../src/pipeline/dead/dead-letters.ts';
import { encodeParked, decodeParked } from '../../src/wire/parked.ts';
import { connect, type Millrace } from '../../src/millrace.ts';
import { errorInfo, isNonRetryable } from '../../src/thread/error-info.ts';
import { settled } from '../../scripts/lab/counters.ts';
import { functionsDirOf, PROTO_DIR } from '../../scripts/lab/dispatcher-process.ts';
import { THROWS } from '../../scripts/lab/misbehaving-functions/hostile/_throws.ts';
import { startRedis } from '../../scripts/lab/redis-server.ts';

/** A text of which half the code units are surrogates. */
const hostileText = fc
  .array(fc.oneof(fc.integer({ min: 0xd7fe, max: 0xe001 }), fc.integer({ min: 0, max: 0xffff })), {
    maxLength: 60,
  })
  .map((units) => String.fromCharCode(...units));
const wellFormed = (text: string): boolean => Buffer.from(text).toString() === text;

async function lettersOf(millrace: Millrace): Promise<DeadLetter[]> {
  const letters: DeadLetter[] = [];
  for await (const letter of listDeadLetters(millrace.deployment, { function: 'hostile' }))
    letters.push(letter);
  return letters;
}

t.test('every hostile throw and text, end to end', async (t) => {
  const redis = await startRedis(t);
  const millrace = await connect({
    environment: { REDIS_URL: redis.url, MILLRACE_PARTITIONS: 1, WORKERS: 1, LOG_LEVEL: 'silent' },
    protoDir: PROTO_DIR,
  });
  t.teardown(() => millrace.close());
  const texts = fc
    .sample(hostileText, { numRuns: 100, seed: 11 })
    .map((text) => `text:${JSON.stringify(text)}`);
  const orders = [...Object.keys(THROWS), ...texts];
  const filler = new Uint8Array(0);
  const items = orders.flatMap((order, i) => [
    { type: 'test.event', id: `bad-${i}`, data: { key: `bad-${i}`, number: i, order, filler } },
    { type: 'test.event', id: `ok-${i}`, data: { key: `ok-${i}`, number: i, order: 'ok', filler } },
  ]);
  await millrace.publisher().publishMany(items);
  await millrace.dispatcher({ functionsDir: functionsDirOf('hostile') }).start();
  t.match(await settled(redis.client(), 'hostile', 1, items.length), {
    done: orders.length,
    dead: orders.length,
    parked: 0,
  });
  const letters = await lettersOf(millrace);
  t.strictSame(
    letters.map(({ eventId }) => eventId).sort(),
    orders.map((_, i) => `bad-${i}`).sort(),
  );
  for (const { error, attempts, history, reason } of letters) {
    t.ok(wellFormed(error.name) && wellFormed(error.message) && wellFormed(error.stack));
    t.match(
      { attempts, reason, tries: history.length },
      { attempts: 2, reason: 'attempts', tries: 2 },
    );
    t.ok(error.message.length <= 4096);
  }
});

t.test('errorInfo never throws, and says something', async (t) => {
  for (const [name, make] of Object.entries(THROWS)) {
    const info = errorInfo(make());
    t.ok(info.name !== '' && [info.name, info.message, info.stack].every(wellFormed), name);
    t.equal(isNonRetryable(make()), false, name);
  }
});

t.test('no text makes a parked record that cannot be read', async () => {
  fc.assert(
    fc.property(hostileText, hostileText, hostileText, (name, message, id) => {
      const read = decodeParked(
        encodeParked({
          event: Buffer.alloc(0),
          type: 'a.b',
          entryId: '1-1',
          index: 0,
          position: 0,
          attempts: 1,
          firstFailedMs: 1,
          lastFailedMs: 1,
          waitingSinceMs: 0,
          history: [{ atMs: 1, attempt: 1, name, message }],
          isolate: false,
          eventId: id,
          subject: id,
        }),
      );
      return [read.eventId, read.subject, read.history[0]?.name, read.history[0]?.message].every(
        (text) => text !== undefined && wellFormed(text),
      );
    }),
  );
});
