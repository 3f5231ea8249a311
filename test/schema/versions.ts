/**
 * Generated pairs of versions of a message M, with a nested message N, an enum E, a oneof, maps,
 * lists, presence, packing and reservations.
 */
import fc from 'fast-check';
import { textOf } from './rows.ts';

export const SCALARS = [
  'int32',
  'int64',
  'uint32',
  'uint64',
  'sint32',
  'sint64',
  'bool',
  'string',
  'bytes',
  'double',
  'float',
  'fixed32',
  'fixed64',
  'sfixed32',
  'sfixed64',
] as const;
const MAPS = [
  'map<string, int32>',
  'map<string, int64>',
  'map<int32, int32>',
  'map<string, N>',
  'map<string, E>',
];

export interface Field {
  readonly number: number;
  readonly type: string;
  readonly label: 'single' | 'optional' | 'repeated' | 'unpacked' | 'oneof';
}
export interface Version {
  readonly m: readonly Field[];
  readonly n: readonly Field[];
  /** Numbers of the enum, without 0. */
  readonly e: readonly number[];
}
export interface VersionPair {
  readonly old: Version;
  readonly fresh: Version;
  /** Whether removed fields and values are reserved. */
  readonly reserve: boolean;
}

const PACKABLE = new Set<string>(SCALARS.filter((type) => type !== 'string' && type !== 'bytes'));
const fieldOf = (number: number, types: readonly string[]): fc.Arbitrary<Field | null> =>
  fc
    .option(
      fc.record({
        number: fc.constant(number),
        type: fc.constantFrom(...types),
        label: fc.constantFrom('single', 'optional', 'repeated', 'unpacked', 'oneof'),
      }),
      { freq: 5 },
    )
    .map((field): Field | null => {
      if (field === null) return null;
      if (field.type.startsWith('map')) return { ...field, label: 'single' };
      return field.label === 'unpacked' && !PACKABLE.has(field.type)
        ? { ...field, label: 'repeated' }
        : (field as Field);
    });
const fieldsOf = (count: number, types: readonly string[]): fc.Arbitrary<readonly Field[]> =>
  fc
    .tuple(...Array.from({ length: count }, (_, i) => fieldOf(i + 1, types)))
    .map((all) => all.filter((one): one is Field => one !== null));
const version: fc.Arbitrary<Version> = fc.record({
  m: fieldsOf(4, [...SCALARS, 'N', 'N', 'E', ...MAPS]),
  n: fieldsOf(2, [...SCALARS, 'E', 'N']),
  e: fc.subarray([1, 2, 3]),
});
/** Small steps, as people make them, for a field that is not kept. */
const STEPS: Readonly<Record<string, readonly string[]>> = {
  int32: ['int64', 'sint32'],
  int64: ['int32'],
  uint32: ['uint64'],
  uint64: ['uint32'],
  sint32: ['sint64'],
  sint64: ['sint32'],
  string: ['bytes'],
  bytes: ['string'],
  N: ['E'],
  E: ['N'],
};
const LABELS = ['single', 'optional', 'repeated', 'oneof', 'unpacked'] as const;
/** Changes per field of the old version: kept (most), removed, another type, another label. */
const changed = (fields: readonly Field[]): fc.Arbitrary<readonly Field[]> =>
  fc
    .tuple(
      ...fields.map((field) =>
        fc.oneof(
          { weight: 12, arbitrary: fc.constant<Field | null>(field) },
          { weight: 2, arbitrary: fc.constant<Field | null>(null) },
          {
            weight: 2,
            arbitrary: fc.constantFrom(...(STEPS[field.type] ?? ['string'])).map((type): Field => ({
              ...field,
              type,
              label: field.label === 'unpacked' ? 'repeated' : field.label,
            })),
          },
          {
            weight: 2,
            arbitrary: fc
              .constantFrom(
                ...(field.type.startsWith('map')
                  ? ['single' as const]
                  : LABELS.filter((label) => label !== 'unpacked' || PACKABLE.has(field.type))),
              )
              .map((label): Field => ({ ...field, label })),
          },
        ),
      ),
    )
    .map((all) => all.filter((one): one is Field => one !== null));
const withMore = (fields: readonly Field[], more: readonly Field[]): readonly Field[] => [
  ...fields,
  ...more.map((one) => ({ ...one, number: one.number + 4 })),
];

export const versionPair: fc.Arbitrary<VersionPair> = version.chain((old) =>
  fc
    .record({
      m: changed(old.m),
      n: changed(old.n),
      e: fc.oneof(fc.constant(old.e), fc.subarray([1, 2, 3])),
      more: fieldsOf(1, SCALARS),
      reserve: fc.oneof({ weight: 4, arbitrary: fc.constant(true) }, fc.constant(false)),
    })
    .map(({ m, n, e, more, reserve }): VersionPair => ({
      old,
      fresh: { m: withMore(m, more), n, e },
      reserve,
    })),
);

