/** Audit log and loss ledger are read on from a place: nothing twice, nothing left out. */
import t from 'tap';
import { makeAudited } from '../../src/audit/make-audited.ts';
import { readAuditAfter } from '../../src/audit/read-audit.ts';
import { noteLoss, readLosses, readLossesAfter } from '../../src/lag/losses.ts';
import { makeBed, type Bed } from '../pipeline/bare-lane.ts';

function change(bed: Bed, target: string, failure?: Error): Promise<unknown> {
  return makeAudited(
    bed,
    { who: 'anna', via: 'cli' },
    {
      action: 'rewind',
      target,
      make: () => (failure ? Promise.reject(failure) : Promise.resolve()),
    },
  );
}

t.test('the audit log', async (t) => {
  const bed = await makeBed(t);
  t.strictSame(await readAuditAfter(bed, null, 10), { changes: [], last: '0-0' });
  await change(bed, 'before');
  const { changes, last } = await readAuditAfter(bed, null, 10);
  t.strictSame(changes, [], 'only the place is wanted');
  t.strictSame(await readAuditAfter(bed, last, 10), { changes: [], last });
  await change(bed, 'one');
  await t.rejects(change(bed, 'two', new Error('no')));
  await change(bed, 'three');
  const all = await readAuditAfter(bed, last, 10);
  t.match(all.changes, [
    { target: 'one', outcome: 'done' },
    { target: 'two', outcome: 'failed', error: 'no' },
    { target: 'three', outcome: 'done' },
  ]);
  t.ok(all.changes.every(({ entryId, atMs }) => entryId.startsWith(`${atMs}-`)));
  const first = await readAuditAfter(bed, last, 3);
  t.match(first.changes, [
    { target: 'one', outcome: 'done' },
    { target: 'two', outcome: 'open' },
  ]);
  const second = await readAuditAfter(bed, first.last, 3);
  t.match(second.changes, [{ target: 'three', outcome: 'done' }]);
  t.equal(first.changes.length + second.changes.length, 3, 'an end makes no second change');
  t.equal(second.last, all.last);
});

t.test('the loss ledger', async (t) => {
  const bed = await makeBed(t, 3);
  const lose = (partition: number, message: string): Promise<boolean> =>
    noteLoss(bed.connection, bed.keys, partition, {
      kind: 'entries',
      from: '',
      to: '',
      count: 1,
      message,
    });
  const texts = (losses: readonly { readonly message: string }[]): string[] =>
    losses.map(({ message }) => message);
  await lose(0, 'before');
  const place = await readLossesAfter(bed, [], 10);
  t.strictSame(place.losses, []);
  t.match(place.last, [/^[1-9]\d*-\d+$/, '0-0', '0-0']);
  await lose(0, 'one');
  await lose(2, 'two');
  await lose(0, 'three');
  const all = await readLossesAfter(bed, place.last, 10);
  t.strictSame(texts(all.losses).sort(), ['one', 'three', 'two']);
  t.strictSame(
    [...all.losses].sort((a, b) => (a.message < b.message ? -1 : 1)),
    (await readLosses(bed))
      .filter(({ message }) => message !== 'before')
      .sort((a, b) => (a.message < b.message ? -1 : 1)),
    'as the whole ledger has them',
  );
  const first = await readLossesAfter(bed, place.last, 1);
  const second = await readLossesAfter(bed, first.last, 1);
  t.strictSame(texts([...first.losses, ...second.losses]).sort(), ['one', 'three', 'two']);
  t.strictSame(await readLossesAfter(bed, second.last, 1), { losses: [], last: second.last });
  t.strictSame(second.last, all.last);
});
