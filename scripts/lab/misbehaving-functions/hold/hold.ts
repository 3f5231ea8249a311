import { defineFunction } from '../../../../src/define/index.ts';
import { handleOne, POLICY } from '../behave.ts';

export default defineFunction({
  name: 'hold',
  on: ['test.event'],
  onDead: 'hold',
  maxParkedPerSubject: 30,
  maxParkedPerPartition: 80,
  maxConcurrency: 3,
  ...POLICY,
  handle: (event, ctx) => handleOne('hold', event, ctx.attempt, ctx.signal),
});
