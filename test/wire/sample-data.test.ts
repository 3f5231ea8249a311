import fc from 'fast-check';
import t from 'tap';
import { seededRandom } from '../../src/torture/random.ts';
import { createCatalog } from '../../src/wire/catalog.ts';
import { sampleData } from '../../src/wire/sample-data.ts';

const ALL = `syntax = "proto3";
package all.v1;
import "millrace/v1/options.proto";
import "google/protobuf/timestamp.proto";
enum Colour { COLOUR_UNSPECIFIED = 0; COLOUR_RED = 3; COLOUR_BLUE = -2; }
message Tree { string label = 1; Tree left = 2; repeated Tree children = 3; }
message Everything {
  option (millrace.v1.event) = { type: "all.everything", subject: "the_key" };
  string the_key = 1; bool b = 2; bytes bs = 3; double d = 4; float f = 5;
  int32 i32 = 6; sint32 s32 = 7; sfixed32 sf32 = 8; uint32 u32 = 9; fixed32 f32 = 10;
  int64 i64 = 11; sint64 s64 = 12; sfixed64 sf64 = 13; uint64 u64 = 14; fixed64 f64 = 15;
  Colour colour = 16; repeated Colour colours = 17; repeated int64 numbers = 18; repeated string texts = 19;
  map<string, Tree> by_name = 20; map<int32, string> by_number = 21; map<bool, Colour> by_truth = 22; map<fixed64, bytes> by_wide = 23;
  Tree tree = 24; google.protobuf.Timestamp at = 25; optional string maybe = 26;
  oneof choice { string text = 27; Tree branch = 28; int64 wide = 29; }
}
`;

t.test('made-up data of every kind of field fits its type, and reads back', (t) => {
  const catalog = createCatalog([{ name: 'all.proto', text: ALL }]);
  const type = catalog.get('all.everything');
  const choices = new Set<string>();
  fc.assert(
    fc.property(fc.integer(), (seed) => {
      const data = sampleData(catalog, 'all.everything', 'subject-1', seededRandom(seed).next);
      type.check(data);
      if (type.subjectOf(data) !== 'subject-1') throw new Error('another subject');
      const back = type.decode(type.encode(data)) as Record<string, unknown>;
      for (const choice of ['text', 'branch', 'wide'])
        if (data[choice] !== undefined) choices.add(choice);
      for (const field of ['i64', 'u64', 'colour', 'b', 'd'])
        if (back[field] !== data[field])
          throw new Error(`${field}: ${String(back[field])} is not ${String(data[field])}`);
    }),
    { numRuns: 100 },
  );
  t.strictSame([...choices].sort(), ['branch', 'text', 'wide']);
  t.end();
});
