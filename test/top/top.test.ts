/** The screen of `millrace top`: looks, keys and sizes in, lines out. */
import t from 'tap';
import { layoutOf } from '../../src/top/columns.ts';
import { shortCount, shortRate, shortTime } from '../../src/top/short-figures.ts';
import { NO_LOOK, seriesOf, withProblem, withSample, type TopModel } from '../../src/top/looks.ts';
import { render } from '../../src/top/render.ts';
import { rowLines } from '../../src/top/row-lines.ts';
import { readTop, type FunctionSample, type TopSample } from '../../src/top/sample.ts';
import { painted, textOf, widthOf } from '../../src/top/screen-line.ts';
import { sparkline } from '../../src/top/sparkline.ts';
import { FIRST_VIEW, pressed, rowsOf, type TopView } from '../../src/top/view.ts';
import {
  announcePresence,
  readDispatchers,
  removePresence,
  type Presence,
} from '../../src/pipeline/ownership/presence.ts';
import { events, makeBed, publish, specOf, startLane } from '../pipeline/bare-lane.ts';

const PLACE = { namespace: 'mr', target: 'unix:/srv/redis.sock', everyMs: 1000 };

function fn(name: string, changes: Partial<FunctionSample> = {}): FunctionSample {
  return {
    name,
    appended: 0,
    done: 0,
    dead: 0,
    lag: 0,
    pending: 0,
    parked: 0,
    oldestMs: null,
    conserved: true,
    types: [],
    owners: ['d-1', 'd-1'],
    ...changes,
  };
}

const D1: Presence = {
  dispatcher: 'd-1',
  version: '0.1.0',
  upMs: 65_000,
  threads: 4,
  busy: 3,
  queued: 2,
  lanes: 8,
  rssBytes: 100 * 1024 * 1024,
  threadDeaths: 0,
};

function look(atMs: number, functions: FunctionSample[], changes: Partial<TopSample> = {}) {
  return {
    atMs,
    partitions: 2,
    functions,
    dispatchers: [D1],
    unserved: 0,
    firing: [],
    ...changes,
  } satisfies TopSample;
}

const modelOf = (...looks: TopSample[]): TopModel => looks.reduce(withSample, NO_LOOK);

const SHOP = modelOf(
  look(0, [fn('inventory'), fn('mailer'), fn('audit')]),
  look(2000, [
    fn('inventory', { appended: 2000, done: 1000, lag: 990, pending: 10, oldestMs: 2500 }),
    fn('mailer', { appended: 20, done: 18, dead: 2, oldestMs: null }),
    fn('audit', { parked: 5, oldestMs: 120_000, owners: ['d-1', null] }),
  ]),
);

const press = (model: TopModel, view: TopView, ...names: string[]): TopView =>
  names.reduce<TopView>((now, name) => {
    const next = pressed(now, { name, text: name.length === 1 ? name : '' }, model);
    if (next === null) throw new Error(`${name} quits`);
    return next;
  }, view);

const screen = (model: TopModel, view: TopView = FIRST_VIEW, columns = 110, rows = 20): string[] =>
  render(model, view, PLACE, { columns, rows }).map(textOf);

t.test('figures', async (t) => {
  const counts = [0, 999, 99_999, 100_000, 999_600, 1_234_567, 123_456_789, 1e12];
  t.strictSame(counts.map(shortCount), [
    '0',
    '999',
    '99,999',
    '100k',
    '1.0M',
    '1.2M',
    '123M',
    '1.0T',
  ]);
  t.strictSame([null, 0, 0.44, 9.96, 1204.4].map(shortRate), ['-', '0', '0.4', '10.0', '1,204']);
  const times = [null, 0, 999, 12_345, 100_000, 5_400_000, 129_600_000];
  t.strictSame(times.map(shortTime), ['-', '0ms', '999ms', '12.3s', '2m', '2h', '2d']);
});

t.test('sparklines', async (t) => {
  t.equal(sparkline([], 3), '   ');
  t.equal(sparkline([0, 0], 2), '▁▁');
  t.equal(sparkline([0, 1, 2, 4, 8], 5), '▁▂▃▅█');
  t.equal(sparkline([1, 1_000_000], 4), '  ▂█', 'a trickle is not nothing');
  t.equal(sparkline([9, 1, 2], 2), '▅█', 'the newest values, by the largest that is shown');
  t.equal(sparkline([1], 0), '');
  t.equal(sparkline([null, 1, null, 2], 5), '  ▅ █', 'an unknown value is a space');
});

