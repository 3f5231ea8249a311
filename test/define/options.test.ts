/** Values of a wrong kind are refused by name, and never read as if they were missing. */
import t from 'tap';
import { ConfigError } from '../../src/core/errors/input-errors.ts';
import { defineAggregate, defineDecider } from '../../src/define/define-aggregate.ts';
import { defineFunction } from '../../src/define/define-function.ts';
import { defineView } from '../../src/define/define-view.ts';

const FUNCTION = { name: 'f', on: ['a.b'], handle: () => undefined };
const VIEW = { name: 'v', version: 1, on: ['a.b'], evolve: () => null };
const DECIDER = {
  category: 'c',
  events: ['a.b'],
  initialState: () => ({}),
  evolve: () => ({}),
  decide: () => [],
};
const AGGREGATE = { category: 'c', events: ['a.b'], initialState: () => ({}), evolve: () => ({}) };
const DEFINE = {
  function: (more: object) => defineFunction({ ...FUNCTION, ...more } as never),
  view: (more: object) => defineView({ ...VIEW, ...more } as never),
  decider: (more: object) => defineDecider({ ...DECIDER, ...more } as never),
  aggregate: (more: object) => defineAggregate({ ...AGGREGATE, ...more } as never),
};

const NO_OPTIONS: readonly unknown[] = [
  5,
  0,
  true,
  false,
  'exponential',
  '',
  10n,
  [],
  [1],
  new Map([['attempts', 5]]),
  Promise.resolve({}),
  new Date(0),
  () => ({}),
  Symbol('x'),
  null,
];

t.test('options below one that are none', (t) => {
  for (const [kind, key] of [
    ['function', 'retry'],
    ['function', 'dedupe'],
    ['view', 'retry'],
    ['view', 'indexes'],
    ['decider', 'snapshot'],
    ['aggregate', 'snapshot'],
  ] as const) {
    for (const value of NO_OPTIONS) {
      t.throws(
        () => DEFINE[kind]({ [key]: value }),
        { code: 'CONFIG', message: new RegExp(`: ${key} must be`) },
        `${kind}, ${key}: ${Object.prototype.toString.call(value)} ${typeof value}`,
      );
    }
  }
  t.end();
});

t.test('a value that is none of its option', (t) => {
  for (const key of [
    'concurrency',
    'timeoutMs',
    'maxConcurrency',
    'maxParkedPerSubject',
    'maxParkedPerPartition',
    'ordering',
    'startFrom',
    'onDead',
    'replaySafe',
  ]) {
    for (const value of ['many', -1, 1.5, Number.NaN, 10n, {}, [], Symbol('x')]) {
      t.throws(
        () => DEFINE.function({ [key]: value }),
        { code: 'CONFIG', message: new RegExp(`: ${key} must`) },
        key,
      );
    }
  }
  t.end();
});

t.test('a misspelt option is told with the one that was meant', (t) => {
  const cases: [keyof typeof DEFINE, object, RegExp][] = [
    ['function', { concurency: 1 }, /unknown option "concurency".*concurrency/],
    ['function', { retry: { attempt: 3 } }, /unknown option "retry\.attempt".*attempts/],
    [
      'function',
      { dedupe: { windowMs: 1000, window: 1 } },
      /unknown option "dedupe\.window".*windowMs/,
    ],
    ['view', { index: {} }, /unknown option "index".*indexes/],
    ['view', { indexes: { a: { byy: 'x' } } }, /unknown option "indexes\.a\.byy".*by/],
    ['decider', { snapshot: { version: 1, evry: 5 } }, /unknown option "snapshot\.evry".*every/],
  ];
  for (const [kind, more, message] of cases)
    t.throws(() => DEFINE[kind](more), { code: 'CONFIG', message });
  t.end();
});

t.test('no options at all', (t) => {
  for (const define of [defineFunction, defineView, defineAggregate, defineDecider]) {
    for (const value of [undefined, null, 5, 'f', [], () => undefined])
      t.throws(
        () => (define as (options: unknown) => unknown)(value),
        ConfigError,
        `${define.name} ${String(value)}`,
      );
  }
  t.end();
});
