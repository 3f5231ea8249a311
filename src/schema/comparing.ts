/** Rules for messages that both versions have, for their fields and the fields' types. */
import { compareEnum, compareReservations } from './compare-enums.ts';
import { compareOneof, compareOneofMembers } from './compare-oneofs.ts';
import type { Breaks, Report } from './finding.ts';
import { IndexedMessage } from './indexed-message.ts';
import type { EnumModel, FieldModel, MessageModel, ParsedSchema } from './model.ts';

/** Reports a change of a field's type. */
type Changed = (rule: string, what: string, breaks: Breaks) => void;

/** Compares messages and all types that they lead to, each once. */
export class Comparing {
  readonly #report: Report;
  readonly #now: ParsedSchema;
  readonly #before: ParsedSchema;
  readonly #seen = new Set<string>();
  readonly #queue: string[] = [];

  constructor(now: ParsedSchema, before: ParsedSchema, report: Report) {
    this.#report = report;
    this.#now = now;
    this.#before = before;
  }

  /** @param name full name of a message that both versions have */
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
    const now = new IndexedMessage(this.#now.messages[name] as MessageModel);
    const before = new IndexedMessage(this.#before.messages[name] as MessageModel);
    if (now.syntax !== before.syntax) {
      this.#report.add(
        'SYNTAX_CHANGED',
        { path: name, reader: now.syntax, writer: before.syntax },
        `its file was ${before.syntax} and is ${now.syntax}: presence, packing and enums differ`,
        `Make the file ${before.syntax} again`,
        'both',
      );
    }
    for (const field of now.fields) {
      if (field.required && !before.byNumber.get(field.number)?.required) {
        this.#report.add(
          'REQUIRED_ADDED',
          { path: `${name}.${field.name}`, reader: 'required', writer: '' },
          'a required field: events without it can never be read again',
          'Make it optional',
          'both',
        );
      }
    }
    for (const old of before.fields) this.#field(name, now, before, old);
    compareOneofMembers(this.#report, name, now, before);
    compareReservations(this.#report, name, now, before.reserved);
  }

  #field(message: string, now: IndexedMessage, before: IndexedMessage, old: FieldModel): void {
    const path = `${message}.${old.name}`;
    const fresh = now.byNumber.get(old.number);
    const named = now.byName.get(old.name);
    const moved = named !== undefined && named.number !== old.number;
    if (moved) {
      this.#report.add(
        'FIELD_RENUMBERED',
        { path, reader: `= ${named.number}`, writer: `= ${old.number}` },
        `it was number ${old.number} and is number ${named.number}: values written before are no longer found`,
        `Give it number ${old.number} again; a new number needs a new name, and "reserved ${old.number};"`,
        'both',
      );
    }
    if (fresh === undefined) return this.#removed(path, now, old, moved);
    this.#names(path, old, fresh, moved);
    if (old.required && !fresh.required)
      this.#report.add(
        'REQUIRED_REMOVED',
        { path, reader: shapeOf(fresh), writer: 'required' },
        'it was required and is not: older readers refuse events without it',
        'Leave it required, and always set it',
        'both',
      );
    if (fresh.default !== old.default)
      this.#report.add(
        'DEFAULT_CHANGED',
        { path, reader: fresh.default ?? 'none', writer: old.default ?? 'none' },
        'its default has changed: old events without it change their meaning',
        `Make the default ${old.default ?? 'none'} again`,
        'both',
      );
    if (old.masked && !fresh.masked)
      this.#report.warn(
        'MASK_REMOVED',
        { path, reader: shapeOf(fresh), writer: `${shapeOf(old)}, masked` },
        'it was masked and is not: roles that see masked data will see its values',
        'Mask it again where its values are confidential',
      );
    this.#type(path, old, fresh);
    compareOneof(this.#report, { path, now, before, old, fresh });
    this.#presence(path, old, fresh);
  }

  #removed(path: string, now: IndexedMessage, old: FieldModel, moved: boolean): void {
    if (old.required)
      this.#report.add(
        'REQUIRED_REMOVED',
        { path, reader: '', writer: 'required' },
        'a required field is gone: older readers refuse events without it',
        'Put it back',
        'both',
      );
    const kept = now.reserves(old.number) && now.reservedNames.has(old.name);
    if (!kept && !moved) {
      this.#report.add(
        'FIELD_REMOVED_UNRESERVED',
        { path, reader: '', writer: shapeOf(old) },
        `field ${old.number} is gone, and its number and name are not both reserved: somebody may use them again`,
        `Add: reserved ${old.number}; reserved "${old.name}";`,
        'both',
      );
    }
    if (old.oneof !== null && now.oneofs.has(old.oneof)) {
      this.#report.add(
        'ONEOF_MEMBER_REMOVED',
        { path, reader: '', writer: `oneof ${old.oneof}` },
        `it is gone from oneof ${old.oneof}: old events that set it read as if nothing were set`,
        'Put it back, deprecated',
        'backward',
      );
    }
  }

  /** @param moved whether the field's name has another number now; that is reported already */
  #names(path: string, old: FieldModel, fresh: FieldModel, moved: boolean): void {
    if (fresh.name !== old.name && !moved)
      this.#report.warn(
        'FIELD_RENAMED',
        { path, reader: fresh.name, writer: old.name },
        `field ${old.number} was ${old.name} and is ${fresh.name}: the bytes are the same, handlers and JSON are not`,
        `Name it ${old.name} again if JSON or code outside relies on it`,
      );
    else if (fresh.jsonName !== old.jsonName)
      this.#report.warn(
        'JSON_NAME_CHANGED',
        { path, reader: fresh.jsonName ?? '', writer: old.jsonName ?? '' },
        'its name in JSON has changed',
        'Keep json_name where JSON relies on it',
      );
  }

  #presence(path: string, old: FieldModel, fresh: FieldModel): void {
    const single = !fresh.repeated && !old.repeated && fresh.mapKey === null && old.mapKey === null;
    if (
      single &&
      fresh.presence !== old.presence &&
      fresh.oneof === null &&
      old.oneof === null &&
      fresh.kind === old.kind &&
      fresh.kind !== 'message'
    ) {
      this.#report.warn(
        'PRESENCE_CHANGED',
        {
          path,
          reader: fresh.presence ? 'optional' : 'implicit',
          writer: old.presence ? 'optional' : 'implicit',
        },
        'a zero that was written reads as unset, or the other way round',
        'Treat unset and zero alike in handlers',
      );
    }
  }

  #type(path: string, old: FieldModel, fresh: FieldModel): void {
    const was = shapeOf(old);
    const is = shapeOf(fresh);
    const cure = `Make it ${was} again; give the new data a new field with a new number`;
    const changed: Changed = (rule, what, breaks) =>
      this.#report.add(rule, { path, reader: is, writer: was }, what, cure, breaks);
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
          `it was repeated and is single: one value of old events is read, none, or all merged`,
          'backward',
        );
    }
    if (old.kind !== fresh.kind)
      return changed('FIELD_KIND_CHANGED', `it was ${was} and is ${is}`, 'both');
    if (old.kind === 'message') this.#messageType(old, fresh, changed);
    else if (old.kind === 'enum') this.#enumType(old, fresh, changed);
    else if (old.type !== fresh.type) scalarType(old, fresh, changed);
  }

  #messageType(old: FieldModel, fresh: FieldModel, changed: Changed): void {
    if (old.type !== fresh.type)
      changed('FIELD_MESSAGE_CHANGED', `its message was ${old.type} and is ${fresh.type}`, 'both');
    else if (
      Object.hasOwn(this.#now.messages, old.type) &&
      Object.hasOwn(this.#before.messages, old.type)
    )
      this.#meet(old.type);
  }

  #enumType(old: FieldModel, fresh: FieldModel, changed: Changed): void {
    const { type } = old;
    if (type !== fresh.type)
      return changed('FIELD_ENUM_CHANGED', `its enum was ${type} and is ${fresh.type}`, 'both');
    if (this.#seen.has(type)) return;
    this.#seen.add(type);
    const [now, before] = [this.#now.enums[type], this.#before.enums[type]];
    compareEnum(this.#report, type, now as EnumModel, before as EnumModel);
  }
}

function scalarType(old: FieldModel, fresh: FieldModel, changed: Changed): void {
  const breaks = scalarChange(old.type, fresh.type);
  const what = `it was ${old.type} and is ${fresh.type}`;
  if (breaks === 'forward')
    changed(
      'FIELD_TYPE_WIDENED',
      `${what}: older readers cut off, or refuse, values that do not fit`,
      breaks,
    );
  else if (breaks === 'backward')
    changed(
      'FIELD_TYPE_NARROWED',
      `${what}: values of old events that do not fit are cut off, or refused`,
      breaks,
    );
  else
    changed('FIELD_TYPE_CHANGED', `${what}: the bytes of one are not a value of the other`, breaks);
}

function shapeOf(field: FieldModel): string {
  if (field.mapKey !== null) return `map<${field.mapKey}, ${field.type}>`;
  return `${field.required ? 'required ' : field.repeated ? 'repeated ' : ''}${field.type}`;
}

/**
 * Pairs of types: the right one is wider, and encodes each value of the left one in the same bytes.
 */
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
