/**
 * May a new version of a schema stand beside the older ones? Structural rules for protobuf: what Buf's WIRE rules ban and
 * what decoding really does to the bytes, whichever is stricter, and Confluent's rules where they ban a loss. docs/schemas.md
 * prints the table. Sources: https://buf.build/docs/breaking/rules (WIRE), and
 * https://protobuf.dev/programming-guides/proto3/#updating
 *
 * A finding breaks reading old events with the new schema (backward), new events with the old schema (forward), or both.
 */
import type { EnumModel, FieldModel, Level, MessageModel, ParsedSchema, Reserved } from './model.ts';

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

/**
 * All findings of a level, against all of the older schemas it speaks of (which ones is the caller's choice), each once.
 * @param roots of the candidate and of each older schema: the messages that are compared, by their names
 */
export function judge(
  level: Level, candidate: ParsedSchema, candidateRoots: readonly string[], older: readonly { readonly schema: ParsedSchema; readonly roots: readonly string[] }[],
): { readonly compatible: boolean } & Comparison {
  const findings = new Map<string, Finding>();
  const warnings = new Map<string, Finding>();
  const direction = level.replace('_TRANSITIVE', '');
  if (direction !== 'NONE') {
    for (const one of older) {
      const compared = compare(candidate, candidateRoots, one.schema, one.roots);
      for (const finding of compared.findings) {
        const counts = direction === 'FULL' || finding.breaks === 'both' || finding.breaks === direction.toLowerCase();
        if (counts) findings.set(keyOf(finding), finding);
      }
      for (const warning of compared.warnings) warnings.set(keyOf(warning), warning);
    }
  }
  return { compatible: findings.size === 0, findings: [...findings.values()], warnings: [...warnings.values()] };
}

/** What is in the way of decoding what `writer` wrote with `reader`: rules about the future (reservations) are left out. */
export function canRead(reader: ParsedSchema, readerRoots: readonly string[], writer: ParsedSchema, writerRoots: readonly string[]): readonly Finding[] {
  return compare(reader, readerRoots, writer, writerRoots).findings.filter((finding) => finding.breaks !== 'forward' && !FUTURE.has(finding.rule));
}
const FUTURE = new Set(['FIELD_REMOVED_UNRESERVED', 'RESERVATION_REMOVED', 'ENUM_VALUE_REMOVED_UNRESERVED', 'ONEOF_RENAMED', 'ONEOF_JOINED_ALONE']);

const keyOf = (finding: Finding): string => `${finding.rule} ${finding.path} ${finding.writer}`;

