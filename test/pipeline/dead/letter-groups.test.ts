import fc from 'fast-check';
import t from 'tap';
import {
  listDeadLetters,
  type DeadLetter,
  type DeadLetterFilter,
} from '../../../src/pipeline/dead/dead-letters.ts';
import {
  GROUPS,
  joinPlaces,
  LetterGroupError,
  readLetterGroups,
  type LetterGroup,
} from '../../../src/pipeline/dead/letter-groups.ts';
import { purgeDeadLetters } from '../../../src/pipeline/dead/purge.ts';
import { replayDeadLetter } from '../../../src/pipeline/dead/replay.ts';
import type { RedisSource } from '../../../src/redis/source.ts';
import { removeFunction } from '../../../src/upkeep/remove-function.ts';
import { events, makeBed, publish, specOf, startLane } from '../bare-lane.ts';
import { callCommit, FN, keys, openScriptLane, type ScriptLane } from '../script-lane.ts';

async function list(source: RedisSource, filter: DeadLetterFilter = {}): Promise<DeadLetter[]> {
  const out: DeadLetter[] = [];
  for await (const letter of listDeadLetters(source, filter)) out.push(letter);
  return out;
}

const sourceOf = ({ connection }: ScriptLane): RedisSource => ({ connection, keys, partitions: 1 });
const fp = (number: number): string => number.toString(16).padStart(12, '0');

let turns = 0;
/** Commits a turn with one dead retry for each fingerprint. */
async function die(lane: ScriptLane, fingerprints: readonly string[]): Promise<void> {
  const reply = await callCommit(lane, {
    turn: `1.${++turns}`,
    dead: fingerprints.map(
      (fingerprint) =>
        [
          0,
          'a',
          1,
          ['event', 'E', 'type', 'a', 'fingerprint', fingerprint],
          0,
          fingerprint,
        ] as const,
    ),
  });
  if (reply[0] !== 'ok') throw new Error(`the commit says ${String(reply[0])}`);
}

/** Letters of each group. */
async function countsOf(source: RedisSource): Promise<Record<string, number>> {
  const { groups } = await readLetterGroups(source);
  return Object.fromEntries(groups.map(({ group, letters }) => [group, letters]));
}

t.test('letters are counted by fault when they come, and when they go', async (t) => {
  const bed = await makeBed(t, 2);
  const lanes = [
    await startLane(bed, specOf('f', ['a.b', 'a.c']), 0),
    await startLane(bed, specOf('f', ['a.b', 'a.c']), 1),
    await startLane(bed, specOf('g', ['a.b']), 1),
  ];
  await publish(bed, 0, { 'a.b': events(3, 'x'), 'a.c': events(1, 'y') });
  await publish(bed, 1, { 'a.b': events(2, 'z') });
  for (const lane of lanes) await lane.drain(() => 'dead');
  const report = await readLetterGroups(bed);
  t.match(report, { letters: 8, vanished: 0, damaged: [] });
  t.match(
    report.groups.map(({ function: fn, letters, partitions, about }) => ({
      fn,
      letters,
      partitions,
      type: about?.type,
      name: about?.name,
    })),
    [
      { fn: 'f', letters: 5, partitions: [0, 1], type: 'a.b', name: 'TestError' },
      { fn: 'g', letters: 2, partitions: [1], type: 'a.b' },
      { fn: 'f', letters: 1, partitions: [0], type: 'a.c' },
    ],
  );
  const [most] = report.groups as [LetterGroup];
  t.equal(
    most.hours?.reduce((sum, count) => sum + count, 0),
    5,
  );
  t.ok(most.firstMs !== null && most.lastMs !== null && most.firstMs <= most.lastMs);
  const letters = await list(bed);
  for (const letter of letters) {
    const group = report.groups.find(
      (one) => one.function === letter.function && one.about?.type === letter.type,
    );
    t.equal(letter.fingerprint, group?.group, 'the letter bears its group');
  }
  t.ok(letters.some(({ id }) => id === most.example));
  t.strictSame((await readLetterGroups(bed, { function: 'g' })).groups.length, 1);

  const ofMost = await list(bed, { group: most.group });
  t.equal(ofMost.length, 5);
  t.equal((await list(bed, { group: most.group, limit: 2 })).length, 2);
  await replayDeadLetter(bed, ofMost[0] as DeadLetter);
  await purgeDeadLetters(bed, ofMost.slice(1, 3));
  await purgeDeadLetters(bed, ofMost.slice(1, 3));
  const now = (await readLetterGroups(bed)).groups.find(({ group }) => group === most.group);
  t.equal(now?.letters, 2, 'a letter is taken off once');
  await purgeDeadLetters(bed, ofMost.slice(3));
  await purgeDeadLetters(bed, await list(bed, { function: 'f', type: 'a.c' }));
  t.equal(await bed.redis.client().exists('mr:{0}:groups:f', 'mr:{1}:groups:f'), 0);
});

