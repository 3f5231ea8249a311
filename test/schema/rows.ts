/**
 * The table of docs/schemas.md, row by row: a change, whether old events can be read (B), and
 * whether old readers can read on (F).
 */
export interface Row {
  readonly change: string;
  readonly old: string;
  readonly fresh: string;
  readonly backward: boolean;
  readonly forward: boolean;
  /** Rules that must be among the findings. */
  readonly rules: readonly string[];
  /** The exact rules of the warnings. */
  readonly warnings?: readonly string[];
  readonly syntax?: readonly [string, string];
}

const row = (
  change: string,
  old: string,
  fresh: string,
  verdict: 'ok/ok' | 'ok/BAD' | 'BAD/ok' | 'BAD/BAD',
  ...rules: string[]
): Row => ({
  change,
  old,
  fresh,
  backward: verdict.startsWith('ok'),
  forward: verdict.endsWith('ok'),
  rules,
});

const warned = (row: Row, ...warnings: string[]): Row => ({ ...row, warnings });
const M = (body: string, more = ''): string => `message M { string id = 1; ${body} } ${more}`;
const types = (
  from: string,
  to: string,
  verdict: 'ok/BAD' | 'BAD/ok' | 'BAD/BAD',
  rule: string,
): Row => row(`${from} to ${to}`, M(`${from} f = 2;`), M(`${to} f = 2;`), verdict, rule);

