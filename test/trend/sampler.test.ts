/** The trend of a real deployment: one process samples it, and marks have real causes. */
import t from 'tap';
import { Alerts } from '../../src/alerts/alerts.ts';
import { parseAlertSettings } from '../../src/alerts/rules-file.ts';
import { makeAudited } from '../../src/audit/make-audited.ts';
import { noteLoss } from '../../src/lag/losses.ts';
import { readLag } from '../../src/lag/lag.ts';
import { announceMember, removeMember } from '../../src/pipeline/ownership/members.ts';
import {
  announcePresence,
  removePresence,
  type Presence,
} from '../../src/pipeline/ownership/presence.ts';
import { aclRules } from '../../src/redis/acl.ts';
import { openConnection } from '../../src/redis/connection.ts';
import { RegistryStore } from '../../src/registry/registry-store.ts';
import { SchemaRegistry } from '../../src/registry/registry.ts';
import { rewindFunction } from '../../src/rewind/rewind.ts';
import { readTrend, readTrendFunctions } from '../../src/trend/read-trend.ts';
import type { TrendSeries } from '../../src/trend/trend-series.ts';
import { removeFunction } from '../../src/upkeep/remove-function.ts';
import { startRedis, type TestLike } from '../../scripts/lab/redis-server.ts';
import { atLeast, until } from '../../scripts/lab/until.ts';
import { events, makeBed, publish, specOf, startLane, type Bed } from '../pipeline/bare-lane.ts';
import { BY, order } from '../registry/open-registry.ts';
import { marksOf, MINUTE, samplesIn, startSampler, untilSampled } from './start-sampler.ts';

// They wait for minutes most of the time.
t.jobs = 4;

const ANNA = { who: 'anna', via: 'cli' } as const;

function presenceOf(dispatcher: string, functions: Record<string, string>): Presence {
  const rest = { version: '1', upMs: 1, threads: 2, busy: 1, queued: 0, lanes: 1, rssBytes: 1 };
  return { dispatcher, ...rest, threadDeaths: 0, functions };
}

/** Makes a dispatcher known, as a real one does every two seconds. */
async function announce({ connection, keys }: Bed, one: Presence): Promise<void> {
  await announceMember(connection, keys, 'mail', one.dispatcher, 60_000);
  await announcePresence(connection, keys, one);
}

/** Waits for the marks of a kind. */
function untilMarked(bed: Bed, kind: string, count: number): ReturnType<typeof marksOf> {
  return until(`${count} marks of the kind ${kind}`, async () => {
    // Redis may be starting.
    const marks = await marksOf(bed, kind).catch(() => []);
    return marks.length >= count ? marks : null;
  });
}

/** Keeps a dispatcher known until the end of the test. */
async function keepAnnounced(t: TestLike, bed: Bed, one: () => Presence): Promise<void> {
  const beat = setInterval(() => void announce(bed, one()).catch(() => undefined), 50);
  t.teardown(() => clearInterval(beat));
  await announce(bed, one());
}

/** Removes a function that the test's own lane has served. */
async function remove(bed: Bed, name: string): Promise<void> {
  await bed.connection.command('DEL', bed.keys.lease(0, name));
  await removeFunction(bed, name, true);
}

/** Returns the figures with a value below zero. */
function belowZero({ series }: TrendSeries): string[] {
  return Object.entries(series)
    .filter(([, values]) => values.some((value) => value !== null && value < 0))
    .map(([name]) => name);
}

