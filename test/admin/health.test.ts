/** Health as a lane knows it, as probes see it, and as `millrace start` reports it. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { healthRoutes } from '../../src/admin/health-routes.ts';
import { startAdminServer } from '../../src/admin/server.ts';
import { monotonicMs, sleep } from '../../src/core/clock.ts';
import type { FunctionSpec } from '../../src/core/function-spec.ts';
import { connect } from '../../src/millrace.ts';
import { Lane } from '../../src/pipeline/lane/lane.ts';
import type { LaneStages } from '../../src/pipeline/lane/lane-stages.ts';
import { createProject, counter, NOTES_PROTO } from '../cli/run-cli.ts';
import { functionsDirOf, PROTO_DIR } from '../../scripts/lab/dispatcher-process.ts';
import { openNotifySocket } from '../../scripts/lab/notify-socket.ts';
import { startRedis } from '../../scripts/lab/redis-server.ts';
import { until, untilTold, countersOf, is } from '../../scripts/lab/until.ts';

const event = (id: string, order: string) => ({
  data: { key: id, number: 0, order, filler: new Uint8Array(0) },
  id,
});
const NOBODY = { progressMs: -Infinity, timeoutMs: 0 };

/** Creates a lane whose stages do nothing until the test lets them. */
function bareLane() {
  const hold: { slot?: () => void } = {};
  let reading = false;
  const options = {
    spec: {
      name: 'f',
      on: [],
      ordering: 'key',
      timeoutMs: 0,
      maxParkedPerPartition: 1,
    } as unknown as FunctionSpec,
    partition: 0,
    leaseValue: 'd:1',
    streamKeys: [],
    leaseTtlMs: 60_000,
    batchBytes: 1,
    batchEvents: 1,
    batchMs: 1,
    pollMs: 60_000,
  };
  let reads = 0;
  const taken = {
    kind: 'taken',
    entries: [],
    units: [],
    more: false,
    nextDueMs: null,
    serverNowMs: 0,
  };
  const lane = new Lane(options, {
    reader: {
      take: () => (++reads === 1 ? Promise.resolve(taken) : new Promise(() => (reading = true))),
      reset: () => undefined,
    },
    share: {
      acquire: () =>
        reads === 0
          ? Promise.resolve({ release: () => undefined })
          : new Promise((resolve) => (hold.slot = () => resolve({ release: () => undefined }))),
    },
    beginSearch: () => Promise.resolve(null),
    releaseRunning: () => Promise.resolve(0),
    listParked: () => Promise.resolve(new Map()),
    idle: () => undefined,
    log: () => undefined,
  } as unknown as LaneStages);
  return { lane, hold, isReading: () => reading };
}

t.test(
  'a lane: the time without work does not count, nor its turn in the queue while others get on',
  async (t) => {
    const { lane, hold, isReading } = bareLane();
    lane.start();
    await until('it has looked and found nothing', () => lane.idle);
    await sleep(500);
    const rungMs = monotonicMs();
    lane.ring();
    await until('it waits for a slot', () => hold.slot !== undefined);
    // More than the time since the ring, less than the time since it was idle.
    const limitMs = monotonicMs() - rungMs + 400;
    t.equal(
      lane.progress.stalled(limitMs, NOBODY),
      null,
      'it was idle until now, and nobody has looked meanwhile',
    );
    t.match(lane.progress.stalled(-10_000, NOBODY), /^waiting for a free slot for \d+ s/);
    t.equal(
      lane.progress.stalled(-10_000, { progressMs: monotonicMs() + 20_000, timeoutMs: 0 }),
      null,
      'others get on',
    );
    hold.slot?.();
    await until('it reads', isReading);
    t.match(
      lane.progress.stalled(-10_000, { progressMs: monotonicMs() + 20_000, timeoutMs: 0 }),
      /^reading for/,
      'reading waits for nobody',
    );
    lane.abandon();
  },
);

