import { join } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import {
  FINGERPRINT_PATTERN,
  groupKeyOf,
  messageClass,
  topFrames,
  type GroupAbout,
  type LetterFault,
} from '../../src/core/letter-fingerprint.ts';
import { projectDir } from '../../scripts/lab/redis-server.ts';

const CLASSES: readonly (readonly [message: string, expected: string])[] = [
  ['', ''],
  ['boom', 'boom'],
  ['  two   spaces\tand a tab ', 'two spaces and a tab'],
  ['first line\nat order 7', 'first line'],
  ['no product "A-17" in 3 tries', 'no product "…" in # tries'],
  ["no product 'blue shirt'", "no product '…'"],
  ["can't find order 12, it isn't there", "can't find order #, it isn't there"],
  ['order 2b1f0c9e-0b1d-4f0e-9a5c-0123456789ab is closed', 'order # is closed'],
  ['connect ECONNREFUSED 10.0.0.7:5432', 'connect ECONNREFUSED #'],
  ['late since 2026-11-29T13:00:01.5Z', 'late since #'],
  ['due on 2026/11/29', 'due on #'],
  ['HTTP 503 from https://shop/orders/7', 'HTTP 503 from <url>'],
  ['HTTP 404 from https://shop/orders/8', 'HTTP 404 from <url>'],
  ['request failed with status code 502', 'request failed with status code 502'],
  ['cannot write to anna.b+7@mail.example.com', 'cannot write to <mail>'],
  [
    "Cannot read properties of undefined (reading 'total')",
    "Cannot read properties of undefined (reading 'total')",
  ],
  ["ENOENT: no such file, open '/srv/up/77.png'", "ENOENT: no such file, open '…'"],
  ['no such file /srv/uploads/2026/4711.png', 'no such file #.png'],
  ['/srv/app/functions/hello.ts:12:7 has failed', 'hello.ts has failed'],
];

t.test('a message becomes its class', (t) => {
  for (const [message, expected] of CLASSES) t.equal(messageClass(message), expected, message);
  t.ok(messageClass('long word '.repeat(1000)).length <= 200);
  t.end();
});

t.test('a class does not depend on ids and numbers', (t) => {
  const id = fc.oneof(fc.uuid(), fc.nat().map(String), fc.ipV4());
  fc.assert(
    fc.property(id, id, (a, b) => {
      t.equal(messageClass(`order ${a} is gone`), messageClass(`order ${b} is gone`));
    }),
  );
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 2000 }), (message) => {
      const found = messageClass(message);
      t.ok(found.length <= 200);
      t.equal(messageClass(message), found);
    }),
  );
  t.end();
});

t.test('top frames are those of the user, without lines, columns and folders', (t) => {
  const ours = join(projectDir, 'dist/src/thread/run-batch.js');
  const stack = [
    'TypeError: boom',
    '    at parse (node:internal/url:12:3)',
    '    at total (/srv/releases/77/functions/price.ts:3:9)',
    '    at async handle (file:///srv/releases/77/functions/order.ts:41:11)',
    '    at /srv/releases/77/functions/order.ts:90:1',
    '    at late (/srv/releases/77/functions/order.ts:99:1)',
    `    at run (${ours}:1:1)`,
  ].join('\n');
  t.strictSame(topFrames(stack), [
    'total (functions/price.ts)',
    'async handle (functions/order.ts)',
    'functions/order.ts',
  ]);
  t.strictSame(
    topFrames(
      'Error: x\n    at send (/app/node_modules/pg/lib/client.js:1:2)\n    at node:net:1:2',
    ),
    ['send (pg/lib/client.js)', 'node:net'],
    'without own code, all frames count',
  );
  t.strictSame(topFrames(''), []);
  t.strictSame(topFrames('no stack at all'), []);
  t.end();
});

const FAULT: LetterFault = {
  fn: 'bill',
  type: 'order.created',
  schema: 3,
  error: {
    name: 'TypeError',
    message: 'order 7 has no total',
    stack: 'TypeError: order 7 has no total\n    at handle (/a/functions/bill.ts:3:9)',
  },
};
const fingerprintOf = (fault: LetterFault): string => groupKeyOf(fault).fingerprint;

t.test('a fingerprint is that of the fault', (t) => {
  const { fingerprint, about } = groupKeyOf(FAULT);
  t.match(fingerprint, FINGERPRINT_PATTERN);
  t.strictSame(JSON.parse(about) as GroupAbout, {
    name: 'TypeError',
    message: 'order # has no total',
    frames: ['handle (functions/bill.ts)'],
    type: 'order.created',
    schema: 3,
  });
  const { error } = FAULT;
  const moved = { ...error, stack: error.stack.replaceAll('7', '8').replace(':3:9', ':30:1') };
  t.equal(
    fingerprintOf({ ...FAULT, error: { ...moved, message: 'order 8 has no total' } }),
    fingerprint,
    'another event, at another line',
  );
  const others: readonly LetterFault[] = [
    { ...FAULT, fn: 'mail' },
    { ...FAULT, type: 'order.paid' },
    { ...FAULT, schema: 4 },
    { ...FAULT, error: { ...error, name: 'RangeError' } },
    { ...FAULT, error: { ...error, message: 'order 7 has no lines' } },
    { ...FAULT, error: { ...error, stack: error.stack.replace('bill.ts', 'tax.ts') } },
  ];
  const all = new Set([fingerprint, ...others.map(fingerprintOf)]);
  t.equal(all.size, others.length + 1);
  t.end();
});

t.test('hostile errors make bounded descriptions', (t) => {
  const long = 'x'.repeat(100_000);
  const { about } = groupKeyOf({
    fn: 'bill',
    type: 'order.created',
    schema: 0,
    error: { name: long, message: long, stack: `${long}\n    at ${long} (/a/${long}.ts:1:1)` },
  });
  t.ok(Buffer.byteLength(about) < 2000);
  t.end();
});

// Quadratic time would be minutes here.
t.test('a hostile stack takes linear time', (t) => {
  const many = 1_000_000;
  for (const stack of [
    '\n'.repeat(many),
    ' '.repeat(many),
    '    at x\n'.repeat(many / 9),
    `    at ${'('.repeat(many)}`,
    `    at ${':1:1'.repeat(many / 4)}x`,
  ])
    t.strictSame(topFrames(stack), []);
  t.strictSame(topFrames(`    at send (/a/${'x'.repeat(many)}:1:1)`).length, 1);
  t.end();
});