t.test('samples are aligned to the clock of Redis, and tell the counts', async (t) => {
  const bed = await makeBed(t);
  const lane = await startLane(bed, specOf('mail', ['a.b']), 0);
  await publish(bed, 0, { 'a.b': events(7) });
  await lane.drain(() => 'done');
  await publish(bed, 0, { 'a.b': events(3) });
  await keepAnnounced(t, bed, () => presenceOf('d-1', { mail: 'v1' }));
  startSampler(t, bed);
  await until('ten minutes have become a sample, twice', async () =>
    atLeast((await samplesIn(bed, '10m', 'mail')).length, 2),
  );
  for (const [step, every] of [
    ['1m', MINUTE],
    ['10m', 10 * MINUTE],
  ] as const) {
    for (const fn of ['mail', null]) {
      const samples = await samplesIn(bed, step, fn);
      const times = samples.map(({ slotMs }) => slotMs);
      t.ok(times.every((at) => at % every === 0));
      t.equal(new Set(times).size, times.length);
      if (fn === 'mail')
        t.match(samples.at(-1)?.values, { appended: 10, done: 7, lag: 3, died: 0 });
      else
        t.match(samples.at(-1)?.values, {
          appended: 10,
          done: 7,
          waiting: 3,
          dispatchers: 1,
          threads: 2,
          busy: 1,
        });
    }
  }
  const used = (await samplesIn(bed, '1m', null)).at(-1)?.values['usedBytes'] ?? 0;
  t.ok(used > 100_000, 'the memory of the server');
  t.strictSame(await readTrendFunctions(bed), { functions: ['mail'], others: 0 });
  const minutes = (await samplesIn(bed, '1m', 'mail')).length;
  const trend = await readTrend(bed, { function: 'mail', hours: 3, points: 200 }, MINUTE);
  t.match(trend, { function: 'mail', everyMs: MINUTE });
  t.ok(trend.samples >= minutes);
  t.strictSame(belowZero(trend), []);
  t.equal((await readTrend(bed, { function: 'other', hours: 3, points: 9 }, MINUTE)).samples, 0);
});

t.test('a takeover doubles nothing', async (t) => {
  const bed = await makeBed(t);
  await startLane(bed, specOf('mail', ['a.b']), 0);
  const other = openConnection({ url: bed.redis.url });
  const first = startSampler(t, { ...bed, connection: other });
  startSampler(t, bed);
  startSampler(t, bed);
  await untilSampled(bed, 2);
  const marked: string[] = [];
  for (let i = 0; i < 12; i++) {
    const target = `f-${i}`;
    marked.push(`anna: rewind ${target}`);
    await makeAudited(bed, ANNA, { action: 'rewind', target, make: () => Promise.resolve() });
    await noteLoss(bed.connection, bed.keys, i % 2, {
      kind: 'entries',
      function: target,
      from: '',
      to: '',
      count: 1,
      message: 'gone',
    });
    // The first process dies without giving the lease back; the others take it from each other.
    if (i === 4) other.destroy();
    if (i > 4) await bed.connection.command('DEL', bed.keys.trend('lease'));
    await untilSampled(bed, 1);
  }
  await until('the last mark', async () =>
    (await marksOf(bed, 'rewind')).some(({ text }) => text === marked.at(-1)),
  );
  await until('the last loss', async () =>
    (await marksOf(bed, 'loss')).some((mark) => mark.function === 'f-11'),
  );
  const rewinds = (await marksOf(bed, 'rewind')).map(({ text }) => text);
  t.strictSame(rewinds.sort(), [...marked].sort());
  const losses = (await marksOf(bed, 'loss')).map((mark) => mark.function);
  t.strictSame(losses.sort(), Array.from({ length: 12 }, (_, i) => `f-${i}`).sort());
  const times = (await samplesIn(bed, '1m', null)).map(({ slotMs }) => slotMs);
  t.equal(new Set(times).size, times.length);
  t.strictSame(await marksOf(bed, 'redis'), []);
  await first.sampler.stop();
});

t.test('a process that stops hands over at once', async (t) => {
  const bed = await makeBed(t);
  const first = startSampler(t, bed);
  await untilSampled(bed, 1);
  await first.sampler.stop();
  t.equal(await bed.redis.client().exists(bed.keys.trend('lease')), 0);
  startSampler(t, bed);
  await untilSampled(bed, 1);
});