t.test('a dispatcher that holds none of its lanes takes no work, and says so', async (t) => {
  const redis = await startRedis(t);
  const look = redis.client();
  const lane = async (): Promise<string> => (await look.keys('mr:*lease*'))[0] as string;
  const open = async () => {
    const millrace = await connect({
      environment: {
        REDIS_URL: redis.url,
        MILLRACE_PARTITIONS: 1,
        WORKERS: 1,
        LOG_LEVEL: 'silent',
        MILLRACE_LEASE_MS: 1000,
        MILLRACE_STALL_MS: 1000,
      },
      protoDir: PROTO_DIR,
    });
    t.teardown(() => millrace.close());
    return millrace.dispatcher({ functionsDir: functionsDirOf('handle') });
  };
  const first = await open();
  await first.start();
  const key = await lane();
  await first.stop();
  await look.set(key, 'somebody-else:99');
  const dispatcher = await open();
  await dispatcher.start();
  const admin = await startAdminServer({
    host: '127.0.0.1',
    port: 0,
    token: undefined,
    groups: [healthRoutes(() => dispatcher.health())],
    log: () => {},
  });
  t.teardown(() => admin.close());
  const ready = await fetch(`${admin.url}/readyz`);
  t.equal(ready.status, 503);
  t.match(await ready.json(), {
    status: 'not ready',
    lanes: 0,
    reason: /holds none of its 1 lanes/,
  });
  t.ok(dispatcher.health().ok, 'somebody has it: a restart would not help');
  // A key of another type makes every claim fail: nobody has the lane then. The change is one step,
  // because between two steps the dispatcher could get the lease.
  await look.multi().rename(key, 'aside').lpush(key, 'no lease').exec();
  const report = await until('it is not well after a while', () => {
    const now = dispatcher.health();
    return now.ok ? null : now;
  });
  t.ok(report.live, 'a restart would not help');
  t.match(report.problems, [
    { function: null, code: 'lease-refused', problem: /WRONGTYPE mr:\{0\}:lease:handle is a list/ },
    {
      function: null,
      partition: null,
      problem: /nobody holds 1 of the 1 lanes of this dispatcher's share, for \d+ s/,
    },
  ]);
  await look.del(key);
  await until('it has its lane', async () => is((await fetch(`${admin.url}/readyz`)).status, 200));
  t.ok(dispatcher.health().ok);
});

t.test(
  'health: red where a lane has work and gets nothing done, green where a handler is slow',
  async (t) => {
    const redis = await startRedis(t);
    const look = redis.client();
    const millrace = await connect({
      environment: {
        REDIS_URL: redis.url,
        MILLRACE_PARTITIONS: 1,
        WORKERS: 1,
        LOG_LEVEL: 'silent',
        MILLRACE_STALL_MS: 3000,
      },
      protoDir: PROTO_DIR,
    });
    t.teardown(() => millrace.close());
    // The function has a timeout of two minutes: its handler may be slow.
    const dispatcher = millrace.dispatcher({
      functionsDir: functionsDirOf('gated'),
      skipFiles: ['gated-unordered.js'],
    });
    let built = false;
    const admin = await startAdminServer({
      host: '127.0.0.1',
      port: 0,
      token: undefined,
      groups: [healthRoutes(() => (built ? dispatcher.health() : null))],
      log: () => {},
    });
    t.teardown(() => admin.close());
    const ask = async (
      path: string,
    ): Promise<{ status: number; body: Record<string, unknown> }> => {
      const response = await fetch(`${admin.url}${path}`);
      return { status: response.status, body: (await response.json()) as Record<string, unknown> };
    };
    t.match(await ask('/healthz'), { status: 200, body: { status: 'starting' } });
    t.match(await ask('/readyz'), { status: 503, body: { status: 'not ready' } });
    built = true;
    await dispatcher.start();
    t.match(await ask('/readyz'), { status: 200, body: { status: 'ready', lanes: 1 } });
    t.match(await ask('/healthz'), { status: 200, body: { status: 'ok', problems: [] } });

    const publisher = millrace.publisher();
    await publisher.publish('test.event', event('slow', 'slow:4500').data, { id: 'slow' });
    let worst = 200;
    await until('the slow one is done', async () => {
      worst = Math.max(worst, (await ask('/healthz')).status);
      return Number(await look.hget('mr:{0}:counters', 'done:gated:test.event')) === 1;
    });
    t.equal(worst, 200, 'a slow downstream alone is no stall');

    // The due set has another type, so that no turn can be taken.
    await look.set('mr:{0}:due:gated', 'x');
    await publisher.publish('test.event', event('stuck', 'ok').data, { id: 'stuck' });
    const red = await until('it is red', async () => {
      const answer = await ask('/healthz');
      return answer.status === 503 ? answer : null;
    });
    t.match(red.body, {
      status: 'stalled',
      problems: [
        {
          function: 'gated',
          partition: 0,
          code: 'lane-refused',
          problem: /failing for .*WRONGTYPE mr:\{0\}:due:gated is a string/,
        },
      ],
    });
    t.match(await ask('/livez'), { status: 200 }, 'a restart would not help');
    t.match(await ask('/readyz'), { status: 200 }, 'other lanes take work');
    await look.del('mr:{0}:due:gated');
    await until(
      'it is green again, and the event done',
      async () =>
        (await ask('/healthz')).status === 200 &&
        Number(await look.hget('mr:{0}:counters', 'done:gated:test.event')) === 2,
    );
  },
);

