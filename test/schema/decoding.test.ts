/**
 * The verdicts against the truth: a pair that is called compatible decodes without an error, and no
 * shared field changes.
 */
import fc from 'fast-check';
import protobuf from 'protobufjs';
import t from 'tap';
import { compare } from '../../src/schema/compatibility.ts';
import type { ParsedSchema } from '../../src/schema/model.ts';
import { readModel } from '../../src/schema/read-model.ts';
import { createCatalog } from '../../src/wire/catalog.ts';
import type { EventType } from '../../src/wire/event-type.ts';
import { dataOf, textsOf, versionPair } from './versions.ts';

type Message = Readonly<Record<string, unknown>>;

const model = (text: string): ParsedSchema => readModel([{ name: 'a.proto', text }]);
const typeOf = (text: string): protobuf.Type => {
  const root = protobuf.parse(text, new protobuf.Root(), { keepCase: true }).root;
  root.resolveAll();
  return root.lookupType('a.M');
};
/** The codec that publishers and pool threads use. */
const ownCodec = (text: string): EventType => createCatalog([{ name: 'a.proto', text }]).get('m');
const EVENT = {
  head: 'import "millrace/v1/options.proto";',
  inM: 'option (millrace.v1.event) = { type: "m", subject: "id" }; string id = 9;',
};

t.test('compatible is compatible', async (t) => {
  const met = { backward: 0, forward: 0, both: 0, refused: 0, fields: 0 };
  const kinds = new Map<string, number>();
  const scenario = versionPair.chain((pair) =>
    fc.record({ pair: fc.constant(pair), old: dataOf(pair.old), fresh: dataOf(pair.fresh) }),
  );
  fc.assert(
    fc.property(scenario, ({ pair, ...data }) => {
      const texts = textsOf(pair);
      const { findings, warnings } = compare(model(texts.fresh), ['a.M'], model(texts.old), [
        'a.M',
      ]);
      for (const { rule } of [...findings, ...warnings])
        kinds.set(rule, (kinds.get(rule) ?? 0) + 1);
      const backward = !findings.some((finding) => finding.breaks !== 'forward');
      const forward = !findings.some((finding) => finding.breaks !== 'backward');
      met[backward && forward ? 'both' : backward ? 'backward' : forward ? 'forward' : 'refused']++;
      if (!backward && !forward) return;
      const declared = textsOf(pair, 'a', EVENT.head, EVENT.inM);
      const types = { old: typeOf(texts.old), fresh: typeOf(texts.fresh) };
      const own = { old: ownCodec(declared.old), fresh: ownCodec(declared.fresh) };
      for (const [writer, reader, said] of [
        ['old', 'fresh', backward],
        ['fresh', 'old', forward],
      ] as const) {
        if (!said) continue;
        const [from, to] = [types[writer], types[reader]];
        const context = `${texts[writer]} read as ${texts[reader]}`;
        const bytes = from.encode(from.fromObject(data[writer])).finish();
        met.fields += same(from.decode(bytes), to.decode(bytes), from, to, context);
        const ours = own[writer].encode({ ...data[writer], id: 'x' });
        same(
          own[writer].decode(ours) as Message,
          own[reader].decode(ours) as Message,
          from,
          to,
          `${context}, own codec`,
        );
      }
    }),
    { numRuns: 600 },
  );
  t.ok(
    met.both > 40 && met.backward > 20 && met.forward > 20 && met.refused > 40,
    `both ways ${met.both}, backward ${met.backward}, forward ${met.forward}, neither ${met.refused}`,
  );
  t.ok(met.fields > 500, `${met.fields} fields compared`);
  const wanted = [
    'FIELD_REMOVED_UNRESERVED',
    'FIELD_TYPE_CHANGED',
    'FIELD_TYPE_WIDENED',
    'FIELD_TYPE_NARROWED',
    'FIELD_KIND_CHANGED',
    'FIELD_BECAME_REPEATED',
    'FIELD_BECAME_SINGLE',
    'ONEOF_JOINED',
    'ONEOF_JOINED_ALONE',
    'ONEOF_LEFT',
    'ONEOF_MEMBER_REMOVED',
    'ENUM_VALUE_REMOVED_UNRESERVED',
    'PRESENCE_CHANGED',
  ];
  for (const rule of wanted) t.ok(kinds.has(rule), `${rule} was met ${kinds.get(rule) ?? 0} times`);
});

function set(message: Message, name: string): unknown {
  return Object.hasOwn(message, name) ? message[name] : undefined;
}

/** Whether the value is that of a field that is not set. 64-bit numbers may be objects. */
function isDefault(value: unknown): boolean {
  if (value === undefined || value === null) return true;
  if (value instanceof Uint8Array || Array.isArray(value)) return value.length === 0;
  return value === '' || value === false || String(value) === '0';
}

function hasPresence(field: protobuf.Field): boolean {
  return field.partOf !== null || field.resolvedType instanceof protobuf.Type;
}

/**
 * @returns the number of fields that both have
 * @throws where a field is read with another value than was written
 */
function same(
  written: Message,
  read: Message,
  writer: protobuf.Type,
  reader: protobuf.Type,
  context: string,
): number {
  let shared = 0;
  for (const [name, from] of Object.entries(writer.fields)) {
    const to = reader.fields[name];
    if (!to) continue;
    shared++;
    const [was, is] = [set(written, name), set(read, name)];
    const differs = (): never => {
      throw new Error(
        `${name} was ${JSON.stringify(was)} and is read as ${JSON.stringify(is)}: ${context}`,
      );
    };
    if (from.map) {
      const [a, b] = [(was ?? {}) as Message, (is ?? {}) as Message];
      if (Object.keys(a).sort().join() !== Object.keys(b).sort().join()) differs();
      for (const key of Object.keys(a))
        if (!sameValue(a[key], b[key], from, to, context)) differs();
      continue;
    }
    const list = (value: unknown, field: protobuf.Field): readonly unknown[] =>
      value === undefined || value === null ? [] : field.repeated ? (value as unknown[]) : [value];
    const [a, b] = [list(was, from), list(is, to)];
    // A zero without presence may not have been written.
    if (
      !from.repeated &&
      a.length !== b.length &&
      isDefault(was) &&
      isDefault(is) &&
      !(hasPresence(from) && hasPresence(to))
    )
      continue;
    if (a.length !== b.length) differs();
    a.forEach((value, i) => {
      if (!sameValue(value, b[i], from, to, context)) differs();
    });
  }
  return shared;
}

function sameValue(
  was: unknown,
  is: unknown,
  from: protobuf.Field,
  to: protobuf.Field,
  context: string,
): boolean {
  if (from.resolvedType instanceof protobuf.Type) {
    same(
      was as Message,
      is as Message,
      from.resolvedType,
      to.resolvedType as protobuf.Type,
      context,
    );
    return true;
  }
  // Text that is read as bytes is the text's UTF-8.
  const plain = (value: unknown): string =>
    value instanceof Uint8Array
      ? Buffer.from(value).toString('base64')
      : typeof value === 'string' && to.type === 'bytes'
        ? Buffer.from(value).toString('base64')
        : String(value);
  return plain(was) === plain(is);
}
