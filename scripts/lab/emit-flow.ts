/** Events whose handlers emit as each event's plan says, and the check of what was emitted. */
import type { Cluster, Redis } from 'ioredis';
import type { Test } from 'tap';
import { readLag, type LagReport } from '../../src/lag/lag.ts';
import type { Millrace } from '../../src/millrace.ts';
import { emittedId } from './emitted-id.ts';
import { eventsIn, miscounted, outboxEntries } from './emits.ts';
import { dataFor, type Plan } from './misbehaving-functions/emit/_plan.ts';
import { until } from './until.ts';

export interface Flow {
  readonly items: readonly { readonly type: string; readonly id: string; readonly data: unknown }[];
  /** Ids of all events that the items' handlers must emit. */
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

/** The place where a flow runs. */
export interface FlowBed {
  readonly service: Millrace;
  readonly look: Redis | Cluster;
  readonly partitions: number;
}

/**
 * Waits until all published and all emitted events are settled. Then checks that each emitted event
 * was written once, and that each function's counters add up.
 */
export async function checkFlow(
  t: Test,
  bed: FlowBed,
  flow: Flow,
  functions: readonly string[] = ['batch-emitter', 'emitter', 'sink'],
): Promise<void> {
  await flowSettled(bed, flow);
  const written = await eventsIn(bed.look, bed.partitions, 'test.other');
  t.strictSame(miscounted(written, flow.emitted), [], 'each once');
  const lag = await readLag(bed.service.deployment);
  t.strictSame(
    lag.functions.map(({ name, conserved }) => [name, conserved]),
    functions.map((name) => [name, true]),
    'conserved',
  );
}

/** Resolves when nothing of the flow is under way. The error tells the last counters. */
async function flowSettled(bed: FlowBed, flow: Flow): Promise<void> {
  let last: LagReport['functions'] = [];
  const settled = async (): Promise<boolean> => {
    last = (await readLag(bed.service.deployment)).functions;
    const emitter = last.find(({ name }) => name === 'emitter');
    const sink = last.find(({ name }) => name === 'sink');
    return (
      emitter !== undefined &&
      sink !== undefined &&
      emitter.done + emitter.dead === flow.items.length &&
      sink.done + sink.dead >= flow.emitted.length &&
      (await outboxEntries(bed.look, bed.partitions)) === 0
    );
  };
  await until('all is done, and nothing is under way', settled, 60_000).catch((error: unknown) => {
    throw new Error(
      `${(error as Error).message}: ${JSON.stringify(last)}, ${flow.emitted.length} should be emitted`,
      { cause: error },
    );
  });
}
