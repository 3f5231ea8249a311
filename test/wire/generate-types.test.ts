import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import ts from 'typescript';
import { createCatalog } from '../../src/wire/catalog.ts';
import { loadProtoFolder } from '../../src/wire/proto-folder.ts';
import { generateTypes } from '../../src/wire/generate-types.ts';

const PROTO = `syntax = "proto3"; package millraceshop; import "millrace/v1/options.proto"; import "google/protobuf/timestamp.proto"; import "google/protobuf/descriptor.proto";
  extend google.protobuf.FieldOptions { string doc = 50001; }
  message Record { enum Kind { NONE = 0; BIG = 7; } string record = 1; }
  message Array { message string { bool b = 1; } string s = 1; }
  message M {
    option (millrace.v1.event) = { type: "m.one-two", subject: "order_id" };
    string order_id = 1; int64 wide = 2; bytes raw = 3; Record rec = 4; repeated Record list = 5; map<string, Record> by_name = 6; map<int32, bytes> by_id = 7;
    Record.Kind kind = 8; repeated Record.Kind kinds = 9; oneof choice { string left = 10; int64 right = 11; } optional bool maybe = 12; google.protobuf.Timestamp at = 13; M self = 14; Array arr = 15;
  }`;

/** Compiles a file inside the project, so that `millrace/define` is found as in a function file. */
function errorsOf(files: Record<string, string>): string[] {
  mkdirSync('.tap/types', { recursive: true });
  const dir = mkdtempSync('.tap/types/');
  try {
    for (const [name, text] of Object.entries(files)) writeFileSync(join(dir, name), text);
    const program = ts.createProgram(
      Object.keys(files).map((name) => join(dir, name)),
      {
        strict: true,
        noEmit: true,
        noUncheckedIndexedAccess: true,
        skipLibCheck: true,
        verbatimModuleSyntax: true,
        allowImportingTsExtensions: true,
        types: ['node'],
        target: ts.ScriptTarget.ES2022,
        module: ts.ModuleKind.NodeNext,
        moduleResolution: ts.ModuleResolutionKind.NodeNext,
      },
    );
    return ts
      .getPreEmitDiagnostics(program)
      .map(
        (d) =>
          `${d.file?.fileName.split('/').at(-1) ?? ''}: ${ts.flattenDiagnosticMessageText(d.messageText, ' ')}`,
      );
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

t.test('what is generated compiles, names and all, and types event.data', async (t) => {
  const events = generateTypes(createCatalog([{ name: 'a.proto', text: PROTO }]));
  t.notMatch(events, /FieldOptions/, 'custom options are no payload');
  const use = `
    import { defineFunction, type EventTypes } from 'millrace/define';
    import type { M } from './events.ts';
    export default defineFunction({ name: 'x', on: ['m.one-two'], handle(event) {
      const data: M = event.data;
      const name: string | undefined = data.byName['a']?.record;
      const raw: Uint8Array | undefined = data.byId[5];
      const right: number | null = data.right;
      const kind: 0 | 7 = data.kind;
      const seconds: number = (data.at?.seconds ?? 0) + data.wide;
      // @ts-expect-error messages may be null
      data.rec.record;
      // @ts-expect-error a typo
      data.orderid;
      // @ts-expect-error no such type
      type Nope = EventTypes['m.two'];
      return void [name, raw, right, kind, seconds, data.self?.list[0]?.record, data.arr?.s, undefined as unknown as Nope];
    } });`;
  t.same(errorsOf({ 'events.ts': events, 'use.ts': use }), []);
});

t.test('what the repository holds is what its proto folder says', async (t) => {
  t.equal(
    readFileSync('workers/generated/events.ts', 'utf8'),
    generateTypes(createCatalog(loadProtoFolder('proto'))),
  );
});
