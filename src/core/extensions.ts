/**
 * Rules for extension attributes, as CloudEvents 1.0 defines them (section "Attributes"). Only this
 * file decides which names and values are possible. Publishers refuse others, readers dead-letter
 * them.
 */

/** Extension attributes by name. */
export type Extensions = Readonly<Record<string, string>>;

/** Names that CloudEvents gives to the event itself, in its JSON format too. */
export const EVENT_ATTRIBUTES: ReadonlySet<string> = new Set([
  'specversion',
  'id',
  'source',
  'type',
  'subject',
  'time',
  'datacontenttype',
  'dataschema',
  'data',
  'data_base64',
]);

const NAME = /^[a-z0-9]{1,256}$/;

/** Returns the first invalid extension and its problem; null: all are valid. */
export function extensionProblem(
  extensions: unknown,
): { readonly path: string; readonly what: string } | null {
  if (!isPlain(extensions)) {
    return { path: 'extensions', what: 'a plain object of names and strings was expected' };
  }
  for (const name of Object.keys(extensions)) {
    const what = nameProblem(name) ?? valueProblem(extensions[name]);
    if (what !== null) return { path: `extensions.${name.slice(0, 60)}`, what };
  }
  return null;
}

/**
 * Whether a value is a plain object. A Map or a class instance keeps its content elsewhere, and
 * would be written empty.
 */
function isPlain(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

function nameProblem(name: string): string | null {
  if (EVENT_ATTRIBUTES.has(name)) return 'CloudEvents gives this name to the event itself';
  return NAME.test(name) ? null : 'names of extensions are lower case letters and digits only';
}

/** The writer finds lone surrogates, because it looks at each character anyway. */
function valueProblem(value: unknown): string | null {
  if (typeof value === 'string') return null;
  return `a string was expected, got ${value === null ? 'null' : typeof value}. Convert it first`;
}
