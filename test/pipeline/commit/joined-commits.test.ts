/** Turns of several lanes in one commit: each fenced by its own lease, each written by itself. */
import t from 'tap';
import { PartitionCommits } from '../../../src/pipeline/commit/commit.ts';
import { dump } from '../../../scripts/lab/counters.ts';
import {
  add,
  callTake,
  commitPlan,
  keys,
  openScriptLanes,
  type CommitCall,
  type ScriptLane,
} from '../script-lane.ts';

const FUNCTIONS = ['f', 'g', 'h'];

/** Opens lanes that have read two entries. */
async function openLanes(t: Parameters<typeof openScriptLanes>[0]): Promise<ScriptLane[]> {
  const lanes = await openScriptLanes(t, FUNCTIONS);
  const { look } = lanes[0] as ScriptLane;
  for (const id of ['1-0', '2-0']) await add(look, 'a', id);
  for (const lane of lanes) await callTake(lane);
  return lanes;
}

const CALL: CommitCall = {
  turn: '1.1',
  units: ['u'],
  entries: [
    [1, '1-0', 4],
    [1, '2-0', 0],
  ],
  parked: [[1, 2, 5000, 'bytes']],
  dead: [[2, 'a', 1, ['event', 'E']]],
};

t.test('the turns of all lanes are written, and again change nothing', async (t) => {
  const lanes = await openLanes(t);
  const { connection, look } = lanes[0] as ScriptLane;
  const commits = new PartitionCommits(connection);
  const send = () => Promise.all(lanes.map((lane) => commits.send(commitPlan(lane, CALL))));
  t.match(await send(), [
    { kind: 'ok', repeated: false, missing: [] },
    { kind: 'ok', repeated: false, missing: [] },
    { kind: 'ok', repeated: false, missing: [] },
  ]);
  const counters = await look.hgetall(keys.counters(0));
  for (const fn of FUNCTIONS) {
    t.match(counters, {
      [`done:${fn}:a`]: '4',
      [`parked:${fn}:a`]: '1',
      [`dead:${fn}:a`]: '1',
      [`turn:${fn}`]: '1.1',
    });
    t.strictSame(await look.lrange(keys.parked(0, fn, 'u'), 0, -1), ['bytes']);
    t.equal(((await look.xpending(keys.events(0, 'a'), fn)) as [number])[0], 0);
  }
  const before = await dump(look);
  t.match(await send(), [{ repeated: true }, { repeated: true }, { repeated: true }]);
  t.strictSame(await dump(look), before);
});

t.test("no lane commits on a neighbour's lease", async (t) => {
  for (const stale of FUNCTIONS) {
    const lanes = await openLanes(t);
    const { connection, look } = lanes[0] as ScriptLane;
    const commits = new PartitionCommits(connection);
    const neighbour = lanes.find(({ fn }) => fn !== stale) as ScriptLane;
    const answers = await Promise.all(
      lanes.map((lane) => {
        const lease = lane.fn === stale ? neighbour.lease.replace(/\d+$/, '99') : lane.lease;
        return commits.send(commitPlan(lane, { ...CALL, lease }));
      }),
    );
    t.strictSame(
      answers.map(({ kind }) => kind),
      FUNCTIONS.map((fn) => (fn === stale ? 'stale' : 'ok')),
    );
    t.equal(((await look.xpending(keys.events(0, 'a'), stale)) as [number])[0], 2, 'still pending');
    t.equal(await look.exists(keys.parked(0, stale, 'u'), keys.dead(0, stale)), 0);
    t.notMatch(await look.hgetall(keys.counters(0)), { [`done:${stale}:a`]: /./ });
  }
});

t.test('a lane whose commit fails costs only itself', async (t) => {
  const lanes = await openLanes(t);
  const { connection, look } = lanes[0] as ScriptLane;
  const commits = new PartitionCommits(connection);
  await look.set(keys.dead(0, 'g'), 'no stream');
  const answers = await Promise.allSettled(
    lanes.map((lane) => commits.send(commitPlan(lane, CALL))),
  );
  t.match(answers, [
    { status: 'fulfilled', value: { kind: 'ok' } },
    { status: 'rejected', reason: /WRONGTYPE/ },
    { status: 'fulfilled', value: { kind: 'ok' } },
  ]);
  t.equal(((await look.xpending(keys.events(0, 'a'), 'g')) as [number])[0], 2);
  await look.del(keys.dead(0, 'g'));
  t.match(await commits.send(commitPlan(lanes[1] as ScriptLane, CALL)), {
    kind: 'ok',
    repeated: false,
    missing: [],
  });
  const others = [lanes[0], lanes[2]] as ScriptLane[];
  for (const { fn } of others)
    await look.del(keys.dead(0, fn)).then(() => look.set(keys.dead(0, fn), 'x'));
  const next = { ...CALL, turn: '1.2' };
  for (const one of others.map((lane) => commits.send(commitPlan(lane, next))))
    await t.rejects(one, /WRONGTYPE/, 'where all fail, the call fails');
});

t.test('a foreign key of one lane is set aside for this lane only', async (t) => {
  const lanes = await openLanes(t);
  const { connection, look } = lanes[0] as ScriptLane;
  const commits = new PartitionCommits(connection);
  await look.set(keys.parked(0, 'h', 'u'), 'no list');
  const aside: string[] = [];
  const answers = await Promise.all(
    lanes.map((lane) =>
      commits.send(commitPlan(lane, CALL), async (unit) => {
        aside.push(`${lane.fn} ${unit}`);
        await look.del(keys.parked(0, lane.fn, unit));
      }),
    ),
  );
  t.match(answers, [{ kind: 'ok' }, { kind: 'ok' }, { kind: 'ok' }]);
  t.strictSame(aside, ['h u']);
});