export function compare(now: ParsedSchema, nowRoots: readonly string[], before: ParsedSchema, beforeRoots: readonly string[]): Comparison {
  const comparing = new Comparing(now, before);
  if (nowRoots.length === 1 && beforeRoots.length === 1 && nowRoots[0] !== beforeRoots[0]) {
    const [fresh, old] = [nowRoots[0] as string, beforeRoots[0] as string];
    comparing.report('MESSAGE_RENAMED', old, fresh, old, `the message was ${old} and is ${fresh}`, `Name it ${old} again, package included, or declare a new event type`, 'both');
  } else {
    for (const root of beforeRoots) {
      if (root in now.messages) comparing.messages(root);
      else comparing.report('MESSAGE_REMOVED', root, '', root, 'the message is gone: its events can be read no more', 'Put it back; leave the messages of old events where they are', 'both');
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

  constructor(now: ParsedSchema, before: ParsedSchema) {
    this.#now = now;
    this.#before = before;
  }

  report(rule: string, path: string, reader: string, writer: string, what: string, cure: string, breaks: Breaks): void {
    this.findings.push({ rule, path, reader, writer, what, cure, breaks });
  }
  #warn(rule: string, path: string, reader: string, writer: string, what: string, cure: string): void {
    this.warnings.push({ rule, path, reader, writer, what, cure, breaks: 'both' });
  }

  /** Both versions have a message of this name; what it leads to is compared too, once. */
  messages(name: string): void {
    if (this.#seen.has(name)) return;
    this.#seen.add(name);
    const now = this.#now.messages[name] as MessageModel;
    const before = this.#before.messages[name] as MessageModel;
    if (now.syntax !== before.syntax) {
      this.report('SYNTAX_CHANGED', name, now.syntax, before.syntax, `its file was ${before.syntax} and is ${now.syntax}: presence, packing and enums differ`, `Make the file ${before.syntax} again`, 'both');
    }
    for (const field of now.fields) {
      if (field.required && !before.fields.some((old) => old.number === field.number && old.required)) {
        this.report('REQUIRED_ADDED', `${name}.${field.name}`, 'required', '', 'a required field: events without it can never be read again', 'Make it optional', 'both');
      }
    }
    for (const old of before.fields) this.#field(name, now, old);
    this.#newInOneofs(name, now, before);
    this.#reservations(name, now.reserved, before.reserved);
  }

  #field(message: string, now: MessageModel, old: FieldModel): void {
    const path = `${message}.${old.name}`;
    const fresh = now.fields.find((field) => field.number === old.number);
    const moved = now.fields.find((field) => field.name === old.name && field.number !== old.number);
    if (moved) {
      this.report('FIELD_RENUMBERED', path, `= ${moved.number}`, `= ${old.number}`, `it was number ${old.number} and is number ${moved.number}: what was written is not found again`, `Give it number ${old.number} again; a new number needs a new name, and "reserved ${old.number};"`, 'both');
    }
    if (!fresh) {
      if (old.required) this.report('REQUIRED_REMOVED', path, '', 'required', 'a required field is gone: older readers refuse events without it', 'Put it back', 'both');
      const kept = numberReserved(now.reserved, old.number) && now.reserved.names.includes(old.name);
      if (!kept && !moved) {
        this.report('FIELD_REMOVED_UNRESERVED', path, '', shapeOf(old), `field ${old.number} is gone, and its number and name are not both reserved: somebody may use them again`, `Add: reserved ${old.number}; reserved "${old.name}";`, 'both');
      }
      if (old.oneof !== null && now.fields.some((field) => field.oneof === old.oneof)) {
        this.report('ONEOF_MEMBER_REMOVED', path, '', `oneof ${old.oneof}`, `it is gone from oneof ${old.oneof}: old events that set it read as if nothing were set`, 'Put it back, deprecated', 'backward');
      }
      return;
    }
    if (fresh.name !== old.name && !moved) this.#warn('FIELD_RENAMED', path, fresh.name, old.name, `field ${old.number} was ${old.name} and is ${fresh.name}: the bytes are the same, handlers and JSON are not`, `Name it ${old.name} again if JSON or code outside relies on it`);
    else if (fresh.jsonName !== old.jsonName) this.#warn('JSON_NAME_CHANGED', path, fresh.jsonName ?? '', old.jsonName ?? '', 'its name in JSON has changed', 'Keep json_name where JSON relies on it');
    if (old.required && !fresh.required) this.report('REQUIRED_REMOVED', path, shapeOf(fresh), 'required', 'it was required and is not: older readers refuse events without it', 'Leave it required, and always set it', 'both');
    if (fresh.default !== old.default) this.report('DEFAULT_CHANGED', path, fresh.default ?? 'none', old.default ?? 'none', 'its default has changed: old events without it change their meaning', `Make the default ${old.default ?? 'none'} again`, 'both');
    this.#type(path, old, fresh);
    this.#oneof(path, message, now, old, fresh);
    const single = !fresh.repeated && !old.repeated && fresh.mapKey === null && old.mapKey === null;
    if (single && fresh.presence !== old.presence && fresh.oneof === null && old.oneof === null && fresh.kind === old.kind && fresh.kind !== 'message') {
      this.#warn('PRESENCE_CHANGED', path, fresh.presence ? 'optional' : 'implicit', old.presence ? 'optional' : 'implicit', 'a zero that was written reads as unset, or the other way round', 'Treat unset and zero alike in handlers');
    }
  }

  #type(path: string, old: FieldModel, fresh: FieldModel): void {
    const was = shapeOf(old);
    const is = shapeOf(fresh);
    const cure = `Make it ${was} again; give what is new a new field with a new number`;
    const changed = (rule: string, what: string, breaks: Breaks): void => this.report(rule, path, is, was, what, cure, breaks);
    if ((old.mapKey === null) !== (fresh.mapKey === null)) return changed('FIELD_KIND_CHANGED', `it was ${was} and is ${is}`, 'both');
    if (old.mapKey !== null && old.mapKey !== fresh.mapKey) changed('MAP_KEY_CHANGED', `its keys were ${old.mapKey} and are ${String(fresh.mapKey)}`, 'both');
    if (old.mapKey === null && old.repeated !== fresh.repeated) {
      if (fresh.repeated) changed('FIELD_BECAME_REPEATED', `it was single and is repeated: older readers see one of the values, none of them, or all merged`, 'forward');
      else changed('FIELD_BECAME_SINGLE', `it was repeated and is single: of old events one value is read, none, or all merged`, 'backward');
    }
    if (old.kind !== fresh.kind) return changed('FIELD_KIND_CHANGED', `it was ${was} and is ${is}`, 'both');
    if (old.kind === 'message') {
      if (old.type !== fresh.type) changed('FIELD_MESSAGE_CHANGED', `its message was ${old.type} and is ${fresh.type}`, 'both');
      else if (old.type in this.#now.messages && old.type in this.#before.messages) this.messages(old.type);
      return;
    }
    if (old.kind === 'enum') {
      if (old.type !== fresh.type) changed('FIELD_ENUM_CHANGED', `its enum was ${old.type} and is ${fresh.type}`, 'both');
      else this.#enums(old.type);
      return;
    }
    if (old.type === fresh.type) return;
    const breaks = scalarChange(old.type, fresh.type);
    const what = `it was ${old.type} and is ${fresh.type}`;
    if (breaks === 'forward') changed('FIELD_TYPE_WIDENED', `${what}: older readers cut off, or refuse, what does not fit`, breaks);
    else if (breaks === 'backward') changed('FIELD_TYPE_NARROWED', `${what}: of old events what does not fit is cut off, or refused`, breaks);
    else changed('FIELD_TYPE_CHANGED', `${what}: the bytes of the one are no value of the other`, breaks);
  }

  #oneof(path: string, message: string, now: MessageModel, old: FieldModel, fresh: FieldModel): void {
    if (old.oneof === fresh.oneof) return;
    const before = this.#before.messages[message] as MessageModel;
    const was = old.oneof === null ? 'in no oneof' : `oneof ${old.oneof}`;
    const is = fresh.oneof === null ? 'in no oneof' : `oneof ${fresh.oneof}`;
    const report = (rule: string, what: string, cure: string, breaks: Breaks): void => this.report(rule, path, is, was, what, cure, breaks);
    if (old.oneof === null) {
      const mates = now.fields.filter((field) => field.oneof === fresh.oneof && field.number !== fresh.number);
      const metBefore = mates.filter((mate) => before.fields.some((field) => field.number === mate.number));
      const existed = before.fields.some((field) => field.oneof === fresh.oneof);
      if (existed || metBefore.length > 0) report('ONEOF_JOINED', `it is ${is} now: of old events that set several of its fields only one is read`, 'Leave it outside; put a new field into the oneof', 'backward');
      else report('ONEOF_JOINED_ALONE', `it is ${is} now, which Buf's WIRE rules ban`, 'Leave it outside; put a new field into the oneof', 'both');
    } else if (fresh.oneof === null) {
      report('ONEOF_LEFT', `it was ${was} and is in none: older readers that find two set keep one`, `Leave it in ${was}`, 'forward');
    } else {
      const mates = (fields: readonly FieldModel[], oneof: string): string => fields.filter((field) => field.oneof === oneof).map((field) => field.number).sort((a, b) => a - b).join(' ');
      if (mates(before.fields, old.oneof) === mates(now.fields, fresh.oneof)) report('ONEOF_RENAMED', `its oneof was ${old.oneof} and is ${fresh.oneof}, which Buf's WIRE rules ban`, `Name the oneof ${old.oneof} again`, 'both');
      else report('ONEOF_CHANGED', `it moved from oneof ${old.oneof} to ${fresh.oneof}`, `Leave it in ${was}`, 'both');
    }
  }

  #newInOneofs(name: string, now: MessageModel, before: MessageModel): void {
    for (const field of now.fields) {
      if (field.oneof === null || before.fields.some((old) => old.number === field.number)) continue;
      if (!before.fields.some((old) => old.oneof === field.oneof)) continue;
      this.#warn('ONEOF_MEMBER_ADDED', `${name}.${field.name}`, `oneof ${field.oneof}`, '', `it is new in oneof ${field.oneof}: to older readers nothing of it is set`, 'Give older handlers a default branch first');
    }
  }

  #enums(name: string): void {
    if (this.#seen.has(name)) return;
    this.#seen.add(name);
    const now = this.#now.enums[name] as EnumModel;
    const before = this.#before.enums[name] as EnumModel;
    if (now.syntax !== before.syntax) this.report('SYNTAX_CHANGED', name, now.syntax, before.syntax, `its file was ${before.syntax} and is ${now.syntax}`, `Make the file ${before.syntax} again`, 'both');
    const numbers = new Set(now.values.map(([, number]) => number));
    for (const [value, number] of before.values) {
      const path = `${name}.${value}`;
      if (!numbers.has(number)) {
        if (!numberReserved(now.reserved, number)) this.report('ENUM_VALUE_REMOVED_UNRESERVED', path, '', String(number), `value ${number} is gone and its number is not reserved: somebody may use it again`, `Add: reserved ${number}; reserved "${value}";`, 'both');
      } else {
        const moved = now.values.find(([other]) => other === value);
        if (moved && moved[1] !== number) this.report('ENUM_VALUE_RENUMBERED', path, String(moved[1]), String(number), `${value} was ${number} and is ${moved[1]}`, `Give ${value} the number ${number} again`, 'both');
        else if (!moved) this.#warn('ENUM_VALUE_RENAMED', path, now.values.find(([, other]) => other === number)?.[0] ?? '', value, `value ${number} has another name: the bytes are the same, JSON is not`, `Keep the name ${value}, or allow_alias`);
      }
    }
    this.#reservations(name, now.reserved, before.reserved);
  }

  #reservations(path: string, now: Reserved, before: Reserved): void {
    for (const [from, to] of before.ranges) {
      if (!rangeReserved(now, from, to)) this.report('RESERVATION_REMOVED', path, '', from === to ? String(from) : `${from} to ${to}`, 'a number that was reserved no longer is: an old field had it', 'Reserve it again', 'both');
    }
    for (const name of before.names) {
      if (!now.names.includes(name)) this.report('RESERVATION_REMOVED', path, '', `"${name}"`, 'a name that was reserved no longer is: an old field had it', `Add: reserved "${name}";`, 'both');
    }
  }
}

function shapeOf(field: FieldModel): string {
  if (field.mapKey !== null) return `map<${field.mapKey}, ${field.type}>`;
  return `${field.required ? 'required ' : field.repeated ? 'repeated ' : ''}${field.type}`;
}

/** Wider on the right, with the same bytes for what fits. */
const WIDENS: ReadonlySet<string> = new Set(['int32 int64', 'uint32 uint64', 'sint32 sint64', 'string bytes']);

function scalarChange(from: string, to: string): Breaks {
  if (WIDENS.has(`${from} ${to}`)) return 'forward';
  return WIDENS.has(`${to} ${from}`) ? 'backward' : 'both';
}

function numberReserved(reserved: Reserved, number: number): boolean {
  return reserved.ranges.some(([from, to]) => number >= from && number <= to);
}

/** Whether every number of a range lies in some range. */
function rangeReserved(reserved: Reserved, from: number, to: number): boolean {
  let at = from;
  for (const [first, last] of [...reserved.ranges].sort((a, b) => a[0] - b[0])) {
    if (first > at) break;
    if (last >= at) at = last + 1;
    if (at > to) return true;
  }
  return at > to;
}
