/** Alerts on a real Redis: one evaluation for all processes, a state that outlives each of them. */
import { mkdirSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { Alerts, type AlertsOptions } from '../../src/alerts/alerts.ts';
import { AlertStore, readAlerts } from '../../src/alerts/alert-store.ts';
import type { AlertRecord } from '../../src/alerts/alert-record.ts';
import { ALERT_SEVERITIES } from '../../src/alerts/alert-rule.ts';
import type { Receiver } from '../../src/alerts/receiver.ts';
import { DEFAULT_ALERT_SETTINGS, parseAlertSettings } from '../../src/alerts/rules-file.ts';
import { addSilence, readSilences, removeSilence } from '../../src/alerts/silences.ts';
import { serverTime } from '../../src/redis/server-time.ts';
import { alertMetricsRoutes, alertRoutes } from '../../src/admin/alert-routes.ts';
import { startAdminServer } from '../../src/admin/server.ts';
import { registerAlerts } from '../../src/cli/commands/alerts.ts';
import { UsageError } from '../../src/cli/exit-status.ts';
import { readEnvironment } from '../../src/config.ts';
import { UnknownOutcomeError } from '../../src/core/errors/server-errors.ts';
import { DEFAULT_RETRY } from '../../src/core/retry-policy.ts';
import { readLag } from '../../src/lag/lag.ts';
import { openConnection } from '../../src/redis/connection.ts';
import { inProcess } from '../../scripts/lab/cli-in-process.ts';
import { PROTO_DIR, testDir } from '../../scripts/lab/dispatcher-process.ts';
import { atLeast, is, until } from '../../scripts/lab/until.ts';
import { events, makeBed, publish, specOf, startLane, type Bed } from '../pipeline/bare-lane.ts';
import { startReceiver } from './webhook-receiver.ts';

interface Logged {
  readonly level: string;
  readonly message: string;
  readonly fields: Record<string, unknown>;
}

interface Started {
  readonly alerts: Alerts;
  readonly log: Logged[];
  /** Evaluations that have begun. */
  readonly passes: () => number;
}

let owners = 0;

/** Starts a process's alerts: rules on the dead events only, evaluated all the time. */
function startAlerts(t: Tap, bed: Bed, more: Partial<AlertsOptions> = {}): Started {
  const log: Logged[] = [];
  let passes = 0;
  const settings = parseAlertSettings(
    'f.yaml',
    `
rules:
  - { name: died, expression: dead_events > 0, severity: critical }
  - { name: dead-letters-growing, enabled: false }
`,
  );
  const alerts = new Alerts({
    source: bed,
    settings: { ...settings, everyMs: 20 },
    receivers: [],
    owner: `owner-${owners++}`,
    created: () => Promise.resolve('1'),
    version: '0',
    log: (level, message, fields = {}) => void log.push({ level, message, fields }),
    lag: () => {
      passes++;
      return readLag(bed);
    },
    retry: { ...DEFAULT_RETRY, attempts: Infinity, minDelayMs: 30, maxDelayMs: 30 },
    leaseMs: 60_000,
    ...more,
  });
  t.teardown(() => alerts.stop());
  alerts.start();
  return { alerts, log, passes: () => passes };
}

type Tap = Parameters<typeof startReceiver>[0];

function receiverAt(url: string, more: Partial<Receiver> = {}): Receiver {
  return {
    name: 'hook',
    type: 'webhook',
    url,
    routingKey: '',
    headers: {},
    severities: ALERT_SEVERITIES,
    explain: true,
    ...more,
  };
}

const told = (log: readonly Logged[]) =>
  log
    .filter(({ message }) => message.startsWith('ALERT'))
    .map(({ message }) => message.slice(0, 20));

/** Waits until the alert is stored with this state for the receiver. */
function untilTold(bed: Bed, receiver: string, status: string): Promise<AlertRecord> {
  return until(`${receiver} was told: ${status}`, async () => {
    const [alert] = [...(await readAlerts(bed)).alerts.values()];
    return alert?.told[receiver]?.status === status ? alert : null;
  });
}

/** Waits until the process has evaluated the rules twice more: once from the beginning. */
async function untilEvaluated({ passes }: Started): Promise<void> {
  const before = passes();
  await until('two passes have gone by', () => atLeast(passes(), before + 3));
}

t.test('an alert fires once, explains the worst event, and ends', async (t) => {
  const bed = await makeBed(t);
  const lane = await startLane(bed, specOf('mail', ['a.b']), 1);
  const server = await startReceiver(t);
  const started = startAlerts(t, bed, { receivers: [receiverAt(server.url)] });
  const { log, alerts } = started;
  await publish(bed, 1, { 'a.b': [{ id: 'e-1', subject: 'A-1' }] });
  await lane.drain(() => 'dead');
  const alert = await untilTold(bed, 'hook', 'firing');
  t.match(alert, { name: 'died', state: 'firing', value: 1, told: { log: { status: 'firing' } } });
  t.match(
    alert.worst,
    /^event e-1 \(a\.b, subject A-1, partition 1, appended .*\): mail: dead after 1 attempts \(non-retryable: TestError: .*\); millrace dlq replay mail\/1\//,
  );
  await untilEvaluated(started);
  t.match(server.taken, [
    {
      body: {
        version: '4',
        status: 'firing',
        alerts: [{ fingerprint: alert.fingerprint, annotations: { worst_event: alert.worst } }],
      },
    },
  ]);
  t.match(log, [
    { level: 'error', fields: { fingerprint: alert.fingerprint, worst: alert.worst } },
  ]);
  t.match(alerts.counts, [{ receiver: 'hook', delivered: 1, failed: 0 }]);
  await bed.redis.client().hset(bed.keys.counters(1), 'dead:mail:a.b', '0');
  await until('it is forgotten', async () => {
    const { alerts: left } = await readAlerts(bed);
    return [...left.values()].every(({ name }) => name !== 'died');
  });
  t.match(server.taken[1]?.body, {
    status: 'resolved',
    alerts: [{ fingerprint: alert.fingerprint }],
  });
  t.strictSame(told(log), ['ALERT FIRING: died (', 'ALERT RESOLVED: died']);
  t.equal(server.taken.length, 2);
});

t.test('the oldest waiting event is explained, wherever it waits', async (t) => {
  const bed = await makeBed(t, 1);
  const lane = await startLane(bed, specOf('mail', ['a.b']), 0);
  await publish(bed, 0, { 'a.b': [{ id: 'e-1', subject: 'A-1' }] });
  const explained = async (): Promise<string> => {
    const settings = parseAlertSettings(
      'f.yaml',
      'rules: [{ name: oldest-event, expression: oldest_event_seconds >= 0 }]',
    );
    const rules = settings.rules.filter(({ name }) => name === 'oldest-event');
    const { alerts } = startAlerts(t, bed, { settings: { ...settings, rules, everyMs: 20 } });
    const { worst } = await until('it is explained', async () => {
      const [alert] = [...(await readAlerts(bed)).alerts.values()];
      return alert?.worst ? alert : null;
    });
    await alerts.stop();
    await bed.connection.command('DEL', bed.keys.alerts('state'));
    return worst ?? '';
  };
  t.match(await explained(), /^event e-1 .*: mail: lag: it was not read yet: it is the next one/);
  const plan = await lane.turn(() => 'retry');
  t.match(await explained(), /^event e-1 .*: mail: pending: it was delivered/);
  await lane.send(plan);
  t.match(await explained(), /^event e-1 .*: mail: parked: its attempt 1 failed \(TestError: /);
});

t.test('one process evaluates; another takes over, and neither repeats nor forgets', async (t) => {
  const bed = await makeBed(t, 1);
  const lane = await startLane(bed, specOf('mail', ['a.b']), 0);
  const server = await startReceiver(t);
  const receivers = [receiverAt(server.url)];
  const connection = openConnection({ url: bed.redis.url });
  const first = startAlerts(t, { ...bed, connection }, { receivers, leaseMs: 400 });
  await until('the first process has the lease', () => first.alerts.isOwner);
  const others = [1, 2].map(() => startAlerts(t, bed, { receivers, leaseMs: 400 }));
  await publish(bed, 0, { 'a.b': events(1) });
  await lane.drain(() => 'dead');
  await untilTold(bed, 'hook', 'firing');
  t.strictSame(
    others.map(({ alerts }) => alerts.isOwner),
    [false, false],
  );
  // It dies: it gives nothing back.
  connection.destroy();
  const owner = await until('another process has it', () =>
    others.find(({ alerts }) => alerts.isOwner),
  );
  await untilEvaluated(owner);
  t.equal(server.taken.length, 1, 'the new owner knows that the receiver was told');
  t.equal(others.flatMap(({ log }) => told(log)).length, 0);
  await bed.redis.client().hset(bed.keys.counters(0), 'dead:mail:a.b', '0');
  await until('the end is told', () => is(server.taken.length, 2));
  t.match(server.taken[1]?.body, { status: 'resolved' });
});

t.test('a new lease whose state could not be read: the next look reads it', async (t) => {
  const bed = await makeBed(t, 1);
  const a = new AlertStore(bed, 'a', 60_000);
  await a.hold();
  const state = { ...a.found(), lanes: new Map([['f/0', [1, 2] as const]]) };
  await a.save(() => state);
  await a.release();
  let isDown = true;
  const connection = new Proxy(bed.connection, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name, target);
      if (typeof value !== 'function') return value;
      if (name !== 'command') return value.bind(target) as unknown;
      return (...args: Parameters<typeof target.command>) =>
        isDown ? Promise.reject(new Error('the connection is gone')) : target.command(...args);
    },
  });
  const b = new AlertStore({ ...bed, connection }, 'b', 60_000);
  await t.rejects(b.hold(), { message: 'the connection is gone' });
  t.equal(await b.save(() => ({ ...state, lanes: new Map() })), 'other', 'nothing is written over');
  isDown = false;
  t.match(await b.hold(), { kind: 'taken' });
  t.strictSame(b.found().lanes, state.lanes);
  t.match(await b.hold(), { kind: 'held' });
});