t.test('rates come from two looks, and a rewind is none', async (t) => {
  const once = modelOf(look(0, [fn('f', { appended: 100, done: 50 })]));
  t.strictSame(seriesOf(once, 'f').inRate, [], 'one look has no rate');
  const twice = withSample(once, look(500, [fn('f', { appended: 110, done: 52, dead: 3 })]));
  t.strictSame(seriesOf(twice, 'f'), {
    inRate: [20],
    outRate: [10],
    lag: [0, 0],
    ageMs: [0, 0],
  });
  const rewound = withSample(twice, look(1000, [fn('f', { appended: 110, done: 0 })]));
  t.match(seriesOf(rewound, 'f'), { inRate: [], outRate: [], lag: [0, 0, 0] }, 'they begin anew');
  const again = withSample(rewound, look(2000, [fn('f', { appended: 110, done: 20 })]));
  t.match(seriesOf(again, 'f'), { inRate: [0], outRate: [20] });
  const same = withSample(again, look(2000, [fn('f', { appended: 150, done: 20 })]));
  t.match(seriesOf(same, 'f'), { inRate: [0], outRate: [20] }, 'no time has passed');
  const row = { type: 't', partition: 0, lag: 0, pending: 0, parked: 0, dead: 0, oldestMs: null };
  const of = (done: number, ...each: number[]): FunctionSample =>
    fn('f', {
      done,
      types: each.map((one, i) => ({ ...row, partition: i, appended: 9, done: one })),
    });
  const parts = modelOf(look(0, [of(9, 4, 5)]), look(1000, [of(12, 0, 12)]));
  t.strictSame(seriesOf(parts, 'f').outRate, [], 'one partition was set back');
  const gone = withSample(rewound, look(1500, []));
  t.equal(gone.series.size, 0);
  let long = NO_LOOK;
  for (let i = 0; i < 1000; i++) long = withSample(long, look(i, [fn('f')]));
  t.equal(seriesOf(long, 'f').lag.length, 240, 'bounded');
  t.match(withProblem(twice, 'away'), { problem: 'away', sample: twice.sample });
  t.equal(withSample(withProblem(twice, 'away'), look(2000, [])).problem, null);
});

t.test('sort, reverse and filter', async (t) => {
  const order = (view: Partial<TopView>): string =>
    rowsOf(SHOP, { ...FIRST_VIEW, ...view })
      .map(({ name }) => name)
      .join(' ');
  t.equal(order({}), 'inventory audit mailer', 'the largest lag first');
  t.equal(order({ sort: 'name' }), 'audit inventory mailer');
  t.equal(order({ sort: 'name', reversed: true }), 'mailer inventory audit');
  t.equal(order({ sort: 'in' }), 'inventory mailer audit');
  t.equal(order({ sort: 'out' }), 'inventory mailer audit');
  t.equal(order({ sort: 'dead' }), 'mailer audit inventory');
  t.equal(order({ sort: 'oldest' }), 'audit inventory mailer');
  t.equal(order({ filter: 'i' }), 'inventory audit mailer');
  t.equal(order({ filter: 'ma' }), 'mailer');
});

t.test('keys', async (t) => {
  const after = (...names: string[]): TopView => press(SHOP, FIRST_VIEW, ...names);
  for (const key of ['q', 'ctrl-c'])
    t.equal(pressed(FIRST_VIEW, { name: key, text: '' }, SHOP), null, `${key} quits`);
  t.equal(after('down').selected, 'audit');
  t.equal(after('j', 'j', 'j', 'j').selected, 'mailer', 'the last row is the last');
  t.equal(after('end', 'home').selected, 'inventory');
  t.equal(after('down', 'up', 'up').selected, 'inventory');
  t.match(after('down', 'return'), { selected: 'audit', inside: true });
  t.match(after('return', 'down'), { selected: 'audit', inside: true });
  t.match(after('return', 'escape'), { inside: false });
  t.equal(after('s').sort, 'dead');
  t.equal(after('s', 's', 's').sort, 'name', 'round and round');
  t.equal(after('r').reversed, true);
  t.equal(after('p').paused, true);
  t.equal(after('p', 'space').paused, false);
  t.match(after('?'), { help: true });
  t.match(
    after('?', 's'),
    { help: false, sort: 'lag' },
    'the key that closes the help does no more',
  );
  const typing = after('/', 'q', 'm', 'backspace', '!', 's');
  t.match(typing, { typing: true, filter: 'qs' }, 'letters are no commands there');
  t.equal(pressed(typing, { name: 'ctrl-c', text: '' }, SHOP), null);
  t.match(press(SHOP, typing, 'return'), { typing: false, filter: 'qs' });
  t.match(press(SHOP, typing, 'escape'), { typing: false, filter: '' });
  t.match(press(SHOP, press(SHOP, typing, 'return'), 'escape'), { filter: '' });
  t.match(press(NO_LOOK, FIRST_VIEW, 'down', 'return'), { selected: null, inside: false });
});

