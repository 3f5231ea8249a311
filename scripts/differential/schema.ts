/**
 * The schema of the differential test: every kind of field in proto3, proto2 and an edition, at
 * small and at the largest numbers.
 */

export const SCALARS = [
  'double',
  'float',
  'int32',
  'int64',
  'uint32',
  'uint64',
  'sint32',
  'sint64',
  'fixed32',
  'fixed64',
  'sfixed32',
  'sfixed64',
  'bool',
  'string',
  'bytes',
] as const;
const KEYS = SCALARS.filter((type) => !['double', 'float', 'bytes'].includes(type));

/** Event types, and the messages that declare them. */
export const TYPES = {
  'diff.proto3': 'three.M',
  'diff.proto2': 'two.M',
  'diff.edition': 'edition.M',
} as const;
export type DiffType = keyof typeof TYPES;

export const FILES = [
  {
    name: 'three.proto',
    text: file('syntax = "proto3";', 'three', 'diff.proto3', { one: '', maybe: 'optional ' }),
  },
  {
    name: 'two.proto',
    text: file('syntax = "proto2";', 'two', 'diff.proto2', {
      one: 'optional ',
      maybe: 'optional ',
    }),
  },
  {
    name: 'edition.proto',
    text: file('edition = "2023";', 'edition', 'diff.edition', { one: '', maybe: '' }),
  },
];

function file(
  head: string,
  pack: string,
  type: string,
  { one, maybe }: { readonly one: string; readonly maybe: string },
): string {
  let id = 100;
  const next = (): number => id++;
  const unpacked =
    pack === 'edition' ? ' [features.repeated_field_encoding = EXPANDED]' : ' [packed = false]';
  const packed = pack === 'edition' ? '' : ' [packed = true]';
  const packable = SCALARS.filter((scalar) => scalar !== 'string' && scalar !== 'bytes');
  return /* proto */ `${head} package ${pack}; import "millrace/v1/options.proto";
enum Kind { NONE = 0; ONE = 1; BELOW = -7; LARGE = 2147483647; }
message Inner { ${one}int32 n = 1; ${one}string text = 2; ${one}Inner more = 3; repeated sint64 list = 4; ${one}bytes raw = 536870911; }
message M {
  option (millrace.v1.event) = { type: "${type}", subject: "s" };
  ${one}string s = 1;
  ${SCALARS.map((scalar) => `${one}${scalar} one_${scalar} = ${next()}; ${maybe}${scalar} maybe_${scalar} = ${next()}; repeated ${scalar} list_${scalar} = ${next()};`).join('\n  ')}
  ${packable.map((scalar) => `repeated ${scalar} packed_${scalar} = ${next()}${packed}; repeated ${scalar} loose_${scalar} = ${next()}${unpacked};`).join('\n  ')}
  ${SCALARS.map((scalar) => `map<string, ${scalar}> by_name_${scalar} = ${next()};`).join('\n  ')}
  ${KEYS.map((key) => `map<${key}, Inner> by_${key} = ${next()};`).join('\n  ')}
  map<int32, Kind> kind_by_id = 50;
  ${one}Kind kind = 2; ${maybe}Kind maybe_kind = 3; repeated Kind kinds = 4; ${one}Inner inner = 5; repeated Inner inners = 6;
  oneof choice { string left = 7; Inner right = 8; int64 third = 9; bytes fourth = 10; Kind fifth = 11; Inner sixth = 268435456; }
  ${one}int32 large_number = 536870910; repeated string large_list = 268435457; map<string, Inner> large_map = 536870909;
}
`;
}