/** A bed whose next script is executed, and its reply lost. */
function losingReplies(bed: Bed): { readonly bed: Bed; lose: boolean } {
  const losing = { bed, lose: false };
  const connection = new Proxy(bed.connection, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name, target);
      if (typeof value !== 'function') return value;
      if (name !== 'script') return value.bind(target) as unknown;
      return async (...args: Parameters<typeof target.script>) => {
        const reply = await target.script(...args);
        if (!losing.lose) return reply;
        losing.lose = false;
        throw new UnknownOutcomeError('EVALSHA');
      };
    },
  });
  losing.bed = { ...bed, connection };
  return losing;
}

t.test('a write whose reply is lost: the next one leaves nothing behind', async (t) => {
  const bed = await makeBed(t, 1);
  const losing = losingReplies(bed);
  const store = new AlertStore(losing.bed, 'a', 60_000);
  await store.hold();
  const receiver = { failures: 1, sinceMs: 1, nextMs: 2, error: 'e' };
  const before = { ...store.found(), receivers: new Map([['kept', receiver]]) };
  await store.save(() => before);
  losing.lose = true;
  const lost = new Map([
    ['kept', { ...receiver, failures: 2 }],
    ['added', receiver],
  ]);
  await t.rejects(
    store.save(() => ({ ...before, receivers: lost })),
    { code: 'UNKNOWN_OUTCOME' },
  );
  t.strictSame((await readAlerts(bed)).receivers, lost, 'it was written');
  t.equal(await store.save(() => before), 'saved');
  t.strictSame((await readAlerts(bed)).receivers, before.receivers);

  losing.lose = true;
  const none = { ...before, receivers: new Map<string, typeof receiver>() };
  await t.rejects(
    store.save(() => none),
    { code: 'UNKNOWN_OUTCOME' },
  );
  t.equal(await store.save(() => before), 'saved');
  t.strictSame((await readAlerts(bed)).receivers, before.receivers, 'what was deleted is back');
  await store.release();
  t.strictSame((await readAlerts(bed)).receivers, before.receivers);
});

