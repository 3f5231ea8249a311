/**
 * Tells objects with content in enumerable properties from others. A Date, a Map, a Promise or an
 * object of a class with private fields has no such content. Taken for a message or for JSON, each
 * would be stored as an empty one.
 */

/** Whether a value is a literal, a result of JSON.parse, or an object without a prototype. */
export function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

/**
 * Whether an object that is not plain has content of its own: an instance of a class, with
 * enumerable properties. Excluded are arrays, the platform's objects (Date, Map, Set, Promise,
 * RegExp, Error, URL, typed arrays, boxed values …) and thenables.
 * @throws any error of reading it (a revoked Proxy)
 */
export function hasContent(value: object): boolean {
  if (Array.isArray(value) || Object.prototype.toString.call(value) !== '[object Object]')
    return false;
  if (isForeignPlain(value)) return true;
  if (typeof (value as { readonly then?: unknown }).then === 'function') return false;
  for (const key in value) if (isData(value, key)) return true;
  return false;
}

/** Whether an object is a literal of another realm (node:vm): its prototype is that realm's. */
function isForeignPlain(value: object): boolean {
  const prototype = Object.getPrototypeOf(value) as object | null;
  return (
    prototype !== null &&
    Object.getPrototypeOf(prototype) === null &&
    Object.hasOwn(prototype, 'isPrototypeOf')
  );
}

/**
 * Whether a property is data. Inherited methods are no data, whether they are enumerable or not.
 */
export function isData(value: object, key: string): boolean {
  return Object.hasOwn(value, key) || typeof (value as Record<string, unknown>)[key] !== 'function';
}

/**
 * Describes a value for an error message: `a Promise (an await is missing?)`, `string "x"`, `an
 * array`.
 */
export function describe(value: unknown): string {
  try {
    if (value === null) return 'null';
    if (typeof value === 'bigint') return `${value}n`;
    if (typeof value === 'symbol') return 'a symbol';
    if (typeof value === 'function')
      return `a function${value.name === '' ? '' : ` (${value.name.slice(0, 60)})`}`;
    if (typeof value === 'number') return `number ${Object.is(value, -0) ? '-0' : String(value)}`;
    if (typeof value !== 'object')
      return `${typeof value} ${JSON.stringify(value)?.slice(0, 60) ?? ''}`.trim();
    if (Array.isArray(value)) return 'an array';
    return describeObject(value);
  } catch {
    return 'an object that cannot be read (a revoked Proxy?)';
  }
}

function describeObject(value: object): string {
  if (value instanceof Date && Number.isNaN(value.getTime())) return 'an Invalid Date';
  const tag = Object.prototype.toString.call(value).slice(8, -1).slice(0, 60);
  if (tag !== 'Object') {
    const name = ArrayBuffer.isView(value) ? value.constructor.name : tag;
    const hint =
      typeof (value as { readonly then?: unknown }).then === 'function'
        ? ' (an await is missing?)'
        : '';
    return `${/^[AEIOU](?!RL)/.test(name) ? 'an' : 'a'} ${name}${hint}`;
  }
  if (isPlain(value) || isForeignPlain(value)) return 'an object';
  const { constructor } = value as { readonly constructor?: unknown };
  const of =
    typeof constructor === 'function' && constructor.name !== ''
      ? `an instance of ${constructor.name.slice(0, 60)}`
      : 'an object of a class';
  if (typeof (value as { readonly then?: unknown }).then === 'function')
    return `${of} with a method then (an await is missing?)`;
  return hasContent(value) ? of : `${of} without an enumerable property`;
}

/** An object with content that JSON writes as `{}`: a Map, a Set, a Promise, an Error. */
export interface Emptied {
  /** Path with dots between keys; '' for the value itself. */
  readonly path: string;
  readonly what: string;
}

/**
 * Returns the first object in a value whose content JSON leaves out.
 * @param value a value that JSON can write: it has no cycle
 * @param text its JSON; without `{}` in it there is nothing to find
 */
export function emptiedByJson(value: unknown, text: string): Emptied | null {
  return text.includes('{}') ? findEmptied(value, '') : null;
}

function findEmptied(value: unknown, path: string): Emptied | null {
  if (
    typeof value !== 'object' ||
    value === null ||
    ArrayBuffer.isView(value) ||
    typeof (value as { readonly toJSON?: unknown }).toJSON === 'function'
  )
    return null;
  if (value instanceof Number || value instanceof String || value instanceof Boolean) return null;
  if (!Array.isArray(value) && !isPlain(value) && !hasContent(value))
    return { path, what: describe(value) };
  for (const [key, one] of Object.entries(value)) {
    const found = findEmptied(one, path === '' ? key : `${path}.${key}`);
    if (found) return found;
  }
  return null;
}
