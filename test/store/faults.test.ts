/**
 * Lost replies, a Redis that is killed, and a Redis that is full. Acknowledged events are there
 * once, and were published.
 */
import { join } from 'node:path';
import t from 'tap';
import { BackpressureError, ProducerGapError } from '../../src/core/errors/append-errors.ts';
import { UnknownOutcomeError } from '../../src/core/errors/server-errors.ts';
import { partitionOf } from '../../src/core/partition.ts';
import type { NewEvent } from '../../src/define/define-aggregate.ts';
import { ConflictError } from '../../src/store/store-errors.ts';
import type { AppendResult } from '../../src/store/append-result.ts';
import type { EventStore } from '../../src/store/event-store.ts';
import { readLag } from '../../src/lag/lag.ts';
import { settled } from '../../scripts/lab/counters.ts';
import { openService, startDispatcher, testDir } from '../../scripts/lab/dispatcher-process.ts';
import { disorder, readHistory, runsOf } from '../../scripts/lab/history.ts';
import { startRedis } from '../../scripts/lab/redis-server.ts';
import { startProxy } from '../../scripts/lab/tcp-proxy.ts';
import { collect } from './open-store.ts';
import { until, untilTold, writesTo, is, atLeast } from '../../scripts/lab/until.ts';

const P = 4;
let next = 0;
/**
 * An event of the tests' own types, which the example's generated types do not know. Its number is
 * its place in the history.
 */
function event(key: string, number: number, id?: string): NewEvent {
  return {
    type: number % 3 === 2 ? 'test.other' : 'test.event',
    data: { key, number, order: 'ok', filler: new Uint8Array(0) },
    ...(id === undefined ? {} : { id }),
  } as unknown as NewEvent;
}

/**
 * Appends to `histories` from several writers until each history has `length` events. Remembers the
 * acknowledged events.
 */
async function appendAll(
  stores: readonly EventStore[],
  histories: number,
  length: number,
  acknowledged: Map<string, string>,
): Promise<void> {
  const note = (key: string, result: AppendResult): void => {
    for (const { revision, id } of result.events) {
      const before = acknowledged.get(`${key}/${revision}`);
      if (before !== undefined && before !== id)
        throw new Error(`${key}, revision ${revision} was acknowledged for ${before} and ${id}`);
      acknowledged.set(`${key}/${revision}`, id);
    }
  };
  const writer = async (store: EventStore, key: string): Promise<void> => {
    let revision = 0;
    while (revision < length) {
      const events = Array.from({ length: Math.min(1 + (next % 3), length - revision) }, (_, i) =>
        event(key, revision + i, `e${next++}`),
      );
      try {
        const result = await store.append('thing', key, events, { expectedRevision: revision });
        note(key, result);
        ({ revision } = result);
      } catch (error) {
        if (!(error instanceof ConflictError)) throw error;
        revision = error.actual;
      }
    }
  };
  await Promise.all(
    stores.flatMap((store) => Array.from({ length: histories }, (_, h) => writer(store, `h${h}`))),
  );
}

async function check(
  t: { strictSame(a: unknown, b: unknown): boolean },
  store: EventStore,
  acknowledged: ReadonlyMap<string, string>,
  histories: number,
  length: number,
): Promise<Set<string>> {
  const ids = new Set<string>();
  const problems: string[] = [];
  for (let h = 0; h < histories; h++) {
    const events = await collect(store.read('thing', `h${h}`));
    if (events.length !== length) problems.push(`h${h} has ${events.length} events`);
    for (const { id, revision } of events) {
      if (ids.has(id)) problems.push(`${id} is there twice`);
      ids.add(id);
      if (acknowledged.get(`h${h}/${revision}`) !== id)
        problems.push(
          `h${h}, revision ${revision} holds ${id}, acknowledged was ${String(acknowledged.get(`h${h}/${revision}`))}`,
        );
    }
  }
  t.strictSame(problems, []);
  return ids;
}

t.test(
  'replies lost, connections cut, Redis killed: each acknowledged event once, and the functions saw exactly the histories',
  async (t) => {
    const redis = await startRedis(t);
    const history = join(testDir(t), 'history');
    const proxy = await startProxy(t, { socket: redis.socket });
    const service = await openService(t, proxy.url, P);
    const dispatcher = await startDispatcher(t, { url: redis.url, functions: 'ordered', history });
    const stores = [service.store(), service.store()];
    await Promise.all(stores.map((store) => store.revision('thing', 'warm')));
    const histories = 6;
    const length = 100;
    const acknowledged = new Map<string, string>();
    const appending = appendAll(stores, histories, length, acknowledged);
    const faults = 12;
    for (let round = 0; round < faults; round++) {
      // The faults come one after the other, each after some progress.
      await until(
        'appends go on',
        () => atLeast(acknowledged.size, (round * histories * length) / (faults + 1)),
        20_000,
      );
      if (round % 4 === 3) {
        await redis.kill();
        await redis.restart();
      } else if (round % 4 === 0) proxy.cutNow();
      else await proxy.dropRepliesThenCut(round % 4);
    }
    await appending;
    const ids = await check(t, service.store(), acknowledged, histories, length);
    const look = redis.client();
    t.equal(
      (await settled(look, 'ordered', P, histories * length)).appended,
      histories * length,
      'published as often as it is in the histories',
    );
    const runs = runsOf(readHistory(history));
    t.strictSame(
      [...new Set(runs.map((run) => run.id))].sort(),
      [...ids].sort(),
      'the functions saw the events of the histories',
    );
    t.strictSame(disorder(runs), [], 'in their order, across types');
    const lag = await readLag(service.deployment);
    t.ok(
      lag.functions.every((fn) => fn.conserved),
      'conserved',
    );
    await dispatcher.terminate();
  },
);