t.test('a lease whose reply is lost: its owner knows it at the next look', async (t) => {
  const bed = await makeBed(t, 1);
  const losing = losingReplies(bed);
  const [a, b] = ['a', 'b'].map((owner) => new AlertStore(losing.bed, owner, 60_000)) as [
    AlertStore,
    AlertStore,
  ];
  losing.lose = true;
  await t.rejects(a.hold(), { code: 'UNKNOWN_OUTCOME' });
  t.match(await b.hold(), { kind: 'other' });
  t.match(await new AlertStore(bed, 'a:1', 60_000).hold(), { kind: 'other' });
  t.match(await new AlertStore(bed, '', 60_000).hold(), { kind: 'other' });
  t.match(await a.hold(), { kind: 'taken' });
  const state = { ...a.found(), lanes: new Map([['f/0', [1, 2] as const]]) };
  t.equal(await a.save(() => state), 'saved');
  await bed.connection.command('DEL', bed.keys.alerts('lease'));
  losing.lose = true;
  await t.rejects(a.hold(), { code: 'UNKNOWN_OUTCOME' });
  t.match(await a.hold(), { kind: 'held' }, 'nobody has had a lease since its last one');
  await bed.connection.command('DEL', bed.keys.alerts('lease'));
  t.match(await b.hold(), { kind: 'taken' });
  await b.release();
  losing.lose = true;
  await t.rejects(a.hold(), { code: 'UNKNOWN_OUTCOME' });
  t.match(await a.hold(), { kind: 'taken' }, 'another process has had a lease since');
});