t.test('a removed function leaves no groups', async (t) => {
  const lane = await openScriptLane(t);
  await die(lane, [fp(1)]);
  await lane.look.del(keys.lease(0, FN));
  await removeFunction(sourceOf(lane), FN, true);
  t.equal(await lane.look.exists(keys.groups(0, FN)), 0);
});

t.test(
  'letters of an older version are unclassified, and so are those of lost counts',
  async (t) => {
    const lane = await openScriptLane(t);
    const source = sourceOf(lane);
    await lane.look.xadd(keys.dead(0, FN), '*', 'event', 'E', 'type', 'a');
    await lane.look.xadd(keys.dead(0, FN), '*', 'fingerprint', 'no fingerprint');
    await die(lane, [fp(1)]);
    t.strictSame(await countsOf(source), { [GROUPS.unclassified]: 2, [fp(1)]: 1 });
    t.equal((await list(source, { group: GROUPS.unclassified })).length, 2);
    t.equal((await list(source, { group: fp(1) })).length, 1);
    t.equal((await list(source, { group: fp(2) })).length, 0);
    await t.rejects(list(source, { group: 'mine' }), LetterGroupError);
    await lane.look.del(keys.groups(0, FN));
    t.strictSame(await countsOf(source), { [GROUPS.unclassified]: 3 });
    t.equal((await list(source, { group: GROUPS.unclassified })).length, 3);
    t.equal((await list(source, { group: fp(1) })).length, 1);
    t.equal(await purgeDeadLetters(source, await list(source)), 3);
    t.strictSame(await countsOf(source), {});
  },
);

t.test('letters that another program deletes are said to have vanished', async (t) => {
  const lane = await openScriptLane(t);
  await die(lane, [fp(1), fp(1)]);
  await lane.look.xtrim(keys.dead(0, FN), 'MAXLEN', 1);
  const source = sourceOf(lane);
  t.match(await readLetterGroups(source), { letters: 1, vanished: 1 });
  await purgeDeadLetters(source, await list(source));
  t.match(
    await readLetterGroups(source),
    { letters: 0, vanished: 0 },
    'the counts are right again',
  );
});

t.test('a foreign key or text in the place of the groups stops nothing', async (t) => {
  const lane = await openScriptLane(t);
  const source = sourceOf(lane);
  await lane.look.set(keys.groups(0, FN), 'no hash');
  await die(lane, [fp(1)]);
  t.match(await readLetterGroups(source), {
    letters: 1,
    damaged: [keys.groups(0, FN)],
    groups: [{ group: GROUPS.unclassified, letters: 1 }],
  });
  t.equal((await list(source, { group: fp(1) })).length, 1);
  t.equal(await purgeDeadLetters(source, await list(source)), 1);
  await lane.look.del(keys.groups(0, FN));
  const texts = [
    '',
    'no json',
    '7',
    '[]',
    '{"n":"x"}',
    '{"n":1,"hours":{}}',
    '{"n":-1,"hours":[]}',
  ];
  for (const [i, text] of texts.entries()) await lane.look.hset(keys.groups(0, FN), fp(i), text);
  await die(
    lane,
    texts.map((_, i) => fp(i)),
  );
  t.strictSame(
    await countsOf(source),
    Object.fromEntries(texts.map((_, i) => [fp(i), 1])),
    'each is counted anew',
  );
});

