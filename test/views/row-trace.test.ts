/** The events of a view's row, and the row after each of them: against the fold in memory. */
import { Command } from 'commander';
import t from 'tap';
import { registerViewTrace } from '../../src/cli/commands/view-trace.ts';
import type { LongRunningContext } from '../../src/cli/context.ts';
import { partitionOf } from '../../src/core/partition.ts';
import { openViewFolds } from '../../src/dispatcher/open-view-folds.ts';
import { plainShown } from '../../src/payload/plain-shown.ts';
import { WHOLE_LIMITS } from '../../src/payload/shown-payload.ts';
import { DataShapes } from '../../src/registry/data-shapes.ts';
import { readSlider } from '../../src/store/history-slider.ts';
import { liveGeneration } from '../../src/views/generations.ts';
import { viewSteps } from '../../src/views/history-steps.ts';
import { traceRow, type RowTraceOptions } from '../../src/views/row-trace.ts';
import { showTrace } from '../../src/views/show-trace.ts';
import { likelyCategories } from '../../src/views/subject-events.ts';
import { readViewStatus, switchView } from '../../src/views/view-status.ts';
import { ViewGenerationError } from '../../src/views/view-errors.ts';
import { settled } from '../../scripts/lab/counters.ts';
import { functionsDirOf, openService } from '../../scripts/lab/dispatcher-process.ts';
import { step, type Tally } from '../../scripts/lab/misbehaving-functions/tally/tally.ts';
import { startRedis } from '../../scripts/lab/redis-server.ts';
import { event } from './tally-model.ts';

const PARTITIONS = 3;
const FN = 'tally@1';
const redis = await startRedis(t);
const look = redis.client();
const service = await openService(t, redis.url, PARTITIONS);
const { deployment } = service;
const functionsDir = functionsDirOf('tally');
await service.dispatcher({ functionsDir }).start();
const { folds, close } = await openViewFolds(deployment, { functionsDir });
t.teardown(close);
const fold = folds.find(({ spec }) => spec.name === FN) ?? null;
const store = service.store();
const publisher = service.publisher();
let published = 0;

/** Rows after each event; null: no row. */
function foldAll(events: readonly ReturnType<typeof event>[]): (Tally | null)[] {
  let row: Tally | null = null;
  return events.map(({ type, data }) => {
    row = data.order === 'drop' ? null : step(row, type, data.number);
    return row;
  });
}

/** Events of a key, with one that deletes the row in the middle. */
const eventsOf = (key: string, count: number) =>
  Array.from({ length: count }, (_, i) =>
    event(i % 3 === 0 ? 'test.other' : 'test.event', key, i, i === 3 ? 'drop' : 'ok'),
  );

async function folded(count: number): Promise<void> {
  published += count;
  await settled(look, FN, PARTITIONS, published);
}

async function trace(id: string, options: Partial<RowTraceOptions> = {}) {
  const generation = await liveGeneration(deployment, 'tally');
  return traceRow(deployment, generation, id, { fold, ...options });
}

t.test('a row of a history: all events, and the row after each', async (t) => {
  const events = eventsOf('H', 9);
  await store.append('test', 'H', events as never, { expectedRevision: 0 });
  await folded(events.length);
  const found = await trace('H');
  const rows = foldAll(events);
  t.match(found, {
    missing: 0,
    damaged: null,
    folded: { same: true, problem: null },
    searched: { categories: ['test'], tooLong: [] },
    row: { revision: 5 },
  });
  t.strictSame(found.row?.value, rows.at(-1));
  t.strictSame(
    found.events.map(({ after }) => after),
    rows,
  );
  t.strictSame(
    found.events.map(({ history }) => history?.revision),
    events.map((_, i) => i + 1),
  );
  t.equal(found.searched.scanned, 0, 'the history was enough');

  const shapes = new DataShapes(deployment.registry, deployment.catalog);
  const full = await showTrace(found, shapes.find, 'full');
  t.match(full.events[1], {
    data: { kind: 'message' },
    changes: { changes: [{ path: ['count'], before: { text: '1' }, after: { text: '2' } }] },
  });
  const masked = await showTrace(found, shapes.find, 'masked');
  t.match(masked, { row: { value: { kind: 'masked', why: 'schema' } } });
  t.match(masked.events[1], { data: { kind: 'message' }, changes: null });
});