/** Fails on the text `bad`. On the text `wait`, it runs until the file `go` is there. */
const KEEPER = `import { defineFunction } from 'millrace/define';
import { appendFileSync, existsSync } from 'node:fs';
export default defineFunction({ name: 'keeper', on: ['note.added'], retry: { attempts: 2, minDelayMs: 1, maxDelayMs: 1 },
  async handle(event) {
    if (event.data.text === 'bad') throw new Error('as ordered');
    if (event.data.text !== 'wait') return;
    appendFileSync('running.txt', event.id + '\\n');
    while (!existsSync('go')) await new Promise((resolve) => setTimeout(resolve, 5));
  } });
`;

/** Starts the service as a process, with an admin server that asks for a token. */
async function startKeeper(t: Test) {
  const redis = await startRedis(t);
  const socket = await openNotifySocket(t);
  const manager = socket ? { NOTIFY_SOCKET: socket.path, WATCHDOG_USEC: '900000' } : {};
  const look = redis.client();
  const p = createProject(t, redis.url, {
    'proto/notes.proto': NOTES_PROTO,
    'workers/keeper.ts': KEEPER,
  });
  const running = p.start(['start'], {
    MILLRACE_PORT: '0',
    MILLRACE_TOKEN: 's3cret',
    ...manager,
  });
  const [, url = ''] = await running.seen('stderr', /, admin (http:\S+)$/m);
  const ask = async (
    path: string,
    headers: Record<string, string> = {},
  ): Promise<{ status: number; text: string; type: string | null }> => {
    const response = await fetch(`${url}${path}`, { headers });
    return {
      status: response.status,
      text: await response.text(),
      type: response.headers.get('content-type'),
    };
  };
  const publish = (...texts: string[]) =>
    p.run(['publish', 'note.added', '--file', '-'], {
      stdin: texts
        .map((text, i) => JSON.stringify({ data: { book: `${text}${i}`, number: i, text } }))
        .join('\n'),
    });
  return { look, p, running, ask, publish, socket };
}

