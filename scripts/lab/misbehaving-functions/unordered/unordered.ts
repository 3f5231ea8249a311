import { defineFunction } from '../../../../src/define/index.ts';
import { handleOne, POLICY } from '../behave.ts';

export default defineFunction({
  name: 'unordered',
  on: ['test.event'],
  ordering: 'none',
  ...POLICY,
  handle: (event, ctx) => handleOne('unordered', event, ctx.attempt, ctx.signal),
});
