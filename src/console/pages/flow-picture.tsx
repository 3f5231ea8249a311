/** The picture of the flow: event types, the functions that read them, the types they emit. */
import type { FC } from 'hono/jsx';
import type { RatedFunction, RatedLag } from '../../lag/rates.ts';
import { count, length, rate, text } from '../page-figures.ts';
import { functionPath, judged } from './function-state.ts';

const BOX = { width: 252, height: 46, gap: 14 } as const;
const COLUMN_X = [8, 341, 674] as const;
const WIDTH = COLUMN_X[2] + BOX.width + 8;
/** Functions of a picture. Beyond them the table below has all. */
const MOST = 30;

interface TypeNode {
  readonly type: string;
  readonly y: number;
  readonly perSecond: number | null;
}

export const Picture: FC<{
  root: string;
  report: RatedLag;
  origins: ReadonlyMap<string, string>;
}> = ({ root, report, origins }) => {
  const functions = report.functions.slice(0, MOST);
  const yOf = (i: number): number => 8 + i * (BOX.height + BOX.gap);
  const read = [...new Set(functions.flatMap(typesOf))].sort();
  const types = read.map((type, i): TypeNode => ({
    type,
    y: yOf(i),
    perSecond: arrivalOf(report, type),
  }));
  const emitted = [...origins].filter(([, fn]) => functions.some(({ name }) => name === fn));
  const rows = Math.max(types.length, functions.length, emitted.length);
  const middle = BOX.height / 2;
  const right = (x: number): number => x + BOX.width;
  return (
    <div class="scroll" tabindex={0} role="region" aria-label="Picture of the flow">
      <svg
        class="flow"
        viewBox={`0 0 ${WIDTH} ${yOf(rows)}`}
        role="group"
        aria-label="Event types at the left, functions in the middle, emitted types at the right. The table below has the same figures."
      >
        {functions.flatMap((fn, f) =>
          typesOf(fn).map((type) => (
            <path
              d={curve(
                right(COLUMN_X[0]),
                yOf(read.indexOf(type)) + middle,
                COLUMN_X[1],
                yOf(f) + middle,
              )}
              stroke-width={widthOf(arrivalAt(fn, type))}
            />
          )),
        )}
        {emitted.map(([, fn], i) => (
          <path
            d={curve(
              right(COLUMN_X[1]),
              yOf(functions.findIndex(({ name }) => name === fn)) + middle,
              COLUMN_X[2],
              yOf(i) + middle,
            )}
            stroke-width={2}
          />
        ))}
        {types.map(({ type, y, perSecond }) => (
          <Box x={COLUMN_X[0]} y={y} name={type} sub={`in ${rate(perSecond)}`} />
        ))}
        {functions.map((fn, f) => (
          <a href={functionPath(root, fn.name)}>
            <Box
              x={COLUMN_X[1]}
              y={yOf(f)}
              name={fn.name}
              sub={stateLine(fn)}
              tone={judged(fn)[0]}
            />
          </a>
        ))}
        {emitted.map(([type, fn], i) => (
          <Box x={COLUMN_X[2]} y={yOf(i)} name={type} sub={`emitted by ${fn}`} />
        ))}
      </svg>
      {report.functions.length > MOST ? (
        <p class="muted">{`The picture has ${MOST} of ${report.functions.length} functions.`}</p>
      ) : null}
    </div>
  );
};

const Box: FC<{ x: number; y: number; name: string; sub: string; tone?: string }> = ({
  x,
  y,
  name,
  sub,
  tone = '',
}) => (
  <g>
    <rect x={x} y={y} width={BOX.width} height={BOX.height} rx={4} class={tone} />
    <text x={x + 10} y={y + 19}>
      {text(name, 28)}
    </text>
    <text x={x + 10} y={y + 37} class="sub">
      {text(sub, 36)}
    </text>
  </g>
);

function stateLine(fn: RatedFunction): string {
  const waiting = fn.lag + fn.pending;
  return [
    `out ${rate(fn.rate?.servicePerSecond)}`,
    waiting > 0 ? `${count(waiting)} wait, ${length(fn.oldestMs)}` : 'nothing waits',
    ...(fn.letters > 0 ? [`${count(fn.letters)} dead`] : []),
  ].join(' · ');
}

const typesOf = ({ types }: RatedFunction): string[] => [...new Set(types.map(({ type }) => type))];

function arrivalAt(fn: RatedFunction, type: string): number | null {
  return fn.rate?.types.find((one) => one.type === type)?.arrivalPerSecond ?? null;
}

/** All functions of a type see the same arrivals. */
function arrivalOf({ functions }: RatedLag, type: string): number | null {
  for (const fn of functions) {
    const found = arrivalAt(fn, type);
    if (found !== null) return found;
  }
  return null;
}

/** Width of a line: one more for each tenfold rate. */
function widthOf(perSecond: number | null): number {
  return perSecond === null || perSecond <= 0 ? 1 : 2 + Math.max(0, Math.log10(perSecond));
}

function curve(x1: number, y1: number, x2: number, y2: number): string {
  const middle = (x1 + x2) / 2;
  return `M${x1},${y1} C${middle},${y1} ${middle},${y2} ${x2},${y2}`;
}
