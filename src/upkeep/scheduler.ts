/**
 * Appends scheduled events when they are due: looks every LOOK_MS at each partition in which this
 * dispatcher owns a lane.
 *
 * Exactly once: append.lua takes the events off the schedule in the step that appends them, and
 * refuses when one of them is gone. Several dispatchers may look at the same partition; the slower
 * one finds nothing to take.
 */
import { monotonicMs } from '../core/clock.ts';
import { Loop, type Lifecycle } from '../core/lifecycle.ts';
import { failureLevel, type Log } from '../core/log.ts';
import { appendFlush } from '../pipeline/append/append.ts';
import { setRecordAside } from '../pipeline/dead/set-record-aside.ts';
import { scheduledFrom, type ScheduledEvent } from './scheduled-events.ts';
import type { RedisConnection } from '../redis/contract.ts';
import type { Keys } from '../redis/keys.ts';
import { BatchBuilder } from '../wire/batch-writer.ts';

export interface SchedulerOptions {
  readonly connection: RedisConnection;
  readonly keys: Keys;
  readonly partitions: () => Iterable<number>;
  readonly log: Log;
}

const LOOK_MS = 100;
/** Pause behind a look that took LOOK_MS or longer, ms. */
const LEAST_PAUSE_MS = 10;
/** Pause of a partition after a failure, ms. */
const REST_MS = 1000;
/** Events moved in one step. */
const PAGE = 256;
const PAGE_BYTES = 1024 * 1024;
const FAILED = 'scheduled events could not be appended, trying again';

export class Scheduler implements Lifecycle {
  readonly #options: SchedulerOptions;
  readonly #failing = new Map<number, { readonly times: number; readonly againMs: number }>();
  readonly #loop: Loop;
  #startedMs = 0;

  constructor(options: SchedulerOptions) {
    this.#options = options;
    this.#loop = new Loop({
      pass: () => this.#pass(),
      pauseMs: () => Math.max(LEAST_PAUSE_MS, this.#startedMs + LOOK_MS - monotonicMs()),
      failed: (error) => options.log(failureLevel(error), FAILED, { err: error }),
    });
  }

  start(): void {
    this.#loop.start();
  }

  stop(): Promise<void> {
    return this.#loop.stop();
  }

  async #pass(): Promise<void> {
    this.#startedMs = monotonicMs();
    const partitions = [...new Set(this.#options.partitions())];
    await Promise.all(partitions.map((partition) => this.#try(partition, this.#startedMs)));
  }

  /** Looks at one partition. A failure there holds up no other partition. */
  async #try(partition: number, nowMs: number): Promise<void> {
    const failing = this.#failing.get(partition);
    if (failing && nowMs < failing.againMs) return;
    try {
      await this.#look(partition);
      this.#failing.delete(partition);
    } catch (error) {
      if (this.#loop.signal.aborted) return;
      const times = failing?.times ?? 0;
      this.#failing.set(partition, { times: times + 1, againMs: monotonicMs() + REST_MS });
      if (times % 20 === 0)
        this.#options.log(failureLevel(error), FAILED, { partition, err: error });
    }
  }

  async #look(partition: number): Promise<void> {
    const { connection, keys } = this.#options;
    while (!this.#loop.signal.aborted) {
      const {
        events: due,
        unreadable,
        full,
      } = await scheduledFrom(connection, keys, partition, PAGE, true);
      for (const { member: place, id: eventId, record, problem } of unreadable) {
        await setRecordAside(this.#options, {
          store: 'schedule',
          partition,
          place,
          eventId,
          record,
          problem,
          type: '',
          events: 1,
          outboxBytes: 0,
        });
      }
      if (due.length === 0) {
        if (full) continue;
        return;
      }
      let bytes = 0;
      let count = 0;
      while (count < due.length && (count === 0 || bytes < PAGE_BYTES))
        bytes += (due[count++] as ScheduledEvent).bytes.length;
      await this.#append(partition, due.slice(0, count));
      if (count === due.length && !full) return;
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
    // The answer 'taken' also comes where the answer to an earlier sending was lost: the work is
    // done.
    await appendFlush(
      {
        partition,
        producer: 'schedule',
        sequence: null,
        parts: [...builders].map(([type, builder]) => ({ type, ...builder.finish() })),
        takes: due.map(({ member, id }) => ({ member, field: id })),
      },
      {
        connection,
        keys,
        confirm: { kind: 'none' },
        signal: this.#loop.signal,
        deadlineMs: 10_000,
      },
    );
  }
}
