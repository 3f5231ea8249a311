/** The rows that a view's batch is loaded with, and those that are known not to exist. */
import fc from 'fast-check';
import t from 'tap';
import type { Batch } from '../../../src/pipeline/batch/batch.ts';
import { createBatch } from '../../../src/pipeline/batch/batch.ts';
import { RowFilter } from '../../../src/pipeline/load/row-filter.ts';
import { RowLoader } from '../../../src/pipeline/load/load-rows.ts';
import { openConnection } from '../../../src/redis/connection.ts';
import { createKeys } from '../../../src/redis/keys.ts';
import { BatchBuilder } from '../../../src/wire/batch-writer.ts';
import { PackReader } from '../../../src/wire/message-pack.ts';
import { startRedis } from '../../../scripts/lab/redis-server.ts';

const VIEW = {
  view: 'sums',
  version: 1,
  indexes: ['status'],
  lookups: { by: ['status'], sort: [] },
};
const keys = createKeys('mr');

function batchOf(...subjects: string[]): Batch {
  const builder = new BatchBuilder();
  const nothing = Buffer.alloc(0);
  for (const subject of subjects)
    builder.add({
      id: subject,
      subject,
      dataBuffer: nothing,
      dataStart: 0,
      dataEnd: 0,
      timeMs: 1,
      source: '',
      schema: 0,
      position: 0,
      extensions: null,
    });
  const { bytes, count } = builder.finish();
  return createBatch(
    'sums@1',
    0,
    ['a.type'],
    [],
    [{ id: '1-0', type: 0, bytes, n: count, crc: null, count, gone: false }],
  );
}

function rowsOf({ rows }: Batch): Record<string, string> {
  const found: Record<string, string> = {};
  for (
    const reader = rows && rows.length > 0 ? new PackReader(rows) : null;
    reader !== null && reader.left > 0;
  ) {
    const id = reader.text();
    found[id] = reader.text();
  }
  return found;
}

t.test('rows', async (t) => {
  const redis = await startRedis(t);
  const connection = openConnection({ url: redis.url });
  t.teardown(() => connection.destroy());
  const look = redis.client();
  const put = async (id: string, text: string): Promise<void> => {
    await look.set(keys.viewRow(0, 'sums@1', id), text);
    await look.zadd(keys.viewIndex(0, 'sums@1', '*'), 0, id);
  };
  const keyOf = (id: string): string => keys.viewRow(0, 'sums@1', id);
  const indexes = [keys.viewIndex(0, 'sums@1', '*'), keys.viewIndex(0, 'sums@1', 'status')];

  const loader = new RowLoader(connection, keys, 0, 'sums@1', VIEW);
  const first = await loader.load(batchOf('o-1', 'o-2', 'o-1'), false);
  t.strictSame(
    [rowsOf(first), first.newRows],
    [{}, ['o-1', 'o-2']],
    'an empty generation has none',
  );
  t.strictSame(first.effectKeys, [keyOf('o-1'), keyOf('o-2'), ...indexes]);

  await put('o-1', 'one');
  const second = await loader.load(batchOf('o-3', 'o-1', 'o-2'), false);
  t.strictSame(
    [rowsOf(second), second.newRows],
    [{ 'o-1': 'one', 'o-2': '' }, ['o-3']],
    'what was asked for before is loaded, written or not',
  );
  t.strictSame(
    second.effectKeys,
    [keyOf('o-1'), keyOf('o-2'), keyOf('o-3'), ...indexes],
    'loaded ones first',
  );

  const later = await new RowLoader(connection, keys, 0, 'sums@1', VIEW).load(
    batchOf('o-1', 'o-9'),
    false,
  );
  t.strictSame(
    [rowsOf(later), later.newRows],
    [{ 'o-1': 'one', 'o-9': '' }, []],
    'a lane that finds rows asks for all',
  );

  await put('o-7', 'of another time');
  const anew = await loader.load(batchOf('o-7', 'o-8'), true);
  t.strictSame(
    [rowsOf(anew), anew.newRows],
    [{ 'o-7': 'of another time', 'o-8': '' }, []],
    'Redis has gone back in time: what was known is void',
  );
});

t.test('the filter forgets nothing, and is seldom wrong about what it was not told', async (t) => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.string({ maxLength: 40 }), { maxLength: 300 }), (ids) => {
      const filter = new RowFilter();
      for (const id of ids) filter.add(id);
      return ids.every((id) => filter.add(id));
    }),
  );
  const filter = new RowFilter();
  const COUNT = 200_000;
  let wrong = 0;
  for (let i = 0; i < COUNT; i++) if (filter.add(`order-${1_000_000_000 + i}`)) wrong++;
  t.ok(wrong < COUNT * 0.02, `${wrong} of ${COUNT} taken for others`);
  t.notOk(filter.full);
});
