import t from 'tap';
import { ProducerGapError } from '../../src/core/errors/append-errors.ts';
import { appendFlush, type Flush, type Appended } from '../../src/pipeline/append/append.ts';
import { openConnection } from '../../src/redis/connection.ts';
import { createKeys } from '../../src/redis/keys.ts';
import { BatchBuilder } from '../../src/wire/batch-writer.ts';
import { startRedis } from '../../scripts/lab/redis-server.ts';

t.test('flushes of a producer', async (t) => {
  const redis = await startRedis(t);
  const look = redis.client();
  const connection = openConnection({ url: redis.url });
  t.teardown(() => connection.destroy());
  const options = {
    connection,
    keys: createKeys('mr'),
    confirm: { kind: 'none' },
    signal: new AbortController().signal,
    deadlineMs: 5000,
  } as const;
  const flush = (sequence: number, types = ['test.event'], producer = 'p'): Flush => ({
    partition: 0,
    producer,
    sequence,
    parts: types.map((type) => {
      const builder = new BatchBuilder();
      for (let i = 0; i < 3; i++) {
        builder.add({
          id: `${producer}-${sequence}-${i}`,
          subject: 's',
          dataBuffer: new Uint8Array(0),
          dataStart: 0,
          dataEnd: 0,
          timeMs: 1,
          source: '',
          schema: 0,
          position: i,
          extensions: null,
        });
      }
      return { type, ...builder.finish() };
    }),
  });

  const first = (await appendFlush(flush(1), options)) as Appended;
  t.match(first, { duplicate: false, entryId: /^\d+-\d+$/ });
  const again = (await appendFlush(flush(1), options)) as Appended;
  t.strictSame(
    again,
    { kind: 'appended', duplicate: true, entryId: first.entryId, backlogs: [] },
    'the same flush again is answered with the first entry',
  );
  t.equal(await look.xlen('mr:{0}:events:test.event'), 1, 'and is one entry');
  t.equal(await look.hget('mr:{0}:counters', 'appended:test.event'), '3');
  t.equal(await look.hget('mr:{0}:counters', 'entries:test.event'), '1');

  const gap = await appendFlush(flush(3), options).catch((error: unknown) => error);
  t.type(gap, ProducerGapError);
  t.match(gap, { producer: 'p', partition: 0, expected: 2, actual: 3, outcomeUnknown: false });
  t.equal(await look.xlen('mr:{0}:events:test.event'), 1, 'a gap appends nothing');
  const second = (await appendFlush(flush(2), options)) as Appended;
  t.equal(second.duplicate, false, 'the right one is taken after it');
  t.match(
    await appendFlush(flush(1), options).catch((error: unknown) => error),
    { expected: 3, actual: 1 },
    'what is older than the last is refused',
  );
  t.match(
    await appendFlush(flush(2, ['test.event'], 'unknown'), options).catch(
      (error: unknown) => error,
    ),
    { expected: 1, actual: 2 },
    'an unknown producer starts at 1',
  );

  const two = (await appendFlush(flush(3, ['test.event', 'test.other']), options)) as Appended;
  t.strictSame(await appendFlush(flush(3, ['test.event', 'test.other']), options), {
    kind: 'appended',
    duplicate: true,
    entryId: two.entryId,
    backlogs: [],
  });
  t.equal(await look.xlen('mr:{0}:events:test.event'), 3);
  t.equal(await look.xlen('mr:{0}:events:test.other'), 1);
  t.equal(
    (await look.xrange('mr:{0}:events:test.other', '-', '+'))[0]?.[0],
    two.entryId,
    'types of one flush share the id',
  );

  const parallel = (await Promise.all(
    Array.from({ length: 20 }, () => appendFlush(flush(4), options)),
  )) as Appended[];
  t.equal(
    parallel.filter((p) => !p.duplicate).length,
    1,
    'the same flush sent twenty times at once is appended once',
  );
  t.equal(new Set(parallel.map((p) => p.entryId)).size, 1);
  const ttl = await look.pttl('mr:{0}:producer:p');
  t.ok(ttl > 3_500_000 && ttl <= 3_600_000, 'producers expire');
});
