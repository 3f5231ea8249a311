/** A deployment with event types, and a lane whose events die as the test says. */
import type { FunctionSpec } from '../../src/core/function-spec.ts';
import type { Millrace } from '../../src/millrace.ts';
import { listDeadLetters, type DeadLetter } from '../../src/pipeline/dead/dead-letters.ts';
import { openService } from '../../scripts/lab/dispatcher-process.ts';
import { startRedis, type TestLike } from '../../scripts/lab/redis-server.ts';
import { specOf, startLane, type BareLane, type Bed } from '../pipeline/bare-lane.ts';

export const DATA = { key: 's', number: 1, order: 'ok', filler: new Uint8Array(0) };

export interface DeadBed {
  readonly bed: Bed;
  readonly service: Millrace;
  readonly lane: BareLane;
  letters(): Promise<DeadLetter[]>;
  /** Publishes events of type test.event, by id, which all die. */
  die(ids: readonly string[], more?: Partial<typeof DATA>): Promise<void>;
}

export async function openDeadBed(
  t: TestLike,
  fn = 'f',
  more: Partial<FunctionSpec> = {},
): Promise<DeadBed> {
  const redis = await startRedis(t);
  const service = await openService(t, redis.url, 1);
  const { connection, keys } = service.deployment;
  const bed: Bed = { redis, connection, keys, partitions: 1 };
  const lane = await startLane(bed, specOf(fn, ['test.event'], more), 0);
  const publisher = service.publisher();
  return {
    bed,
    service,
    lane,
    async letters() {
      const out: DeadLetter[] = [];
      for await (const letter of listDeadLetters(service.deployment)) out.push(letter);
      return out;
    },
    async die(ids, data = {}) {
      await publisher.publishMany(
        ids.map((id) => ({ type: 'test.event', id, data: { ...DATA, ...data } })),
      );
      await lane.drain(() => 'dead');
    },
  };
}
