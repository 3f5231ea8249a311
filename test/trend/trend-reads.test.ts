/** The trend as people get it: /api/trend, /api/marks and millrace trend. */
import t from 'tap';
import { startAdminServer } from '../../src/admin/server.ts';
import { trendRoutes } from '../../src/admin/trend-routes.ts';
import { registerTrend } from '../../src/cli/commands/trend.ts';
import type { TrendStep } from '../../src/redis/keys.ts';
import { serverTime } from '../../src/redis/server-time.ts';
import { findMarks } from '../../src/trend/find-marks.ts';
import type { Mark } from '../../src/trend/mark.ts';
import { readTrend } from '../../src/trend/read-trend.ts';
import { DEPLOYMENT_FIGURES, FUNCTION_FIGURES } from '../../src/trend/trend-figures.ts';
import type { TrendSample } from '../../src/trend/trend-sample.ts';
import { TrendStore } from '../../src/trend/trend-store.ts';
import { alignedTo, MINUTE_MS, stepMs } from '../../src/trend/trend-times.ts';
import { inProcess } from '../../scripts/lab/cli-in-process.ts';
import { PROTO_DIR } from '../../scripts/lab/dispatcher-process.ts';
import { makeBed, specOf, startLane, type Bed } from '../pipeline/bare-lane.ts';

const HOUR_MS = 60 * MINUTE_MS;

/** Samples of one step back from now, one missing: 60 events a minute, a lag of 5. */
async function fill(bed: Bed, step: TrendStep, count: number, missing: number): Promise<void> {
  const store = new TrendStore(bed, 'test');
  const every = stepMs(step, MINUTE_MS);
  const last = alignedTo(await serverTime(bed), every);
  for (let back = count - 1; back >= 0; back--) {
    if (back === missing) continue;
    const slotMs = last - back * every;
    const appended = ((count - back) * every * 60) / MINUTE_MS;
    const of = (figures: object, more: object): TrendSample => {
      const none = Object.fromEntries(Object.keys(figures).map((name) => [name, 0]));
      return { slotMs, atMs: slotMs, values: { ...none, ...more } };
    };
    await store.add(
      step,
      slotMs,
      new Map([
        [null, of(DEPLOYMENT_FIGURES, { appended, usedBytes: 1_048_576, dispatchers: 2 })],
        ['mail', of(FUNCTION_FIGURES, { appended, lag: 5, oldestMs: 1500 })],
      ]),
    );
  }
}

async function mark(bed: Bed, ...texts: readonly string[]): Promise<void> {
  const store = new TrendStore(bed, 'test');
  const nowMs = await serverTime(bed);
  const state = await store.load();
  const { known } = findMarks(null, {
    nowMs,
    lag: { functions: [{ name: 'mail', types: [] } as never] },
    appended: 0,
    dispatchers: null,
    registered: null,
    masters: null,
    changes: null,
    losses: null,
    alerts: null,
  });
  const marks = texts.map((text, i): Mark => ({
    atMs: nowMs - (texts.length - i) * HOUR_MS,
    kind: 'deploy',
    function: text.startsWith('bill') ? 'bill' : null,
    type: null,
    text,
    from: 'presence',
  }));
  t.ok(await store.save(state, { sampledMs: 0, foldedMs: 0, known }, marks));
}