t.test(
  'millrace start: open probes and metrics, /api with the token; not ready while it drains',
  async (t) => {
    const { look, p, running, ask, publish, socket } = await startKeeper(t);
    const token = { authorization: 'Bearer s3cret' };
    await t.test('probes and metrics are open', async (t) => {
      t.match(await ask('/readyz'), { status: 200, text: /"ready"/ });
      const first = await ask('/metrics');
      t.match(await ask('/livez'), { status: 200, text: /"ok"/ });
      t.match(first, { status: 200, type: /^text\/plain; version=0\.0\.4/ });
      t.match(
        first.text,
        /^millrace_events_total\{function="keeper",outcome="done"\} 0$/m,
        'told of before its first outcome',
      );
    });

    await t.test('metrics count the outcomes, and tell the states', async (t) => {
      t.equal((await publish('a', 'a', 'a', 'bad')).status, 0);
      await untilTold(
        countersOf(look),
        'settled',
        async () =>
          (await counter(look, 'done:keeper:note.added')) === 3 &&
          (await counter(look, 'dead:keeper:note.added')) === 1,
      );
      const told = await until('the metrics say so', async () => {
        const { text } = await ask('/metrics');
        return /millrace_dead_events\{function="keeper"\} 1$/m.test(text) ? text : null;
      });
      for (const line of [
        'millrace_events_total{function="keeper",outcome="done"} 3',
        'millrace_events_total{function="keeper",outcome="retry"} 1',
        'millrace_events_total{function="keeper",outcome="dead"} 1',
        'millrace_lag_events{function="keeper"} 0',
        'millrace_parked_events{function="keeper"} 0',
        'millrace_oldest_event_seconds{function="keeper"} 0',
        'millrace_conserved{function="keeper"} 1',
        'millrace_lanes 4',
        'millrace_thread_deaths_total 0',
        'millrace_lease_losses_total 0',
        'millrace_queued_batches 0',
        'millrace_stalled_lanes 0',
        'millrace_redis_up 1',
        'millrace_outbox_flushes 0',
        'millrace_outbox_bytes 0',
        'millrace_outbox_oldest_seconds 0',
      ])
        t.ok(told.split('\n').includes(line), line);
      t.match(told, /^millrace_turn_seconds_count\{function="keeper"\} [1-9]/m);
      t.match(told, /^process_cpu_seconds_total /m);
    });

    await t.test('systemd hears that it is ready and alive', async (t) => {
      if (socket === null) return void t.comment('no python3 or systemd-notify here');
      await socket.until('fed', (all) => all.some((one) => /^WATCHDOG=1\nSTATUS=ready/.test(one)));
      t.equal(socket.messages[0], 'READY=1');
    });

    await t.test('/api needs the token', async (t) => {
      for (const path of ['/api/lag', '/api/health'])
        t.match(await ask(path), { status: 401 }, `${path} without the token`);
      t.match(JSON.parse((await ask('/api/lag', token)).text), {
        functions: [{ name: 'keeper', appended: 4, done: 3, dead: 1, conserved: true }],
      });
      t.match(JSON.parse((await ask('/api/health', token)).text), {
        status: 'ok',
        started: true,
        lanes: 4,
        problems: [],
        threadDeaths: 0,
        functions: [{ name: 'keeper', on: ['note.added'] }],
      });
    });

    await t.test('while it drains it is not ready, but well', async (t) => {
      t.equal((await publish('wait')).status, 0);
      await until('it runs', () => existsSync(join(p.dir, 'running.txt')));
      running.child.kill('SIGTERM');
      await running.seen('stdout', /"draining"/);
      t.match(await ask('/readyz'), { status: 503, text: /not ready/ }, 'it takes nothing more');
      t.match(await ask('/healthz'), { status: 200 }, 'and is well');
      p.write('go', '');
      t.match(await running.ended, { status: 0 });
      if (socket) t.ok(socket.messages.some((one) => one.startsWith('STOPPING=1\n')));
      t.equal(await counter(look, 'done:keeper:note.added'), 4);
    });
  },
);

t.test('without Redis: not ready, and metrics all the same', async (t) => {
  const redis = await startRedis(t);
  const p = createProject(t, redis.url, {
    'proto/notes.proto': NOTES_PROTO,
    'workers/keeper.ts': `import { defineFunction } from 'millrace/define';
export default defineFunction({ name: 'keeper', on: ['note.added'], handle() {} });\n`,
  });
  const running = p.start(['start'], { MILLRACE_PORT: '0' });
  const [, url = ''] = await running.seen('stderr', /, admin (http:\S+)$/m);
  await redis.kill();
  await until('not ready', async () => is((await fetch(`${url}/readyz`)).status, 503));
  const text = await (await fetch(`${url}/metrics`)).text();
  t.match(text, /^millrace_redis_up 0$/m);
  t.notMatch(text, /^millrace_(lag_events\{|outbox_)/m, 'nothing is told of what is not known');
  t.match(text, /^millrace_events_total\{function="keeper",outcome="done"\} 0$/m);
  running.child.kill('SIGKILL');
});