t.test('each mark has a real cause', async (t) => {
  const bed = await makeBed(t);
  const { connection, keys, redis } = bed;
  const lane = await startLane(bed, specOf('mail', ['a.b']), 0);
  await publish(bed, 0, { 'a.b': events(2) });
  await lane.drain(() => 'done');
  let version = 'v1';
  await keepAnnounced(t, bed, () => presenceOf('d-1', { mail: version }));
  const { log } = startSampler(t, bed);
  await untilSampled(bed, 2);
  t.strictSame(await marksOf(bed), [], 'nothing has happened');

  await t.test('a deploy', async (t) => {
    version = 'v2';
    t.match(await untilMarked(bed, 'deploy', 1), [
      { function: 'mail', text: 'mail runs version v2 after v1', from: 'presence' },
    ]);
    await startLane(bed, specOf('bill', ['a.b']), 0);
    t.match((await untilMarked(bed, 'deploy', 2))[0], { text: 'bill is a new function' });
    await remove(bed, 'bill');
    t.match((await untilMarked(bed, 'deploy', 3))[0], { function: 'bill', text: /is gone/ });
  });

  await t.test('a schema', async (t) => {
    const registry = new SchemaRegistry(new RegistryStore(connection, keys));
    const { id } = await registry.register(order(), BY);
    t.match(await untilMarked(bed, 'schema', 1), [
      {
        type: 'order.created',
        text: `order.created has version 1 (id ${id}), registered by tester@here`,
      },
    ]);
  });

  await t.test('a rewind', async (t) => {
    await makeAudited(bed, ANNA, {
      action: 'rewind',
      target: 'mail',
      wanted: { to: 'start' },
      make: () => rewindFunction(bed, 'mail', { kind: 'start' }, true),
    });
    t.match(await untilMarked(bed, 'rewind', 1), [
      { function: 'mail', text: 'anna: rewind mail to start', from: /^audit \d+-\d+$/ },
    ]);
  });

  await t.test('a loss', async (t) => {
    const loss = { kind: 'entries', from: '1-0', to: '2-0', count: 2, message: 'gone' } as const;
    await noteLoss(connection, keys, 1, loss);
    t.match(await untilMarked(bed, 'loss', 1), [{ text: 'entries: gone', from: /^losses 1\// }]);
  });

  await t.test('an alert', async (t) => {
    const settings = parseAlertSettings(
      'f.yaml',
      'rules:\n  - { name: many, expression: appended_events > 2, severity: warning }\n',
    );
    const alerts = new Alerts({
      source: bed,
      settings: { ...settings, everyMs: 20 },
      receivers: [],
      owner: 'alerts',
      created: () => Promise.resolve('1'),
      version: '0',
      log: () => {},
      lag: () => readLag(bed),
    });
    t.teardown(() => alerts.stop());
    alerts.start();
    await publish(bed, 0, { 'a.b': events(3) });
    const many = async () =>
      (await marksOf(bed, 'alert')).filter(({ text }) => text.includes('many'));
    await until('it fires', async () => atLeast((await many()).length, 1));
    t.match(await many(), [
      { function: 'mail', text: 'alert many (warning, function mail) fires', from: 'alerts' },
    ]);
    await rewindFunction(bed, 'mail', { kind: 'end' }, true);
    await until('it ends', async () => atLeast((await many()).length, 2));
    t.match((await many())[0], { text: 'alert many (warning, function mail) has ended' });
  });

  await t.test('dispatchers', async (t) => {
    await announce(bed, presenceOf('d-2', { mail: version }));
    t.match(await untilMarked(bed, 'dispatcher', 1), [{ text: 'dispatcher d-2 has come' }]);
    await removeMember(connection, keys, 'mail', 'd-2');
    await removePresence(connection, keys, 'd-2');
    t.match((await untilMarked(bed, 'dispatcher', 2))[0], { text: 'dispatcher d-2 has stopped' });
    await announce(bed, presenceOf('d-3', { mail: version }));
    await untilMarked(bed, 'dispatcher', 3);
    await removeMember(connection, keys, 'mail', 'd-3');
    await connection.command('DEL', keys.presence('d-3'));
    t.match((await untilMarked(bed, 'dispatcher', 4))[0], { text: 'dispatcher d-3 has died' });
  });

  await t.test('a restart of Redis', async (t) => {
    await redis.restart();
    const [mark] = await untilMarked(bed, 'redis', 1);
    t.match(mark, { text: /^Redis was restarted at /, from: 'INFO' });
    await untilSampled(bed, 2);
    t.equal((await marksOf(bed, 'redis')).length, 1, 'once');
  });

  await t.test('no more of any kind', async (t) => {
    await untilSampled(bed, 3);
    const counts = new Map<string, number>();
    for (const { kind, text } of await marksOf(bed))
      if (!text.startsWith('alert ') || text.includes('many'))
        counts.set(kind, (counts.get(kind) ?? 0) + 1);
    t.strictSame(Object.fromEntries([...counts].sort()), {
      alert: 2,
      deploy: 3,
      dispatcher: 4,
      loss: 1,
      redis: 1,
      rewind: 1,
      schema: 1,
    });
  });

  t.ok(
    log.filter(({ level }) => level === 'error').length === 0,
    `no error was logged: ${JSON.stringify(log)}`,
  );
});

t.test('FLUSHALL: the process goes on from its memory, and no rate is below zero', async (t) => {
  const bed = await makeBed(t);
  const lane = await startLane(bed, specOf('mail', ['a.b']), 0);
  await publish(bed, 0, { 'a.b': events(50) });
  await lane.drain(() => 'done');
  startSampler(t, bed);
  await untilSampled(bed, 3);
  await bed.redis.client().flushall();
  const again = await startLane(bed, specOf('mail', ['a.b']), 0);
  await publish(bed, 0, { 'a.b': events(5) });
  await again.drain(() => 'done');
  t.match(await untilMarked(bed, 'redis', 1), [
    { text: 'Redis has lost the trend so far: FLUSHALL, or a restored backup', from: 'trend' },
  ]);
  await untilSampled(bed, 3);
  t.equal((await marksOf(bed, 'redis')).length, 1, 'once');
  for (const fn of ['mail', null]) {
    const trend = await readTrend(bed, { function: fn, hours: 3, points: 200 }, MINUTE);
    t.strictSame(belowZero(trend), []);
  }
});

t.test('FLUSHALL: another process that takes over marks the loss, too', async (t) => {
  const bed = await makeBed(t);
  const other = openConnection({ url: bed.redis.url });
  t.teardown(() => other.destroy());
  const first = startSampler(t, { ...bed, connection: other });
  await untilSampled(bed, 1);
  // It has never had the lease: the state is known to it from its attempts only.
  const standby = startSampler(t, bed, { owner: 'standby' });
  await untilSampled(bed, 3);
  other.destroy();
  await bed.redis.client().flushall();
  await noteLoss(bed.connection, bed.keys, 1, {
    kind: 'entries',
    from: '',
    to: '',
    count: 1,
    message: 'gone',
  });
  t.match(await untilMarked(bed, 'redis', 1), [{ text: /^Redis has lost the trend/ }]);
  t.match(await untilMarked(bed, 'loss', 1), [{ text: 'entries: gone' }], 'a loss since then');
  await untilSampled(bed, 2);
  t.equal((await marksOf(bed)).length, 2);
  await Promise.all([standby.sampler.stop(), first.sampler.stop()]);
});

t.test('a removed function that comes again has no rate below zero', async (t) => {
  const bed = await makeBed(t);
  const lane = await startLane(bed, specOf('mail', ['a.b']), 0);
  await publish(bed, 0, { 'a.b': events(50) });
  await lane.drain(() => 'done');
  startSampler(t, bed);
  await untilSampled(bed, 2);
  await remove(bed, 'mail');
  const again = await startLane(bed, specOf('mail', ['a.b'], { startFrom: 'end' }), 0);
  await publish(bed, 0, { 'a.b': events(5) });
  await again.drain(() => 'done');
  await untilSampled(bed, 3);
  const trend = await readTrend(bed, { function: 'mail', hours: 3, points: 200 }, MINUTE);
  t.strictSame(belowZero(trend), []);
  const values = (await samplesIn(bed, '1m', 'mail')).map((sample) => sample.values['done']);
  t.strictSame([values[0], (values.at(-1) ?? 0) < 50], [50, true], 'its count was set back');
});

t.test('a time without a sampler stays a gap', async (t) => {
  const bed = await makeBed(t);
  const first = startSampler(t, bed);
  await untilSampled(bed, 2);
  await first.sampler.stop();
  const last = (await samplesIn(bed, '1m', null)).at(-1)?.slotMs ?? 0;
  await until('some minutes have gone by', async () =>
    atLeast(
      (await readTrend(bed, { function: null, hours: 1, points: 9 }, MINUTE)).nowMs,
      last + 3 * MINUTE,
    ),
  );
  startSampler(t, bed);
  await untilSampled(bed, 2);
  const trend = await readTrend(bed, { function: null, hours: 3, points: 181 }, MINUTE);
  const times = new Set((await samplesIn(bed, '1m', null)).map(({ slotMs }) => slotMs));
  t.notOk(times.has(last + MINUTE) || times.has(last + 2 * MINUTE));
  for (const [i, at] of trend.times.entries())
    if (!times.has(at)) t.equal(trend.series['dispatchers']?.[i] ?? null, null, 'no value');
  t.equal(trend.series['appended']?.[trend.times.indexOf(last + MINUTE)] ?? null, null);
});

t.test('refused writes: no sample, one line in the log, and on it goes', async (t) => {
  const bed = await makeBed(t);
  await startLane(bed, specOf('mail', ['a.b']), 0);
  const { log } = startSampler(t, bed);
  await untilSampled(bed, 2);
  const client = bed.redis.client();
  await client.config('SET', 'min-replicas-to-write', '1');
  await until('it is told', () => atLeast(log.length, 1));
  const last = (await samplesIn(bed, '1m', null)).at(-1)?.slotMs ?? 0;
  await until('some minutes have gone by', async () =>
    atLeast(
      (await readTrend(bed, { function: null, hours: 1, points: 9 }, MINUTE)).nowMs,
      last + 4 * MINUTE,
    ),
  );
  t.match(log, { length: 1 });
  t.match(log[0], { level: 'warn', fields: { err: { reply: 'NOREPLICAS' } } });
  await client.config('SET', 'min-replicas-to-write', '0');
  await untilSampled(bed, 2);
  t.match(log, { length: 1 });
});

t.test('the rights that millrace acl prints are enough; fewer do no harm', async (t) => {
  const redis = await startRedis(t, { tcp: true });
  const look = redis.client();
  for (const part of ['dispatcher', 'reader'] as const)
    await look.call(
      'ACL',
      'SETUSER',
      part,
      'on',
      '>secret',
      ...aclRules({ namespace: 'mr', part, registersSchemas: false }),
    );
  const bed = await makeBed(t);
  const as = (user: string): Bed => {
    const url = redis.tcpUrl.replace('redis://', `redis://${user}:secret@`);
    const connection = openConnection({ url });
    t.teardown(() => connection.destroy());
    return { ...bed, redis, connection };
  };
  const reader = startSampler(t, as('reader'));
  await until('it is told', () => atLeast(reader.log.length, 1));
  t.match(reader.log[0], { fields: { err: { reply: 'NOPERM' } } });
  const dispatcher = as('dispatcher');
  const { log } = startSampler(t, dispatcher);
  await untilSampled(dispatcher, 3);
  t.match((await samplesIn(dispatcher, '1m', null)).at(-1)?.values, {
    appended: 0,
    usedBytes: null,
  });
  t.strictSame(
    log.map(({ level, fields }) => [level, fields['part']]),
    [['info', 'INFO']],
    'INFO is denied: that is told once',
  );
  t.match(reader.log, { length: 1 }, 'once');
  const entries = (await look.call('ACL', 'LOG', 1000)) as unknown[][];
  const refused = entries.map((flat) => {
    const of = (name: string): string => String(flat[flat.indexOf(name) + 1]);
    return `${of('username')} ${of('object')}`;
  });
  t.strictSame(
    refused.filter((text) => !/^reader |^dispatcher (info|config\|get)$/.test(text)),
    [],
    'nothing else was refused',
  );
});
