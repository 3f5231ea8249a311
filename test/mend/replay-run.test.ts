import { setImmediate as nextTurn } from 'node:timers/promises';
import t from 'tap';
import { ReplayRun } from '../../src/mend/replay-run.ts';
import { readReplayRun, ReplayRunError, type ReplayPace } from '../../src/mend/replay-state.ts';
import type { FunctionSpec } from '../../src/core/function-spec.ts';
import type { TestLike } from '../../scripts/lab/redis-server.ts';
import { until } from '../../scripts/lab/until.ts';
import {
  events,
  makeBed,
  publish,
  specOf,
  startLane,
  type Bed,
  type Choose,
} from '../pipeline/bare-lane.ts';

const FREE: ReplayPace = { canary: null, rate: null, stopAt: null };
const never = new AbortController().signal;

interface Mill {
  readonly bed: Bed;
  /** Letters that are there. */
  left(): Promise<number>;
  /** Publishes events of 5 subjects, which all die. */
  die(count: number): Promise<void>;
  /** Works in the background until the test ends, or until the returned function is called. */
  work(choose: Choose): () => Promise<void>;
}

async function openMill(t: TestLike, more: Partial<FunctionSpec> = {}): Promise<Mill> {
  const bed = await makeBed(t, 1);
  const lane = await startLane(bed, specOf('f', ['a.b'], more), 0);
  const client = bed.redis.client();
  return {
    bed,
    left: () => client.xlen('mr:{0}:dead:f'),
    async die(count) {
      await publish(bed, 0, { 'a.b': events(count) });
      await lane.drain(() => 'dead');
    },
    work(choose) {
      let on = true;
      const working = (async () => {
        while (on) if ((await lane.work(choose)) === 'idle') await nextTurn();
      })();
      const stop = async (): Promise<void> => {
        on = false;
        await working;
      };
      t.teardown(stop);
      return stop;
    },
  };
}

t.test('the others follow once the canary is done', async (t) => {
  const mill = await openMill(t);
  await mill.die(30);
  const run = await ReplayRun.begin(mill.bed, {}, { ...FREE, canary: 5 });
  const ended = run.proceed({ signal: never });
  await until('the canary is out', async () => (await mill.left()) === 25);
  t.equal(run.state.canaryPassed, false);
  mill.work(() => 'done');
  t.equal(await ended, 'finished');
  t.match(run.state, {
    replayed: 30,
    gone: 0,
    canaryPassed: true,
    outcomes: { done: 5, dead: 0, retrying: 0, open: 0 },
    end: 'finished',
  });
  t.equal(await mill.left(), 0);
});

t.test('a canary that dies stops the replay, which goes on once the fault is mended', async (t) => {
  const mill = await openMill(t);
  await mill.die(30);
  const stop = mill.work(() => 'dead');
  const run = await ReplayRun.begin(mill.bed, { function: 'f' }, { ...FREE, canary: 5 });
  t.equal(await run.proceed({ signal: never }), 'canary-failed');
  t.match(run.state, { replayed: 5, outcomes: { done: 0, dead: 5 }, canaryPassed: false });
  t.equal(await mill.left(), 30, 'those five are dead again');
  await stop();
  mill.work(() => 'done');
  const again = await ReplayRun.resume(mill.bed, run.state.id);
  t.equal(await again.proceed({ signal: never }), 'finished');
  t.match(again.state, { replayed: 30, outcomes: { done: 5, dead: 5 }, canaryPassed: true });
  t.equal(await mill.left(), 5, 'letters of this replay are not replayed again');
});

t.test('an event that is parked again has failed, too', async (t) => {
  const mill = await openMill(t, {
    retry: { attempts: 5, minDelayMs: 60_000, maxDelayMs: 60_000, factor: 1, jitter: false },
  });
  await mill.die(1);
  mill.work(() => 'retry');
  const run = await ReplayRun.begin(mill.bed, {}, { ...FREE, canary: 1 });
  t.equal(await run.proceed({ signal: never }), 'canary-failed');
  t.match(run.state.outcomes, { done: 0, dead: 0, retrying: 1, open: 0 });
});

