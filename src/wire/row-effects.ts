import { STEP } from '../core/effects.ts';
import { PackReader } from './message-pack.ts';

/**
 * Reports each row that a block of effects sets or deletes (''), in order, by the number of its
 * key. Indexes are skipped.
 */
export function readRowEffects(
  block: Uint8Array,
  put: (key: number, stored: string) => void,
): void {
  const reader = new PackReader(block);
  while (reader.left > 0) {
    const name = reader.text();
    let operands = reader.uint();
    if (name === STEP.SET) for (; operands > 0; operands -= 2) put(reader.uint(), reader.text());
    else if (name === STEP.DEL) for (; operands > 0; operands--) put(reader.uint(), '');
    else {
      reader.uint();
      for (; operands > 1; operands--) reader.raw();
    }
  }
}