t.test(
  'silences that are added at the same time: none is lost, and none is too many',
  async (t) => {
    const bed = await makeBed(t, 1);
    const wanted = { alert: null, labels: {}, comment: '' };
    const ids = await Promise.all(
      Array.from({ length: 20 }, async () => (await addSilence(bed, wanted, 60_000)).id),
    );
    const nowMs = await serverTime(bed);
    t.strictSame((await readSilences(bed, nowMs)).map(({ id }) => id).sort(), ids.sort());
    const more = Array.from({ length: 977 }, (_, i) => [
      `x${i}`,
      JSON.stringify({ ...wanted, id: `x${i}`, fromMs: 0, untilMs: nowMs + 60_000 }),
    ]);
    const key = bed.keys.alerts('silences');
    await bed.connection.command('HSET', key, ...more.flat());
    const outcomes = await Promise.allSettled(
      Array.from({ length: 9 }, () => addSilence(bed, wanted, 60_000)),
    );
    t.equal(outcomes.filter(({ status }) => status === 'fulfilled').length, 3);
    t.match(
      outcomes.filter(({ status }) => status === 'rejected'),
      Array.from({ length: 6 }, () => ({ reason: { code: 'SILENCE_LIMIT' } })),
    );
    t.equal((await readSilences(bed, nowMs)).length, 1000);
    // One that is over makes room.
    const over = JSON.stringify({ ...wanted, id: 'x0', fromMs: 0, untilMs: 1 });
    await bed.connection.command('HSET', key, 'x0', over, 'x1', 'junk');
    await addSilence(bed, wanted, 60_000);
    t.equal(await bed.connection.command('HLEN', key), 999);
  },
);

t.test('a write without the lease changes nothing', async (t) => {
  const bed = await makeBed(t, 1);
  const stores = ['a', 'b'].map((owner) => new AlertStore(bed, owner, 60_000)) as [
    AlertStore,
    AlertStore,
  ];
  const [a, b] = stores;
  t.match(await a.hold(), { kind: 'taken' });
  t.match(await a.hold(), { kind: 'held' });
  t.match(await b.hold(), { kind: 'other' });
  const state = { ...a.found(), lanes: new Map([['f/0', [1, 2] as const]]) };
  t.equal(await a.save(() => state), 'saved');
  await bed.connection.command('DEL', bed.keys.alerts('lease'));
  t.match(await b.hold(), { kind: 'taken' });
  t.strictSame(b.found().lanes, state.lanes);
  t.equal(await a.save(() => ({ ...state, lanes: new Map() })), 'other');
  t.strictSame((await readAlerts(bed)).lanes, state.lanes);
  await b.release();
  t.match(await a.hold(), { kind: 'taken' }, 'given back, it is free at once');
  await bed.connection.command('DEL', bed.keys.alerts('lease'));
  t.match(await a.hold(), { kind: 'held' }, 'its lease ended, but nobody has had one since');
  const look = bed.redis.client();
  await look.hset(
    bed.keys.alerts('state'),
    'alert:x',
    'junk',
    'history',
    '{',
    'lanes',
    '[[1]]',
    '#epoch',
    'x',
  );
  await look.del(bed.keys.alerts('lease'));
  t.match(await b.hold(), { kind: 'taken' }, 'an unreadable field costs itself only');
  t.match(b.found(), { alerts: new Map(), lanes: new Map() });
  t.equal(await b.save(() => state), 'saved');
  t.notOk(await look.hexists(bed.keys.alerts('state'), 'alert:x'));
});

