import { setTimeout as wait } from 'node:timers/promises';
import { benchFunction } from '../bench-function.ts';

export default benchFunction({
  name: 'io',
  work: () => wait(20),
});
