import t from 'tap';
import {
  DeadLetterIdError,
  listDeadLetters,
  type DeadLetter,
} from '../../../src/pipeline/dead/dead-letters.ts';
import { readLetterPage } from '../../../src/pipeline/dead/letter-page.ts';
import { purgeDeadLetters } from '../../../src/pipeline/dead/purge.ts';
import { compareEntryIds } from '../../../src/core/position.ts';
import { events, makeBed, publish, specOf, startLane, type Bed } from '../bare-lane.ts';

async function everything(bed: Bed): Promise<DeadLetter[]> {
  const out: DeadLetter[] = [];
  for await (const letter of listDeadLetters(bed)) out.push(letter);
  return out;
}

t.test('pages over all places, the newest letter first', async (t) => {
  const bed = await makeBed(t, 3);
  for (let partition = 0; partition < 3; partition++) {
    const lanes = [
      await startLane(bed, specOf('f', ['a.b']), partition),
      await startLane(bed, specOf('g', ['a.b', 'a.c']), partition),
    ];
    await publish(bed, partition, { 'a.b': events(15), 'a.c': events(4) });
    for (const lane of lanes) await lane.drain(() => 'dead');
  }
  // Letters of other places with the same id.
  for (const [fn, partition] of [
    ['f', 0],
    ['f', 2],
    ['g', 1],
  ] as const)
    await bed.connection.command(
      'XADD',
      bed.keys.dead(partition, fn),
      '9999999999999-0',
      'type',
      'a.b',
    );
  const all = await everything(bed);
  t.equal(all.length, 3 * (15 + 19) + 3);
  for (const limit of [1, 7, 50, 1000]) {
    const seen: DeadLetter[] = [];
    let before: string | undefined;
    for (;;) {
      const page = await readLetterPage(bed, {}, { limit, ...(before ? { before } : {}) });
      t.ok(page.letters.length <= limit);
      seen.push(...page.letters);
      if (page.next === null) break;
      before = page.next;
    }
    t.equal(seen.length, all.length, `pages of ${limit}: each letter`);
    t.equal(new Set(seen.map(({ id }) => id)).size, all.length, 'once');
    t.ok(
      seen.every(
        (one, i) =>
          i === 0 || compareEntryIds((seen[i - 1] as DeadLetter).letterId, one.letterId) >= 0,
      ),
      'in order',
    );
  }
});

t.test('a filter, and the bound of letters looked at', async (t) => {
  const bed = await makeBed(t, 1);
  const lane = await startLane(bed, specOf('f', ['a.b', 'a.c']), 0);
  await publish(bed, 0, { 'a.c': events(3) });
  await lane.drain(() => 'dead');
  await publish(bed, 0, { 'a.b': events(40) });
  await lane.drain(() => 'dead');
  const first = await readLetterPage(bed, { type: 'a.c' }, { look: 25 });
  t.match(first, { letters: [], looked: 25, next: /^f\/0\// });
  const second = await readLetterPage(
    bed,
    { type: 'a.c' },
    { look: 25, before: first.next as string },
  );
  t.match(second, { looked: 18, next: null });
  t.equal(second.letters.length, 3);
  const [letter] = second.letters as [DeadLetter];
  const grouped = await readLetterPage(bed, { group: letter.fingerprint });
  t.equal(grouped.letters.length, 3);
  await purgeDeadLetters(bed, second.letters);
  t.match(await readLetterPage(bed, { type: 'a.c' }), { letters: [], looked: 40, next: null });
  await t.rejects(readLetterPage(bed, {}, { before: 'nonsense' }), DeadLetterIdError);
});
