import { defineFunction } from '../../../../src/define/index.ts';
import { handleOne, POLICY } from '../behave.ts';

export default defineFunction({
  name: 'gated-unordered',
  on: ['test.event'],
  ordering: 'none',
  ...POLICY,
  timeoutMs: Number(process.env['TEST_TIMEOUT_MS'] ?? 120_000),
  handle: (event, ctx) => handleOne('gated-unordered', event, ctx.attempt, ctx.signal),
});