t.test(
  'a receiver that is down holds up no other, and learns the state when it is back',
  async (t) => {
    const bed = await makeBed(t, 1);
    const lane = await startLane(bed, specOf('mail', ['a.b']), 0);
    const [up, down, silent] = [
      await startReceiver(t),
      await startReceiver(t),
      await startReceiver(t),
    ];
    down.answer = { status: 503 };
    silent.answer = 'never';
    const receivers = [
      receiverAt(silent.url, { name: 'silent' }),
      receiverAt(down.url, { name: 'down' }),
      receiverAt(up.url, { name: 'up', type: 'cloudevent' }),
    ];
    const first = startAlerts(t, bed, { receivers });
    await publish(bed, 0, { 'a.b': events(1) });
    await lane.drain(() => 'dead');
    await untilTold(bed, 'up', 'firing');
    await until('it is tried again', () => atLeast(down.taken.length, 3));
    const failing = (await readAlerts(bed)).receivers.get('down');
    t.match(failing, { error: /receiver "down" has not taken the notification: it answered 503/ });
    t.match(first.log.filter(({ fields }) => fields['receiver'] === 'down')[0], { level: 'warn' });
    await first.alerts.stop();
    const second = startAlerts(t, bed, { receivers });
    await until('the next process goes on', () => second.alerts.isOwner);
    t.ok(
      ((await readAlerts(bed)).receivers.get('down')?.failures ?? 0) >= 3,
      'it knows the failures',
    );
    down.answer = { status: 200 };
    silent.answer = { status: 200 };
    await untilTold(bed, 'down', 'firing');
    await untilTold(bed, 'silent', 'firing');
    await until('its failures are over', async () => is((await readAlerts(bed)).receivers.size, 0));
    t.match(second.log, [{ level: 'info', message: /takes notifications again/ }]);
    t.equal(up.taken.length, 1);
  },
);

t.test('where Redis refuses writes, the owner goes on from memory', async (t) => {
  const bed = await makeBed(t, 1);
  const server = await startReceiver(t);
  const receivers = [receiverAt(server.url)];
  const settings = { ...DEFAULT_ALERT_SETTINGS, everyMs: 20 };
  const { alerts, log } = startAlerts(t, bed, { receivers, settings });
  await until('it has the lease', () => alerts.isOwner);
  const look = bed.redis.client();
  await look.config('SET', 'min-replicas-to-write', '1');
  await until('the refusal is told', () => atLeast(server.taken.length, 1));
  t.match(server.taken[0]?.body, {
    status: 'firing',
    groupLabels: { alertname: 'redis-refuses-writes' },
  });
  await look.config('SET', 'min-replicas-to-write', '0');
  await until('the end is told', () => atLeast(server.taken.length, 2));
  t.match(server.taken[1]?.body, { status: 'resolved' });
  await until('it is forgotten', async () => is((await readAlerts(bed)).alerts.size, 0));
  t.equal(told(log).length, 2);
  t.equal(server.taken.length, 2);
});

/** Makes Redis refuse writes (MISCONF), and fail to persist. Returns a function that ends both. */
async function failSnapshots({ redis }: Bed): Promise<() => Promise<void>> {
  const look = redis.client();
  const snapshot = join(redis.dir, 'dump.rdb');
  const save = async (wanted: 'ok' | 'err'): Promise<void> => {
    await look.bgsave();
    await until(`the snapshot ends: ${wanted}`, async () =>
      (await look.info('persistence')).includes(`rdb_last_bgsave_status:${wanted}`),
    );
  };
  // The snapshot cannot take the place of a folder.
  mkdirSync(snapshot);
  // Writes are refused only where snapshots are wanted.
  await look.config('SET', 'save', '1000000 1000000');
  await save('err');
  return async () => {
    rmdirSync(snapshot);
    await save('ok');
  };
}

