import t from 'tap';
import { adoptForeign } from '../../src/lag/adopt.ts';
import { noteLoss, readLosses } from '../../src/lag/losses.ts';
import { events, foreign, makeBed, publish, specOf, startLane } from '../lag/bare-lane.ts';
import { retain } from '../../src/upkeep/retention.ts';

t.test('entries that vanished are written down with their range, once', async (t) => {
  const bed = await makeBed(t, 2);
  const ids: string[] = [];
  for (let i = 0; i < 8; i++) ids.push(await publish(bed, 1, { 'a.b': events(2) }));
  await bed.connection.command('XDEL', bed.keys.events(1, 'a.b'), ids[3] as string, ids[4] as string);
  t.match(await adoptForeign(bed.connection, bed.keys, 1, 'a.b'), { lost: 2, even: true });
  t.match(await adoptForeign(bed.connection, bed.keys, 1, 'a.b'), { lost: 0, even: true });
  t.match(await readLosses(bed), [{ kind: 'entries', partition: 1, type: 'a.b', from: ids[2], to: ids[5], count: 2 }]);

  await bed.connection.command('XTRIM', bed.keys.events(1, 'a.b'), 'MINID', ids[2] as string);
  await adoptForeign(bed.connection, bed.keys, 1, 'a.b');
  t.match((await readLosses(bed))[1], { kind: 'entries', from: '0-0', to: ids[2], count: 2 }, 'trimmed by another hand, at the front');
  await bed.connection.command('XDEL', bed.keys.events(1, 'a.b'), ids[7] as string);
  await adoptForeign(bed.connection, bed.keys, 1, 'a.b');
  t.match((await readLosses(bed))[2], { kind: 'entries', count: 1 });
});

t.test('what retention takes is no loss; a loss behind it has its range', async (t) => {
  const bed = await makeBed(t, 1);
  const lane = await startLane(bed, specOf('f', ['a.b']), 0);
  const ids: string[] = [];
  await foreign(bed, 0, 'a.b', events(3));
  for (let i = 0; i < 6; i++) ids.push(await publish(bed, 0, { 'a.b': events(1) }));
  await lane.drain();
  await retain(bed.connection, bed.keys, 0, 'a.b', { maxEvents: 4 }, 1);
  await adoptForeign(bed.connection, bed.keys, 0, 'a.b');
  t.strictSame(await readLosses(bed), []);
  await bed.connection.command('XDEL', bed.keys.events(0, 'a.b'), ids[3] as string);
  await adoptForeign(bed.connection, bed.keys, 0, 'a.b');
  t.match(await readLosses(bed), [{ kind: 'entries', count: 1 }]);
});

t.test('bounded, and out of memory it says so', async (t) => {
  const bed = await makeBed(t, 1);
  const loss = { kind: 'group', function: 'f', type: 'a.b', from: '', to: '', count: 0, message: 'm'.repeat(5000) } as const;
  for (let i = 0; i < 1300; i++) await noteLoss(bed.connection, bed.keys, 0, loss);
  const kept = await readLosses(bed);
  t.ok(kept.length >= 1000 && kept.length < 1200, `${kept.length} are kept`);
  t.equal(kept[0]?.message.length, 500);
  await bed.connection.command('CONFIG', 'SET', 'maxmemory', '1');
  t.equal(await noteLoss(bed.connection, bed.keys, 0, loss), false);
});
