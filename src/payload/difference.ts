/** Changes between two plain JSON values. */

export interface ValueChange {
  /** Names of members and places in lists, from the value itself. */
  readonly path: readonly (string | number)[];
  readonly kind: 'added' | 'removed' | 'changed';
  /** Absent where it was added. */
  readonly before?: unknown;
  /** Absent where it was removed. */
  readonly after?: unknown;
}

export interface Difference {
  readonly changes: readonly ValueChange[];
  /** Whether there are further changes, or parts that were not compared. */
  readonly more: boolean;
}

/** Most changes, and most values that are compared. */
const MOST = { changes: 200, values: 20_000 } as const;
/** Deepest place that is compared. A stack of calls ends earlier than a state's JSON may. */
const DEPTH = 200;

/**
 * Compares two values as JSON.parse gives them, member by member. Lists are compared place by
 * place. undefined: there is no such value.
 * @param most default: 200 changes, after 20,000 compared values none. Nothing below 200 levels is
 *   compared.
 */
export function differenceOf(
  before: unknown,
  after: unknown,
  most: { readonly changes: number; readonly values: number } = MOST,
): Difference {
  const changes: ValueChange[] = [];
  let values = 0;
  let more = false;
  const compare = (a: unknown, b: unknown, path: readonly (string | number)[]): void => {
    if (more) return;
    if (++values > most.values || changes.length >= most.changes || path.length > DEPTH) {
      // A pair that is equal at a glance is no reason to stop.
      more = !Object.is(a, b);
      return;
    }
    if (Object.is(a, b)) return;
    if (a === undefined) changes.push({ path, kind: 'added', after: b });
    else if (b === undefined) changes.push({ path, kind: 'removed', before: a });
    else if (Array.isArray(a) && Array.isArray(b)) {
      for (let i = 0; i < Math.max(a.length, b.length); i++) compare(a[i], b[i], [...path, i]);
    } else if (isRecord(a) && isRecord(b)) {
      const names = new Set([...Object.keys(a), ...Object.keys(b)]);
      for (const name of names) compare(own(a, name), own(b, name), [...path, name]);
    } else changes.push({ path, kind: 'changed', before: a, after: b });
  };
  compare(before, after, []);
  return { changes, more };
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A member of the value itself: `constructor` and the like are members of every object. */
function own(value: Readonly<Record<string, unknown>>, name: string): unknown {
  return Object.hasOwn(value, name) ? value[name] : undefined;
}