t.test('a refusal that outlasts the lease: each alert fires once, and ends once', async (t) => {
  const bed = await makeBed(t, 1);
  const hooks = [await startReceiver(t), await startReceiver(t)] as const;
  const receivers = [
    receiverAt(hooks[0].url),
    receiverAt(hooks[1].url, { name: 'page', type: 'pagerduty', routingKey: 'k' }),
  ];
  const settings = { ...DEFAULT_ALERT_SETTINGS, everyMs: 20 };
  const first = startAlerts(t, bed, { receivers, settings, leaseMs: 300 });
  await until('it has the lease', () => first.alerts.isOwner);
  const standby = startAlerts(t, bed, { receivers, settings, leaseMs: 300 });
  const mend = await failSnapshots(bed);
  const names = new Set(['redis-not-persisting', 'redis-refuses-writes']);
  const labels = (): unknown[] => hooks[0].taken.map(({ body }) => body['groupLabels']);
  await until('both are told', () => atLeast(hooks[1].taken.length, 2));
  const look = bed.redis.client();
  await until('the lease has ended', async () =>
    is(await look.exists(bed.keys.alerts('lease')), 0),
  );
  await untilEvaluated(first);
  t.equal(first.alerts.isOwner, true, 'it goes on from memory');
  await mend();
  await until('it is forgotten', async () => {
    const { alerts } = await readAlerts(bed);
    return hooks[1].taken.length >= 4 && ![...alerts.values()].some(({ name }) => names.has(name));
  });
  await untilEvaluated(first);
  t.equal(standby.alerts.isOwner, false, 'the lease went to the process that knows');
  t.strictSame(
    standby.log.filter(({ message }) => message.startsWith('ALERT')),
    [],
  );
  const statuses = (one: (typeof hooks)[number], of: (body: Record<string, unknown>) => unknown) =>
    one.taken.map(({ body }) => of(body)).sort();
  t.strictSame(
    statuses(hooks[0], ({ status }) => status),
    ['firing', 'firing', 'resolved', 'resolved'],
    JSON.stringify(labels()),
  );
  t.strictSame(
    statuses(hooks[1], (body) => body['event_action']),
    ['resolve', 'resolve', 'trigger', 'trigger'],
  );
  t.equal(told(first.log).length, 4);
  const refusedFor = first.log.find(({ message }) =>
    message.startsWith('ALERT RESOLVED: redis-refuses-writes'),
  )?.fields['firedForMs'];
  t.ok((refusedFor as number) > 200, `it fired from the beginning: ${String(refusedFor)}`);
});

t.test(
  'after a refusal the free lease is left to its last owner, for the time of one',
  async (t) => {
    const bed = await makeBed(t, 1);
    const look = bed.redis.client();
    const leases = bed.keys.alerts('lease');
    const [a, b] = ['a', 'b'].map((owner) => new AlertStore(bed, owner, 200)) as [
      AlertStore,
      AlertStore,
    ];
    t.match(await a.hold(), { kind: 'taken' });
    const outlast = async (): Promise<void> => {
      await look.config('SET', 'min-replicas-to-write', '1');
      await until('the lease has ended', async () => is(await look.exists(leases), 0));
      await t.rejects(b.hold(), { message: /NOREPLICAS/ });
      await t.rejects(
        a.save(() => a.found()),
        { message: /NOREPLICAS/ },
        'the end of the lease does not hide the refusal',
      );
      await look.config('SET', 'min-replicas-to-write', '0');
    };
    await outlast();
    t.equal(await a.save(() => a.found()), 'ended');
    t.match(await b.hold(), { kind: 'other' });
    t.match(await a.hold(), { kind: 'held' }, 'nobody has evaluated meanwhile');
    await outlast();
    t.match(await b.hold(), { kind: 'other' });
    await until('the last owner does not come back', async () =>
      is((await b.hold()).kind, 'taken'),
    );
    t.equal(await a.save(() => a.found()), 'other');
  },
);

