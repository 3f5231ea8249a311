/** How objects that are handed to users look in a log: what they are, not what they are made of. */
import type { InspectOptions } from 'node:util';

/** util.inspect.custom, without loading node:util. */
export const INSPECT: unique symbol = Symbol.for('nodejs.util.inspect.custom') as never;

type Inspect = (value: unknown, options: InspectOptions) => string;

/** For a method [INSPECT]: the class's name and these fields. Without a name: as a plain object. */
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
 * Gives a plain object that look, for util.inspect and for JSON; its own fields stay as they are.
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
