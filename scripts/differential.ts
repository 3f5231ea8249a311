/**
 * Compares Millrace's writer, reader and envelope walkers with @bufbuild/protobuf, on random data
 * and bytes: `node dist/scripts/differential.js --messages 1000000 --seed 7`. Prints the first
 * difference and exits with 1.
 */
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { randomOf } from './differential/random.ts';
import { compareRound, createDifferential, Difference, newTally } from './differential/compare.ts';

const { values } = parseArgs({
  options: {
    messages: { type: 'string', default: '100000' },
    seed: { type: 'string', default: '1' },
  },
});
const [messages, seed] = [Number(values.messages), Number(values.seed)];
if (!Number.isSafeInteger(messages) || messages < 1 || !Number.isSafeInteger(seed)) {
  process.stderr.write('usage: differential --messages <1 or more> --seed <whole number>\n');
  process.exit(2);
}
const differential = createDifferential(fileURLToPath(new URL('../..', import.meta.url)));
const tally = newTally();
for (let round = 0; tally.written + tally.read + tally.refused + tally.beyond < messages; round++) {
  try {
    compareRound(differential, randomOf(seed * 1_000_003 + round), tally);
  } catch (error) {
    process.stderr.write(
      `${error instanceof Difference ? error.message : ((error as Error).stack ?? String(error))}\nround ${round} of seed ${seed}\n`,
    );
    process.exit(1);
  }
}
process.stdout.write(`${JSON.stringify(tally)}\n`);
