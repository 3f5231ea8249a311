import fc from 'fast-check';
import t from 'tap';
import { DEFAULT_RETRY, nextDelayMs, type RetryPolicy } from '../../src/core/retry-policy.ts';

t.test('without jitter the delays are the caps', (t) => {
  const policy: RetryPolicy = { attempts: 6, minDelayMs: 100, maxDelayMs: 500, factor: 2, jitter: false };
  t.strictSame([1, 2, 3, 4, 5].map((attempt) => nextDelayMs(policy, attempt)), [100, 200, 400, 500, 500]);
  t.equal(nextDelayMs(policy, 6), null, 'the last attempt has no next');
  t.equal(nextDelayMs(policy, 7), null);
  t.equal(nextDelayMs({ ...policy, attempts: 1 }, 1), null, 'one attempt means: never again');
  t.equal(nextDelayMs({ ...policy, factor: 1 }, 4), 100);
  t.equal(nextDelayMs({ ...policy, minDelayMs: 0, maxDelayMs: 0 }, 1), 0);
  t.equal(nextDelayMs({ attempts: 947, minDelayMs: 0, maxDelayMs: 0, factor: 2.1193147766507927, jitter: false }, 946), 0, 'also where the factor has outgrown all numbers');
  t.end();
});

t.test('full jitter: anything from 0 to the cap', (t) => {
  t.equal(nextDelayMs(DEFAULT_RETRY, 1, () => 0), 0);
  t.equal(nextDelayMs(DEFAULT_RETRY, 1, () => 0.5), 100);
  t.equal(nextDelayMs(DEFAULT_RETRY, 3, () => 0.999999), 800);
  t.end();
});

t.test('property: a whole number within the bounds, or null exactly when the attempts are used up', (t) => {
  fc.assert(
    fc.property(
      fc.record({
        attempts: fc.integer({ min: 1, max: 1000 }), minDelayMs: fc.integer({ min: 0, max: 86_400_000 }), maxDelayMs: fc.integer({ min: 0, max: 86_400_000 }),
        factor: fc.double({ min: 1, max: 10, noNaN: true }), jitter: fc.boolean(),
      }),
      fc.integer({ min: 1, max: 1001 }),
      fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
      (policy, attempt, random) => {
        const delay = nextDelayMs(policy, attempt, () => random);
        if (attempt >= policy.attempts) return delay === null;
        return delay !== null && Number.isInteger(delay) && delay >= 0 && delay <= policy.maxDelayMs;
      },
    ),
  );
  t.end();
});