t.test('a silence holds notifications back, and still tells what fires at its end', async (t) => {
  const bed = await makeBed(t, 1);
  const lane = await startLane(bed, specOf('mail', ['a.b']), 0);
  const server = await startReceiver(t);
  const made = await addSilence(
    bed,
    { alert: 'died', labels: { function: 'mail' }, comment: 'c' },
    60_000,
  );
  const started = startAlerts(t, bed, { receivers: [receiverAt(server.url)] });
  const { log } = started;
  await publish(bed, 0, { 'a.b': events(1) });
  await lane.drain(() => 'dead');
  await until('it fires', async () => {
    const [alert] = [...(await readAlerts(bed)).alerts.values()];
    return alert?.state === 'firing';
  });
  await untilEvaluated(started);
  t.strictSame([server.taken.length, told(log).length], [0, 0]);
  t.equal(await removeSilence(bed, made.id), true);
  t.equal(await removeSilence(bed, made.id), false);
  await untilTold(bed, 'hook', 'firing');
  t.equal(told(log).length, 1);
  await bed.redis
    .client()
    .hset(bed.keys.alerts('silences'), 'junk', '{', 'old', JSON.stringify({ ...made, untilMs: 1 }));
  t.strictSame(await readSilences(bed, await serverTime(bed)), []);
  await addSilence(bed, { alert: null, labels: {}, comment: '' }, 1000);
  t.equal(await bed.redis.client().hlen(bed.keys.alerts('silences')), 1, 'what is over is removed');
});

t.test('deaths before the first evaluation count, once', async (t) => {
  const bed = await makeBed(t, 16);
  const lane = await startLane(bed, specOf('mail', ['a.b']), 0);
  await publish(bed, 0, { 'a.b': events(3) });
  await lane.drain(() => 'dead');
  const settings = { ...DEFAULT_ALERT_SETTINGS, everyMs: 20 };
  const now = String(await serverTime(bed));
  const more = { settings, created: () => Promise.resolve(now) };
  const first = startAlerts(t, bed, more);
  await untilTold(bed, 'log', 'firing');
  t.match(first.log[0], { message: /^ALERT FIRING: dead-letters-growing/, fields: { value: 3 } });
  const cli = inProcess(registerAlerts, { REDIS_URL: bed.redis.url }, PROTO_DIR);
  t.match(await cli('alerts', 'test', '--dry-run'), {
    out: /, 1 series beyond a threshold now\n {2}dead-letters-growing \(function mail\)/,
  });
  await first.alerts.stop();
  const second = startAlerts(t, bed, more);
  await untilEvaluated(second);
  t.strictSame(told(second.log), []);
});

