import t from 'tap';
import type { Deployment } from '../../src/deployment.ts';
import { readLag } from '../../src/lag/lag.ts';
import { UnknownFunctionError } from '../../src/redis/counters.ts';
import { announceMember } from '../../src/pipeline/ownership/members.ts';
import {
  FunctionHasEventsError,
  FunctionInUseError,
  removeFunction,
} from '../../src/upkeep/remove-function.ts';
import { retain } from '../../src/upkeep/retention.ts';
import { dump } from '../../scripts/lab/counters.ts';
import { events, makeBed, publish, specOf, startLane, type Bed } from '../pipeline/bare-lane.ts';

const remove = (bed: Bed, name: string, discard = false): Promise<unknown> =>
  removeFunction(bed as unknown as Deployment, name, discard);
const RETRY_LATER = {
  attempts: 5,
  minDelayMs: 60_000,
  maxDelayMs: 60_000,
  factor: 1,
  jitter: false,
};

t.test(
  'refused while it runs, and while it has events; then nothing of it is left, and others are untouched',
  async (t) => {
    const bed = await makeBed(t, 2);
    const old = await startLane(bed, specOf('old', ['a.b', 'a.c'], { retry: RETRY_LATER }), 0);
    const other = await startLane(bed, specOf('older', ['a.b']), 0);
    await publish(bed, 0, {
      'a.b': [...events(2, 'bad'), ...events(2, 'fine')],
      'a.c': events(1, 'worse'),
    });
    await old.drain(({ subject }) =>
      subject === 'bad' ? 'retry' : subject === 'worse' ? 'dead' : 'done',
    );
    await other.drain();
    const kept = await readLag(bed);

    const before = await dump(bed.redis.client());
    await t.rejects(remove(bed, 'nobody'), UnknownFunctionError);
    await t.rejects(remove(bed, 'old', true), FunctionInUseError, 'its lease is held');
    await bed.connection.command('DEL', bed.keys.lease(0, 'old'), bed.keys.lease(0, 'older'));
    await announceMember(bed.connection, bed.keys, 'old', 'd1', 60_000);
    await t.rejects(remove(bed, 'old', true), { code: 'FUNCTION_IN_USE', message: /d1/ });
    await bed.connection.command('DEL', bed.keys.members('old'));
    await t.rejects(remove(bed, 'old'), FunctionHasEventsError);
    t.match(await remove(bed, 'old').catch((error: unknown) => error), {
      left: { parkedUnits: 1, deadLetters: 1, pendingEntries: 0 },
    });
    const { [bed.keys.lease(0, 'old')]: _a, [bed.keys.lease(0, 'older')]: _b, ...rest } = before;
    t.strictSame(await dump(bed.redis.client()), rest, 'nothing has changed');

    t.strictSame(await remove(bed, 'old', true), {
      parkedUnits: 1,
      deadLetters: 1,
      pendingEntries: 0,
    });
    const after = await dump(bed.redis.client());
    t.strictSame(
      Object.keys(after).filter((key) => /:old(:|$)/.test(key)),
      [],
      'no key',
    );
    const counters = (await bed.connection.command('HKEYS', bed.keys.counters(0))) as string[];
    t.strictSame(
      counters.filter((field) => field.split(':')[1] === 'old'),
      [],
      'no counter',
    );
    t.strictSame(
      (await readLag(bed)).functions.map(({ name, done, conserved }) => ({
        name,
        done,
        conserved,
      })),
      kept.functions
        .filter((fn) => fn.name === 'older')
        .map(({ name, done, conserved }) => ({ name, done, conserved })),
    );
    t.match(
      await retain({ ...bed, partitions: 2 }, 0, 'a.b', { maxEvents: 0 }),
      { events: 4, held: null },
      'it holds nothing any more',
    );
    await t.rejects(remove(bed, 'old'), UnknownFunctionError);
  },
);

t.test('started again it is a new function', async (t) => {
  const bed = await makeBed(t, 1);
  const lane = await startLane(bed, specOf('f', ['a.b']), 0);
  await publish(bed, 0, { 'a.b': events(3) });
  await lane.drain();
  await bed.connection.command('DEL', bed.keys.lease(0, 'f'));
  await remove(bed, 'f');
  const again = await startLane(bed, specOf('f', ['a.b']), 0);
  await again.drain();
  t.match((await readLag(bed)).functions, [{ name: 'f', appended: 3, done: 3, conserved: true }]);
});
