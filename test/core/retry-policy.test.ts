import fc from 'fast-check';
import t from 'tap';
import { ConfigError } from '../../src/core/errors/input-errors.ts';
import { DEFAULT_RETRY, nextDelayMs, type RetryPolicy } from '../../src/core/retry-policy.ts';
import { defineFunction, defineView } from '../../src/define/index.ts';

const HOUR = 3_600_000;

/** Returns all delays of a policy, with this random number. */
function delaysOf(policy: RetryPolicy, random: () => number): number[] {
  const delays: number[] = [];
  for (let attempt = 1; ; attempt++) {
    const delay = nextDelayMs(policy, attempt, random);
    if (delay === null) return delays;
    delays.push(delay);
  }
}
const sum = (numbers: readonly number[]): number => numbers.reduce((all, one) => all + one, 0);

t.test('without jitter the delays are the caps', (t) => {
  const policy: RetryPolicy = {
    attempts: 6,
    minDelayMs: 100,
    maxDelayMs: 500,
    factor: 2,
    jitter: false,
  };
  t.strictSame(
    [1, 2, 3, 4, 5].map((attempt) => nextDelayMs(policy, attempt)),
    [100, 200, 400, 500, 500],
  );
  t.equal(nextDelayMs(policy, 6), null, 'the last attempt has no next');
  t.equal(nextDelayMs(policy, 7), null);
  t.equal(nextDelayMs({ ...policy, attempts: 1 }, 1), null, 'one attempt means: never again');
  t.equal(nextDelayMs({ ...policy, factor: 1 }, 4), 100);
  t.equal(nextDelayMs({ ...policy, minDelayMs: 0, maxDelayMs: 0 }, 1), 0);
  t.equal(
    nextDelayMs(
      { attempts: 947, minDelayMs: 0, maxDelayMs: 0, factor: 2.1193147766507927, jitter: false },
      946,
    ),
    0,
    'also where the factor has outgrown all numbers',
  );
  t.end();
});

t.test('jitter only adds: half as much again at most', (t) => {
  const policy: RetryPolicy = {
    attempts: 6,
    minDelayMs: 100,
    maxDelayMs: 900,
    factor: 2,
    jitter: true,
  };
  t.strictSame(
    delaysOf(policy, () => 0),
    [100, 200, 400, 600, 600],
    'growth ends at two thirds of the largest delay',
  );
  t.strictSame(
    delaysOf(policy, () => 1 - Number.EPSILON),
    [150, 300, 600, 900, 900],
  );
  t.strictSame(
    delaysOf({ ...policy, maxDelayMs: 100 }, () => 0.9),
    [100, 100, 100, 100, 100],
    'bounds that are one leave it no room',
  );
  t.end();
});

t.test(
  'property: a whole number within the bounds, never below the minimum, or null exactly when the attempts are used up',
  (t) => {
    fc.assert(
      fc.property(
        fc.record({
          attempts: fc.integer({ min: 1, max: 1000 }),
          minDelayMs: fc.integer({ min: 0, max: 86_400_000 }),
          more: fc.integer({ min: 0, max: 86_400_000 }),
          factor: fc.double({ min: 1, max: 10, noNaN: true }),
          jitter: fc.boolean(),
        }),
        fc.integer({ min: 1, max: 1001 }),
        fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
        ({ more, ...rest }, attempt, random) => {
          const policy = { ...rest, maxDelayMs: Math.min(86_400_000, rest.minDelayMs + more) };
          const delay = nextDelayMs(policy, attempt, () => random);
          if (attempt >= policy.attempts) return delay === null;
          if (delay === null || !Number.isInteger(delay)) return false;
          // While the delay grows, jitter never makes it shorter than without jitter.
          const plain = policy.minDelayMs * policy.factor ** (attempt - 1);
          const grows = plain <= policy.maxDelayMs / 1.5;
          return (
            delay >= policy.minDelayMs &&
            delay <= policy.maxDelayMs &&
            (!grows || delay >= Math.round(plain))
          );
        },
      ),
    );
    t.end();
  },
);

t.test(
  'property: a policy that defineFunction lets through keeps its minimum over all its attempts',
  (t) => {
    const bound = fc.option(fc.integer({ min: 0, max: 86_400_000 }), { nil: undefined });
    fc.assert(
      fc.property(
        fc.option(fc.integer({ min: 1, max: 60 }), { nil: undefined }),
        bound,
        bound,
        fc.option(fc.double({ min: 1, max: 10, noNaN: true }), { nil: undefined }),
        fc.func(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })),
        (attempts, minDelayMs, maxDelayMs, factor, random) => {
          const given = Object.entries({ attempts, minDelayMs, maxDelayMs, factor }).filter(
            ([, value]) => value !== undefined,
          );
          let policy: RetryPolicy;
          try {
            policy = defineFunction({
              name: 'f',
              on: ['test.event'],
              retry: Object.fromEntries(given),
              handle: () => undefined,
            }).spec.retry;
          } catch (error) {
            return error instanceof ConfigError;
          }
          let call = 0;
          const delays = delaysOf(policy, () => random(call++));
          return (
            delays.length === policy.attempts - 1 &&
            delays.every((delay) => delay >= policy.minDelayMs && delay <= policy.maxDelayMs)
          );
        },
      ),
      { numRuns: 200 },
    );
    t.end();
  },
);

t.test('the defaults outlive an hour of outage, whatever the jitter, and end within a day', (t) => {
  for (const random of [0, 0.5, 1 - Number.EPSILON]) {
    const delays = delaysOf(DEFAULT_RETRY, () => random);
    t.ok(sum(delays) > HOUR, `${Math.round(sum(delays) / 60_000)} min`);
    t.ok(sum(delays) < 4 * HOUR);
    t.ok((delays[0] as number) < 500, 'a hiccup costs little');
    t.ok(Math.max(...delays) <= 300_000, 'and what comes back is found within minutes');
  }
  t.ok(sum(delaysOf({ ...DEFAULT_RETRY, jitter: false }, () => 0)) > HOUR);
  t.strictSame(
    defineFunction({ name: 'f', on: ['test.event'], handle: () => undefined }).spec.retry,
    DEFAULT_RETRY,
  );
  t.end();
});

t.test('a view calls nobody: what its fold fails at once, it fails again', (t) => {
  const { retry } = defineView({
    name: 'v',
    version: 1,
    on: ['test.event'],
    evolve: () => null,
  }).spec;
  t.ok(sum(delaysOf(retry, () => 0.999)) < 10_000, 'its defaults end within seconds');
  t.equal(
    defineView({
      name: 'v',
      version: 1,
      on: ['test.event'],
      evolve: () => null,
      retry: { attempts: 9 },
    }).spec.retry.attempts,
    9,
  );
  t.end();
});
