/**
 * Shown payloads as plain JSON values, to be compared (difference.ts) or written by programs. Plain
 * values cannot tell a masked value from others, so their paths come along.
 */
import type { Shown } from './shown-payload.ts';

export interface PlainShown {
  /** Masked and left out values are null. Integers beyond 2^53 are texts, as in protobuf's JSON. */
  readonly data: unknown;
  /** Paths of masked values, in the form of `order.items.0.email`. */
  readonly masked: readonly string[];
  /** Whether all that is not masked is whole in `data`. */
  readonly complete: boolean;
}

export function plainShown(shown: Shown): PlainShown {
  const masked: string[] = [];
  let complete = true;
  const convert = (value: Shown, path: string): unknown => {
    const below = (name: string | number): string => (path === '' ? `${name}` : `${path}.${name}`);
    switch (value.kind) {
      case 'message':
        if (value.more > 0) complete = false;
        return Object.fromEntries(
          value.fields.map(({ name, value: its }) => [name, convert(its, below(name))]),
        );
      case 'list':
        if (value.items.length < value.size) complete = false;
        return value.items.map((item, i) => convert(item, below(i)));
      case 'map':
        if (value.entries.length < value.size) complete = false;
        return Object.fromEntries(
          value.entries.map(({ key, value: its }) => {
            const name = String(convert(key, path));
            return [name, convert(its, below(name))];
          }),
        );
      case 'text':
      case 'bytes':
        if (value.cut) complete = false;
        return value.kind === 'text' ? value.text : value.base64;
      case 'number':
        return numberOf(value.type, value.text);
      case 'bool':
        return value.value;
      case 'enum':
        return value.name ?? value.number;
      case 'time':
      case 'duration':
        return value.text;
      case 'null':
        return null;
      case 'masked':
        masked.push(path);
        return null;
      default:
        complete = false;
        return null;
    }
  };
  const data = convert(shown, '');
  return { data, masked, complete };
}

/** JSON has no NaN, infinities or negative zero; a number would round a large integer. */
function numberOf(type: string, text: string): number | string {
  const number = Number(text);
  if (!Number.isFinite(number) || Object.is(number, -0)) return text;
  return type.endsWith('64') && !Number.isSafeInteger(number) ? text : number;
}
