import { defineFunction } from '../../../../src/define/index.ts';
import { POLICY } from '../behave.ts';
import { answer } from './_answer.ts';

export default defineFunction({
  name: 'named',
  on: ['test.event'],
  ordering: 'key',
  ...POLICY,
  batchSize: 16,
  handleBatch: (events, ctx) => answer('named', events, ctx),
});
