/** The screen of one function: its trends, and its partitions. */
import { shortCount, shortRate, shortTime } from './short-figures.ts';
import { newest, seriesOf, type TopModel } from './looks.ts';
import type { FunctionSample } from './sample.ts';
import { piece, type ScreenLine, type ScreenSize } from './screen-line.ts';
import { sparkline } from './sparkline.ts';

const LONGEST_TREND = 120;

export function detailLines(
  model: TopModel,
  fn: FunctionSample,
  { columns, rows }: ScreenSize,
): ScreenLine[] {
  const { name, types, appended, done, dead, parked, pending, lag, oldestMs, conserved } = fn;
  const on = [...new Set(types.map(({ type }) => type))];
  const counts: readonly (readonly [string, number])[] = [
    ['appended', appended],
    ['done', done],
    ['dead', dead],
    ['parked', parked],
    ['pending', pending],
    ['not read', lag],
  ];
  const head: ScreenLine[] = [
    [piece(name, 'bold'), piece(`  on ${on.join(', ')}`)],
    [
      piece(counts.map(([of, count]) => `${of} ${shortCount(count)}`).join(' · ')),
      ...(conserved ? [] : [piece('  does not add up: millrace losses', 'bad')]),
    ],
    [],
    ...trendLines(model, fn, Math.min(LONGEST_TREND, columns - 26)),
    [],
  ];
  const room = Math.max(0, rows - head.length);
  const shown = rowsWithin(partitionLines(fn), room, name);
  return [...head, ...shown].concat(
    oldestMs === null && lag + pending + parked === 0 ? [] : explainHint(room - shown.length),
  );
}

/** Cuts the table to the room, and tells of the rows that are missing. */
function rowsWithin(table: readonly ScreenLine[], room: number, name: string): ScreenLine[] {
  if (table.length <= room) return [...table];
  if (room < 2) return [];
  const hint = `… ${table.length - room + 1} more rows: millrace lag --function ${name} --types`;
  return [...table.slice(0, room - 1), [piece(hint, 'dim')]];
}

function explainHint(room: number): ScreenLine[] {
  return room < 2 ? [] : [[], [piece('Why an event waits: millrace explain <event id>', 'dim')]];
}

function trendLines(model: TopModel, fn: FunctionSample, width: number): ScreenLine[] {
  const { inRate, outRate, lag, ageMs } = seriesOf(model, fn.name);
  const line = (
    title: string,
    values: readonly number[],
    text: (value: number | null) => string,
  ): ScreenLine => [
    piece(`${title.padEnd(8)} ${text(newest(values)).padStart(7)} `),
    piece(sparkline(values, Math.max(1, width)), 'good'),
    piece(
      values.length === 0 ? '' : ` ≤ ${text(Math.max(...values.slice(-Math.max(1, width))))}`,
      'dim',
    ),
  ];
  return [
    line('in/s', inRate, shortRate),
    line('out/s', outRate, shortRate),
    line('lag', lag, (value) => (value === null ? '-' : shortCount(value))),
    line('oldest', ageMs, shortTime),
  ];
}

/** One row for each partition and type, those with the most work first. */
function partitionLines({ types, owners }: FunctionSample): ScreenLine[] {
  const typeWidth = types.reduce((most, { type }) => Math.max(most, type.length), 4);
  const rows = types.toSorted(
    (a, b) =>
      b.lag + b.pending + b.parked - (a.lag + a.pending + a.parked) || a.partition - b.partition,
  );
  const columns = ['NOT READ', 'PENDING', 'PARKED', 'DEAD', 'OLDEST'];
  return [
    [
      piece(
        `${'PARTITION'.padStart(9)}  ${'TYPE'.padEnd(typeWidth)}${columns.map((title) => title.padStart(10)).join('')}  OWNER`,
        'head',
      ),
    ],
    ...rows.map((row): ScreenLine => {
      const owner = owners[row.partition] ?? null;
      const counts = [row.lag, row.pending, row.parked, row.dead].map(shortCount);
      return [
        piece(
          `${String(row.partition).padStart(9)}  ${row.type.padEnd(typeWidth)}${[...counts, shortTime(row.oldestMs)].map((text) => text.padStart(10)).join('')}  `,
        ),
        owner === null ? piece('nobody', 'warn') : piece(owner),
      ];
    }),
  ];
}