t.test('the list', async (t) => {
  const lines = screen(SHOP);
  t.equal(lines.length, 20);
  t.match(lines[0], /^millrace top {2}mr at unix:\/srv\/redis\.sock +every 1\.0s$/);
  t.equal(
    lines[1],
    '3 functions · 2 partitions · in 1,010/s · out 510/s · lag 1,005 · oldest 2m · dead 2',
  );
  t.equal(lines[2], '1 dispatcher · threads 3/4 busy · 2 batches queued · memory 100 MiB');
  t.equal(lines[3], '! audit: 1 lane without owner');
  t.match(lines[5], /^ {2}FUNCTION +IN\/S +OUT\/S +OUT TREND +LAG▼ +LAG TREND .* LANES$/);
  t.match(lines[6], /^› inventory +1,000 +500 +█ +1,000 +▁█ +0 +0 +2\.5s +▁█ +2\/2$/);
  t.match(lines[7], /^ {2}audit .* 2m +▁█ +1\/2$/);
  t.match(lines[11], /^d-1 +8 +3\/4 +2 +100 MiB +65\.0s +0\.1\.0$/);
  t.match(lines[19], /s sort: lag .* q quit/);
  t.match(screen(SHOP, press(SHOP, FIRST_VIEW, 'p'))[0], /paused$/);
  t.match(screen(SHOP, press(SHOP, FIRST_VIEW, '/', 'm', 'a'))[19], /^\/ma▏/);
  t.match(screen(SHOP, { ...FIRST_VIEW, filter: 'zz' })[5], /No function has "zz"/);
  t.match(screen(withProblem(SHOP, 'Redis is away'))[3], /^! Redis is away/);
  t.match(screen(NO_LOOK).join('\n'), /looking …/);
  t.match(
    screen(modelOf(look(0, [], { dispatchers: [] }))).join('\n'),
    /No function is registered/,
  );
  t.match(
    screen(modelOf(look(0, [fn('f')], { unserved: 7 })))[3],
    /^! 7 events where nobody reads/,
  );
  const firing = look(0, [fn('f')], { firing: ['lag-growing f'] });
  t.match(screen(modelOf(firing))[3], /^! alerts: lag-growing f \(millrace alerts list\)/);
  const silent = modelOf(look(0, [fn('f')], { dispatchers: [{ dispatcher: 'old' }] }));
  t.match(screen(silent).join('\n'), /old +tells nothing of itself/);
  t.match(screen(SHOP, press(SHOP, FIRST_VIEW, '?')).join('\n'), /OLDEST +age of the oldest event/);
});

t.test('one function', async (t) => {
  const rows = [0, 1].map((partition) => ({
    type: 'order.created',
    partition,
    appended: 7,
    done: 0,
    dead: 0,
    parked: 0,
    pending: 1,
    lag: partition * 6,
    oldestMs: 5000,
  }));
  const model = modelOf(
    look(0, [fn('f', { types: rows, owners: ['d-1', null], lag: 6, conserved: false })]),
  );
  const lines = screen(model, press(model, FIRST_VIEW, 'return'));
  const text = lines.join('\n');
  t.match(text, /^f {2}on order\.created$/m);
  t.match(text, /does not add up: millrace losses/);
  t.match(text, /^lag +6 +█ ≤ 6$/m);
  t.match(text, /^ +1 {2}order\.created +6 +1 +0 +0 +5\.0s {2}nobody$/m);
  t.ok(text.indexOf('nobody') < text.lastIndexOf('d-1'), 'the most work first');
  const low = screen(model, press(model, FIRST_VIEW, 'return'), 110, 16).join('\n');
  t.match(low, /… 2 more rows: millrace lag --function f --types/);
});

