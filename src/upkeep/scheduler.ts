/**
 * Appends scheduled events when they are due: looks every LOOK_MS at each partition in which this dispatcher owns a lane.
 *
 * Exactly once: append.lua takes them off the schedule in the step that appends them, and refuses when one of them is gone.
 * Several dispatchers may look at the same partition; the slower one finds nothing to take.
 */
import { monotonicMs, sleep } from '../core/clock.ts';
import { MillraceError } from '../core/errors.ts';
import { appendFlush } from '../pipeline/append/append.ts';
import { scheduledFrom, type ScheduledEvent } from './scheduled-events.ts';
import type { RedisConnection } from '../redis/connection.ts';
import type { Keys } from '../redis/keys.ts';
import { BatchBuilder } from '../wire/event-batch.ts';

export interface SchedulerOptions {
  readonly connection: RedisConnection;
  readonly keys: Keys;
  readonly partitions: () => Iterable<number>;
  readonly log: (level: 'info' | 'warn' | 'error', message: string, fields: Record<string, unknown>) => void;
}

const LOOK_MS = 100;
/** Events moved in one step. */
const PAGE = 256;
const PAGE_BYTES = 1024 * 1024;

export class Scheduler {
  readonly #options: SchedulerOptions;
  readonly #stopping = new AbortController();
  #loop: Promise<void> | null = null;

  constructor(options: SchedulerOptions) {
    this.#options = options;
  }

  start(): void {
    this.#loop = this.#run();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#loop;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    let failures = 0;
    while (!signal.aborted) {
      const startMs = monotonicMs();
      try {
        await Promise.all([...new Set(this.#options.partitions())].map((partition) => this.#look(partition)));
        failures = 0;
      } catch (error) {
        if (signal.aborted) return;
        const expected = error instanceof MillraceError && error.retryable;
        if (failures++ % 20 === 0) this.#options.log(expected ? 'warn' : 'error', 'scheduled events could not be appended, trying again', { err: error });
      }
      await sleep(Math.max(10, startMs + (failures > 0 ? 1000 : LOOK_MS) - monotonicMs()), signal);
    }
  }

  async #look(partition: number): Promise<void> {
    const { connection, keys } = this.#options;
    while (!this.#stopping.signal.aborted) {
      const due = await scheduledFrom(connection, keys, partition, PAGE, true);
      if (due.length === 0) return;
      let bytes = 0;
      let count = 0;
      while (count < due.length && (count === 0 || bytes < PAGE_BYTES)) bytes += (due[count++] as ScheduledEvent).bytes.length;
      await this.#append(partition, due.slice(0, count));
      if (count === due.length && due.length < PAGE) return;
    }
  }

  async #append(partition: number, due: readonly ScheduledEvent[]): Promise<void> {
    const { connection, keys } = this.#options;
    const builders = new Map<string, BatchBuilder>();
    due.forEach(({ type, bytes }, position) => {
      let builder = builders.get(type);
      if (!builder) builders.set(type, (builder = new BatchBuilder()));
      builder.addWritten(bytes, 0, bytes.length, position);
    });
    // Answered 'taken' also where the answer to an earlier sending was lost: it is done then.
    await appendFlush(
      {
        partition, producer: 'schedule', sequence: null,
        parts: [...builders].map(([type, builder]) => ({ type, ...builder.finish() })),
        takes: due.map(({ member, id }) => ({ member, field: id })),
      },
      { connection, keys, confirm: { kind: 'none' }, signal: this.#stopping.signal, deadlineMs: 10_000 },
    );
  }
}
