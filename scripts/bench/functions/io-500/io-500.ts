import { setTimeout as wait } from 'node:timers/promises';
import { benchFunction } from '../bench-function.ts';

export default benchFunction({
  name: 'io-500',
  concurrency: 500,
  work: () => wait(20),
});
