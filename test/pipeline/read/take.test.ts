/** take.lua, called directly. */
import t from 'tap';
import { add, callTake, FN, keys, openScriptLane } from '../script-lane.ts';

t.test('entries of all types, own pending ones, deleted ones, due units', async (t) => {
  const lane = await openScriptLane(t);
  const { look } = lane;
  await add(look, 'a', '1-0', 'b', 'A', 'n', '3', 'c', '9', 'o', '3');
  await add(look, 'b', '1-0', 'c', '8', 'b', 'B');
  await add(look, 'a', '2-0', 'x', 'y');
  await look.zadd(keys.due(0, FN), 1, 'u1', 2, 'u2', 9e15, 'later');
  const [kind, now, nextDue, units, a, b] = await callTake(lane, { units: 1 });
  t.equal(kind, 'ok');
  t.ok(Number(now) > 1.6e12);
  t.strictSame(
    [units, nextDue],
    [['u1'], '2'],
    'as many units as asked for, and when the next one is due',
  );
  t.strictSame(a, ['1-0', 'A', '3', '9', '2-0', '', '', '']);
  t.strictSame(b, ['1-0', 'B', '', '8']);
  t.strictSame(
    (await callTake(lane)).slice(2),
    ['9000000000000000', ['u1', 'u2'], [], []],
    'new entries are handed out once',
  );
  await look.xdel(keys.events(0, 'a'), '1-0');
  const pending = await callTake(lane, { after: ['0-0', '0-0'] });
  t.strictSame(
    pending[4],
    ['1-0', '', 'gone', '', '2-0', '', '', ''],
    'what was deleted while pending is told',
  );
  t.strictSame((await callTake(lane, { after: ['1-0', '1-0'], count: 1 })).slice(4), [
    ['2-0', '', '', ''],
    [],
  ]);
  t.strictSame((await callTake(lane, { units: 0 }))[3], []);
});

t.test('with a stale lease nothing is handed out; a lost group is told', async (t) => {
  const lane = await openScriptLane(t);
  const { look } = lane;
  await add(look, 'a', '1-0');
  for (const lease of ['', 'one', 'one:999', 'two:1'])
    t.strictSame(await callTake(lane, { lease }), ['stale'], lease);
  t.equal(((await look.xpending(keys.events(0, 'a'), FN)) as [number])[0], 0);
  await look.del(keys.lease(0, FN));
  t.strictSame(await callTake(lane), ['stale'], 'no lease at all');
  await look.set(keys.lease(0, FN), lane.lease);
  await look.xgroup('DESTROY', keys.events(0, 'b'), FN);
  t.match(await callTake(lane), ['nogroup', /NOGROUP/]);
});

t.test('a read that Redis refuses is no lost group', async (t) => {
  const lane = await openScriptLane(t);
  const { look } = lane;
  await add(look, 'a', '1-0');
  await look.acl('SETUSER', 'default', '-xreadgroup');
  await t.rejects(callTake(lane), { message: /xreadgroup|can't run this command/i });
  await look.acl('SETUSER', 'default', '+xreadgroup');
  t.match(await callTake(lane), ['ok']);
  await look.xgroup('DESTROY', keys.events(0, 'a'), FN);
  t.match(await callTake(lane), ['nogroup', /^NOGROUP/]);
});