export const ROWS: readonly Row[] = [
  row('nothing', M('int32 f = 2;'), M('int32 f = 2;'), 'ok/ok'),
  row('add a field', M(''), M('int32 f = 2;'), 'ok/ok'),
  row(
    'remove a field, number and name reserved',
    M('int32 f = 2;'),
    M('reserved 2; reserved "f";'),
    'ok/ok',
  ),
  row(
    'remove a field, number reserved only',
    M('int32 f = 2;'),
    M('reserved 2;'),
    'BAD/BAD',
    'FIELD_REMOVED_UNRESERVED',
  ),
  row(
    'remove a field, not reserved',
    M('int32 f = 2;'),
    M(''),
    'BAD/BAD',
    'FIELD_REMOVED_UNRESERVED',
  ),
  row(
    'un-reserve a number',
    M('reserved 2 to 5;'),
    M('reserved 2, 4 to 5;'),
    'BAD/BAD',
    'RESERVATION_REMOVED',
  ),
  row(
    'write a reservation in other ranges',
    M('reserved 2 to 5;'),
    M('reserved 2, 3 to 9;'),
    'ok/ok',
  ),
  row('un-reserve a name', M('reserved "f";'), M(''), 'BAD/BAD', 'RESERVATION_REMOVED'),
  row(
    "change a field's number",
    M('int32 f = 2;'),
    M('int32 f = 3;'),
    'BAD/BAD',
    'FIELD_RENUMBERED',
  ),
  row(
    'swap two numbers',
    M('int32 f = 2; int32 g = 3;'),
    M('int32 g = 2; int32 f = 3;'),
    'BAD/BAD',
    'FIELD_RENUMBERED',
  ),
  warned(
    row(
      'use a number again, another name and another kind of bytes',
      M('int32 f = 2;'),
      M('string g = 2;'),
      'BAD/BAD',
      'FIELD_TYPE_CHANGED',
    ),
    'FIELD_RENAMED',
  ),
  row(
    'use a reserved number again',
    M('reserved 2; reserved "f";'),
    M('string g = 2; reserved "f";'),
    'BAD/BAD',
    'RESERVATION_REMOVED',
  ),
  row(
    'use a reserved name again',
    M('reserved 2; reserved "f";'),
    M('string f = 3; reserved 2;'),
    'BAD/BAD',
    'RESERVATION_REMOVED',
  ),
  warned(row('rename a field', M('int32 f = 2;'), M('int32 g = 2;'), 'ok/ok'), 'FIELD_RENAMED'),
  warned(
    row('json_name', M('int32 f = 2;'), M('int32 f = 2 [json_name = "x"];'), 'ok/ok'),
    'JSON_NAME_CHANGED',
  ),
  types('int32', 'int64', 'ok/BAD', 'FIELD_TYPE_WIDENED'),
  types('int64', 'int32', 'BAD/ok', 'FIELD_TYPE_NARROWED'),
  types('uint32', 'uint64', 'ok/BAD', 'FIELD_TYPE_WIDENED'),
  types('int32', 'uint32', 'BAD/BAD', 'FIELD_TYPE_CHANGED'),
  types('int64', 'uint64', 'BAD/BAD', 'FIELD_TYPE_CHANGED'),
  types('bool', 'int32', 'BAD/BAD', 'FIELD_TYPE_CHANGED'),
  types('sint32', 'sint64', 'ok/BAD', 'FIELD_TYPE_WIDENED'),
  types('sint64', 'sint32', 'BAD/ok', 'FIELD_TYPE_NARROWED'),
  types('int32', 'sint32', 'BAD/BAD', 'FIELD_TYPE_CHANGED'),
  types('fixed32', 'sfixed32', 'BAD/BAD', 'FIELD_TYPE_CHANGED'),
  types('fixed64', 'sfixed64', 'BAD/BAD', 'FIELD_TYPE_CHANGED'),
  types('float', 'double', 'BAD/BAD', 'FIELD_TYPE_CHANGED'),
  types('int32', 'string', 'BAD/BAD', 'FIELD_TYPE_CHANGED'),
  types('string', 'bytes', 'ok/BAD', 'FIELD_TYPE_WIDENED'),
  types('bytes', 'string', 'BAD/ok', 'FIELD_TYPE_NARROWED'),
  row(
    'int to enum',
    M('int32 f = 2;', 'enum E { ZERO = 0; }'),
    M('E f = 2;', 'enum E { ZERO = 0; }'),
    'BAD/BAD',
    'FIELD_KIND_CHANGED',
  ),
  row(
    'enum to int',
    M('E f = 2;', 'enum E { ZERO = 0; }'),
    M('int32 f = 2;', 'enum E { ZERO = 0; }'),
    'BAD/BAD',
    'FIELD_KIND_CHANGED',
  ),
  row(
    'uint64 to enum',
    M('uint64 f = 2;', 'enum E { ZERO = 0; }'),
    M('E f = 2;', 'enum E { ZERO = 0; }'),
    'BAD/BAD',
    'FIELD_KIND_CHANGED',
  ),
  row(
    'enum to another enum',
    M('E f = 2;', 'enum E { ZERO = 0; } enum G { NIL = 0; }'),
    M('G f = 2;', 'enum E { ZERO = 0; } enum G { NIL = 0; }'),
    'BAD/BAD',
    'FIELD_ENUM_CHANGED',
  ),
  row(
    'scalar to message',
    M('bytes f = 2;', 'message N { int32 a = 1; }'),
    M('N f = 2;', 'message N { int32 a = 1; }'),
    'BAD/BAD',
    'FIELD_KIND_CHANGED',
  ),
  row(
    'message to bytes',
    M('N f = 2;', 'message N { int32 a = 1; }'),
    M('bytes f = 2;', 'message N { int32 a = 1; }'),
    'BAD/BAD',
    'FIELD_KIND_CHANGED',
  ),
  row(
    'map to message',
    M('map<string, int32> f = 2;', 'message N { string key = 1; }'),
    M('repeated N f = 2;', 'message N { string key = 1; }'),
    'BAD/BAD',
    'FIELD_KIND_CHANGED',
  ),
  row(
    'message to map',
    M('repeated N f = 2;', 'message N { string key = 1; }'),
    M('map<string, int32> f = 2;', 'message N { string key = 1; }'),
    'BAD/BAD',
    'FIELD_KIND_CHANGED',
  ),
  row(
    'map key',
    M('map<string, int32> f = 2;'),
    M('map<int32, int32> f = 2;'),
    'BAD/BAD',
    'MAP_KEY_CHANGED',
  ),
  row(
    'map value',
    M('map<string, int32> f = 2;'),
    M('map<string, string> f = 2;'),
    'BAD/BAD',
    'FIELD_TYPE_CHANGED',
  ),
  row(
    "field's message renamed, same shape",
    M('N f = 2;', 'message N { int32 a = 1; }'),
    M('O f = 2;', 'message O { int32 a = 1; }'),
    'BAD/BAD',
    'FIELD_MESSAGE_CHANGED',
  ),
  row(
    'in a nested message',
    M('N f = 2;', 'message N { int32 a = 1; }'),
    M('N f = 2;', 'message N { string a = 1; }'),
    'BAD/BAD',
    'FIELD_TYPE_CHANGED',
  ),
  row(
    'in a recursive message',
    'message M { string id = 1; M more = 2; int32 a = 3; }',
    'message M { string id = 1; M more = 2; int64 a = 3; }',
    'ok/BAD',
    'FIELD_TYPE_WIDENED',
  ),
  row(
    'in a map of messages',
    M('map<string, N> f = 2;', 'message N { int32 a = 1; }'),
    M('map<string, N> f = 2;', 'message N { reserved 1; }'),
    'BAD/BAD',
    'FIELD_REMOVED_UNRESERVED',
  ),
  row(
    'single to repeated, string',
    M('string f = 2;'),
    M('repeated string f = 2;'),
    'ok/BAD',
    'FIELD_BECAME_REPEATED',
  ),
  row(
    'repeated to single, string',
    M('repeated string f = 2;'),
    M('string f = 2;'),
    'BAD/ok',
    'FIELD_BECAME_SINGLE',
  ),
  row(
    'single to repeated, bytes',
    M('bytes f = 2;'),
    M('repeated bytes f = 2;'),
    'ok/BAD',
    'FIELD_BECAME_REPEATED',
  ),
  row(
    'single to repeated, message',
    M('N f = 2;', 'message N { int32 a = 1; }'),
    M('repeated N f = 2;', 'message N { int32 a = 1; }'),
    'ok/BAD',
    'FIELD_BECAME_REPEATED',
  ),
  row(
    'repeated to single, message',
    M('repeated N f = 2;', 'message N { int32 a = 1; }'),
    M('N f = 2;', 'message N { int32 a = 1; }'),
    'BAD/ok',
    'FIELD_BECAME_SINGLE',
  ),
  row(
    'single to repeated, number',
    M('int32 f = 2;'),
    M('repeated int32 f = 2;'),
    'ok/BAD',
    'FIELD_BECAME_REPEATED',
  ),
  row(
    'optional to repeated, number',
    M('optional int32 f = 2;'),
    M('repeated int32 f = 2;'),
    'ok/BAD',
    'FIELD_BECAME_REPEATED',
  ),
  row(
    'repeated to single, number',
    M('repeated int32 f = 2;'),
    M('int32 f = 2;'),
    'BAD/ok',
    'FIELD_BECAME_SINGLE',
  ),
  row('packed', M('repeated int32 f = 2;'), M('repeated int32 f = 2 [packed = false];'), 'ok/ok'),
  warned(
    row('implicit to optional', M('int32 f = 2;'), M('optional int32 f = 2;'), 'ok/ok'),
    'PRESENCE_CHANGED',
  ),
  warned(
    row('optional to implicit', M('optional int32 f = 2;'), M('int32 f = 2;'), 'ok/ok'),
    'PRESENCE_CHANGED',
  ),
  row(
    'optional or not, of a message',
    M('N f = 2;', 'message N { int32 a = 1; }'),
    M('optional N f = 2;', 'message N { int32 a = 1; }'),
    'ok/ok',
  ),
  row(
    'enum value added',
    M('E f = 2;', 'enum E { ZERO = 0; }'),
    M('E f = 2;', 'enum E { ZERO = 0; ONE = 1; }'),
    'ok/ok',
  ),
  row(
    'enum value removed, reserved',
    M('E f = 2;', 'enum E { ZERO = 0; ONE = 1; }'),
    M('E f = 2;', 'enum E { ZERO = 0; reserved 1; }'),
    'ok/ok',
  ),
  row(
    'enum value removed, not reserved',
    M('E f = 2;', 'enum E { ZERO = 0; ONE = 1; }'),
    M('E f = 2;', 'enum E { ZERO = 0; }'),
    'BAD/BAD',
    'ENUM_VALUE_REMOVED_UNRESERVED',
  ),
  warned(
    row(
      'enum value renamed',
      M('E f = 2;', 'enum E { ZERO = 0; ONE = 1; }'),
      M('E f = 2;', 'enum E { ZERO = 0; UNO = 1; }'),
      'ok/ok',
    ),
    'ENUM_VALUE_RENAMED',
  ),
  row(
    'enum value renumbered',
    M('E f = 2;', 'enum E { ZERO = 0; ONE = 1; TWO = 2; }'),
    M('E f = 2;', 'enum E { ZERO = 0; TWO = 1; ONE = 2; }'),
    'BAD/BAD',
    'ENUM_VALUE_RENUMBERED',
  ),
  row('enum type added', M(''), M('', 'enum E { ZERO = 0; }'), 'ok/ok'),
  row('enum type removed, not used', M('', 'enum E { ZERO = 0; }'), M(''), 'ok/ok'),
  row('message type added', M(''), M('', 'message N { int32 a = 1; }'), 'ok/ok'),
  row('message type removed, not used', M('', 'message N { int32 a = 1; }'), M(''), 'ok/ok'),
  row(
    'messages reordered',
    M('N f = 2;', 'message N { int32 a = 1; }'),
    `message N { int32 a = 1; } ${M('N f = 2;')}`,
    'ok/ok',
  ),
  row(
    'one field into a new oneof',
    M('int32 f = 2;'),
    M('oneof o { int32 f = 2; }'),
    'BAD/BAD',
    'ONEOF_JOINED_ALONE',
  ),
  row(
    'one field and a new one into a new oneof',
    M('int32 f = 2;'),
    M('oneof o { int32 f = 2; int32 g = 3; }'),
    'BAD/BAD',
    'ONEOF_JOINED_ALONE',
  ),
  row(
    'two fields into one oneof',
    M('int32 f = 2; int32 g = 3;'),
    M('oneof o { int32 f = 2; int32 g = 3; }'),
    'BAD/ok',
    'ONEOF_JOINED',
  ),
  row(
    'a field into an existing oneof',
    M('int32 f = 2; oneof o { int32 g = 3; }'),
    M('oneof o { int32 f = 2; int32 g = 3; }'),
    'BAD/ok',
    'ONEOF_JOINED',
  ),
  row(
    'a field out of a oneof',
    M('oneof o { int32 f = 2; int32 g = 3; }'),
    M('int32 f = 2; oneof o { int32 g = 3; }'),
    'ok/BAD',
    'ONEOF_LEFT',
  ),
  row(
    'the only field out of a oneof',
    M('oneof o { int32 f = 2; }'),
    M('int32 f = 2;'),
    'ok/BAD',
    'ONEOF_LEFT',
  ),
  warned(
    row(
      'oneof member added',
      M('oneof o { int32 f = 2; }'),
      M('oneof o { int32 f = 2; int32 g = 3; }'),
      'ok/ok',
    ),
    'ONEOF_MEMBER_ADDED',
  ),
  row(
    'oneof member removed, reserved',
    M('oneof o { int32 f = 2; int32 g = 3; }'),
    M('reserved 3; reserved "g"; oneof o { int32 f = 2; }'),
    'BAD/ok',
    'ONEOF_MEMBER_REMOVED',
  ),
  row(
    'oneof member removed, not reserved',
    M('oneof o { int32 f = 2; int32 g = 3; }'),
    M('oneof o { int32 f = 2; }'),
    'BAD/BAD',
    'ONEOF_MEMBER_REMOVED',
    'FIELD_REMOVED_UNRESERVED',
  ),
  row(
    'oneof renamed',
    M('oneof o { int32 f = 2; }'),
    M('oneof p { int32 f = 2; }'),
    'BAD/BAD',
    'ONEOF_RENAMED',
  ),
  row(
    'a whole oneof removed, its fields reserved',
    M('oneof o { int32 f = 2; int32 g = 3; }'),
    M('reserved 2, 3; reserved "f", "g";'),
    'ok/ok',
  ),
  row(
    'a whole oneof removed, not reserved',
    M('oneof o { int32 f = 2; int32 g = 3; }'),
    M(''),
    'BAD/BAD',
    'FIELD_REMOVED_UNRESERVED',
  ),
  row(
    'from one oneof to another',
    M('oneof o { int32 f = 2; int32 g = 3; } oneof p { int32 h = 4; }'),
    M('oneof o { int32 g = 3; } oneof p { int32 h = 4; int32 f = 2; }'),
    'BAD/BAD',
    'ONEOF_CHANGED',
  ),
  row('a mask added', M('int32 f = 2;'), M('int32 f = 2 [(millrace.v1.masked) = true];'), 'ok/ok'),
  warned(
    row(
      'a mask removed',
      M('int32 f = 2 [(millrace.v1.masked) = true];'),
      M('int32 f = 2 [(millrace.v1.masked) = false];'),
      'ok/ok',
    ),
    'MASK_REMOVED',
  ),
  {
    ...row(
      'proto2: required added',
      'message M { optional string id = 1; }',
      'message M { required string id = 1; }',
      'BAD/BAD',
      'REQUIRED_ADDED',
    ),
    syntax: ['proto2', 'proto2'],
  },
  {
    ...row(
      'proto2: required removed',
      'message M { required string id = 1; }',
      'message M { optional string id = 1; }',
      'BAD/BAD',
      'REQUIRED_REMOVED',
    ),
    syntax: ['proto2', 'proto2'],
  },
  {
    ...row(
      'proto2: default changed',
      'message M { optional int32 f = 2 [default = 1]; }',
      'message M { optional int32 f = 2 [default = 2]; }',
      'BAD/BAD',
      'DEFAULT_CHANGED',
    ),
    syntax: ['proto2', 'proto2'],
  },
  {
    ...row(
      'proto2 to proto3',
      'message M { optional int32 f = 2; }',
      'message M { optional int32 f = 2; }',
      'BAD/BAD',
      'SYNTAX_CHANGED',
    ),
    syntax: ['proto2', 'proto3'],
  },
];

export function textOf(body: string, syntax = 'proto3', pack = 'a'): string {
  const own = body.includes('(millrace.') ? 'import "millrace/v1/options.proto";\n' : '';
  return `syntax = "${syntax}";\npackage ${pack};\n${own}${body}\n`;
}
