/**
 * Files that users vendor into their proto folders: options of other tools, written in their style.
 * Path -> text.
 */

const FIELD_RULES = /* proto */ `syntax = "proto2";
package buf.validate;
import "google/protobuf/descriptor.proto";
import "google/protobuf/duration.proto";
option java_package = "build.buf.validate";
extend google.protobuf.MessageOptions { optional MessageRules message = 1159; }
extend google.protobuf.OneofOptions { optional OneofRules oneof = 1159; }
extend google.protobuf.FieldOptions {
  // { braces, [brackets] and "quotes in a comment
  optional FieldRules field = 1159;
  optional PredefinedRules predefined = 1160;
}
message Rule { optional string id = 1; optional string message = 2; optional string expression = 3; }
message MessageRules { repeated Rule cel = 3; reserved 1; reserved "disabled"; }
message OneofRules { optional bool required = 1; }
message PredefinedRules { repeated Rule cel = 1; }
message FieldRules {
  repeated Rule cel = 23;
  optional bool required = 25;
  optional Ignore ignore = 27;
  oneof type { StringRules string = 14; Int32Rules int32 = 3; DurationRules duration = 21; }
}
enum Ignore { IGNORE_UNSPECIFIED = 0; IGNORE_ALWAYS = 3; }
message StringRules {
  optional uint64 min_len = 2 [(predefined).cel = { id: "string.min_len" expression: "uint(this.size()) < rules.min_len ? 'must be }' : ''" }];
  optional string pattern = 6;
  repeated string in = 10;
  extensions 1000 to max [verification = UNVERIFIED];
}
message Int32Rules {
  optional int32 const = 1 [(predefined).cel = { id: "int32.const", expression: "this != getField(rules, 'const') ? '{' : ''" }];
  oneof less_than { int32 lt = 2; int32 lte = 3; }
  extensions 1000 to max [ declaration = { number: 1000 full_name: ".acme.v1.is_even" type: "bool" } ];
}
message DurationRules { optional google.protobuf.Duration const = 2; }
`;

const ANNOTATIONS = /* proto */ `syntax = "proto3";
package google.api;
import "google/api/http.proto";
import "google/protobuf/descriptor.proto";
extend google.protobuf.MethodOptions {
  HttpRule http = 72295728;
}
`;

const HTTP = /* proto */ `syntax = "proto3";
package google.api;
message Http { repeated HttpRule rules = 1; }
message HttpRule {
  string selector = 1;
  oneof pattern { string get = 2; string post = 4; CustomHttpPattern custom = 8; }
  string body = 7;
  repeated HttpRule additional_bindings = 11;
}
message CustomHttpPattern { string kind = 1; string path = 2; }
`;

const FIELD_BEHAVIOR = /* proto */ `syntax = "proto3";
package google.api;
import "google/protobuf/descriptor.proto";
extend google.protobuf.FieldOptions { repeated google.api.FieldBehavior field_behavior = 1052 [packed = false]; }
enum FieldBehavior { FIELD_BEHAVIOR_UNSPECIFIED = 0; REQUIRED = 2; IMMUTABLE = 5; }
`;

/**
 * Every kind of option, relative and absolute names, extensions within messages, and extensions of
 * an option's own message.
 */
const OWN = /* proto */ `syntax = "proto2";
package acme.v1;
import "google/protobuf/descriptor.proto";
message Secrecy {
  optional int32 level = 1 [default = -3];
  repeated string tags = 2;
  optional Secrecy inner = 3;
  optional double weight = 4 [default = inf];
  extensions 100 to 199;
  extend google.protobuf.FieldOptions { optional Secrecy within = 50003; }
  message Deeper { extend .google.protobuf.EnumValueOptions { optional string note = 50009; } }
}
extend Secrecy { optional string extra = 100; }
extend .acme.v1.Secrecy { repeated int32 numbers = 101; }
extend google.protobuf.FieldOptions { optional Secrecy secrecy = 50001; repeated string words = 50002; }
extend .google.protobuf.MessageOptions { optional string owner = 50001; }
extend google.protobuf.EnumValueOptions { optional string label = 50001; }
extend google.protobuf.EnumOptions { optional bool closed = 50001; }
extend google.protobuf.FileOptions { optional string area = 50001; }
extend google.protobuf.OneofOptions { optional string why = 50001; }
extend google.protobuf.ServiceOptions { optional string host = 50001; }
extend google.protobuf.MethodOptions { optional string scope = 50001; }
extend google.protobuf.ExtensionRangeOptions { optional string range = 50001; }
`;

