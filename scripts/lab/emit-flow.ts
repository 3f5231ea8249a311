/** A flow of events that emit, as planned; and what must have come of it. */
import type { Cluster, Redis } from 'ioredis';
import type { Test } from 'tap';
import { readLag } from '../../src/lag/lag.ts';
import type { Millrace } from '../../src/millrace.ts';
import { emittedId } from './emitted-id.ts';
import { eventsIn, miscounted, outboxEntries } from './emits.ts';
import { dataFor, type Plan } from './misbehaving-functions/emit/_plan.ts';
import { until } from './redis-server.ts';

export interface Flow {
  readonly items: readonly { readonly type: string; readonly id: string; readonly data: unknown }[];
  /** Ids of everything that is to be emitted. */
  readonly emitted: readonly string[];
}

export function inventFlow(
  name: string,
  count: number,
  random: (below: number) => number,
  more: Partial<Plan> = {},
): Flow {
  const emitted: string[] = [];
  const items = Array.from({ length: count }, (_, i) => {
    const id = `${name}-${i}`;
    const emits = Array.from({ length: random(4) }, () => ({
      type: 'test.other',
      subject: `target-${random(40)}`,
      ...(random(6) === 0 ? { delayMs: random(400) } : {}),
    }));
    const luck = random(20);
    const plan: Plan = {
      emits,
      sleepMs: random(8),
      ...(luck === 0
        ? { then: 'throw' as const }
        : luck === 1
          ? { then: 'throw-once' as const }
          : {}),
      ...more,
    };
    if (plan.then !== 'throw') emitted.push(...emits.map((_, at) => emittedId(id, 'emitter', at)));
    return { type: 'test.event', id, data: dataFor(`source-${i % 30}`, i, JSON.stringify(plan)) };
  });
  return { items, emitted };
}

/**
 * Waits until everything published has been worked on and everything emitted too; then counts it,
 * by id.
 */
export async function checkFlow(
  t: Test,
  service: Millrace,
  look: Redis | Cluster,
  partitions: number,
  flow: Flow,
  functions: readonly string[] = ['batch-emitter', 'emitter', 'sink'],
): Promise<void> {
  const { deployment } = service;
  let last: unknown;
  await until(
    'all is done, and nothing is under way',
    async () => {
      const lag = await readLag(deployment);
      last = lag.functions;
      const of = (name: string) => lag.functions.find((fn) => fn.name === name);
      const [emitter, sink] = [of('emitter'), of('sink')];
      return (
        emitter &&
        sink &&
        emitter.done + emitter.dead === flow.items.length &&
        sink.done + sink.dead >= flow.emitted.length &&
        (await outboxEntries(look, partitions)) === 0
      );
    },
    60_000,
  ).catch((error: unknown) => {
    throw new Error(
      `${(error as Error).message}: ${JSON.stringify(last)}, ${flow.emitted.length} should be emitted`,
      { cause: error },
    );
  });
  t.strictSame(
    miscounted(await eventsIn(look, partitions, 'test.other'), flow.emitted),
    [],
    'each once',
  );
  const lag = await readLag(deployment);
  t.strictSame(
    lag.functions.map(({ name, conserved }) => [name, conserved]),
    functions.map((name) => [name, true]),
    'conserved',
  );
}