t.test(
  'replies to appends that expect nothing and bring no ids are lost: nothing is doubled, answers are those of the first time',
  async (t) => {
    const redis = await startRedis(t);
    const proxy = await startProxy(t, { socket: redis.socket });
    const store = (await openService(t, proxy.url, P)).store();
    await store.append('thing', 'x', [event('x', 0)], { expectedRevision: 'any' });
    const answered = new Map<number, string>();
    for (let round = 0; round < 8; round++) {
      const cut = proxy.dropRepliesThenCut();
      const results = await Promise.all(
        Array.from({ length: 5 }, (_, i) =>
          store.append('thing', 'x', [event('x', 1 + round * 5 + i)], {
            expectedRevision: i === 4 ? 'stream-exists' : 'any',
          }),
        ),
      );
      await cut;
      for (const {
        events: [first],
        repeated,
      } of results) {
        t.notOk(repeated, 'not told as a repeat: it is one call');
        answered.set(first?.revision ?? 0, first?.position ?? '');
      }
    }
    const events = await collect(store.read('thing', 'x'));
    t.equal(events.length, 41);
    t.strictSame(
      new Map(events.slice(1).map(({ revision, position }) => [revision, position])),
      new Map([...answered].sort(([a], [b]) => a - b)),
    );
  },
);

t.test('nobody answers: the outcome is unknown, and sending it again finds out', async (t) => {
  const redis = await startRedis(t);
  const look = redis.client();
  const proxy = await startProxy(t, { socket: redis.socket });
  const service = await openService(t, proxy.url, P);
  const store = service.store({ deadlineMs: 300 });
  await store.append('thing', 'a', [event('a', 0)], { expectedRevision: 0 });
  proxy.swallowReplies(true);
  const sent = store.append('thing', 'a', [event('a', 1, 'mine'), event('a', 2)], {
    expectedRevision: 'any',
  });
  await untilTold(writesTo(look), 'Redis has it', async () =>
    is(await look.llen(`mr:{${partitionOf('a', P)}}:history:thing:a`), 3),
  );
  proxy.cutNow();
  proxy.refuse(true);
  await t.rejects(sent, { name: UnknownOutcomeError.name, outcomeUnknown: true });
  proxy.swallowReplies(false);
  proxy.refuse(false);
  const again = await service
    .store()
    .append('thing', 'a', [event('a', 1, 'mine'), event('a', 2)], { expectedRevision: 'any' });
  t.match(again, { revision: 3, repeated: true });
  t.equal(
    (await store.append('thing', 'a', [event('a', 3)], { expectedRevision: 3 })).revision,
    4,
    'the store goes on',
  );
});

t.test(
  'a full Redis refuses appends as a whole, and says so; room in the buffer is waited for',
  async (t) => {
    const redis = await startRedis(t);
    const look = redis.client();
    const service = await openService(t, redis.url, P);
    const store = service.store({ deadlineMs: 2000, bufferBytes: 65_536 });
    await store.append('thing', 'a', [event('a', 0)], { expectedRevision: 0 });
    await look.config('SET', 'maxmemory', '1');
    await t.rejects(store.append('thing', 'a', [event('a', 1)], { expectedRevision: 1 }), {
      name: BackpressureError.name,
      reason: 'redis-memory',
    });
    await look.config('SET', 'maxmemory', '0');
    t.equal(await store.revision('thing', 'a'), 1);
    const filler = new Uint8Array(20_000);
    const large = (key: string): NewEvent =>
      ({
        type: 'test.event',
        data: { key, number: 0, order: 'ok', filler },
      }) as unknown as NewEvent;
    const results = await Promise.all(
      Array.from({ length: 40 }, (_, i) =>
        store.append('thing', 'b', [large('b')], { expectedRevision: i }),
      ),
    );
    t.strictSame(
      results.map((result) => result.revision),
      Array.from({ length: 40 }, (_, i) => i + 1),
      'in the order of the calls',
    );
  },
);

t.test('Redis has lost everything: the next append says so, then the store goes on', async (t) => {
  const redis = await startRedis(t);
  const look = redis.client();
  const service = await openService(t, redis.url, P);
  const store = service.store();
  await store.append('thing', 'a', [event('a', 0)], { expectedRevision: 0 });
  await store.append('thing', 'a', [event('a', 1)], { expectedRevision: 1 });
  await look.flushall();
  await t.rejects(
    store.append('thing', 'a', [event('a', 2)], { expectedRevision: 2 }),
    ProducerGapError,
  );
  await t.rejects(store.append('thing', 'a', [event('a', 2)], { expectedRevision: 2 }), {
    name: ConflictError.name,
    actual: 0,
  });
  t.equal((await store.append('thing', 'a', [event('a', 0)], { expectedRevision: 0 })).revision, 1);
});

t.test('a closed store refuses, and has sent what it had accepted', async (t) => {
  const redis = await startRedis(t);
  const service = await openService(t, redis.url, P);
  const store = service.store();
  const accepted = Array.from({ length: 50 }, (_, i) =>
    store.append('thing', `c${i}`, [event(`c${i}`, 0)], { expectedRevision: 0 }),
  );
  await store.close();
  t.equal((await Promise.all(accepted)).length, 50);
  await t.rejects(store.append('thing', 'c', [event('c', 0)], { expectedRevision: 0 }), {
    code: 'CLOSED',
  });
});
