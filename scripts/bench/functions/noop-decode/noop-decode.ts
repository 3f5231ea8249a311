import { benchFunction } from '../bench-function.ts';
import { readOrder } from '../read-order.ts';

/** Decodes and reads every field. */
export default benchFunction({ name: 'noop-decode', work: readOrder });
