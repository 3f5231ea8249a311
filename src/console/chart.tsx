/**
 * Line charts as SVG, made on the server: they need no script, print well, and scale. A table with
 * the same values is for screen readers and for those who copy figures.
 */
import type { FC } from 'hono/jsx';
import { isoTime } from '../core/rfc3339.ts';

export interface ChartLine {
  readonly name: string;
  /** A value for each time. Null: nothing is known, and the line has a gap. */
  readonly values: readonly (number | null)[];
}

export interface ChartMark {
  readonly atMs: number;
  readonly text: string;
}

export interface ChartProps {
  readonly title: string;
  /** Times of the points, ms since 1970, oldest first. */
  readonly times: readonly number[];
  /** Time between two points, ms. */
  readonly stepMs: number;
  readonly lines: readonly ChartLine[];
  readonly marks: readonly ChartMark[];
  readonly shown: (value: number) => string;
}

const PLOT = { left: 64, top: 10, width: 820, height: 150 } as const;
const VIEW = { width: 900, height: 190 } as const;
/** Values of the table: about one for each of so many steps. */
const ROWS = 24;

export const Chart: FC<ChartProps> = (props) => {
  const { title, times, lines, marks, shown } = props;
  const most = niceTop(
    Math.max(0, ...lines.flatMap(({ values }) => values.map((value) => value ?? 0))),
  );
  const from = times[0] ?? 0;
  const to = times.at(-1) ?? 0;
  const xOf = (ms: number): number =>
    PLOT.left + (to === from ? 0 : ((ms - from) / (to - from)) * PLOT.width);
  const yOf = (value: number): number => PLOT.top + PLOT.height * (1 - value / most);
  return (
    <figure class="chart">
      <figcaption>
        {title}
        <span class="legend">
          {lines.map(({ name }, i) => (
            <span class={`line${i}`}>{name}</span>
          ))}
        </span>
      </figcaption>
      <svg viewBox={`0 0 ${VIEW.width} ${VIEW.height}`} aria-hidden="true">
        {[0, most / 2, most].map((value) => (
          <g>
            <line
              class="grid"
              x1={PLOT.left}
              x2={PLOT.left + PLOT.width}
              y1={yOf(value)}
              y2={yOf(value)}
            />
            <text x={PLOT.left - 6} y={yOf(value) + 4} text-anchor="end">
              {shown(value)}
            </text>
          </g>
        ))}
        {ticksOf(from, to).map((ms) => (
          <text x={xOf(ms)} y={VIEW.height - 8} text-anchor="middle">
            {tickText(ms, to - from)}
          </text>
        ))}
        {marks
          .filter(({ atMs }) => atMs >= from && atMs <= to)
          .map(({ atMs, text }) => (
            <g class="mark">
              <title>{text}</title>
              <line x1={xOf(atMs)} x2={xOf(atMs)} y1={PLOT.top} y2={PLOT.top + PLOT.height} />
            </g>
          ))}
        {lines.map(({ values }, i) => (
          <path class={`line${i}`} d={pathOf(values, times, xOf, yOf)} />
        ))}
      </svg>
      <Values {...props} />
    </figure>
  );
};

/** The values as a table: the last one of each part of the time. */
const Values: FC<ChartProps> = ({ title, times, lines, shown }) => {
  const every = Math.max(1, Math.ceil(times.length / ROWS));
  const rows = times
    .map((ms, i) => ({ ms, i }))
    .filter(({ i }) => (times.length - 1 - i) % every === 0);
  return (
    <details>
      <summary>{`${title} as a table`}</summary>
      <div class="scroll" tabindex={0} role="region" aria-label={`${title} as a table`}>
        <table>
          <thead>
            <tr>
              <th scope="col">time</th>
              {lines.map(({ name }) => (
                <th scope="col" class="right">
                  {name}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {rows.reverse().map(({ ms, i }) => (
              <tr>
                <th scope="row">{(isoTime(ms) ?? '').slice(0, 16).replace('T', ' ')}</th>
                {lines.map(({ values }) => {
                  const value = values[i] ?? null;
                  return <td class="right">{value === null ? '–' : shown(value)}</td>;
                })}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </details>
  );
};

/** Draws each stretch without a gap. A value alone between gaps is a dot. */
function pathOf(
  values: readonly (number | null)[],
  times: readonly number[],
  xOf: (ms: number) => number,
  yOf: (value: number) => number,
): string {
  const parts: string[] = [];
  values.forEach((value, i) => {
    if (value === null) return;
    const at = `${xOf(times[i] ?? 0).toFixed(1)},${yOf(value).toFixed(1)}`;
    const joins = i > 0 && (values[i - 1] ?? null) !== null;
    const alone = !joins && (values[i + 1] ?? null) === null;
    parts.push(alone ? `M${at}h0.1` : joins ? `L${at}` : `M${at}`);
  });
  return parts.join('');
}

/** Returns the least of 1, 2, 5, 10, 20, 50 … that is not below the value. */
export function niceTop(value: number): number {
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  const step = [1, 2, 5, 10].find((one) => one * power >= value) ?? 10;
  return step * power;
}

const HOUR = 3_600_000;
/** Distances between ticks, ms. */
const STEPS = [
  HOUR / 12,
  HOUR / 6,
  HOUR / 4,
  HOUR / 2,
  HOUR,
  2 * HOUR,
  6 * HOUR,
  12 * HOUR,
  24 * HOUR,
];

function ticksOf(from: number, to: number): number[] {
  const step = STEPS.find((one) => (to - from) / one <= 8) ?? 24 * HOUR;
  const ticks: number[] = [];
  for (let ms = Math.ceil(from / step) * step; ms <= to; ms += step) ticks.push(ms);
  return ticks;
}

/** Times are UTC, as everywhere in the console. */
function tickText(ms: number, span: number): string {
  const iso = isoTime(ms) ?? '';
  return span > 24 * HOUR ? iso.slice(5, 16).replace('T', ' ') : iso.slice(11, 16);
}
