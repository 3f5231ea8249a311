import { defineFunction } from '../../../../src/define/index.ts';
import { handleOne, POLICY } from '../behave.ts';

const { TEST_DEDUPE, TEST_MAX_CONCURRENCY } = process.env;

export default defineFunction({
  name: 'gated-unordered',
  on: ['test.event'],
  ordering: 'none',
  ...POLICY,
  timeoutMs: Number(process.env['TEST_TIMEOUT_MS'] ?? 120_000),
  ...(TEST_DEDUPE === undefined ? {} : { dedupe: { windowMs: 600_000 } }),
  ...(TEST_MAX_CONCURRENCY === undefined ? {} : { maxConcurrency: Number(TEST_MAX_CONCURRENCY) }),
  handle: (event, ctx) => handleOne('gated-unordered', event, ctx.attempt, ctx.signal),
});
