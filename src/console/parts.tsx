/** Parts that several pages show. */
import type { Child, FC } from 'hono/jsx';
import { isoTime } from '../core/rfc3339.ts';
import { count, text } from './page-figures.ts';

export type Tone = 'good' | 'warn' | 'bad' | 'quiet';

/** Outlines of the signs in a square of 10. Not every machine has a font with such signs. */
const SIGNS: Record<Tone, string> = {
  good: 'M1,5a4,4 0 1,0 8,0a4,4 0 1,0 -8,0',
  warn: 'M5,1L9.5,9H0.5Z',
  bad: 'M1,1H9V9H1Z',
  quiet: 'M2,4H8V6H2Z',
};

/** A state by colour, sign and word: nobody has to see the colour. */
export const State: FC<{ tone: Tone; children?: Child }> = ({ tone, children }) => (
  <span class={`state ${tone}`}>
    <svg class="sign" viewBox="0 0 10 10" width="10" height="10" aria-hidden="true">
      <path d={SIGNS[tone]} />
    </svg>{' '}
    {children}
  </span>
);

export const Empty: FC<{ children?: Child }> = ({ children }) => <p class="empty">{children}</p>;

/** A command that does the same as the page or the button. */
export const Command: FC<{ line: string }> = ({ line }) => (
  <p class="command">
    <code>{line}</code>{' '}
    <button type="button" class="copy" data-copy={line} hidden>
      Copy
    </button>
  </p>
);

export const TimeAt: FC<{ ms: number | null }> = ({ ms }) => {
  const iso = ms === null ? null : isoTime(ms);
  return iso === null ? <span>–</span> : <time datetime={iso}>{iso.replace('T', ' ')}</time>;
};

export interface TableColumn<Row> {
  readonly title: string;
  /** Whether it is a number, and stands at the right. */
  readonly right?: boolean;
  readonly cell: (row: Row) => Child;
}

/** A table that scrolls by itself where the screen is narrow. The first column names the row. */
export function Table<Row>({
  caption,
  columns,
  rows,
}: {
  readonly caption: string;
  readonly columns: readonly TableColumn<Row>[];
  readonly rows: readonly Row[];
}) {
  return (
    <div class="scroll" tabindex={0} role="region" aria-label={caption}>
      <table>
        <caption>{caption}</caption>
        <thead>
          <tr>
            {columns.map(({ title, right }) => (
              <th scope="col" class={right ? 'right' : undefined}>
                {title}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr>
              {columns.map(({ cell, right }, i) =>
                i === 0 ? (
                  <th scope="row">{cell(row)}</th>
                ) : (
                  <td class={right ? 'right' : undefined}>{cell(row)}</td>
                ),
              )}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** Names and values. */
export const Facts: FC<{ facts: readonly (readonly [name: string, value: Child])[] }> = ({
  facts,
}) => (
  <dl class="facts">
    {facts.map(([name, value]) => (
      <div>
        <dt>{name}</dt>
        <dd>{value}</dd>
      </div>
    ))}
  </dl>
);

/** Says how many rows of how many are shown. */
export const SeenOf: FC<{ shown: number; all: number; what: string }> = ({ shown, all, what }) => (
  <p class="muted">{`${count(shown)} of ${count(all)} ${what}`}</p>
);

/** A long text of user code: a stack, a message. */
export const Long: FC<{ value: string; max?: number }> = ({ value, max = 20_000 }) => (
  <pre tabindex={0}>{text(value, max)}</pre>
);

/**
 * A change: what it will do, with numbers; the command that does the same; the button.
 * `hidden` are the fields that the form sends.
 */
export const ChangeForm: FC<{
  title: string;
  action: string;
  allowed: boolean;
  refusal: string;
  command: string;
  hidden: Readonly<Record<string, string>>;
  danger?: boolean;
  children?: Child;
}> = ({ title, action, allowed, refusal, command, hidden, danger = false, children }) => (
  <details class="change">
    <summary>{`${title}…`}</summary>
    <div>
      {children}
      <Command line={command} />
      {allowed ? (
        <form method="post" action={action}>
          {Object.entries(hidden).map(([name, value]) => (
            <input type="hidden" name={name} value={value} />
          ))}
          <button type="submit" class={danger ? 'danger' : 'primary'}>
            {title}
          </button>
        </form>
      ) : (
        <p class="muted">{refusal}</p>
      )}
    </div>
  </details>
);
