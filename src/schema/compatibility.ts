/**
 * May a new version of a schema stand beside the older ones? Structural rules for protobuf: what
 * Buf's WIRE rules ban and what decoding really does to the bytes, whichever is stricter, and
 * Confluent's rules where they ban a loss. docs/schemas.md prints the table. Sources:
 * https://buf.build/docs/breaking/rules (WIRE), and
 * https://protobuf.dev/programming-guides/proto3/#updating
 *
 * A finding breaks reading old events with the new schema (backward), new events with the old
 * schema (forward), or both.
 */
import type {
  EnumModel,
  FieldModel,
  Level,
  MessageModel,
  ParsedSchema,
  Reserved,
} from './model.ts';

export type Breaks = 'backward' | 'forward' | 'both';

export interface Finding {
  /** Id of the rule, as in docs/schemas.md. */
  readonly rule: string;
  /** `shop.v1.OrderCreated.total`. */
  readonly path: string;
  /** In the new version; empty where it has nothing. */
  readonly reader: string;
  /** In the older version. */
  readonly writer: string;
  readonly what: string;
  /** How to mend it. */
  readonly cure: string;
  readonly breaks: Breaks;
}

export interface Comparison {
  readonly findings: readonly Finding[];
  /** Not refused, but somebody should know. */
  readonly warnings: readonly Finding[];
}

/** Findings kept; a schema that breaks more than that is refused with these. */
export const MOST_FINDINGS = 1000;

/**
 * All findings of a level against older schemas, each once. Which of them the level speaks of is
 * the caller's choice.
 */
export class Judgement {
  readonly #direction: string;
  readonly #candidate: ParsedSchema;
  readonly #roots: readonly string[];
  readonly #findings = new Map<string, Finding>();
  readonly #warnings = new Map<string, Finding>();

  /** @param roots the messages that are compared, by their names */
  constructor(level: Level, candidate: ParsedSchema, roots: readonly string[]) {
    this.#direction = level.replace('_TRANSITIVE', '');
    this.#candidate = candidate;
    this.#roots = roots;
  }

