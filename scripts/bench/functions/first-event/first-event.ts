import { renameSync, writeFileSync } from 'node:fs';
import { benchFunction } from '../bench-function.ts';

/**
 * Writes the number of the order and the time into the file that the order's note names. The rename
 * makes the file appear whole.
 */
export default benchFunction({
  name: 'first-event',
  work({ number, note }) {
    writeFileSync(`${note}.new`, JSON.stringify({ number, handledMs: Date.now() }));
    renameSync(`${note}.new`, note);
  },
});
