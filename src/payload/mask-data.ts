/** Masks decoded data (`event.data`), for programs that print it in its own form. */
import type { FieldShape, MessageShape } from '../wire/message-shape.ts';

export interface MaskedData {
  /** A copy. Masked values are null. */
  readonly data: unknown;
  /** Paths of the masked values, in the form of `items.0.email`. */
  readonly masked: readonly string[];
}

/**
 * Masks data in the form that functions see. The content of a google.protobuf.Any is bytes there,
 * so it is masked as a whole.
 * @param also other versions of the schema: a field is masked where any of them masks it
 */
export function maskData(
  shape: MessageShape,
  data: unknown,
  also: readonly MessageShape[] = [],
): MaskedData {
  const masked: string[] = [];
  const mask = (path: string): null => {
    masked.push(path);
    return null;
  };
  const message = (
    of: MessageShape,
    others: readonly MessageShape[],
    value: unknown,
    path: string,
  ): unknown => {
    if (typeof value !== 'object' || value === null) return value;
    const fields = new Map([...of.fields.values()].map((field) => [field.name, field]));
    return Object.fromEntries(
      Object.entries(value).map(([name, its]) => {
        const field = fields.get(name);
        const at = path === '' ? name : `${path}.${name}`;
        const isOpaque = of.name === 'google.protobuf.Any' && name === 'value';
        // A name that the schema does not have comes from no decoder. It is not shown.
        if (!field || isOpaque) return [name, mask(at)];
        const same = others.flatMap((other) => other.fields.get(field.number) ?? []);
        if (field.masked || same.some(({ masked }) => masked)) return [name, mask(at)];
        return [name, values(field, same, its, at)];
      }),
    );
  };
  const values = (
    field: FieldShape,
    same: readonly FieldShape[],
    value: unknown,
    path: string,
  ): unknown => {
    const inner = field.message();
    if (inner === null || typeof value !== 'object' || value === null) return value;
    const others = same.flatMap((other) => other.message() ?? []);
    const one = (each: unknown, at: string): unknown => message(inner, others, each, at);
    if (field.mapKey !== null)
      return Object.fromEntries(
        Object.entries(value).map(([key, each]) => [key, one(each, `${path}.${key}`)]),
      );
    if (Array.isArray(value)) return value.map((each, i) => one(each, `${path}.${i}`));
    return one(value, path);
  };
  return { data: message(shape, also, data, ''), masked };
}