t.test('millrace alerts, and /api/alerts', async (t) => {
  const bed = await makeBed(t, 16);
  const lane = await startLane(bed, specOf('mail', ['a.b']), 0);
  const server = await startReceiver(t);
  const file = join(testDir(t), 'alerts.yaml');
  writeFileSync(
    file,
    `
rules:
  - { name: died, expression: dead_events > 0, severity: critical }
  - { name: loss, enabled: false }
receivers:
  - { name: team, type: slack, url: "${server.url}/x" }
  - { name: pager, type: pagerduty, url: "${server.url}/p", routingKey: "\${ALERTS_TEST_KEY}" }
`,
  );
  process.env['ALERTS_TEST_KEY'] = 'k3y-of-the-pager';
  t.teardown(() => delete process.env['ALERTS_TEST_KEY']);
  const environment = { REDIS_URL: bed.redis.url, MILLRACE_ALERTS: file };
  const cli = inProcess(registerAlerts, environment, PROTO_DIR);
  t.match(await cli('alerts', 'list'), {
    out: '',
    err: /nobody evaluates the rules now: this list is old; no evaluation was stored/,
    error: null,
  });
  const started = startAlerts(t, bed);
  await publish(bed, 0, { 'a.b': [{ id: 'e-1', subject: 'A-1' }] });
  await lane.drain(() => 'dead');
  await untilTold(bed, 'log', 'firing');

  t.match(await cli('alerts', 'silence', 'nosuch', '--for', '1h'), {
    error: /there is no rule "nosuch"; there are .*died/,
  });
  t.match(await cli('alerts', 'silence', 'diedd', '--for', '1h'), {
    error: /there is no rule "diedd" \(did you mean "died"\?\)/,
  });
  t.match(await cli('alerts', 'silence', 'died', '--for', '1h', '--label', 'functon=mail'), {
    error: /the rule "died" has no label "functon" \(did you mean "function"\?\)/,
  });
  t.match(await cli('alerts', 'silence', '--all', '--for', '1h', '--label', 'foo=bar'), {
    error: /no rule has label "foo"; there are alertname, /,
  });
  t.match((await cli('alerts', 'silence', '--list')).err, /there are no silences/);
  const forced = await cli('alerts', 'silence', 'nosuch', '--for', '1h', '--force', '--json');
  const { id: forcedId } = JSON.parse(forced.out) as { id: string };
  t.match(await cli('alerts', 'silence', '--remove', forcedId), { error: null });

  const listed = await cli('alerts', 'list');
  t.match(listed.err, /the rules were last evaluated \S+ \S+ ago, by owner-\d+/);
  t.match(
    listed.out,
    /died +critical +firing +\S+ \S+ +1 +function=mail\n\ndied: worst event .*\n {2}event e-1/,
  );
  t.ok(listed.failed, 'the exit status says that an alert fires');
  t.match(JSON.parse((await cli('alerts', 'list', '--json')).out), {
    name: 'died',
    state: 'firing',
    evaluatedAt: /^2/,
    evaluatedBy: /^owner-/,
    evaluator: /^owner-/,
  });
  const admin = await startAdminServer({
    host: '127.0.0.1',
    port: 0,
    token: undefined,
    groups: [alertRoutes(bed, readEnvironment({})), alertMetricsRoutes(bed)],
    log: () => {},
  });
  t.teardown(() => admin.close());
  const answer = await fetch(`${admin.url}/api/alerts`);
  t.match(await answer.json(), { alerts: [{ name: 'died', state: 'firing' }], receivers: [] });

  const metrics = async (): Promise<string> => (await fetch(`${admin.url}/metrics/alerts`)).text();
  t.match(await metrics(), 'millrace_alerts{alert="died",severity="critical",state="firing"} 1\n');

  const rules = await cli('alerts', 'list', '--rules');
  t.match(rules, {
    out: /died +critical +- +dead_events > 0/,
    err: /switched off: loss/,
    failed: false,
  });

  const dry = await cli('alerts', 'test', '--dry-run');
  t.match(dry.out, /13 rules checked, 1 series beyond a threshold now\n {2}died \(function mail\)/);
  t.equal(server.taken.length, 0);
  t.match(await cli('alerts', 'test'), {
    out: /team \(slack\): took the test\npager \(pagerduty\): took/,
    failed: false,
  });
  t.match(
    server.taken
      .map(({ path, body }) => [path, body['event_action']])
      .filter(([path]) => path === '/p'),
    [
      ['/p', 'trigger'],
      ['/p', 'resolve'],
    ],
  );
  server.answer = { status: 403, body: 'no k3y-of-the-pager' };
  const refused = await cli('alerts', 'test', 'pager');
  t.match(refused, {
    failed: true,
    err: /receiver "pager" has not taken the notification: it answered 403: no …/,
  });
  t.match(
    (await cli('alerts', 'test', 'pagr')).error,
    new UsageError('there is no receiver "pagr" (did you mean "pager"?); there are: team, pager'),
  );

  t.match(await cli('alerts', 'silence', 'died'), {
    error: new UsageError('give the length of the silence: --for 2h'),
  });
  t.match((await cli('alerts', 'silence')).error, /give the name of a rule, or one of --all/);
  const silenced = await cli(
    'alerts',
    'silence',
    'died',
    '--for',
    '2h',
    '--label',
    'function=mail',
    '--json',
  );
  const { id } = JSON.parse(silenced.out) as { id: string };
  t.match(await cli('alerts', 'list'), { out: /died +critical +silenced/, failed: false });
  t.match(await metrics(), 'alert="died",severity="critical",state="silenced"} 1\n');
  t.match((await cli('alerts', 'silence', '--list')).out, new RegExp(`${id} +died +function=mail`));
  t.match((await cli('alerts', 'silence', '--remove', id)).err, /has ended/);
  t.match((await cli('alerts', 'silence', '--list')).err, /there are no silences/);
  t.match((await cli('alerts', 'silence', '--remove', id)).error, /there is no silence/);

  await started.alerts.stop();
  const old = await cli('alerts', 'list');
  t.match(old.err, /^millrace: nobody evaluates the rules now: this list is old; .* ago, by owner/);
  t.match(old.out, /died/);

  writeFileSync(file, 'rules: [{ name: died }]');
  t.match(
    (await cli('alerts', 'test')).error,
    /alerts\.yaml:1:9: the rule "died" needs the field "expression"/,
  );
  t.ok(started);
});