t.test('/api/trend and /api/marks', async (t) => {
  const bed = await makeBed(t);
  const logged: string[] = [];
  const admin = await startAdminServer({
    host: '127.0.0.1',
    port: 0,
    token: 'secret',
    groups: [trendRoutes(bed)],
    log: (level, message) => void (level === 'error' && logged.push(message)),
  });
  t.teardown(() => admin.close());
  const get = async (path: string, token = 'secret') => {
    const response = await fetch(`${admin.url}${path}`, {
      headers: { authorization: `Bearer ${token}` },
    });
    return { status: response.status, body: (await response.json()) as Record<string, unknown> };
  };

  await t.test('an empty deployment', async (t) => {
    t.match(await get('/api/trend'), { status: 200, body: { function: null, samples: 0 } });
    t.match(await get('/api/marks'), { status: 200, body: { marks: [], isCut: false } });
    t.match(await get('/api/trend/functions'), {
      status: 200,
      body: { functions: [], others: 0 },
    });
  });

  await fill(bed, '1m', 30, 7);
  await fill(bed, '10m', 40, 9);
  await mark(bed, 'one', 'bill two');

  await t.test('figures of a function', async (t) => {
    const { body } = await get('/api/trend?function=mail&hours=3&points=181');
    t.match(body, { function: 'mail', everyMs: MINUTE_MS, stepMs: MINUTE_MS, samples: 29 });
    const { times, series } = body as {
      times: string[];
      series: Record<string, (number | null)[]>;
    };
    t.strictSame(Object.keys(series), Object.keys(FUNCTION_FIGURES));
    t.ok(times.length <= 181 && times.length >= 180);
    t.ok(times.every((time) => Date.parse(time) % MINUTE_MS === 0));
    // The minute may have changed since the samples were made.
    const lag = series['lag'] ?? [];
    const end = lag.findLastIndex((value) => value !== null);
    t.ok(end >= lag.length - 2);
    t.equal(lag[end - 7], null, 'the gap');
    t.equal(lag[end - 30], null, 'nothing before the first sample');
    t.equal(lag[end - 29], 5);
    const rates = series['appended'] ?? [];
    t.equal(rates[end], 60);
    t.equal(rates[end - 6], null, 'the growth over the gap has no minute of its own');
    t.equal(rates.filter((rate) => rate !== null).length, 27);
  });

  await t.test('figures of the deployment, over all hours', async (t) => {
    const { body } = await get('/api/trend');
    t.match(body, { function: null, everyMs: 10 * MINUTE_MS, stepMs: 20 * MINUTE_MS });
    const { times, series, samples } = body as {
      times: string[];
      series: Record<string, number[]>;
      samples: number;
    };
    t.ok(samples === 39 || samples === 40, 'the last minutes are a sample, where there are any');
    t.ok(times.length <= 217);
    t.equal(Math.max(...(series['appended'] ?? [])), 60);
    t.equal(Math.max(...(series['dispatchers'] ?? [])), 2);
  });

  await t.test('marks, newest first, with their bounds', async (t) => {
    t.match(await get('/api/marks'), {
      body: {
        marks: [
          { kind: 'deploy', function: 'bill', text: 'bill two', from: 'presence', at: /Z$/ },
          { function: null, text: 'one' },
        ],
        isCut: false,
      },
    });
    t.match(await get('/api/marks?limit=1'), { body: { marks: { length: 1 }, isCut: true } });
    t.match(await get('/api/marks?hours=1.5'), { body: { marks: [{ text: 'bill two' }] } });
    t.match(await get('/api/marks?function=mail'), {
      body: { marks: [{ text: 'one' }], isCut: false },
    });
    t.match(await get('/api/marks?kinds=loss,redis'), { body: { marks: [] } });
    t.match(await get('/api/trend/functions'), { body: { functions: ['mail'] } });
  });

  await t.test('wrong parameters, and no token', async (t) => {
    for (const path of [
      '/api/trend?hours=0',
      '/api/trend?hours=73',
      '/api/trend?hours=',
      '/api/trend?points=1',
      '/api/trend?points=many',
      '/api/marks?limit=501',
      '/api/marks?kinds=loss,nosuch',
    ])
      t.match(await get(path), { status: 400, body: { error: /must be/ } }, path);
    for (const path of ['/api/trend', '/api/trend/functions', '/api/marks'])
      t.match(await get(path, 'wrong'), { status: 401 }, path);
  });
  t.strictSame(logged, []);
});

