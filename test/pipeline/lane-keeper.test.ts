/**
 * Which lanes a dispatcher keeps, gives back and loses: with lanes that do nothing but end when
 * they are told to.
 */
import t from 'tap';
import { LaneKeeper, type KeptLane } from '../../src/pipeline/ownership/lane-keeper.ts';
import { announceMember } from '../../src/pipeline/ownership/members.ts';
import { openConnection } from '../../src/redis/connection.ts';
import { createKeys } from '../../src/redis/keys.ts';
import { startRedis, until } from '../../scripts/lab/redis-server.ts';

const PARTITIONS = 8;

t.test(
  'a lane whose lease is lost while its last turn runs on its way to somebody else: the loss is told and counted',
  async (t) => {
    const redis = await startRedis(t);
    const connection = openConnection({ url: redis.url });
    t.teardown(() => connection.destroy());
    const keys = createKeys('mr');
    const stopping = new AbortController();
    const asked = new Set<number>();
    let end = (): void => {};
    const turns = new Promise<void>((resolve) => (end = resolve));
    const told: unknown[] = [];
    const keeper = new LaneKeeper({
      connection,
      keys,
      dispatcher: 'one',
      functions: ['f'],
      competing: () => false,
      partitions: PARTITIONS,
      leaseTtlMs: 400,
      stopping: stopping.signal,
      createLane({ fn, partition, leaseValue, consumer }): KeptLane {
        const lane = {
          fn,
          partition,
          leaseValue,
          consumer,
          heir: false,
          committed: '',
          marked: '',
          lost: false,
          retired: false,
          start() {},
          retire: () => Promise.resolve(false),
          leaseHeld() {},
          startOver() {},
          dueAt() {},
          loseLease: () => void (lane.lost = true),
          stop() {
            asked.add(partition);
            return turns;
          },
        };
        return lane;
      },
      opened() {},
      closed() {},
      log(_level, message, fields) {
        if (message.startsWith('lease lost')) told.push(fields?.['partition']);
      },
    });
    await keeper.start();
    t.equal(keeper.lanes.size, PARTITIONS);
    await until('some lanes are on their way to another one', async () => {
      await announceMember(connection, keys, 'f', 'two', 60_000);
      return asked.size > 0;
    });
    const leaving = [...asked];
    t.ok(leaving.length < PARTITIONS);
    t.strictSame(told, []);
    await redis.client().flushall();
    await until('all losses are told', () => told.length >= PARTITIONS);
    t.strictSame(
      [...told].sort(),
      Array.from({ length: PARTITIONS }, (_, partition) => partition),
      'each once, those on their way too',
    );
    t.equal(keeper.losses, PARTITIONS);
    end();
    await until(
      'the lanes have ended and are asked for again',
      () =>
        keeper.lanes.size === PARTITIONS && [...keeper.lanes.values()].every((lane) => !lane.lost),
    );
    t.equal(told.length, PARTITIONS);
    stopping.abort();
    await keeper.stop();
  },
);
