/** The columns of the table of functions. The narrower the screen, the fewer of them. */
import { shortCount, shortRate, shortTime } from './short-figures.ts';
import { newest, seriesOf, waiting, type Series, type TopModel } from './looks.ts';
import type { FunctionSample } from './sample.ts';
import { piece, type Piece, type ScreenLine, type Style } from './screen-line.ts';
import { sparkline } from './sparkline.ts';
import type { Sort, TopView } from './view.ts';

/** Age of the oldest event from which on it is told by colour, ms. */
const OLD_MS = 60_000;

interface Cell {
  readonly fn: FunctionSample;
  readonly series: Series;
  readonly width: number;
}

interface TopColumn {
  readonly title: string;
  /** Least width. */
  readonly width: number;
  /** Columns with the greatest number are left out first. */
  readonly leave: number;
  readonly sort?: Sort;
  /** Whether it is a trend, which takes the width that is left. */
  readonly trend?: true;
  readonly text: (cell: Cell) => string;
  readonly style?: (fn: FunctionSample) => Style;
}

const LONGEST_TREND = 24;
const LONGEST_NAME = 40;
const GAP = 2;
const MARK = '› ';

const COLUMNS: readonly TopColumn[] = [
  {
    title: 'IN/S',
    width: 7,
    leave: 3,
    sort: 'in',
    text: ({ series }) => shortRate(newest(series.inRate)),
  },
  {
    title: 'OUT/S',
    width: 7,
    leave: 1,
    sort: 'out',
    text: ({ series }) => shortRate(newest(series.outRate)),
  },
  {
    title: 'OUT TREND',
    width: 9,
    leave: 7,
    trend: true,
    text: ({ series, width }) => sparkline(series.outRate, width),
  },
  {
    title: 'LAG',
    width: 7,
    leave: 0,
    sort: 'lag',
    text: ({ fn }) => shortCount(waiting(fn)),
  },
  {
    title: 'LAG TREND',
    width: 9,
    leave: 5,
    trend: true,
    text: ({ series, width }) => sparkline(series.lag, width),
  },
  {
    title: 'PARKED',
    width: 7,
    leave: 6,
    text: ({ fn }) => shortCount(fn.parked),
    style: ({ parked }) => (parked > 0 ? 'warn' : 'plain'),
  },
  {
    title: 'DEAD',
    width: 7,
    leave: 4,
    sort: 'dead',
    text: ({ fn }) => shortCount(fn.dead),
    style: ({ dead }) => (dead > 0 ? 'bad' : 'plain'),
  },
  {
    title: 'OLDEST',
    width: 6,
    leave: 0,
    sort: 'oldest',
    text: ({ fn }) => shortTime(fn.oldestMs),
    style: ({ oldestMs }) => ((oldestMs ?? 0) >= OLD_MS ? 'bad' : 'plain'),
  },
  {
    title: 'AGE TREND',
    width: 9,
    leave: 8,
    trend: true,
    text: ({ series, width }) => sparkline(series.ageMs, width),
  },
  {
    title: 'LANES',
    width: 7,
    leave: 2,
    text: ({ fn }) => `${ownedOf(fn)}/${fn.owners.length}`,
    style: (fn) => (ownedOf(fn) < fn.owners.length ? 'warn' : 'plain'),
  },
];

export function ownedOf({ owners }: FunctionSample): number {
  return owners.filter((owner) => owner !== null).length;
}

export interface TableLayout {
  readonly nameWidth: number;
  readonly columns: readonly (TopColumn & { readonly width: number })[];
}

/** Chooses the columns and their widths for a screen. */
export function layoutOf(names: readonly string[], columns: number): TableLayout {
  const longest = names.reduce((most, { length }) => Math.max(most, length), 8);
  const nameWidth = Math.min(longest, LONGEST_NAME, Math.max(8, columns - 18));
  const shown = [...COLUMNS];
  const used = (): number =>
    MARK.length + nameWidth + shown.reduce((sum, { width }) => sum + GAP + width, 0);
  while (used() > columns && shown.length > 0) {
    const last = shown.reduce((a, b) => (b.leave >= a.leave ? b : a));
    shown.splice(shown.indexOf(last), 1);
  }
  const trends = shown.filter(({ trend }) => trend).length;
  const more = trends === 0 ? 0 : Math.floor((columns - used()) / trends);
  return {
    nameWidth,
    columns: shown.map((column) =>
      column.trend ? { ...column, width: Math.min(LONGEST_TREND, column.width + more) } : column,
    ),
  };
}

export function headLine({ nameWidth, columns }: TableLayout, view: TopView): ScreenLine {
  const mark = view.reversed ? '▲' : '▼';
  const titled = (title: string, sort: Sort | undefined): string =>
    sort === view.sort ? `${title}${mark}` : title;
  return [
    piece(' '.repeat(MARK.length) + titled('FUNCTION', 'name').padEnd(nameWidth), 'head'),
    ...columns.map(({ title, sort, width, trend }) => {
      const text = titled(title, sort);
      return piece(' '.repeat(GAP) + (trend ? text.padEnd(width) : text.padStart(width)), 'head');
    }),
  ];
}

export function functionLine(
  fn: FunctionSample,
  { nameWidth, columns }: TableLayout,
  model: TopModel,
  selected: boolean,
): ScreenLine {
  const series = seriesOf(model, fn.name);
  const name =
    fn.name.length > nameWidth ? `${fn.name.slice(0, nameWidth - 1)}…` : fn.name.padEnd(nameWidth);
  const cells = columns.map(({ width, text, style }): Piece => {
    const value = text({ fn, series, width }).slice(0, width);
    return piece(' '.repeat(GAP) + value.padStart(width), style?.(fn) ?? 'plain');
  });
  // The mark is for terminals without colours.
  const mark = piece(selected ? MARK : ' '.repeat(MARK.length));
  const line = [mark, piece(name, fn.conserved ? 'plain' : 'bad'), ...cells];
  return selected ? line.map(({ text }) => piece(text, 'selected')) : line;
}
