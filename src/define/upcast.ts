/**
 * Upcasters convert events of older versions into today's. They are for changes that bytes alone
 * cannot bridge: a unit, a split name, an enum's meaning. Compatible changes need no upcaster,
 * because an event is decoded with the function's own schema anyway.
 */
import { ConfigError } from '../core/errors/input-errors.ts';
import { TYPE_PATTERN } from '../core/function-spec.ts';

/** One step. Versions are those of the event type in the registry (`millrace schema list`). */
export interface Upcast {
  readonly kind: 'millrace.upcast';
  readonly type: string;
  readonly from: number;
  readonly to: number;
  readonly convert: (data: Record<string, unknown>) => Record<string, unknown>;
}

/**
 * Declares one step for the events of a type that were written with version `from`. `convert` gets
 * their data, decoded with the schema they were written with. It returns the data in the form of
 * version `to`.
 *
 * Steps are chained (1 to 2, 2 to 3) until no step follows or the function's own version is
 * reached. The result must fit the schema of the last step's version.
 *
 * `convert` must be pure: it runs at every attempt and in every replay. An error that it throws
 * dead-letters the event (reason `schema`). The data's unset fields read as their zero; a spread
 * copies only the set ones.
 *
 * @throws ConfigError for an invalid type, version or function
 */
export function upcast<From = Record<string, unknown>, To = Record<string, unknown>>(
  type: string,
  versions: { readonly from: number; readonly to: number },
  convert: (data: From) => To,
): Upcast {
  const problems: string[] = [];
  const label = `upcast of ${JSON.stringify(type)}`;
  if (typeof type !== 'string' || !TYPE_PATTERN.test(type))
    problems.push(`${label}: the event type must match ${TYPE_PATTERN.source}`);
  const { from, to } = versions as { from: unknown; to: unknown };
  for (const [name, version] of [
    ['from', from],
    ['to', to],
  ] as const) {
    if (!Number.isInteger(version) || (version as number) < 1)
      problems.push(`${label}: ${name} must be a version from 1, got ${JSON.stringify(version)}`);
  }
  if (problems.length === 0 && (to as number) <= (from as number))
    problems.push(
      `${label}: it must lead to a later version, not from ${String(from)} to ${String(to)}`,
    );
  if (typeof convert !== 'function')
    problems.push(`${label}: its third argument must be a function`);
  if (problems.length > 0) throw new ConfigError(problems);
  return {
    kind: 'millrace.upcast',
    type,
    from: from as number,
    to: to as number,
    convert: convert as unknown as Upcast['convert'],
  };
}

/** Returns the steps from a version on, at most up to `upTo`; empty: none starts there. */
export function chainOf(
  upcasts: readonly Upcast[],
  type: string,
  version: number,
  upTo = Infinity,
): Upcast[] {
  const steps: Upcast[] = [];
  for (let at = version; ;) {
    const next = upcasts.find((one) => one.type === type && one.from === at && one.to <= upTo);
    if (!next) return steps;
    steps.push(next);
    at = next.to;
  }
}

/**
 * Applies the chain that starts at `version` to an event's data, as the runtime does. For tests
 * with golden events.
 * @throws TypeError when a step returns no object
 * @throws any error of a step
 */
export function applyUpcasts(
  upcasts: readonly Upcast[],
  type: string,
  version: number,
  data: unknown,
): unknown {
  let current = data;
  for (const step of chainOf(upcasts, type, version)) current = applyStep(step, current);
  return current;
}

export function applyStep(step: Upcast, data: unknown): Record<string, unknown> {
  const result: unknown = step.convert(data as Record<string, unknown>);
  if (typeof result !== 'object' || result === null || Array.isArray(result)) {
    throw new TypeError(
      `the upcast of "${step.type}" from version ${step.from} to ${step.to} must return the data as an object`,
    );
  }
  if (typeof (result as { then?: unknown }).then === 'function') {
    throw new TypeError(
      `the upcast of "${step.type}" from version ${step.from} to ${step.to} must not be async`,
    );
  }
  return result as Record<string, unknown>;
}

/** Returns the problems of a function's list of upcasts. */
export function upcastProblems(value: unknown, label: string, on: readonly string[]): string[] {
  if (!Array.isArray(value)) return [`${label}: upcasts must be a list of upcast(…)`];
  const problems: string[] = [];
  const seen = new Set<string>();
  for (const one of value as Partial<Upcast>[]) {
    if (one?.kind !== 'millrace.upcast') {
      problems.push(`${label}: upcasts must be made with upcast(…)`);
      continue;
    }
    const start = `${one.type} from version ${one.from}`;
    if (!on.includes(one.type as string))
      problems.push(`${label}: it has an upcast of ${one.type}, which it does not consume`);
    if (seen.has(start)) problems.push(`${label}: two upcasts of ${start}`);
    seen.add(start);
  }
  return problems;
}
