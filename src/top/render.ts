/** The screen of `millrace top`: what is known, and the size, give the lines. Nothing else does. */
import { functionLine, headLine, layoutOf, ownedOf } from './columns.ts';
import { detailLines } from './detail.ts';
import { shortBytes, shortCount, shortRate, shortTime } from './short-figures.ts';
import { newest, seriesOf, waiting, type TopModel } from './looks.ts';
import type { TopSample } from './sample.ts';
import { fitted, piece, spread, type ScreenLine, type ScreenSize } from './screen-line.ts';
import { rowsOf, selectedOf, type TopView } from './view.ts';

/** The place that is watched. */
export interface TopPlace {
  readonly namespace: string;
  /** Address of the server, without passwords. */
  readonly target: string;
  readonly everyMs: number;
}

/** Rows of the screen that dispatchers take at most. */
const MOST_DISPATCHERS = 6;

/** Returns as many lines as the screen has rows, each at most as long as it is wide. */
export function render(
  model: TopModel,
  view: TopView,
  place: TopPlace,
  size: ScreenSize,
): ScreenLine[] {
  const head = headLines(model, view, place, size.columns);
  const room = Math.max(0, size.rows - head.length - 1);
  const body = bodyOf(model, view, { ...size, rows: room }).slice(0, room);
  const blank = Array.from({ length: room - body.length }, (): ScreenLine => []);
  return [...head, ...body, ...blank, footLine(view)]
    .slice(-size.rows)
    .map((line) => fitted(line, size.columns));
}

function bodyOf(model: TopModel, view: TopView, size: ScreenSize): ScreenLine[] {
  if (view.help) return helpLines();
  const { sample } = model;
  if (sample === null) return [[piece('looking …', 'dim')]];
  if (sample.functions.length === 0)
    return [
      [piece('No function is registered here yet. millrace start registers those of a folder.')],
    ];
  const selected = selectedOf(model, view);
  if (view.inside && selected !== null) return detailLines(model, selected, size);
  return listLines(model, sample, view, size);
}

function headLines(model: TopModel, view: TopView, place: TopPlace, columns: number): ScreenLine[] {
  const { sample } = model;
  const state = view.paused ? 'paused' : `every ${shortTime(place.everyMs)}`;
  const title = spread(
    [piece('millrace top', 'bold'), piece(`  ${place.namespace} at ${place.target}`)],
    [piece(state, view.paused ? 'warn' : 'dim')],
    columns,
  );
  if (sample === null) return [title, troubleLine(model), []];
  return [title, totalsLine(model, sample), threadsLine(sample), troubleLine(model), []];
}

function totalsLine(model: TopModel, { functions, partitions }: TopSample): ScreenLine {
  const sum = (of: (name: string) => number | null): number | null => {
    const values = functions.map(({ name }) => of(name)).filter((value) => value !== null);
    return values.length === 0 ? null : values.reduce((a, b) => a + b, 0);
  };
  const total = (of: (fn: (typeof functions)[number]) => number): number =>
    functions.reduce((all, fn) => all + of(fn), 0);
  const ages = functions.flatMap(({ oldestMs }) => (oldestMs === null ? [] : [oldestMs]));
  const inRate = sum((name) => newest(seriesOf(model, name).inRate));
  const outRate = sum((name) => newest(seriesOf(model, name).outRate));
  return [
    piece(
      [
        counted(functions.length, 'function'),
        counted(partitions, 'partition'),
        `in ${shortRate(inRate)}/s`,
        `out ${shortRate(outRate)}/s`,
        `lag ${shortCount(total(waiting))}`,
        `oldest ${shortTime(ages.length === 0 ? null : Math.max(...ages))}`,
        `dead ${shortCount(total(({ dead }) => dead))}`,
      ].join(' · '),
    ),
  ];
}

function threadsLine({ dispatchers }: TopSample): ScreenLine {
  const known = dispatchers.filter((one) => 'threads' in one);
  const sum = (of: (one: (typeof known)[number]) => number): number =>
    known.reduce((all, one) => all + of(one), 0);
  if (dispatchers.length === 0) return [piece('no dispatcher owns a lane', 'bad')];
  return [
    piece(
      [
        counted(dispatchers.length, 'dispatcher'),
        `threads ${sum(({ busy }) => busy)}/${sum(({ threads }) => threads)} busy`,
        `${counted(
          sum(({ queued }) => queued),
          'batch',
          'batches',
        )} queued`,
        `memory ${shortBytes(sum(({ rssBytes }) => rssBytes))}`,
      ].join(' · '),
    ),
  ];
}

