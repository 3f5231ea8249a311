/** Messages of a schema, prepared for a comparison. */
import type { FieldModel, MessageModel, Reserved } from './model.ts';

/** Reserved numbers and names of a message or enum. A look-up is quick, however many there are. */
export class Reservations {
  readonly reservedNames: ReadonlySet<string>;
  /** Ranges that do not touch each other, in order. */
  readonly #ranges: [from: number, to: number][] = [];

  constructor({ ranges, names }: Reserved) {
    this.reservedNames = new Set(names);
    for (const [from, to] of [...ranges].sort((a, b) => a[0] - b[0])) {
      const last = this.#ranges.at(-1);
      if (last && from <= last[1] + 1) last[1] = Math.max(last[1], to);
      else this.#ranges.push([from, to]);
    }
  }

  /** Whether every number of the range is reserved. */
  reserves(from: number, to = from): boolean {
    let [low, high] = [0, this.#ranges.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#ranges[middle] as [number, number])[1] < from) low = middle + 1;
      else high = middle;
    }
    const range = this.#ranges[low];
    return range !== undefined && range[0] <= from && to <= range[1];
  }
}

/**
 * A message whose fields are found by number and by name. A message may have thousands of fields.
 */
export class IndexedMessage extends Reservations {
  readonly syntax: string;
  readonly fields: readonly FieldModel[];
  readonly reserved: Reserved;
  readonly byNumber: ReadonlyMap<number, FieldModel>;
  readonly byName: ReadonlyMap<string, FieldModel>;
  /** Numbers of each oneof's fields, in order. */
  readonly oneofs = new Map<string, number[]>();
  readonly #known = new Map<string, number>();
  readonly #numbers = new Map<string, string>();

  constructor(message: MessageModel) {
    super(message.reserved);
    this.syntax = message.syntax;
    this.fields = message.fields;
    this.reserved = message.reserved;
    this.byNumber = new Map(message.fields.map((field) => [field.number, field]));
    this.byName = new Map(message.fields.map((field) => [field.name, field]));
    for (const { oneof, number } of message.fields) {
      if (oneof === null) continue;
      const numbers = this.oneofs.get(oneof);
      if (numbers) numbers.push(number);
      else this.oneofs.set(oneof, [number]);
    }
  }

  /** Number of the oneof's fields that the other version has too. */
  known(oneof: string, other: IndexedMessage): number {
    let count = this.#known.get(oneof);
    if (count === undefined)
      this.#known.set(
        oneof,
        (count = (this.oneofs.get(oneof) ?? []).filter((number) =>
          other.byNumber.has(number),
        ).length),
      );
    return count;
  }

  /** Numbers of the oneof's fields, as text. */
  numbersOf(oneof: string): string {
    let text = this.#numbers.get(oneof);
    if (text === undefined)
      this.#numbers.set(oneof, (text = (this.oneofs.get(oneof) ?? []).join(' ')));
    return text;
  }
}
