/**
 * Histories are kept for ever: events written by an older version are read as today's, through
 * upcasts too.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pino } from 'pino';
import t from 'tap';
import type { NewEvent } from '../../src/define/define-aggregate.ts';
import { upcast } from '../../src/define/upcast.ts';
import { connect, type Millrace, type StoreOptions } from '../../src/millrace.ts';
import { testDir } from '../../scripts/lab/dispatcher-process.ts';
import { startRedis, type TestLike } from '../../scripts/lab/redis-server.ts';
import { collect } from './open-store.ts';

const proto = (fields: string): string => `syntax = "proto3";
package test.v1;
import "millrace/v1/options.proto";
message Priced { option (millrace.v1.event) = { type: "item.priced", subject: "item" }; string item = 1; ${fields} }
message Named { option (millrace.v1.event) = { type: "item.named", subject: "item" }; string item = 1; string name = 2; }
`;

async function open(t: TestLike, url: string, text: string): Promise<Millrace> {
  const protoDir = join(testDir(t), 'proto');
  mkdirSync(protoDir);
  writeFileSync(join(protoDir, 'items.proto'), text);
  const millrace = await connect({
    protoDir,
    logger: pino({ level: 'silent' }),
    environment: { REDIS_URL: url, MILLRACE_PARTITIONS: 2 },
  });
  t.teardown(() => millrace.close());
  return millrace;
}
const event = (type: string, data: object): NewEvent => ({ type, data }) as unknown as NewEvent;

t.test('an older version is upcast, the rest read as it is', async (t) => {
  const redis = await startRedis(t);
  const old = (await open(t, redis.url, proto('int64 pounds = 2;'))).store();
  await old.append(
    'item',
    'A',
    [event('item.priced', { item: 'A', pounds: 3 }), event('item.named', { item: 'A', name: 'a' })],
    { expectedRevision: 0 },
  );

  const millrace = await open(t, redis.url, proto('int64 pounds = 2; int64 pence = 3;'));
  const upcasts = [
    upcast<{ item: string; pounds: number }>(
      'item.priced',
      { from: 1, to: 2 },
      ({ item, pounds }) => ({ item, pounds: 0, pence: pounds * 100 }),
    ),
  ];
  const store = millrace.store({ upcasts });
  await store.append('item', 'A', [event('item.priced', { item: 'A', pence: 250 })], {
    expectedRevision: 2,
  });
  const read = async (options: StoreOptions): Promise<unknown[]> =>
    (await collect(millrace.store(options).read('item', 'A'))).map(({ data }) => data);
  t.strictSame(await read({ upcasts }), [
    { item: 'A', pounds: 0, pence: 300 },
    { item: 'A', name: 'a' },
    { item: 'A', pounds: 0, pence: 250 },
  ]);
  t.strictSame(
    await read({}),
    [
      { item: 'A', pounds: 3, pence: 0 },
      { item: 'A', name: 'a' },
      { item: 'A', pounds: 0, pence: 250 },
    ],
    'without: by the local schema',
  );
  t.match(
    await store.load(
      {
        category: 'item',
        events: ['item.priced'] as never[],
        initialState: () => 0,
        evolve: (sum: number, { data }: { data: unknown }) =>
          sum + (data as { pence: number }).pence,
      },
      'A',
    ),
    { state: 550, revision: 3 },
  );
  t.throws(
    () => millrace.store({ upcasts: [{}] as never, maxEvents: 0, nope: 1 } as never),
    /maxEvents must be[\s\S]*upcasts must be[\s\S]*nope is unknown/,
  );
});
