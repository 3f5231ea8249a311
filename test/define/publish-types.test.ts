/**
 * publish is as strict as emit where types were generated, and open where none were. The compiler
 * checks both.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import ts from 'typescript';
import { createCatalog } from '../../src/wire/catalog.ts';
import { generateTypes } from '../../src/wire/generate-types.ts';

const PROTO = `syntax = "proto3"; package bank.v1; import "millrace/v1/options.proto"; import "google/protobuf/timestamp.proto";
  message Money { int64 cents = 1; string currency = 2; }
  message Started {
    option (millrace.v1.event) = { type: "subscription.started", subject: "subscription_id" };
    string subscription_id = 1; int64 monthly = 2; Money price = 3; repeated Money extras = 4; map<string, string> labels = 5; google.protobuf.Timestamp started_at = 6; bytes raw = 7; bool trial = 8;
    enum Plan { FREE = 0; PAID = 1; } Plan plan = 9; oneof way { string card = 10; int64 bank = 11; } Started before = 12;
  }
  message Ended { option (millrace.v1.event) = { type: "subscription.ended", subject: "subscription_id" }; string subscription_id = 1; string reason = 2; }`;

const HEAD = `import type { Publisher, PublishItem, Published } from 'millrace';
declare const publisher: Publisher; declare const some: string; declare const anything: unknown;
`;

/** Returns, for each line of code, whether the compiler refuses the line. */
function refusals(lines: readonly string[], more: Readonly<Record<string, string>>): boolean[] {
  mkdirSync('.tap/types', { recursive: true });
  const dir = mkdtempSync('.tap/types/');
  try {
    const files = {
      ...more,
      ...Object.fromEntries(
        lines.map((line, i) => [
          `use${i}.ts`,
          `${HEAD}${more['events.ts'] ? "import './events.ts';" : ''}\nexport const x = async (): Promise<unknown> => {\n  ${line}\n};`,
        ]),
      ),
    };
    for (const [name, text] of Object.entries(files)) writeFileSync(join(dir, name), text);
    const program = ts.createProgram(
      Object.keys(files).map((name) => join(dir, name)),
      {
        strict: true,
        noEmit: true,
        skipLibCheck: true,
        allowImportingTsExtensions: true,
        types: ['node'],
        target: ts.ScriptTarget.ES2022,
        module: ts.ModuleKind.NodeNext,
        moduleResolution: ts.ModuleResolutionKind.NodeNext,
      },
    );
    const bad = new Set(
      ts.getPreEmitDiagnostics(program).map((d) => d.file?.fileName.split('/').at(-1)),
    );
    return lines.map((_, i) => bad.has(`use${i}.ts`));
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

const FITS = [
  "return publisher.publish('subscription.started', { subscriptionId: 's', monthly: 900 });",
  "return publisher.publish('subscription.started', { subscriptionId: 's', price: { cents: 1 }, extras: [{ cents: 1, currency: 'EUR' }], labels: { a: 'b' }, raw: new Uint8Array(1), plan: 1, card: null, before: null });",
  "return publisher.publish('subscription.started', { subscriptionId: 's', startedAt: new Date(), labels: new Map([['a', 'b']]) }, { id: 'x' });",
  "return publisher.publish('subscription.started', { subscriptionId: 's', startedAt: '2026-01-01T00:00:00Z' });",
  "return publisher.publish('subscription.started', { subscriptionId: 's', startedAt: { seconds: 1, nanos: 0 }, before: { monthly: 1 } });",
  "return publisher.publishMany([{ type: 'subscription.started', data: { subscriptionId: 's' } }, { type: 'subscription.ended', data: { reason: 'x' }, delayMs: 5 }]);",
  "return publisher.publishMany(Array.from({ length: 3 }, () => ({ type: 'subscription.ended', data: { reason: 'x' } })));",
  // a type that is known only at run time
  'return publisher.publish(some, anything);',
  'const items: PublishItem[] = [{ type: some, data: anything }]; return publisher.publishMany(items);',
  "const items = [1, 2].map((n) => ({ type: 'subscription.ended', data: { reason: String(n) } })); return publisher.publishMany(items);",
  "const one: PublishItem<'subscription.ended'> = { type: 'subscription.ended', data: { reason: 'x' } }; const done: Published[] = await publisher.publishMany([one]); return done;",
];

const FAILS = [
  "return publisher.publish('subscription.startd', { subscriptionId: 's' });",
  "return publisher.publish('subscription.started', { subscriptionId: 1 });",
  "return publisher.publish('subscription.started', { subscriptionID: 's' });",
  "return publisher.publish('subscription.started', { subscriptionId: 's', monthly: '900' });",
  "return publisher.publish('subscription.started', { subscriptionId: 's', price: { cent: 1 } });",
  "return publisher.publish('subscription.started', { subscriptionId: 's', extras: [{ cents: '1' }] });",
  "return publisher.publish('subscription.started', { subscriptionId: 's', labels: { a: 1 } });",
  "return publisher.publish('subscription.started', { subscriptionId: 's', trial: 'yes' });",
  "return publisher.publish('subscription.started', { subscriptionId: 's', plan: 7 });",
  "return publisher.publish('subscription.started', { subscriptionId: 's', price: new Date() });",
  "return publisher.publish('subscription.started', Promise.resolve({ subscriptionId: 's' }));",
  "return publisher.publish('subscription.started', 'text');",
  "return publisher.publish('subscription.ended', { subscriptionId: 's', monthly: 900 });",
  "return publisher.publish('subscription.started', { subscriptionId: 's' }, { delay: 5000 });",
  "return publisher.publishMany([{ type: 'subscription.startd', data: {} }]);",
  "return publisher.publishMany([{ type: 'subscription.started', data: { subscriptionId: 1 } }]);",
  "return publisher.publishMany([{ type: 'subscription.started', data: { subscriptionId: 's' }, delay: 5 }]);",
];

t.test('with generated types: what fits compiles, what does not fit fails', async (t) => {
  const events = generateTypes(createCatalog([{ name: 'a.proto', text: PROTO }]));
  const refused = refusals([...FITS, ...FAILS], { 'events.ts': events });
  FITS.forEach((line, i) => t.notOk(refused[i], line));
  FAILS.forEach((line, i) => t.ok(refused[FITS.length + i], line));
});

t.test('without generated types every type and any data compile', async (t) => {
  const open = [
    ...FITS,
    "return publisher.publish('anything', { a: 1 });",
    "interface Mine { a: number } const mine: Mine = { a: 1 }; return publisher.publish('anything', mine);",
    "return publisher.publishMany([{ type: 'x', data: 1 }]);",
  ];
  refusals(open, {}).forEach((refused, i) => t.notOk(refused, String(open[i])));
});
