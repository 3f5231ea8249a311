/**
 * A small slice of scripts/differential.ts: writer, reader and envelope walkers against
 * @bufbuild/protobuf.
 */
import { readFileSync } from 'node:fs';
import t from 'tap';
import { compareRound, createDifferential, newTally } from '../../scripts/differential/compare.ts';
import { damaged, rawMessage } from '../../scripts/differential/generate.ts';
import { randomOf } from '../../scripts/differential/random.ts';
import { countEvents } from '../../src/wire/batch-reader.ts';
import { ENTRIES } from '../../src/redis/lua/shared.ts';
import { projectDir, startRedis } from '../../scripts/lab/redis-server.ts';

t.test(
  'Millrace writes and reads as @bufbuild/protobuf does, and refuses what is no message',
  async (t) => {
    const differential = createDifferential(projectDir);
    const tally = newTally();
    for (let round = 0; round < 200; round++) {
      try {
        compareRound(differential, randomOf(round), tally);
      } catch (error) {
        throw new Error(`round ${round}`, { cause: error });
      }
    }
    t.ok(
      tally.written === 200 &&
        tally.read > 150 &&
        tally.refused > 80 &&
        tally.batches > 200 &&
        tally.brokenBatches > 40,
      JSON.stringify(tally),
    );
  },
);

t.test('the scripts count the events of an entry as the readers do', async (t) => {
  const { message } = createDifferential(projectDir);
  const random = randomOf(7);
  const batches = Array.from({ length: 600 }, (_, i) => {
    const batch = rawMessage(random, message('millrace.v1.EventBatch'));
    return i % 2 === 0 ? batch : damaged(random, batch);
  });
  const tag = (bytes: string): Buffer => Buffer.from(bytes.replaceAll(' ', ''), 'hex');
  batches.push(
    tag('1a00 0b 1001 0c 1a00'),
    tag('1a00 0b 1001 14'),
    tag('1a00 0b'),
    tag('9a00 00'),
    tag('9a80808000 00'),
    tag('9a8080808000 00'),
    tag('0200'),
    tag('1a00 0c'),
  );
  const count = (bytes: Buffer): number => {
    try {
      return Math.max(1, countEvents(bytes));
    } catch {
      return 1;
    }
  };
  const client = (await startRedis(t)).client();
  const script = `${readFileSync(ENTRIES.at(-1) as URL, 'utf8')}\nlocal out = {} for i, b in ipairs(ARGV) do out[i] = countEvents(b) end return out`;
  t.same(await client.eval(script, 0, ...batches), batches.map(count));
  t.ok(batches.filter((batch) => count(batch) > 1).length > 100);
});
