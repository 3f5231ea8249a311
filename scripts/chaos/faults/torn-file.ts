/**
 * The append-only file ends inside a script. After the second start Redis itself keeps half of that
 * script.
 */
import { statSync, truncateSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { readTransactions } from '../../../src/redis/append-only-file.ts';
import type { Fault, FaultContext } from '../fault.ts';
import { growingFile } from './growing-file.ts';

/** Number of last scripts of which one is torn. */
const LAST = 150;

/**
 * Kills the server and cuts its file. Leaves the first effects of one script, and in most cases a
 * piece of its next effect. Redis itself removes a script that ends with a whole command, and keeps
 * the first half of any other.
 */
async function tear({ redis, random, allowed, note }: FaultContext): Promise<number> {
  if (!redis) throw new Error('this fault needs a single server');
  const file = growingFile(redis.dir);
  const samples: { readonly atMs: number; readonly bytes: number }[] = [];
  const until = performance.now() + random.whole(600, 1600);
  while (performance.now() < until) {
    samples.push({ atMs: performance.now(), bytes: statSync(file).size });
    await delay(25);
  }
  await note('torn file');
  allowed.stateGoesBack = true;
  await redis.kill();
  const found = readTransactions(redis.dir);
  // A script with one effect has no half.
  const torn = random.pick(
    (found?.transactions ?? []).filter(({ ends }) => ends.length > 3).slice(-LAST),
  );
  const { ends } = torn;
  const whole = random.whole(1, ends.length - 3);
  const [at, next] = [ends[whole] as number, ends[whole + 1] as number];
  const cut = random.chance(0.2) ? at : random.whole(at + 1, next - 1);
  truncateSync(file, cut);
  await redis.restart();
  const size = statSync(growingFile(redis.dir)).size;
  if (size < torn.from)
    throw new Error(`more was cut than the torn script: ${size} of ${torn.from} bytes are left`);
  return samples.findLast(({ bytes }) => bytes <= torn.from)?.atMs ?? -Infinity;
}

export const tornFileFaults: readonly Fault[] = [
  {
    name: 'torn-file',
    about:
      'kill -9 of the embedded server, its append-only file cut in the middle of a script; lost as in power-loss',
    needs: 'embedded server',
    async inject(context) {
      const lostFromMs = await tear(context);
      context.lostSince(lostFromMs, performance.now());
    },
  },
  {
    name: 'torn-file-twice',
    about: 'torn-file, then written on, killed and started again, and once more',
    needs: 'embedded server',
    async inject(context) {
      const { redis, note, pause } = context;
      const lostFromMs = await tear(context);
      context.lostSince(lostFromMs, performance.now());
      for (let i = 0; i < 2; i++) {
        await pause(300, 900);
        await note('kill redis');
        await redis?.kill();
        await redis?.restart();
      }
    },
  },
];
