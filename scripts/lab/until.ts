/**
 * Waits for facts. `untilTold` looks again when a source says that something has changed.
 * `until` polls, for facts that give no signal.
 */
import { watch } from 'node:fs';
import { basename, dirname } from 'node:path';
import type { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { inspect } from 'node:util';
import { Cluster, type Redis } from 'ioredis';

/** Bounds of the pause between two looks, ms. */
const MIN_PAUSE_MS = 10;
const MAX_PAUSE_MS = 50;
/** Time after which `untilTold` looks without a signal: a key that expires gives none. */
const LONGEST_SILENCE_MS = 1000;

/** An answer of a check: the fact is not there yet. `last` is shown when the wait ends in vain. */
export class NotYet {
  readonly last: unknown;

  constructor(last: unknown) {
    this.last = last;
  }
}

export const is = <T>(actual: T, wanted: T): true | NotYet =>
  actual === wanted || new NotYet(actual);
export const atLeast = (actual: number, wanted: number): true | NotYet =>
  actual >= wanted || new NotYet(actual);
export const moreThan = (actual: number, wanted: number): true | NotYet =>
  actual > wanted || new NotYet(actual);

export type Found<T> = Exclude<NonNullable<T>, NotYet | false>;

/** Calls `look` at each change, until the returned function is called. */
export type Changes = (look: () => void) => () => void;

/**
 * Calls `check` until it returns something truthy that is no `NotYet`. For facts that give no
 * signal.
 *
 * A look may cost much (all counters of a deployment, a whole history file). So the pause is three
 * times as long as the look took, from 10 to 50 ms. Polling leaves the machine to the work that the
 * test waits for.
 *
 * @param what the fact, for the error's text
 * @throws Error when `timeoutMs` are over, with the last value of `check`
 */
export async function until<T>(
  what: string,
  check: () => T | Promise<T>,
  timeoutMs = 30_000,
): Promise<Found<T>> {
  return look(what, check, timeoutMs, (pauseMs) => delay(Math.max(MIN_PAUSE_MS, pauseMs)));
}

/** As `until`, but looks when `changes` tells of a change. */
export async function untilTold<T>(
  changes: Changes,
  what: string,
  check: () => T | Promise<T>,
  timeoutMs = 30_000,
): Promise<Found<T>> {
  let changed = false;
  let wake = (): void => {};
  const stop = changes(() => {
    changed = true;
    wake();
  });
  try {
    return await look(what, check, timeoutMs, async (pauseMs, leftMs) => {
      if (!changed) await silence(Math.min(LONGEST_SILENCE_MS, leftMs), (told) => (wake = told));
      // Changes come together. One look is enough for them.
      await delay(Math.max(MIN_PAUSE_MS, pauseMs));
      changed = false;
    });
  } finally {
    stop();
  }
}

/** Resolves when `told`, which is handed to `listen`, is called, or after `ms`. */
async function silence(ms: number, listen: (told: () => void) => void): Promise<void> {
  const over = new AbortController();
  listen(() => over.abort());
  await delay(Math.max(0, ms), undefined, { signal: over.signal }).catch(() => undefined);
}

async function look<T>(
  what: string,
  check: () => T | Promise<T>,
  timeoutMs: number,
  rest: (pauseMs: number, leftMs: number) => Promise<void>,
): Promise<Found<T>> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const lookedMs = performance.now();
    const value = await inTime(check(), what, timeoutMs, deadline);
    if (value && !(value instanceof NotYet)) return value as Found<T>;
    const now = performance.now();
    if (now > deadline) {
      const last = inspect(value instanceof NotYet ? value.last : value, { breakLength: Infinity });
      throw new Error(`waited ${timeoutMs} ms in vain until ${what}; the last value: ${last}`);
    }
    await rest(Math.min(MAX_PAUSE_MS, 3 * (now - lookedMs)), deadline - now);
  }
}

/** Time that a look has at least, ms: the deadline may be over when the last one begins. */
const LAST_LOOK_MS = 1000;

/** Bounds a look that hangs, such as one at a paused server. @throws Error */
async function inTime<T>(
  looking: T | Promise<T>,
  what: string,
  timeoutMs: number,
  deadline: number,
): Promise<T> {
  if (!(looking instanceof Promise)) return looking;
  const over = new AbortController();
  const leftMs = Math.max(LAST_LOOK_MS, deadline - performance.now());
  const late = delay(leftMs, undefined, { signal: over.signal }).then(() => {
    throw new Error(`waited ${timeoutMs} ms in vain until ${what}; the last look has not ended`);
  });
  try {
    return await Promise.race([looking, late]);
  } finally {
    over.abort();
    late.catch(() => undefined);
  }
}

/**
 * Changes of keys in Redis, told by its keyspace notifications. Each node of a Cluster tells of its
 * own keys only, and nodes come and go. So a Cluster is looked at every 50 ms.
 *
 * @param keys glob of the keys; fewer keys cost the machine less
 */
export function writesTo(redis: Redis | Cluster, keys = 'mr:*'): Changes {
  return (look) => {
    if (redis instanceof Cluster) {
      const timer = setInterval(look, MAX_PAUSE_MS);
      return () => clearInterval(timer);
    }
    const subscriber = redis.duplicate({ autoResubscribe: false });
    subscriber.on('error', () => {});
    subscriber.on('pmessage', look);
    // A server that was restarted has forgotten the setting, and writes may have been missed.
    subscriber.on('ready', () => {
      void subscriber
        .config('SET', 'notify-keyspace-events', 'KA')
        .then(() => subscriber.psubscribe(`__keyspace@*__:${keys}`))
        .then(look, () => undefined);
    });
    return () => subscriber.disconnect();
  };
}

export const countersOf = (redis: Redis | Cluster): Changes => writesTo(redis, 'mr:*:counters');

/** Changes of a file, which need not exist yet. Its folder exists. */
export function writesToFile(file: string): Changes {
  return (look) => {
    const watcher = watch(dirname(file), (_event, name) => {
      if (name === null || name === basename(file)) look();
    });
    watcher.on('error', () => {});
    return () => watcher.close();
  };
}

/** Output of a process, and its end. */
export function outputOf(...streams: readonly Readable[]): Changes {
  return (look) => {
    for (const stream of streams) stream.on('data', look).on('close', look);
    return () => {
      for (const stream of streams) stream.off('data', look).off('close', look);
    };
  };
}

/** Counts what a test's own code sees, and tells of it. */
export class CallCount {
  #value = 0;
  readonly #looks = new Set<() => void>();

  get value(): number {
    return this.#value;
  }

  add(): void {
    this.#value++;
    for (const look of this.#looks) look();
  }

  /** Resolves when at least `count` were seen. */
  async reached(what: string, count: number): Promise<void> {
    const changes: Changes = (look) => {
      this.#looks.add(look);
      return () => this.#looks.delete(look);
    };
    await untilTold(changes, what, () => atLeast(this.#value, count));
  }
}