export const VENDORED: Readonly<Record<string, string>> = {
  'buf/validate/validate.proto': FIELD_RULES,
  'google/api/annotations.proto': ANNOTATIONS,
  'google/api/http.proto': HTTP,
  'google/api/field_behavior.proto': FIELD_BEHAVIOR,
  'acme/v1/options.proto': OWN,
};

const HEAD = /* proto */ `syntax = "proto3";
package shop.v1;
import "millrace/v1/options.proto";
`;
const DECLARED = 'option (millrace.v1.event) = { type: "order.created", subject: "order_id" };';

/** The same message without any custom option. */
export const PLAIN = /* proto */ `${HEAD}message OrderCreated {
  ${DECLARED}
  reserved 100 to 120, 200;
  string order_id = 1;
  int32 quantity = 2;
  map<string, int32> stock = 3;
  Status status = 4;
  oneof pay { string card = 5; int32 cash = 6; }
  repeated double rates = 7 [packed = false];
}
enum Status { NEW = 0; OPEN = 1; }
`;

export const ANNOTATED = /* proto */ `${HEAD}import "buf/validate/validate.proto";
import "google/api/annotations.proto";
import "google/api/field_behavior.proto";
import "acme/v1/options.proto";
option java_package = "shop.v1";
option (acme.v1.area) = "sa" 'les';
message OrderCreated {
  option (buf.validate.message).cel = {
    id: "order.quantity", message: 'say "{"',
    expression: "this.quantity > 0"
  };
  ${DECLARED}
  option (acme.v1.owner) = 'team; "a"';
  reserved 100 to 120, 200;
  string order_id = 1 [(buf.validate.field).string = { min_len: 1; pattern: "^[a-z]{3}$" in: ["a", "b"] }, (google.api.field_behavior) = REQUIRED];
  int32 quantity = 2 [
    (acme.v1.secrecy) = { level: -3 tags: ["a", "b"] inner { level: 2; } weight: -inf [acme.v1.extra]: "z" [acme.v1.numbers]: [1, 2] },
    (acme.v1.words) = "q", (acme.v1.words) = "r" // trailing
  ];
  map<string, int32> stock = 3 [(acme.v1.secrecy).weight = 1e-3, deprecated = true, (.acme.v1.secrecy).(acme.v1.extra) = "r"];
  Status status = 4 [deprecated = false, (acme.v1.Secrecy.within).inner.level = 2];
  oneof pay {
    option (acme.v1.why) = "one";
    option (buf.validate.oneof).required = true;
    string card = 5;
    int32 cash = 6 [(buf.validate.field).int32.lt = -5, (buf.validate.field).cel = { id: "x" } ];
  }
  repeated double rates = 7 [(acme.v1.secrecy) = { inner < level: 1; tags: "a" > }, packed = false];
}
enum Status {
  option (acme.v1.closed) = true;
  NEW = 0 [(acme.v1.label) = "ne\\"w"];
  OPEN = 1 [(acme.v1.label) = "op", (acme.v1.Secrecy.Deeper.note) = "]"];
}
service Orders {
  option (acme.v1.host) = "shop";
  rpc Get(OrderCreated) returns (stream OrderCreated) {
    option (google.api.http) = { get: "/v1/{name=orders/*}" additional_bindings { custom: { kind: "HEAD" path: "/" } } };
    option (acme.v1.scope) = "read";
  }
}
`;