t.test('a row without a history: from the streams, and honest about retention', async (t) => {
  const events = eventsOf('S', 8);
  await publisher.publishMany(events.map((one, i) => ({ ...one, id: `s${i}` })));
  await folded(events.length);
  const found = await trace('S');
  t.match(found, { missing: 0, row: { revision: 4 } });
  t.ok(found.searched.scanned > 0);
  t.equal(found.events.at(-1)?.id, 's7');
  t.ok(found.events.every(({ history, later }) => history === null && !later));

  const bounded = await trace('S', { scan: 1 });
  t.ok(bounded.events.length <= found.events.length);

  const partition = partitionOf('S', PARTITIONS);
  for (const type of ['test.event', 'test.other'])
    await look.xtrim(`mr:{${partition}}:events:${type}`, 'MAXLEN', 0);
  const gone = await trace('S');
  t.match(gone, { missing: 4, events: [], folded: null });
  t.ok(gone.row);
});

t.test('of the streams of several types no event is left out in between', async (t) => {
  const some = (count: number, type: 'test.event' | 'test.other', order = 'ok') =>
    Array.from({ length: count }, (_, i) => event(type, 'G', i, order));
  // A search by counts would take old events of one type for new ones of the other.
  const events = [
    ...some(50, 'test.event'),
    ...some(1, 'test.event', 'drop'),
    ...some(70, 'test.other'),
    ...some(2, 'test.event'),
  ];
  // Each has an entry of its own.
  for (const one of events) await publisher.publishMany([one]);
  await folded(events.length);
  t.match(await trace('G'), { missing: 0, folded: { same: true }, row: { revision: 72 } });
});

t.test('a slider over a view: the row after each event of a history', async (t) => {
  const events = eventsOf('V', 30);
  await store.append('slide', 'V', events as never, { expectedRevision: 0 });
  if (!fold) throw new Error('no fold');
  const shapes = new DataShapes(deployment.registry, deployment.catalog);
  const steps = viewSteps(deployment, fold);
  const parts = {
    source: deployment,
    shapeOf: shapes.find,
    steps,
    access: 'full',
    limits: WHOLE_LIMITS,
  } as const;
  const rows = foldAll(events);
  for (const [at, row] of rows.entries()) {
    const page = await readSlider(parts, 'slide', 'V', { first: 11, events: 10, at: at + 1 });
    t.equal(page.folded?.problem, null);
    if (at < 10 || at >= 20) continue;
    t.equal(page.folded?.at, at + 1);
    t.strictSame(page.folded?.state && plainShown(page.folded.state).data, row);
  }
  const short = viewSteps(deployment, fold, 5);
  const page = await readSlider({ ...parts, steps: short }, 'slide', 'V', { first: 11 });
  t.match(page.folded, { at: null, problem: { revision: null, error: { name: 'RangeError' } } });
  await folded(events.length);
});

t.test('view trace, by the command line', async (t) => {
  const run = async (...args: string[]) => {
    const ran = { out: '', err: '', failed: false };
    const view = new Command('view');
    registerViewTrace(view, {
      open: () => Promise.resolve(deployment),
      out: (text: string) => void (ran.out += `${text}\n`),
      err: (text: string) => void (ran.err += `${text}\n`),
      fail: () => void (ran.failed = true),
    } as unknown as LongRunningContext);
    await view.parseAsync(['node', 'view', 'trace', 'tally', ...args]);
    return ran;
  };
  const text = await run('H', '--dir', functionsDir);
  t.equal(text.failed, false, text.err);
  t.match(text.out, /\n {3}~ count: 1 → 2\n/);
  t.match(text.out, /test 9\n/, 'the place in its history');
  t.match(text.err, /tally@1 H: 5 events, last /);
  const json = await run('S', '--json');
  t.match(JSON.parse(json.out), { view: 'tally', missing: 4, events: [], row: { revision: 4 } });
  const masked = await run('H', '--masked', '--json');
  t.match(JSON.parse(masked.out), { row: { value: null, revision: 5 }, events: [{ masked: [] }] });
  t.match(await run('nobody'), { failed: true, err: /has no row nobody/ });
});

t.test('status and switch', async (t) => {
  const [status] = await readViewStatus(deployment);
  t.match(status, {
    view: 'tally',
    live: 1,
    previous: null,
    generations: [
      { version: 1, live: true, registered: true, left: 0, build: null, uncounted: [] },
    ],
  });
  t.equal(status?.generations[0]?.counts.appended, published);
  t.equal(status?.generations[0]?.rows, (await service.view('tally').count()).count);
  await t.rejects(switchView(deployment, 'tally', 1), ViewGenerationError);
  await t.rejects(switchView(deployment, 'tally', 9), /version 9 is not there/);
});

t.test('categories that types suggest', async (t) => {
  t.strictSame(likelyCategories(['order.created', 'shop.v1.order.paid', 'Plain']), [
    'order',
    'shop',
    'shop.v1',
    'shop.v1.order',
  ]);
});