/** The problem of the last look, or whatever is plainly wrong in it. */
function troubleLine({ sample, problem }: TopModel): ScreenLine {
  if (problem !== null) return [piece(`! ${problem}`, 'bad')];
  const troubles = (sample?.functions ?? []).flatMap((fn) => [
    ...(fn.conserved ? [] : [`${fn.name} does not add up (millrace losses)`]),
    ...(ownedOf(fn) < fn.owners.length
      ? [`${fn.name}: ${counted(fn.owners.length - ownedOf(fn), 'lane')} without owner`]
      : []),
  ]);
  const firing = sample?.firing ?? [];
  if (firing.length > 0) troubles.unshift(`alerts: ${firing.join(', ')} (millrace alerts list)`);
  if ((sample?.unserved ?? 0) > 0)
    troubles.unshift(
      `${shortCount(sample?.unserved ?? 0)} events where nobody reads (millrace lag)`,
    );
  return troubles.length === 0 ? [] : [piece(`! ${troubles.join(' · ')}`, 'warn')];
}

function listLines(
  model: TopModel,
  sample: TopSample,
  view: TopView,
  { columns, rows: room }: ScreenSize,
): ScreenLine[] {
  const rows = rowsOf(model, view);
  if (rows.length === 0)
    return [[piece(`No function has "${view.filter}" in its name. Escape clears the filter.`)]];
  const layout = layoutOf(
    rows.map(({ name }) => name),
    columns,
  );
  const workers = dispatcherLines(sample).slice(0, MOST_DISPATCHERS + 2);
  // The functions come first. Dispatchers have the room that is left, or none.
  const forWorkers = room - 1 - Math.min(rows.length, 3) >= workers.length ? workers.length : 0;
  const visible = Math.max(1, room - 1 - forWorkers);
  const selected = selectedOf(model, view);
  const at = Math.max(
    0,
    rows.findIndex(({ name }) => name === selected?.name),
  );
  const first = Math.max(0, Math.min(at - Math.floor(visible / 2), rows.length - visible));
  return [
    headLine(layout, view),
    ...rows
      .slice(first, first + visible)
      .map((fn) => functionLine(fn, layout, model, fn.name === selected?.name)),
    ...(forWorkers > 0 ? workers : []),
  ];
}

function dispatcherLines({ dispatchers }: TopSample): ScreenLine[] {
  if (dispatchers.length === 0) return [];
  const width = dispatchers.reduce((most, one) => Math.max(most, one.dispatcher.length), 10);
  const more = dispatchers.length - MOST_DISPATCHERS;
  return [
    [],
    [
      piece(
        `${'DISPATCHER'.padEnd(width)}  ${'LANES'.padStart(6)}  ${'THREADS'.padStart(8)}  ${'QUEUED'.padStart(7)}  ${'MEMORY'.padStart(9)}  ${'UP'.padStart(6)}  VERSION${more > 0 ? `  (${more} more)` : ''}`,
        'head',
      ),
    ],
    ...dispatchers.map((one): ScreenLine => {
      const name = one.dispatcher.padEnd(width);
      if (!('threads' in one)) return [piece(`${name}  tells nothing of itself`, 'dim')];
      const { lanes, busy, threads, queued, rssBytes, upMs, version } = one;
      return [
        piece(
          `${name}  ${String(lanes).padStart(6)}  ${`${busy}/${threads}`.padStart(8)}  ${shortCount(queued).padStart(7)}  ${shortBytes(rssBytes).padStart(9)}  ${shortTime(upMs).padStart(6)}  ${version}`,
        ),
      ];
    }),
  ];
}

function footLine(view: TopView): ScreenLine {
  if (view.typing)
    return [piece(`/${view.filter}▏`, 'bold'), piece('  enter keeps, escape clears', 'dim')];
  const filter = view.filter === '' ? '' : ` (${view.filter})`;
  const keys = view.inside
    ? 'esc back  ↑↓ other function  p pause  ? help  q quit'
    : `↑↓ select  enter inside  s sort: ${view.sort}  r reverse  / filter${filter}  p pause  ? help  q quit`;
  return [piece(keys, 'dim')];
}

function helpLines(): ScreenLine[] {
  return [
    'LAG      events that are not read, pending or parked',
    'IN/S     events appended for the function, a second',
    'OUT/S    events done or dead, a second',
    'OLDEST   age of the oldest event that is not settled',
    'LANES    partitions with an owner, of all',
    '         A red name: its states do not add up (millrace losses)',
    '',
    '↑ ↓ j k  select a function           enter  look inside it, esc goes back',
    's        sort by the next column     r      reverse the order',
    '/        show functions by name      esc    show all again',
    'p space  pause and go on             q      quit',
    '',
    'Any key closes this help.',
  ].map((text) => [piece(text)]);
}

function counted(count: number, one: string, many = `${one}s`): string {
  return `${shortCount(count)} ${count === 1 ? one : many}`;
}