  compareWith(older: ParsedSchema, roots: readonly string[]): void {
    if (this.#direction === 'NONE') return;
    const { findings, warnings } = compare(this.#candidate, this.#roots, older, roots);
    for (const finding of findings) {
      const counts =
        this.#direction === 'FULL' ||
        finding.breaks === 'both' ||
        finding.breaks === this.#direction.toLowerCase();
      if (counts) keep(this.#findings, finding);
    }
    for (const warning of warnings) keep(this.#warnings, warning);
  }

  verdict(): { readonly compatible: boolean } & Comparison {
    return {
      compatible: this.#findings.size === 0,
      findings: [...this.#findings.values()],
      warnings: [...this.#warnings.values()],
    };
  }
}

function keep(kept: Map<string, Finding>, finding: Finding): void {
  if (kept.size < MOST_FINDINGS)
    kept.set(`${finding.rule} ${finding.path} ${finding.writer}`, finding);
}

/**
 * What is in the way of decoding what `writer` wrote with `reader`: rules about the future
 * (reservations) are left out.
 */
export function canRead(
  reader: ParsedSchema,
  readerRoots: readonly string[],
  writer: ParsedSchema,
  writerRoots: readonly string[],
): readonly Finding[] {
  return compare(reader, readerRoots, writer, writerRoots).findings.filter(
    (finding) => finding.breaks !== 'forward' && !FUTURE.has(finding.rule),
  );
}
const FUTURE = new Set([
  'FIELD_REMOVED_UNRESERVED',
  'RESERVATION_REMOVED',
  'ENUM_VALUE_REMOVED_UNRESERVED',
  'ONEOF_RENAMED',
  'ONEOF_JOINED_ALONE',
]);

export function compare(
  now: ParsedSchema,
  nowRoots: readonly string[],
  before: ParsedSchema,
  beforeRoots: readonly string[],
): Comparison {
  const comparing = new Comparing(now, before);
  if (nowRoots.length === 1 && beforeRoots.length === 1 && nowRoots[0] !== beforeRoots[0]) {
    const [fresh, old] = [nowRoots[0] as string, beforeRoots[0] as string];
    comparing.report(
      'MESSAGE_RENAMED',
      old,
      fresh,
      old,
      `the message was ${old} and is ${fresh}`,
      `Name it ${old} again, package included, or declare a new event type`,
      'both',
    );
  } else {
    for (const root of beforeRoots) {
      if (Object.hasOwn(now.messages, root)) comparing.messages(root);
      else
        comparing.report(
          'MESSAGE_REMOVED',
          root,
          '',
          root,
          'the message is gone: its events can be read no more',
          'Put it back; leave the messages of old events where they are',
          'both',
        );
    }
  }
  return comparing;
}

class Comparing implements Comparison {
  readonly findings: Finding[] = [];
  readonly warnings: Finding[] = [];
  readonly #now: ParsedSchema;
  readonly #before: ParsedSchema;
  readonly #seen = new Set<string>();
  readonly #queue: string[] = [];

  constructor(now: ParsedSchema, before: ParsedSchema) {
    this.#now = now;
    this.#before = before;
  }

  report(
    rule: string,
    path: string,
    reader: string,
    writer: string,
    what: string,
    cure: string,
    breaks: Breaks,
  ): void {
    this.findings.push({ rule, path, reader, writer, what, cure, breaks });
  }
  #warn(
    rule: string,
    path: string,
    reader: string,
    writer: string,
    what: string,
    cure: string,
  ): void {
    this.warnings.push({ rule, path, reader, writer, what, cure, breaks: 'both' });
  }

  /** Both versions have a message of this name; what it leads to is compared too, once. */
  messages(name: string): void {
    this.#meet(name);
    for (let next = this.#queue.pop(); next !== undefined; next = this.#queue.pop())
      this.#message(next);
  }

  #meet(name: string): void {
    if (this.#seen.has(name)) return;
    this.#seen.add(name);
    this.#queue.push(name);
  }

  #message(name: string): void {
    const now = new Indexed(this.#now.messages[name] as MessageModel);
    const before = new Indexed(this.#before.messages[name] as MessageModel);
    if (now.syntax !== before.syntax) {
      this.report(
        'SYNTAX_CHANGED',
        name,
        now.syntax,
        before.syntax,
        `its file was ${before.syntax} and is ${now.syntax}: presence, packing and enums differ`,
        `Make the file ${before.syntax} again`,
        'both',
      );
    }
    for (const field of now.fields) {
      if (field.required && !before.byNumber.get(field.number)?.required) {
        this.report(
          'REQUIRED_ADDED',
          `${name}.${field.name}`,
          'required',
          '',
          'a required field: events without it can never be read again',
          'Make it optional',
          'both',
        );
      }
    }
    for (const old of before.fields) this.#field(name, now, before, old);
    this.#newInOneofs(name, now, before);
    this.#reservations(name, now, before.reserved);
  }

  #field(message: string, now: Indexed, before: Indexed, old: FieldModel): void {
    const path = `${message}.${old.name}`;
    const fresh = now.byNumber.get(old.number);
    const named = now.byName.get(old.name);
    const moved = named !== undefined && named.number !== old.number;
    if (moved) {
      this.report(
        'FIELD_RENUMBERED',
        path,
        `= ${named.number}`,
        `= ${old.number}`,
        `it was number ${old.number} and is number ${named.number}: what was written is not found again`,
        `Give it number ${old.number} again; a new number needs a new name, and "reserved ${old.number};"`,
        'both',
      );
    }
    if (!fresh) {
      if (old.required)
        this.report(
          'REQUIRED_REMOVED',
          path,
          '',
          'required',
          'a required field is gone: older readers refuse events without it',
          'Put it back',
          'both',
        );
      const kept = now.reserves(old.number) && now.reservedNames.has(old.name);
      if (!kept && !moved) {
        this.report(
          'FIELD_REMOVED_UNRESERVED',
          path,
          '',
          shapeOf(old),
          `field ${old.number} is gone, and its number and name are not both reserved: somebody may use them again`,
          `Add: reserved ${old.number}; reserved "${old.name}";`,
          'both',
        );
      }
      if (old.oneof !== null && now.oneofs.has(old.oneof)) {
        this.report(
          'ONEOF_MEMBER_REMOVED',
          path,
          '',
          `oneof ${old.oneof}`,
          `it is gone from oneof ${old.oneof}: old events that set it read as if nothing were set`,
          'Put it back, deprecated',
          'backward',
        );
      }
      return;
    }
    if (fresh.name !== old.name && !moved)
      this.#warn(
        'FIELD_RENAMED',
        path,
        fresh.name,
        old.name,
        `field ${old.number} was ${old.name} and is ${fresh.name}: the bytes are the same, handlers and JSON are not`,
        `Name it ${old.name} again if JSON or code outside relies on it`,
      );
    else if (fresh.jsonName !== old.jsonName)
      this.#warn(
        'JSON_NAME_CHANGED',
        path,
        fresh.jsonName ?? '',
        old.jsonName ?? '',
        'its name in JSON has changed',
        'Keep json_name where JSON relies on it',
      );
    if (old.required && !fresh.required)
      this.report(
        'REQUIRED_REMOVED',
        path,
        shapeOf(fresh),
        'required',
        'it was required and is not: older readers refuse events without it',
        'Leave it required, and always set it',
        'both',
      );
    if (fresh.default !== old.default)
      this.report(
        'DEFAULT_CHANGED',
        path,
        fresh.default ?? 'none',
        old.default ?? 'none',
        'its default has changed: old events without it change their meaning',
        `Make the default ${old.default ?? 'none'} again`,
        'both',
      );
    this.#type(path, old, fresh);
    this.#oneof(path, now, before, old, fresh);
    const single = !fresh.repeated && !old.repeated && fresh.mapKey === null && old.mapKey === null;
    if (
      single &&
      fresh.presence !== old.presence &&
      fresh.oneof === null &&
      old.oneof === null &&
      fresh.kind === old.kind &&
      fresh.kind !== 'message'
    ) {
      this.#warn(
        'PRESENCE_CHANGED',
        path,
        fresh.presence ? 'optional' : 'implicit',
        old.presence ? 'optional' : 'implicit',
        'a zero that was written reads as unset, or the other way round',
        'Treat unset and zero alike in handlers',
      );
    }
  }

  #type(path: string, old: FieldModel, fresh: FieldModel): void {
    const was = shapeOf(old);
    const is = shapeOf(fresh);
    const cure = `Make it ${was} again; give what is new a new field with a new number`;
    const changed = (rule: string, what: string, breaks: Breaks): void =>
      this.report(rule, path, is, was, what, cure, breaks);
    if ((old.mapKey === null) !== (fresh.mapKey === null))
      return changed('FIELD_KIND_CHANGED', `it was ${was} and is ${is}`, 'both');
    if (old.mapKey !== null && old.mapKey !== fresh.mapKey)
      changed(
        'MAP_KEY_CHANGED',
        `its keys were ${old.mapKey} and are ${String(fresh.mapKey)}`,
        'both',
      );
    if (old.mapKey === null && old.repeated !== fresh.repeated) {
      if (fresh.repeated)
        changed(
          'FIELD_BECAME_REPEATED',
          `it was single and is repeated: older readers see one of the values, none of them, or all merged`,
          'forward',
        );
      else
        changed(
          'FIELD_BECAME_SINGLE',
          `it was repeated and is single: of old events one value is read, none, or all merged`,
          'backward',
        );
    }
    if (old.kind !== fresh.kind)
      return changed('FIELD_KIND_CHANGED', `it was ${was} and is ${is}`, 'both');
    if (old.kind === 'message') {
      if (old.type !== fresh.type)
        changed(
          'FIELD_MESSAGE_CHANGED',
          `its message was ${old.type} and is ${fresh.type}`,
          'both',
        );
      else if (
        Object.hasOwn(this.#now.messages, old.type) &&
        Object.hasOwn(this.#before.messages, old.type)
      )
        this.#meet(old.type);
      return;
    }
    if (old.kind === 'enum') {
      if (old.type !== fresh.type)
        changed('FIELD_ENUM_CHANGED', `its enum was ${old.type} and is ${fresh.type}`, 'both');
      else this.#enums(old.type);
      return;
    }
    if (old.type === fresh.type) return;
    const breaks = scalarChange(old.type, fresh.type);
    const what = `it was ${old.type} and is ${fresh.type}`;
    if (breaks === 'forward')
      changed(
        'FIELD_TYPE_WIDENED',
        `${what}: older readers cut off, or refuse, what does not fit`,
        breaks,
      );
    else if (breaks === 'backward')
      changed(
        'FIELD_TYPE_NARROWED',
        `${what}: of old events what does not fit is cut off, or refused`,
        breaks,
      );
    else
      changed(
        'FIELD_TYPE_CHANGED',
        `${what}: the bytes of the one are no value of the other`,
        breaks,
      );
  }

  #oneof(path: string, now: Indexed, before: Indexed, old: FieldModel, fresh: FieldModel): void {
    if (old.oneof === fresh.oneof) return;
    const was = old.oneof === null ? 'in no oneof' : `oneof ${old.oneof}`;
    const is = fresh.oneof === null ? 'in no oneof' : `oneof ${fresh.oneof}`;
    const report = (rule: string, what: string, cure: string, breaks: Breaks): void =>
      this.report(rule, path, is, was, what, cure, breaks);
    if (old.oneof === null) {
      // With others that were there before: several may be set in an old event.
      if (before.oneofs.has(fresh.oneof as string) || now.known(fresh.oneof as string, before) > 1)
        report(
          'ONEOF_JOINED',
          `it is ${is} now: of old events that set several of its fields only one is read`,
          'Leave it outside; put a new field into the oneof',
          'backward',
        );
      else
        report(
          'ONEOF_JOINED_ALONE',
          `it is ${is} now, which Buf's WIRE rules ban`,
          'Leave it outside; put a new field into the oneof',
          'both',
        );
    } else if (fresh.oneof === null) {
      report(
        'ONEOF_LEFT',
        `it was ${was} and is in none: older readers that find two set keep one`,
        `Leave it in ${was}`,
        'forward',
      );
    } else if (before.numbersOf(old.oneof) === now.numbersOf(fresh.oneof)) {
      report(
        'ONEOF_RENAMED',
        `its oneof was ${old.oneof} and is ${fresh.oneof}, which Buf's WIRE rules ban`,
        `Name the oneof ${old.oneof} again`,
        'both',
      );
    } else {
      report(
        'ONEOF_CHANGED',
        `it moved from oneof ${old.oneof} to ${fresh.oneof}`,
        `Leave it in ${was}`,
        'both',
      );
    }
  }

  #newInOneofs(name: string, now: Indexed, before: Indexed): void {
    for (const field of now.fields) {
      if (
        field.oneof === null ||
        before.byNumber.has(field.number) ||
        !before.oneofs.has(field.oneof)
      )
        continue;
      this.#warn(
        'ONEOF_MEMBER_ADDED',
        `${name}.${field.name}`,
        `oneof ${field.oneof}`,
        '',
        `it is new in oneof ${field.oneof}: to older readers nothing of it is set`,
        'Give older handlers a default branch first',
      );
    }
  }

  #enums(name: string): void {
    if (this.#seen.has(name)) return;
    this.#seen.add(name);
    const now = this.#now.enums[name] as EnumModel;
    const before = this.#before.enums[name] as EnumModel;
    if (now.syntax !== before.syntax)
      this.report(
        'SYNTAX_CHANGED',
        name,
        now.syntax,
        before.syntax,
        `its file was ${before.syntax} and is ${now.syntax}`,
        `Make the file ${before.syntax} again`,
        'both',
      );
    const names = new Map(now.values);
    const nameOf = new Map(now.values.map(([value, number]) => [number, value]));
    const reserved = new Reservations(now.reserved);
    for (const [value, number] of before.values) {
      const path = `${name}.${value}`;
      const moved = names.get(value);
      if (!nameOf.has(number)) {
        if (!reserved.reserves(number))
          this.report(
            'ENUM_VALUE_REMOVED_UNRESERVED',
            path,
            '',
            String(number),
            `value ${number} is gone and its number is not reserved: somebody may use it again`,
            `Add: reserved ${number}; reserved "${value}";`,
            'both',
          );
      } else if (moved === undefined)
        this.#warn(
          'ENUM_VALUE_RENAMED',
          path,
          nameOf.get(number) ?? '',
          value,
          `value ${number} has another name: the bytes are the same, JSON is not`,
          `Keep the name ${value}, or allow_alias`,
        );
      else if (moved !== number)
        this.report(
          'ENUM_VALUE_RENUMBERED',
          path,
          String(moved),
          String(number),
          `${value} was ${number} and is ${moved}`,
          `Give ${value} the number ${number} again`,
          'both',
        );
    }
    this.#reservations(name, reserved, before.reserved);
  }

