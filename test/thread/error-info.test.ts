import fc from 'fast-check';
import t from 'tap';
import { errorInfo } from '../../src/thread/error-info.ts';

const refused = Object.assign(new Error('connect ECONNREFUSED 127.0.0.1:9'), {
  code: 'ECONNREFUSED',
});
const coded = Object.assign(new Error('socket hang up'), { code: 'ECONNRESET' });
const circle = new Error('one');
circle.cause = new Error('two', { cause: circle });
const getter = new Error('outer');
Object.defineProperty(getter, 'cause', {
  get() {
    throw new Error('no');
  },
});
let deep: Error = new Error('d0');
for (let i = 1; i < 50; i++) deep = new Error(`d${i}`, { cause: deep });

const CASES: readonly [what: string, thrown: unknown, cause: string | RegExp | undefined][] = [
  ['none', new Error('x'), undefined],
  [
    'what fetch throws',
    new TypeError('fetch failed', { cause: refused }),
    'Error: connect ECONNREFUSED 127.0.0.1:9',
  ],
  [
    'what fetch throws with two addresses',
    new TypeError('fetch failed', {
      cause: Object.assign(new AggregateError([refused, coded]), { code: 'ECONNREFUSED' }),
    }),
    'AggregateError: connect ECONNREFUSED 127.0.0.1:9, socket hang up',
  ],
  [
    'a code that its message does not say',
    new Error('x', { cause: coded }),
    'Error: socket hang up (ECONNRESET)',
  ],
  [
    'a chain',
    new Error('a', { cause: new RangeError('b', { cause: new Error('c') }) }),
    'RangeError: b; caused by Error: c',
  ],
  ['a text', new Error('a', { cause: 'the disk' }), 'the disk'],
  ['a plain object', new Error('a', { cause: { status: 503 } }), '{"status":503}'],
  ['a number', new Error('a', { cause: 7 }), '7'],
  ['a circle', circle, 'Error: two'],
  ['a getter that throws', getter, undefined],
  ['a chain without an end', deep, /^(Error: d\d+; caused by ){5}…$/],
  ['a huge message', new Error('a', { cause: new Error('x'.repeat(1e6)) }), /^Error: x{1,500}$/],
  ['null', new Error('a', { cause: null }), undefined],
];

t.test('what an error was caused by is kept, in one bounded line', (t) => {
  for (const [what, thrown, cause] of CASES) {
    const info = errorInfo(thrown);
    if (cause instanceof RegExp) t.match(info.cause, cause, what);
    else t.equal(info.cause, cause, what);
  }
  t.end();
});

t.test('an AggregateError says what it gathers', (t) => {
  t.match(errorInfo(new AggregateError([refused, coded])), {
    name: 'AggregateError',
    message: 'connect ECONNREFUSED 127.0.0.1:9, socket hang up',
  });
  t.end();
});

t.test('property: whatever is thrown, with whatever cause, becomes bounded texts', (t) => {
  fc.assert(
    fc.property(
      fc.anything({ withNullPrototype: true, withBigInt: true, withDate: true, withMap: true }),
      fc.anything({ withNullPrototype: true }),
      (message, cause) => {
        for (const thrown of [
          cause,
          new Error(String(Object.prototype.toString.call(message)), { cause }),
          { message, cause, name: message, errors: cause },
        ]) {
          const info = errorInfo(thrown);
          const lengths = [info.name, info.message, info.stack, info.cause ?? ''].map((text) =>
            typeof text === 'string' ? text.length : Infinity,
          );
          if (lengths.some((length, i) => length > ([200, 4096, 8192, 2048][i] as number)))
            return false;
        }
        return true;
      },
    ),
  );
  t.end();
});
