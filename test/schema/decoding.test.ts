/** The verdicts against the truth: what is called compatible decodes without an error and without changing a shared field. */
import fc from 'fast-check';
import protobuf from 'protobufjs';
import t from 'tap';
import { compare } from '../../src/schema/compatibility.ts';
import { readModel } from '../../src/schema/read-model.ts';
import { createCatalog, type EventType } from '../../src/wire/catalog.ts';
import { textOf } from './rows.ts';

const SCALARS = ['int32', 'int64', 'uint32', 'uint64', 'sint32', 'sint64', 'bool', 'string', 'bytes', 'double', 'fixed32', 'sfixed32', 'float'] as const;
interface Field {
  readonly number: number;
  readonly type: string;
  readonly repeated: boolean;
  readonly oneof: boolean;
}
const field = (number: number): fc.Arbitrary<Field | null> => fc.option(fc.record({
  number: fc.constant(number), type: fc.constantFrom(...SCALARS, 'N', 'E', 'map<string, int32>', 'map<string, N>'), repeated: fc.boolean(), oneof: fc.boolean(),
}), { freq: 4 });
const fields = fc.tuple(field(1), field(2), field(3), field(4)).map((all) => all.filter((one): one is Field => one !== null));
/** The second version keeps most of the first. */
const pair = fc.tuple(fields, fields, fc.tuple(fc.boolean(), fc.boolean(), fc.boolean(), fc.boolean())).map(([old, other, keep]) => {
  const fresh = [1, 2, 3, 4].map((number) => (keep[number - 1] ? old : other).find((one) => one.number === number)).filter((one): one is Field => one !== undefined);
  return { old, fresh };
});

function sourceOf(of: readonly Field[], gone: readonly Field[]): string {
  const declared = of.map((one) => ({ ...one, plain: one.repeated || one.type.startsWith('map') }));
  const line = ({ number, type, repeated }: Field): string => `${repeated && !type.startsWith('map') ? 'repeated ' : ''}${type} f${number} = ${number};`;
  const outside = declared.filter((one) => one.plain || !one.oneof).map(line).join(' ');
  const inside = declared.filter((one) => !one.plain && one.oneof).map(line).join(' ');
  const reserved = gone.map(({ number }) => `reserved ${number}; reserved "f${number}";`).join(' ');
  return textOf(`message M { ${outside} ${inside === '' ? '' : `oneof o { ${inside} }`} ${reserved} } message N { int32 a = 1; string b = 2; } enum E { ZERO = 0; ONE = 1; }`);
}

const VALUES: Record<string, fc.Arbitrary<unknown>> = {
  int32: fc.integer(), sint32: fc.integer(), sfixed32: fc.integer(), int64: fc.maxSafeInteger(), sint64: fc.maxSafeInteger(), uint32: fc.nat({ max: 4294967295 }), fixed32: fc.nat({ max: 4294967295 }),
  uint64: fc.maxSafeNat(), bool: fc.boolean(), string: fc.string({ unit: 'grapheme', minLength: 1, maxLength: 5 }), bytes: fc.uint8Array({ minLength: 1, maxLength: 5 }), double: fc.double({ noNaN: true }),
  float: fc.float({ noNaN: true }), E: fc.constantFrom(0, 1), N: fc.record({ a: fc.integer(), b: fc.string({ unit: 'grapheme', maxLength: 3 }) }),
};
function valueOf({ type, repeated }: Field): fc.Arbitrary<unknown> {
  const map = /^map<string, (\w+)>$/.exec(type);
  if (map) return fc.dictionary(fc.constantFrom('a', 'b'), VALUES[map[1] as string] as fc.Arbitrary<unknown>, { noNullPrototype: true });
  const one = VALUES[type] as fc.Arbitrary<unknown>;
  return repeated ? fc.array(one, { maxLength: 3 }) : one;
}
/** At most one field of the oneof is set. */
function dataOf(of: readonly Field[]): fc.Arbitrary<Record<string, unknown>> {
  const single = (one: Field): boolean => one.oneof && !one.repeated && !one.type.startsWith('map');
  const inside = of.filter(single);
  return fc.tuple(
    fc.record(Object.fromEntries(of.filter((one) => !single(one)).map((one) => [`f${one.number}`, valueOf(one)])), { requiredKeys: [] }),
    inside.length === 0 ? fc.constant({}) : fc.oneof(...inside.map((one) => fc.record({ [`f${one.number}`]: valueOf(one) }))),
  ).map(([plain, chosen]) => ({ ...plain, ...chosen }));
}

const plain = (type: protobuf.Type, message: protobuf.Message): Record<string, unknown> => type.toObject(message, { longs: String, bytes: String, enums: Number }) as Record<string, unknown>;