  #reservations(path: string, now: Reservations, before: Reserved): void {
    for (const [from, to] of before.ranges) {
      const numbers = from === to ? String(from) : `${from} to ${to}`;
      if (!now.reserves(from, to))
        this.report(
          'RESERVATION_REMOVED',
          path,
          '',
          numbers,
          'a number that was reserved no longer is: an old field had it',
          `Add: reserved ${numbers};`,
          'both',
        );
    }
    for (const name of before.names) {
      if (!now.reservedNames.has(name))
        this.report(
          'RESERVATION_REMOVED',
          path,
          '',
          `"${name}"`,
          'a name that was reserved no longer is: an old field had it',
          `Add: reserved "${name}";`,
          'both',
        );
    }
  }
}

function shapeOf(field: FieldModel): string {
  if (field.mapKey !== null) return `map<${field.mapKey}, ${field.type}>`;
  return `${field.required ? 'required ' : field.repeated ? 'repeated ' : ''}${field.type}`;
}

/** Wider on the right, with the same bytes for what fits. */
const WIDENS: ReadonlySet<string> = new Set([
  'int32 int64',
  'uint32 uint64',
  'sint32 sint64',
  'string bytes',
]);

function scalarChange(from: string, to: string): Breaks {
  if (WIDENS.has(`${from} ${to}`)) return 'forward';
  return WIDENS.has(`${to} ${from}`) ? 'backward' : 'both';
}

/** Numbers and names that are reserved, found quickly whatever their count. */
class Reservations {
  readonly reservedNames: ReadonlySet<string>;
  /** Apart from each other, in order. */
  readonly #ranges: [from: number, to: number][] = [];

  constructor({ ranges, names }: Reserved) {
    this.reservedNames = new Set(names);
    for (const [from, to] of [...ranges].sort((a, b) => a[0] - b[0])) {
      const last = this.#ranges.at(-1);
      if (last && from <= last[1] + 1) last[1] = Math.max(last[1], to);
      else this.#ranges.push([from, to]);
    }
  }

  /** Every number of the range. */
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

/** A message whose fields are found by number and name: it may have thousands. */
class Indexed extends Reservations {
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

  /** How many fields of the oneof another version has too. */
  known(oneof: string, other: Indexed): number {
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

  /** As text. */
  numbersOf(oneof: string): string {
    let text = this.#numbers.get(oneof);
    if (text === undefined)
      this.#numbers.set(oneof, (text = (this.oneofs.get(oneof) ?? []).join(' ')));
    return text;
  }
}