t.test('the last minutes are in the long trend, too, before ten of them are over', async (t) => {
  const bed = await makeBed(t);
  await fill(bed, '1m', 25, -1);
  const young = await readTrend(bed, { function: 'mail', hours: 72, points: 433 });
  t.match(young, { everyMs: 10 * MINUTE_MS, stepMs: 10 * MINUTE_MS });
  t.equal(young.samples, young.series['lag']?.filter((lag) => lag === 5).length);
  t.ok(young.samples >= 3 && young.samples <= 4);
  t.ok((young.times.at(-1) as number) <= young.nowMs, 'no point is in the future');
  const rates = young.series['appended']?.filter((rate) => rate !== null) ?? [];
  t.equal(rates.length, young.samples - 1, 'the first one has no rate');
  t.ok(
    rates.every((rate) => rate === 60),
    'also that of a step that is not over',
  );
});

t.test('a read never has more points than asked for', async (t) => {
  const bed = await makeBed(t);
  await fill(bed, '1m', 20, -1);
  for (const hours of [0.1, 0.5, 1, 2.9, 3, 3.1, 24, 72, 1000])
    for (const points of [0, 2, 3, 59, 60, 433, 1e6]) {
      const { times, series } = await readTrend(bed, { function: 'mail', hours, points });
      const most = Math.min(500, Math.max(2, points));
      t.ok(times.length <= most && times.length > 0, `${hours} h: ${times.length} of ${points}`);
      t.ok(Object.values(series).every((values) => values.length === times.length));
    }
});

t.test('millrace trend', async (t) => {
  const bed = await makeBed(t, 16);
  const cli = inProcess(registerTrend, { REDIS_URL: bed.redis.url }, PROTO_DIR);
  await startLane(bed, specOf('mail', ['a.b']), 0);
  await startLane(bed, specOf('bill', ['a.b']), 0);
  t.match(await cli('trend'), {
    out: '',
    err: /there is no sample of this deployment in this time/,
    error: null,
  });
  await fill(bed, '1m', 30, 7);
  await fill(bed, '10m', 40, -1);
  await mark(bed, 'one', 'bill two');

  const all = await cli('trend');
  t.match(all, { error: null, err: '' });
  const lines = all.out.split('\n');
  t.equal(lines[0], 'all functions: a character is 80 min');
  const line = (title: string): string => lines.find((one) => one.startsWith(`${title} `)) ?? '';
  t.match(line('appended'), /^appended +[▁▂▃▄▅▆▇█ ]+ +60\/min +most 60\/min$/);
  t.match(line('usedBytes'), /1 MiB +most 1 MiB$/);
  t.match(line('marks'), /▲/);
  t.match(line('mail'), /^mail +[▁▂▃▄▅▆▇█ ]+ +5 +most 5$/, 'the lag of each function');
  t.notMatch(all.out, 'limitBytes');
  t.match(all.out, /Z {2}deploy {6}one\n[^\n]+Z {2}deploy {6}bill two\n$/);

  const mail = await cli('trend', 'mail', '--hours', '1');
  t.match(mail.out, /^mail: a character is \d+ (s|min)\n/);
  t.match(mail.out, /oldestMs .*1\.5s +most 1\.5s\n/);
  t.notMatch(mail.out, /bill two/, 'a mark of another function');

  const json = JSON.parse((await cli('trend', 'mail', '--json')).out) as Record<string, unknown>;
  t.match(json, { function: 'mail', marks: [{ text: 'one' }], marksAreCut: false });
  t.ok((json['samples'] as number) >= 40);

  t.match(await cli('trend', 'nosuch'), { error: { code: 'UNKNOWN_FUNCTION' } });
  t.match(await cli('trend', 'bill'), { error: null, err: /there is no sample of bill/ });
  for (const hours of ['0', '73', 'x'])
    t.match(await cli('trend', '--hours', hours), { error: Error }, hours);
});