t.test('any size: as many lines as rows, none wider than the screen', async (t) => {
  const many = modelOf(
    look(
      0,
      Array.from({ length: 50 }, (_, i) => fn(`function-${i}-${'x'.repeat(i)}`)),
    ),
  );
  const views = ['', 'return', '?', '/', 'end'];
  for (const name of views) {
    const view = name === '' ? FIRST_VIEW : press(many, FIRST_VIEW, name);
    for (const [columns, rows] of [
      [1, 1],
      [20, 3],
      [40, 10],
      [80, 24],
      [400, 100],
    ] as const) {
      const lines = render(many, view, PLACE, { columns, rows });
      t.equal(lines.length, rows, `${name} ${columns}x${rows}`);
      t.ok(Math.max(...lines.map(widthOf)) <= columns, `${name} ${columns}x${rows}`);
    }
  }
  const last = rowsOf(many, { ...FIRST_VIEW, sort: 'name' }).at(-1)?.name ?? '';
  const end = screen(many, press(many, { ...FIRST_VIEW, sort: 'name' }, 'end'), 110, 12).join('\n');
  t.ok(end.includes(`› ${last.slice(0, 30)}`), 'the selected row is always shown');
  const names = (columns: number): string[] =>
    layoutOf(['f'], columns).columns.map(({ title }) => title);
  t.strictSame(names(40), ['OUT/S', 'LAG', 'OLDEST']);
  t.equal(names(200).length, 10);
});

t.test('colours are escape sequences, and without them there is none', async (t) => {
  const lines = render(SHOP, FIRST_VIEW, PLACE, { columns: 110, rows: 20 });
  const plain = lines.map((line) => painted(line, false));
  const coloured = lines.map((line) => painted(line, true));
  t.notMatch(plain.join(''), /\u001b/);
  t.match(coloured[6], /\u001b\[7m/, 'the selected row is inverse');
  t.strictSame(
    coloured.map((line) => line.replace(/\u001b\[[\d;]*m/g, '')),
    plain,
  );
});

t.test('lines without a terminal', async (t) => {
  t.strictSame(rowLines(SHOP, { ...FIRST_VIEW, filter: 'inv' }, 'T'), [
    'T  inventory  in/s=1000.0  out/s=500.0  lag=1000  parked=0  dead=0  oldest=2.5s  lanes=2/2',
  ]);
  t.strictSame(rowLines(withProblem(SHOP, 'gone "x"'), FIRST_VIEW, 'T'), [
    'T  problem="gone \\"x\\""',
  ]);
});

t.test('a look at a real deployment', async (t) => {
  const bed = await makeBed(t);
  const lane = await startLane(bed, specOf('keeper', ['note.added']), 0);
  await publish(bed, 0, { 'note.added': events(3) });
  const before = await readTop(bed);
  t.match(before.functions, [{ name: 'keeper', lag: 3, owners: ['test', null] }]);
  t.strictSame(before.dispatchers, [{ dispatcher: 'test' }], 'without a record');
  await lane.drain();
  const presence = { ...D1, dispatcher: 'test', functions: { keeper: '0123456789ab' } };
  await announcePresence(bed.connection, bed.keys, presence);
  const after = await readTop(bed);
  t.match(after.functions, [{ lag: 0, done: 3 }]);
  t.strictSame(after.dispatchers, [presence]);
  const ttl = Number(await bed.connection.command('PTTL', bed.keys.presence('test')));
  t.ok(ttl > 0, 'the record goes with its dispatcher');
  await bed.connection.command('SET', bed.keys.presence('test'), '{"threads":"many"');
  t.strictSame((await readTop(bed)).dispatchers, [{ dispatcher: 'test' }], 'a damaged record');
});

t.test('a dispatcher that stops leaves a farewell, also when the memory is full', async (t) => {
  const { redis, connection, keys } = await makeBed(t);
  await announcePresence(connection, keys, { ...D1, dispatcher: 'stops' });
  await announcePresence(connection, keys, { ...D1, dispatcher: 'works' });
  await redis.client().config('SET', 'maxmemory', '1');
  await removePresence(connection, keys, 'stops');
  const found = await readDispatchers(connection, keys, ['stops', 'works', 'unknown']);
  t.strictSame(
    [...found],
    [
      ['stops', 'left'],
      ['works', { ...D1, dispatcher: 'works' }],
    ],
  );
});
