/**
 * Tests when events start and when no more do: turns with a time limit, drains, lost leases, clocks
 * that went on. Events that are done are committed.
 */
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { settled, totals } from '../../scripts/lab/counters.ts';
import { openService, startDispatcher, testDir } from '../../scripts/lab/dispatcher-process.ts';
import { completions, disorder, readHistory, runsOf } from '../../scripts/lab/history.ts';
import { startRedis } from '../../scripts/lab/redis-server.ts';
import { until, untilTold, writesTo, atLeast } from '../../scripts/lab/until.ts';

const EVENTS = 24;

/** One partition whose first turn takes all events: `subjects` in turn, each event 150 ms. */
async function laneOfSlowEvents(t: Test, subjects: number) {
  const redis = await startRedis(t);
  const look = redis.client();
  const history = join(testDir(t), 'history');
  const publisher = (await openService(t, redis.url, 1)).publisher({ flushEvents: 8 });
  await publisher.publishMany(
    Array.from({ length: EVENTS }, (_, i) => ({
      type: 'test.event',
      id: `e${i}`,
      data: {
        key: `subject-${i % subjects}`,
        number: Math.floor(i / subjects),
        order: 'slow:150',
        filler: new Uint8Array(0),
      },
    })),
  );
  const start = (environment: Record<string, string> = {}) =>
    startDispatcher(t, {
      url: redis.url,
      functions: 'handle',
      history,
      environment: { WORKERS: '1', MILLRACE_LEASE_MS: '500', ...environment },
    });
  const lines = (what: 'start' | 'end'): number =>
    readHistory(history).filter((line) => line.what === what).length;
  const ended = (count: number) =>
    until(`${count} handlers have ended`, () => atLeast(lines('end'), count), 30_000);
  const done = async (): Promise<number> => (await totals(look, 'handle', 1)).done;
  /**
   * Checks that all published events are done in the end, in order.
   * @returns number of handlers' successes
   */
  const finish = async (t: Test): Promise<number> => {
    const last = await start();
    t.match(await settled(look, 'handle', 1, EVENTS), {
      appended: EVENTS,
      done: EVENTS,
      dead: 0,
      retried: 0,
    });
    t.equal(await last.terminate(), 0);
    const runs = runsOf(readHistory(history));
    t.equal(completions(runs).size, EVENTS);
    t.strictSame(disorder(runs), []);
    return [...completions(runs).values()].reduce((sum, times) => sum + times, 0);
  };
  return { redis, look, history, start, lines, ended, done, finish };
}

for (const subjects of [1, 2]) {
  t.test(
    `a dispatcher that is killed again and again in the middle of a long turn of ${subjects} subjects gets on`,
    async (t) => {
      const lane = await laneOfSlowEvents(t, subjects);
      let before = 0;
      for (let kill = 0; kill < 3 - subjects; kill++) {
        const dispatcher = await lane.start();
        // The second turn is under way.
        await lane.ended(lane.lines('end') + 9 * subjects);
        await dispatcher.kill();
        const done = await lane.done();
        t.ok(done > before, `${done} are done, ${before} were`);
        before = done;
      }
      t.ok((await lane.finish(t)) < EVENTS + 2 * 10 * subjects, 'little of it ran again');
    },
  );

  t.test(
    `SIGTERM with a backlog of ${subjects} subjects: nothing more starts, what was done is committed and does not run again`,
    async (t) => {
      const lane = await laneOfSlowEvents(t, subjects);
      const dispatcher = await lane.start();
      await lane.ended(3);
      t.equal(await dispatcher.terminate(), 0);
      const ran = lane.lines('end');
      t.ok(ran < EVENTS, `${EVENTS - ran} were not started`);
      t.equal(lane.lines('start'), ran);
      t.equal(await lane.done(), ran);
      t.equal(await lane.look.exists('mr:{0}:lease:handle'), 0);
      t.equal(await lane.finish(t), EVENTS, 'nothing ran twice');
    },
  );
}

t.test(
  'a drain that is over: what runs is cut off, what was done in its turn is committed',
  async (t) => {
    const lane = await laneOfSlowEvents(t, 2);
    const publisher = (await openService(t, lane.redis.url, 1)).publisher();
    await lane.finish(t);
    await publisher.publishMany(
      Array.from({ length: 10 }, (_, i) => ({
        type: 'test.event',
        id: `late-${i}`,
        data: {
          key: `late-${i}`,
          number: 0,
          order: i < 5 ? 'ok' : 'slow:1300',
          filler: new Uint8Array(0),
        },
      })),
    );
    const hasty = await lane.start({ MILLRACE_DRAIN_MS: '0' });
    await lane.ended(EVENTS + 5);
    await hasty.terminate();
    t.match(await totals(lane.look, 'handle', 1), { done: EVENTS + 5, retried: 0 });
    const next = await lane.start();
    t.match(await settled(lane.look, 'handle', 1, EVENTS + 10), {
      done: EVENTS + 10,
      dead: 0,
      retried: 0,
    });
    t.equal(await next.terminate(), 0);
  },
);

t.test('a lane that was taken away starts nothing more', async (t) => {
  const lane = await laneOfSlowEvents(t, 1);
  const dispatcher = await lane.start();
  await lane.ended(2);
  await lane.look.set('mr:{0}:lease:handle', 'somebody:99', 'PX', 3000);
  await dispatcher.logged(/lease lost: the running turn/);
  const started = lane.lines('start');
  await untilTold(
    writesTo(lane.look),
    'the other one is gone',
    async () => (await lane.look.get('mr:{0}:lease:handle')) !== 'somebody:99',
  );
  t.ok(lane.lines('start') <= started + 1, 'at most the one that was about to');
  await dispatcher.terminate();
  await lane.finish(t);
});

t.test(
  'a process that stood still beyond its lease starts nothing before it has asked whose the lane is',
  async (t) => {
    const lane = await laneOfSlowEvents(t, 1);
    const dispatcher = await lane.start();
    await lane.ended(2);
    dispatcher.freeze();
    await lane.look.set('mr:{0}:lease:handle', 'somebody:99', 'PX', 5000);
    await delay(600);
    const started = lane.lines('start');
    dispatcher.thaw();
    await dispatcher.logged(/lease lost: the running turn/);
    t.equal(lane.lines('start'), started);
    await dispatcher.kill();
    await lane.finish(t);
  },
);

t.test(
  'while Redis says nothing for longer than a lease, nothing starts; then it goes on',
  async (t) => {
    const lane = await laneOfSlowEvents(t, 1);
    const dispatcher = await lane.start();
    await lane.ended(2);
    lane.redis.pause();
    await delay(700);
    const started = lane.lines('start');
    await delay(800);
    t.equal(lane.lines('start'), started);
    lane.redis.resume();
    t.match(await settled(lane.look, 'handle', 1, EVENTS), { done: EVENTS, dead: 0, retried: 0 });
    t.equal(await dispatcher.terminate(), 0);
    t.strictSame(disorder(runsOf(readHistory(lane.history))), []);
  },
);
