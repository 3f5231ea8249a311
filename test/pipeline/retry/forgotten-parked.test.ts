/**
 * Redis goes back in time, and still knows the lane's last turn: another owner had parked the event
 * that the lane has in hand. The event is settled once.
 */
import type { Redis } from 'ioredis';
import t from 'tap';
import { readLag } from '../../../src/lag/lag.ts';
import { replayDeadLetter } from '../../../src/pipeline/dead/replay.ts';
import type { FunctionSpec } from '../../../src/core/function-spec.ts';
import {
  letters,
  makeBed,
  publish,
  specOf,
  startLane,
  type BareLane,
  type Bed,
  type Choose,
} from '../bare-lane.ts';

/** @returns a function that puts all keys back, as a server does after a power loss */
async function takeSnapshot(look: Redis): Promise<() => Promise<void>> {
  const names = await look.keys('*');
  const dumps = await Promise.all(names.map((name) => look.dumpBuffer(name)));
  return async () => {
    await look.flushdb();
    for (const [i, name] of names.entries()) await look.restore(name, 0, dumps[i] as Buffer);
  };
}

interface Case {
  readonly spec: FunctionSpec;
  /** Runs the first turns. Returns the step that Redis forgets: it puts records into a list. */
  readonly prepare: (lane: BareLane, bed: Bed) => Promise<() => Promise<unknown>>;
  /** Number of dead letters before that step. */
  readonly dead: number;
}

const onlyOne =
  (choice: 'dead' | 'retry'): Choose =>
  ({ id }) =>
    id === 'one' ? choice : 'done';

async function replayAll(bed: Bed): Promise<void> {
  for (const letter of await letters(bed)) await replayDeadLetter(bed, letter);
}

const diesFirst: Case['prepare'] = async (lane, bed) => {
  await lane.work(onlyOne('dead'));
  return () => replayAll(bed);
};

const CASES: Readonly<Record<string, Case>> = {
  "an event parked by another consumer, ordering 'none'": {
    spec: specOf('f', ['a.b'], { ordering: 'none' }),
    prepare: async (lane) => {
      const parks = await lane.turn(onlyOne('retry'));
      return () => lane.send(parks);
    },
    dead: 0,
  },
  "a replayed event, ordering 'none'": {
    spec: specOf('f', ['a.b'], { ordering: 'none' }),
    prepare: diesFirst,
    dead: 1,
  },
  'a replayed event of a subject': { spec: specOf('f', ['a.b']), prepare: diesFirst, dead: 1 },
  'a replayed event, before others of a subject that its letter held': {
    spec: specOf('f', ['a.b'], { onDead: 'hold' }),
    prepare: diesFirst,
    dead: 1,
  },
  'a replayed event, behind others of its subject': {
    spec: specOf('f', ['a.b']),
    prepare: async (lane, bed) => {
      await lane.work(onlyOne('dead'));
      await publish(bed, 0, { 'a.b': [{ id: 'four', subject: 's' }] });
      await lane.work(() => 'retry');
      return () => replayAll(bed);
    },
    dead: 1,
  },
};

t.test('the turn is not written, and the lane starts over', async (t) => {
  const bed = await makeBed(t, 1);
  const look = bed.redis.client();
  for (const [name, { spec, prepare, dead }] of Object.entries(CASES)) {
    for (const choice of ['done', 'retry', 'dead'] as const) {
      const label = `${name}, ${choice}`;
      await look.flushdb();
      const lane = await startLane(bed, spec, 0);
      await publish(bed, 0, {
        'a.b': [
          { id: 'one', subject: 's' },
          { id: 'two', subject: 's' },
          { id: 'three', subject: 'o' },
        ],
      });
      const forgotten = await prepare(lane, bed);
      const goBack = await takeSnapshot(look);
      await forgotten();
      const inHand = await lane.turn(() => choice);
      await goBack();
      t.equal(await lane.send(inHand), 'back', label);
      const [before] = (await readLag(bed)).functions;
      const appended = before?.appended;
      t.match(before, { dead, conserved: true }, label);
      // The lane reads anew, from what is pending for it.
      await look.del(bed.keys.lease(0, 'f'));
      await lane.acquire();
      await lane.drain();
      await replayAll(bed);
      await lane.drain();
      t.match(
        (await readLag(bed)).functions,
        [{ appended, done: appended, dead: 0, parked: 0, conserved: true }],
        label,
      );
    }
  }
});

t.test('a turn is written where the list has only grown', async (t) => {
  const bed = await makeBed(t, 1);
  const lane = await startLane(bed, specOf('f', ['a.b']), 0);
  await publish(bed, 0, { 'a.b': [{ id: 'one', subject: 's' }] });
  await lane.work(onlyOne('dead'));
  await publish(bed, 0, { 'a.b': [{ id: 'two', subject: 's' }] });
  await lane.work(() => 'retry');
  const inHand = await lane.turn(() => 'done');
  await replayAll(bed);
  t.equal(await lane.send(inHand), 'ok');
  await lane.drain();
  t.match((await readLag(bed)).functions, [{ done: 2, dead: 0, parked: 0, conserved: true }]);
});
