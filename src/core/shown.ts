/**
 * Appearance in logs of objects that users hold: name and state instead of internals. Appearance in
 * errors of values that users give.
 */
import type { InspectOptions } from 'node:util';

/** util.inspect.custom, without loading node:util. */
export const INSPECT: unique symbol = Symbol.for('nodejs.util.inspect.custom') as never;

type Inspect = (value: unknown, options: InspectOptions) => string;

/**
 * Text for a method [INSPECT]: the class's name and these fields. Without a name: a plain object.
 */
export function shown(
  name: string,
  fields: object,
  options: InspectOptions,
  inspect: Inspect,
): string {
  const text = inspect({ ...fields }, options);
  return name === '' ? text : `${name} ${text}`;
}

/**
 * Defines that appearance on a plain object, for util.inspect and for JSON. The object's own fields
 * stay as they are.
 */
export function showAs<T extends object>(target: T, name: string, fields: () => object): T {
  Object.defineProperties(target, {
    [INSPECT]: {
      value: (_: number, options: InspectOptions, inspect: Inspect) =>
        shown(name, fields(), options, inspect),
      enumerable: false,
    },
    toJSON: { value: fields, enumerable: false },
  });
  return target;
}

/** Whether a value is an object of options: not an array, a Map or a Promise. */
export function isOptions(value: unknown): value is Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return (
    prototype === null ||
    prototype === Object.prototype ||
    Object.getPrototypeOf(prototype) === null
  );
}

/** Returns the value as written in code; the name of its class, where it has no such form. */
export function shownValue(value: unknown): string {
  if (typeof value === 'bigint') return `${value}n`;
  if (typeof value === 'object' && value !== null && !isOptions(value) && !Array.isArray(value))
    return `a ${value.constructor?.name ?? 'object'}`;
  try {
    return JSON.stringify(value) ?? String(value);
  } catch {
    return Object.prototype.toString.call(value);
  }
}