t.test('compatible is compatible', async (t) => {
  let compatible = 0;
  let refused = 0;
  const scenario = pair.chain(({ old, fresh }) => fc.record({ old: fc.constant(old), fresh: fc.constant(fresh), oldData: dataOf(old), freshData: dataOf(fresh) }));
  fc.assert(fc.property(scenario, ({ old, fresh, oldData, freshData }) => {
    const gone = old.filter((one) => !fresh.some((other) => other.number === one.number));
    const [before, now] = [sourceOf(old, []), sourceOf(fresh, gone)];
    const { findings } = compare(readModel([{ name: 'a.proto', text: now }]), ['a.M'], readModel([{ name: 'a.proto', text: before }]), ['a.M']);
    const types = [before, now].map((text) => protobuf.parse(text, new protobuf.Root(), { keepCase: true }).root.lookupType('a.M')) as [protobuf.Type, protobuf.Type];
    const own = [before, now].map((text) => ownCodec(text)) as [EventType, EventType];
    const check = (from: 0 | 1, data: Record<string, unknown>): void => {
      const [writer, reader] = [types[from], types[1 - from] as protobuf.Type];
      const written = writer.decode(writer.encode(writer.fromObject(data)).finish());
      const read = plain(reader, reader.decode(writer.encode(written).finish()));
      const expected = plain(writer, written);
      for (const key of Object.keys(expected)) {
        const shared = reader.fields[key];
        if (shared) t.strictSame(normal(read[key]), normal(asReader(expected[key], writer.fields[key]?.type, shared.type)), `${key} of ${before} | ${now}`);
      }
      // The same through the codec that publishers and pool threads use.
      const withId = { ...data, id: 'x' };
      const bytes = own[from].encode(withId);
      const [ownRead, ownExpected] = [own[1 - from]?.decode(bytes), own[from].decode(bytes)] as [Record<string, unknown>, Record<string, unknown>];
      for (const key of Object.keys(withId)) {
        const shared = reader.fields[key];
        // Our writer leaves out what is the default anyway, as proto3 has it: a list then has no element for it.
        if (shared?.repeated && isDefault(ownExpected[key]) && Array.isArray(ownRead[key]) && (ownRead[key] as unknown[]).length === 0) continue;
        if (shared) t.strictSame(normal(based(ownRead[key])), normal(asReader(based(ownExpected[key]), writer.fields[key]?.type, shared.type)), `${key} of ${before} | ${now}, own codec`);
      }
    };
    if (findings.some((finding) => finding.breaks !== 'forward') && findings.some((finding) => finding.breaks !== 'backward')) refused++;
    else compatible++;
    if (!findings.some((finding) => finding.breaks !== 'forward')) check(0, oldData);
    if (!findings.some((finding) => finding.breaks !== 'backward')) check(1, freshData);
  }), { numRuns: 600 });
  t.ok(compatible > 30 && refused > 30, `${compatible} compatible one way at least, ${refused} refused both ways`);
});

/** An event type of the same message, with a subject. */
function ownCodec(text: string): EventType {
  const declared = text.replace('package a;', 'package a; import "millrace/v1/options.proto";').replace('message M {', 'message M { option (millrace.v1.event) = { type: "m", subject: "id" }; string id = 9;');
  return createCatalog([{ name: 'a.proto', text: declared }]).get('m');
}

/** What a field without presence has when nothing was written. */
function isDefault(value: unknown): boolean {
  return value === 0 || value === 0n || value === '' || value === '0' || value === false || (value instanceof Uint8Array && value.length === 0);
}

/** Bytes as base64, as in the reflected form; messages without their class. */
function based(value: unknown): unknown {
  if (value instanceof Uint8Array) return Buffer.from(value).toString('base64');
  return Array.isArray(value) ? value.map(based) : structuredClone(value);
}

/** A single value that is read as a list is that list's only element; 64-bit numbers come as text, 32-bit ones do not. */
function normal(value: unknown): unknown {
  const one = Array.isArray(value) && value.length === 1 ? (value as unknown[])[0] : value;
  if (typeof one === 'number') return String(one);
  return Array.isArray(one) ? one.map((element) => (typeof element === 'number' ? String(element) : element as unknown)) : one;
}

/** Text that is read as bytes is its UTF-8. */
function asReader(value: unknown, writer: string | undefined, reader: string): unknown {
  if (writer !== 'string' || reader !== 'bytes') return value;
  const one = (text: unknown): string => Buffer.from(text as string).toString('base64');
  return Array.isArray(value) ? value.map(one) : one(value);
}
