/** The producer process. Publishes orders flat out, or at a fixed rate. */
import { connect } from '../../src/millrace.ts';
import { childMain, cpuSeconds, sharedNowMs } from './child.ts';
import { makeOrder, ORDER_TYPE } from './order.ts';
import type { Publisher } from '../../src/pipeline/append/publisher.ts';
import { benchEnvironment, PROTO_DIR } from './settings.ts';

export interface ProducerArgument {
  readonly url: string;
  readonly partitions: number;
  readonly events: number;
  /** Rate, events per second; null: flat out. */
  readonly rate: number | null;
  /** Flat out: number of events of one publishMany. */
  readonly chunk: number;
  /** Flat out: number of calls of publishMany under way at once. */
  readonly callers: number;
  /** Flat out: number of events of each order. */
  readonly eventsPerOrder: number;
  /** Length of each order's note. */
  readonly noteBytes: number;
  /** At a fixed rate: number of first events that do not count for `latestMs`. */
  readonly warmUp: number;
}

export interface ProducerResult {
  readonly startMs: number;
  readonly endMs: number;
  readonly cpuSeconds: number;
  /** At a fixed rate: greatest delay of an event's call of publish, ms. */
  readonly latestMs: number;
}

await childMain<ProducerArgument, ProducerResult>(async (argument, ready) => {
  const millrace = await connect({
    environment: benchEnvironment(argument.url, 1, argument.partitions),
    protoDir: PROTO_DIR,
    name: 'bench-producer',
  });
  const publisher = millrace.publisher();
  await ready();
  const cpuBefore = cpuSeconds();
  const startMs = sharedNowMs();
  const latestMs =
    argument.rate === null
      ? await flatOut(publisher, argument)
      : await atRate(publisher, argument, argument.rate);
  await publisher.flush();
  const endMs = sharedNowMs();
  const used = cpuSeconds() - cpuBefore;
  await millrace.close();
  return { startMs, endMs, cpuSeconds: used, latestMs };
});

async function flatOut(
  publisher: Publisher,
  { events, chunk, callers, eventsPerOrder, noteBytes }: ProducerArgument,
): Promise<number> {
  let next = 0;
  const caller = async (): Promise<void> => {
    while (next < events) {
      const from = next;
      const to = Math.min(events, from + chunk);
      next = to;
      const now = Date.now();
      const items: { type: string; data: unknown }[] = [];
      for (let number = from; number < to; number++)
        items.push({ type: ORDER_TYPE, data: makeOrder(number, now, eventsPerOrder, noteBytes) });
      await publisher.publishMany(items);
    }
  };
  await Promise.all(Array.from({ length: callers }, caller));
  return 0;
}

/**
 * Publishes event i at start + i / rate, whatever became of the events before. The schedule does
 * not wait for a slow system. An event's time is its due time, so waiting in the producer counts as
 * latency (no coordinated omission).
 */
async function atRate(
  publisher: Publisher,
  { events, warmUp }: ProducerArgument,
  rate: number,
): Promise<number> {
  const originMs = performance.now();
  const wallMs = Date.now();
  const pending = new Set<Promise<unknown>>();
  let failure: Error | null = null;
  let next = 0;
  let latestMs = 0;
  while (next < events && failure === null) {
    const elapsedMs = performance.now() - originMs;
    const due = Math.min(events, Math.floor((elapsedMs * rate) / 1000) + 1);
    if (due > next) {
      if (next >= warmUp) latestMs = Math.max(latestMs, elapsedMs - (next * 1000) / rate);
      const items: { type: string; data: unknown; time: number }[] = [];
      for (; next < due; next++) {
        const time = wallMs + (next * 1000) / rate;
        items.push({ type: ORDER_TYPE, data: makeOrder(next, Math.floor(time)), time });
      }
      const call: Promise<void> = publisher.publishMany(items).then(
        () => void pending.delete(call),
        (error: unknown) => {
          failure = error as Error;
        },
      );
      pending.add(call);
    }
    const untilNextMs = (next * 1000) / rate - (performance.now() - originMs);
    if (next < events)
      await new Promise((resolve) => setTimeout(resolve, Math.max(1, untilNextMs)));
  }
  await Promise.all(pending);
  if (failure !== null) throw failure as Error;
  return latestMs;
}