const gone = (before: readonly Field[], now: readonly Field[]): readonly number[] =>
  before.map((one) => one.number).filter((number) => !now.some((one) => one.number === number));

/** @param before the version that this one replaces: its missing fields and values are reserved */
export function textOfVersion(
  of: Version,
  before?: Version,
  pack = 'a',
  head = '',
  inM = '',
): string {
  const message = (
    name: string,
    fields: readonly Field[],
    lost: readonly number[],
    more = '',
  ): string => {
    const line = ({ number, type, label }: Field): string =>
      `${label === 'repeated' || label === 'unpacked' ? 'repeated ' : label === 'optional' ? 'optional ' : ''}${type} f${number} = ${number}${label === 'unpacked' ? ' [packed = false]' : ''};`;
    const inside = fields
      .filter((one) => one.label === 'oneof')
      .map(line)
      .join(' ');
    return `message ${name} { ${more} ${fields
      .filter((one) => one.label !== 'oneof')
      .map(line)
      .join(
        ' ',
      )} ${inside === '' ? '' : `oneof o { ${inside} }`} ${lost.map((number) => `reserved ${number}; reserved "f${number}";`).join(' ')} }`;
  };
  const lostValues = (before?.e ?? []).filter((value) => !of.e.includes(value));
  return textOf(
    [
      head,
      message('M', of.m, before ? gone(before.m, of.m) : [], inM),
      message('N', of.n, before ? gone(before.n, of.n) : []),
      `enum E { V0 = 0; ${of.e.map((value) => `V${value} = ${value};`).join(' ')} ${lostValues.map((value) => `reserved ${value}; reserved "V${value}";`).join(' ')} }`,
    ].join('\n'),
    'proto3',
    pack,
  );
}

export function textsOf(
  { old, fresh, reserve }: VersionPair,
  pack?: string,
  head?: string,
  inM?: string,
): { readonly old: string; readonly fresh: string } {
  return {
    old: textOfVersion(old, undefined, pack, head, inM),
    fresh: textOfVersion(fresh, reserve ? old : undefined, pack, head, inM),
  };
}

const TEXT = fc.string({ unit: 'grapheme', minLength: 0, maxLength: 4 });
const VALUES: Readonly<Record<string, fc.Arbitrary<unknown>>> = {
  int32: fc.integer(),
  sint32: fc.integer(),
  sfixed32: fc.integer(),
  int64: fc.maxSafeInteger(),
  sint64: fc.maxSafeInteger(),
  sfixed64: fc.maxSafeInteger(),
  uint32: fc.nat({ max: 4294967295 }),
  fixed32: fc.nat({ max: 4294967295 }),
  uint64: fc.maxSafeNat(),
  fixed64: fc.maxSafeNat(),
  bool: fc.boolean(),
  string: TEXT,
  bytes: fc.uint8Array({ maxLength: 4 }),
  double: fc.double({ noNaN: true }),
  float: fc.float({ noNaN: true }),
};

/** Data of a message of this version. At most one field of the oneof is set. */
export function dataOf(
  of: Version,
  fields: readonly Field[] = of.m,
  depth = 0,
): fc.Arbitrary<Record<string, unknown>> {
  const one = (type: string): fc.Arbitrary<unknown> =>
    type === 'N'
      ? dataOf(of, of.n, depth + 1)
      : type === 'E'
        ? fc.constantFrom(0, ...of.e)
        : (VALUES[type] as fc.Arbitrary<unknown>);
  const value = ({ type, label }: Field): fc.Arbitrary<unknown> => {
    const map = /^map<(\w+), (\w+)>$/.exec(type);
    if (map)
      return fc.dictionary(
        map[1] === 'string' ? fc.constantFrom('a', 'b') : fc.constantFrom('7', '-1'),
        one(map[2] as string),
        { noNullPrototype: true, maxKeys: 2 },
      );
    return label === 'repeated' || label === 'unpacked'
      ? fc.array(one(type), { maxLength: 3 })
      : one(type);
  };
  const usable = fields.filter(({ type }) => depth < 2 || !/\bN\b/.test(type));
  const inside = usable.filter((field) => field.label === 'oneof');
  return fc
    .tuple(
      fc.record(
        Object.fromEntries(
          usable
            .filter((field) => field.label !== 'oneof')
            .map((field) => [`f${field.number}`, value(field)]),
        ),
        { requiredKeys: [] },
      ),
      inside.length === 0
        ? fc.constant({})
        : fc.oneof(
            fc.constant({}),
            ...inside.map((field) =>
              value(field).map((chosen) => ({ [`f${field.number}`]: chosen })),
            ),
          ),
    )
    .map(([plain, chosen]) => ({ ...plain, ...chosen }));
}
