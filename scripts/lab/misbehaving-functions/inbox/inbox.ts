import { defineFunction } from '../../../../src/define/index.ts';
import { handleOne, POLICY } from '../behave.ts';

export default defineFunction({
  name: 'inbox',
  on: ['test.event'],
  dedupe: { windowMs: 600_000 },
  ...POLICY,
  handle: (event, ctx) => handleOne('inbox', event, ctx.attempt, ctx.signal),
});