t.test('a canary that nobody runs is undecided', async (t) => {
  const mill = await openMill(t);
  await mill.die(3);
  const run = await ReplayRun.begin(mill.bed, {}, { ...FREE, canary: 2 });
  t.equal(await run.proceed({ signal: never, outcomesMs: 300 }), 'undecided');
  t.match(run.state, { replayed: 2, outcomes: { open: 2 } });
  t.equal(await mill.left(), 1);
});

t.test('a share of failures beyond the bound stops the replay', async (t) => {
  const mill = await openMill(t);
  await mill.die(300);
  let run = 0;
  mill.work(() => (run++ % 3 === 0 ? 'dead' : 'done'));
  const pace = { canary: null, rate: 100, stopAt: 0.2 };
  const one = await ReplayRun.begin(mill.bed, {}, pace);
  t.equal(await one.proceed({ signal: never }), 'failure-rate');
  const { replayed, outcomes } = one.state;
  t.ok(replayed < 300, `${replayed} were replayed`);
  t.ok(outcomes.dead / (outcomes.dead + outcomes.done) > 0.2);
  const more = await ReplayRun.begin(mill.bed, {}, { ...FREE, stopAt: 0.5 });
  t.equal(await more.proceed({ signal: never }), 'finished', 'within another bound');
  const known = more.state.outcomes;
  t.equal(known.done + known.dead, more.state.replayed, 'each outcome is known in the end');
});

t.test('an interrupted replay goes on behind its last letter', async (t) => {
  const mill = await openMill(t);
  await mill.die(40);
  const abort = new AbortController();
  const run = await ReplayRun.begin(mill.bed, { limit: 35 }, { ...FREE, rate: 50 });
  const ended = run.proceed({ signal: abort.signal });
  await until('some are replayed', async () => (await mill.left()) <= 35);
  abort.abort();
  t.equal(await ended, 'interrupted');
  t.ok(run.saved);
  const { id, after, replayed } = run.state;
  t.match(await readReplayRun(mill.bed, id), { id, after, replayed, end: 'interrupted' });
  const key = mill.bed.keys.replayRun(id);
  t.ok((await mill.bed.redis.client().pttl(key)) > 0, 'it is forgotten in time');
  const again = await ReplayRun.resume(mill.bed, id, { rate: null });
  t.equal(await again.proceed({ signal: never }), 'finished');
  t.equal(again.state.replayed, 35);
  t.equal(await mill.left(), 5, 'the limit holds for both');
});

t.test('letters that come later stay', async (t) => {
  const mill = await openMill(t);
  await mill.die(4);
  const run = await ReplayRun.begin(mill.bed, {}, FREE);
  await mill.die(3);
  t.equal(await run.proceed({ signal: never }), 'finished');
  t.equal(run.state.replayed, 4);
  t.equal(await mill.left(), 3);
});

t.test('without writes the progress is not kept, and the letters move all the same', async (t) => {
  const mill = await openMill(t);
  await mill.die(2);
  await mill.bed.redis.client().config('SET', 'maxmemory', '1');
  const run = await ReplayRun.begin(mill.bed, {}, FREE);
  t.equal(await run.proceed({ signal: never }), 'finished');
  t.notOk(run.saved);
  t.equal(await mill.left(), 0);
});

t.test('an unknown replay is refused', async (t) => {
  const { bed } = await openMill(t);
  for (const id of ['', 'x', '0123456789ab', '../etc'])
    await t.rejects(ReplayRun.resume(bed, id), ReplayRunError);
  await bed.redis.client().set(bed.keys.replayRun('0123456789ab'), 'no json');
  await t.rejects(ReplayRun.resume(bed, '0123456789ab'), ReplayRunError);
});
