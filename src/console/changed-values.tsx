/** Changes of a state, a row or data by one event. */
import type { FC } from 'hono/jsx';
import type { ShownDifference } from '../payload/show-json.ts';
import type { Cut } from '../payload/shown-payload.ts';
import { text } from './page-figures.ts';
import { Value } from './shown-value.tsx';

/** @param whole way to a page with the whole value */
export const ChangedValues: FC<{
  title: string;
  difference: ShownDifference;
  whole: (cut: Cut) => string;
}> = ({ title, difference, whole }) => (
  <>
    <p class="muted">{`${title}: ${difference.changes.length === 0 ? 'nothing' : ''}`}</p>
    <ul class="tree">
      {difference.changes.map(({ path, before, after }) => (
        <li>
          <span class="name">{text(path.map(String).join('.')) || '(all)'}</span>{' '}
          {before === null ? null : (
            <del>
              <Value value={before} whole={whole} />
            </del>
          )}{' '}
          {after === null ? null : (
            <ins>
              <Value value={after} whole={whole} />
            </ins>
          )}
        </li>
      ))}
    </ul>
    {difference.more ? <p class="muted">… and more</p> : null}
  </>
);