t.test('groups beyond the bound count together', async (t) => {
  const lane = await openScriptLane(t);
  const source = sourceOf(lane);
  await die(
    lane,
    Array.from({ length: 130 }, (_, i) => fp(i)),
  );
  t.equal(await lane.look.hlen(keys.groups(0, FN)), 101);
  const counts = await countsOf(source);
  t.equal(counts[GROUPS.other], 30);
  const others = await list(source, { group: GROUPS.other });
  t.equal(others.length, 30);
  const [one] = others as [DeadLetter];
  t.strictSame(
    (await list(source, { group: one.fingerprint })).map(({ id }) => id),
    [one.id],
  );
  t.equal(await purgeDeadLetters(source, [one]), 1);
  t.equal((await countsOf(source))[GROUPS.other], 29);
  t.equal(await purgeDeadLetters(source, await list(source)), 129);
  t.strictSame(await countsOf(source), {});
});

t.test('the counts are right under full memory', async (t) => {
  const bed = await makeBed(t, 1);
  const lane = await startLane(bed, specOf('f', ['a.b']), 0);
  await publish(bed, 0, { 'a.b': events(2, 'x') });
  const client = bed.redis.client();
  const plan = await lane.turn(() => 'dead');
  await client.config('SET', 'maxmemory', '1');
  t.equal(await lane.send(plan), 'ok');
  t.match((await readLetterGroups(bed)).groups, [{ letters: 2 }]);
  const [first, second] = (await list(bed)) as [DeadLetter, DeadLetter];
  t.equal(await replayDeadLetter(bed, first), 'replayed');
  t.match((await readLetterGroups(bed)).groups, [{ letters: 1 }]);
  t.equal(await purgeDeadLetters(bed, [second]), 1);
  t.strictSame((await readLetterGroups(bed)).groups, []);
});

t.test('the counts are those of the letters, after any order of changes', async (t) => {
  const lane = await openScriptLane(t);
  const source = sourceOf(lane);
  const step = fc.oneof(
    fc.record({
      kind: fc.constant('die' as const),
      fingerprints: fc.array(fc.nat(120).map(fp), { minLength: 1, maxLength: 60 }),
    }),
    fc.record({ kind: fc.constant('purge' as const), share: fc.nat(100) }),
    fc.record({ kind: fc.constant('replay' as const), share: fc.nat(20) }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 12 }), async (steps) => {
      for (const one of steps) {
        if (one.kind === 'die') {
          await die(lane, one.fingerprints);
          continue;
        }
        const there = await list(source);
        const gone = there.slice(0, Math.floor((there.length * one.share) / 100));
        if (one.kind === 'purge' && gone.length > 0) await purgeDeadLetters(source, gone);
        if (one.kind === 'replay')
          for (const letter of gone)
            await replayDeadLetter(source, { ...letter, bytes: Buffer.from([0x0a, 0x01, 0x65]) });
        const letters = await list(source);
        const report = await readLetterGroups(source);
        t.equal(report.letters, letters.length);
        t.equal(report.vanished, 0);
        t.notOk(report.groups.some(({ group }) => group === GROUPS.unclassified));
        const byGroup = new Map<string, number>();
        for (const { fingerprint } of letters)
          byGroup.set(fingerprint, (byGroup.get(fingerprint) ?? 0) + 1);
        for (const { group, letters: counted } of report.groups)
          if (group !== GROUPS.other) t.ok(counted <= (byGroup.get(group) ?? 0), group);
      }
      await purgeDeadLetters(source, await list(source));
      t.strictSame(await countsOf(source), {});
    }),
    { numRuns: 20 },
  );
});

t.test('a trend is read by the hours that have passed since', (t) => {
  const hour = 500_000;
  const stored = {
    n: 6,
    first: 1,
    last: 2,
    letter: '1-1',
    hour,
    hours: [3, 2, ...new Array<number>(21).fill(0), 1],
    about: null,
  };
  const hoursAt = (later: number): readonly number[] | null | undefined =>
    joinPlaces(
      [
        {
          fn: 'f',
          partition: 0,
          letters: 6,
          groups: new Map([[fp(1), stored]]),
          damaged: [],
        },
      ],
      (hour + later) * 3_600_000,
    ).groups[0]?.hours;
  t.strictSame(hoursAt(0), [1, ...new Array<number>(21).fill(0), 2, 3]);
  t.strictSame(hoursAt(1), [...new Array<number>(21).fill(0), 2, 3, 0]);
  t.strictSame(hoursAt(22), [2, 3, ...new Array<number>(22).fill(0)]);
  t.strictSame(hoursAt(24), new Array<number>(24).fill(0));
  t.strictSame(hoursAt(-1), [0, 1, ...new Array<number>(21).fill(0), 2], 'the clock went back');
  t.end();
});
