/** A publisher's settings, and what it works with. */
import type { ProducerGapError, RedisReplyError } from '../../core/errors.ts';
import type { LocalSchema } from '../../core/schema-id.ts';
import type { RedisConnection } from '../../redis/contract.ts';
import type { Keys } from '../../redis/keys.ts';
import type { RefusedWrites } from '../../redis/retry.ts';
import type { Catalog } from '../../wire/catalog.ts';
import { DEFAULT_SOURCE } from '../../wire/event-identity.ts';
import type { Confirm } from './confirm.ts';
import type { Verify } from './verify-deployment.ts';

export interface PublisherSettings {
  /**
   * Most bytes buffered over all partitions, in flight included. 64 KiB … 1 GiB, default 32 MiB.
   */
  readonly bufferBytes: number;
  /** Most events of one flush of a partition. 1 … 65,536, default 2,048. */
  readonly flushEvents: number;
  /** Most bytes of one flush of a partition. Default 256 KiB. */
  readonly flushBytes: number;
  /**
   * Wait this long for more events before an idle partition flushes, in ms. 0 … 1,000, default 0:
   * at once.
   */
  readonly lingerMs: number;
  /** Flushes in flight over all partitions. 1 … 1,024, default 32. */
  readonly maxFlushes: number;
  /** With a full buffer: `wait` (default) or `reject` with BackpressureError. */
  readonly whenFull: 'wait' | 'reject';
  /**
   * Give up on an event that Redis has not answered for this long, in ms, with the time in which
   * its flush waited behind others; each flush is sent at least once, and waits a second for its
   * answer. Default 30,000.
   */
  readonly deadlineMs: number;
  /**
   * When Redis takes no writes (full disk, too few replicas): `wait` (default) until deadlineMs, or
   * `reject` at once with what it said. Full memory is waited for in both.
   */
  readonly whenRefused: 'wait' | 'reject';
  readonly source: string;
}

export const DEFAULT_PUBLISHER: PublisherSettings = {
  bufferBytes: 32 * 1024 * 1024,
  flushEvents: 2048,
  flushBytes: 256 * 1024,
  lingerMs: 0,
  maxFlushes: 32,
  whenFull: 'wait',
  deadlineMs: 30_000,
  whenRefused: 'wait',
  source: DEFAULT_SOURCE,
};

export interface PublisherParts {
  readonly connection: RedisConnection;
  readonly keys: Keys;
  readonly catalog: Catalog;
  /**
   * Ids of the types' schemas in the registry, stamped on each event. A type without one is stamped
   * with none.
   */
  readonly schemas: ReadonlyMap<string, Pick<LocalSchema, 'id' | 'refused'>>;
  readonly partitions: number;
  readonly confirm: Confirm;
  readonly settings: PublisherSettings;
  /**
   * Per type: most events its slowest function may be behind in a partition. Asked now and then.
   */
  readonly maxBacklogs?: () => Promise<ReadonlyMap<string, number>>;
  /** Redis has lost flushes it had acknowledged, the last of them under this id ('': not known). */
  readonly gap?: (error: ProducerGapError, lastEntryId: string) => void;
  readonly verify?: Verify;
  /** A flush was refused because Redis takes no writes; it is sent again. */
  readonly refused?: (error: RedisReplyError) => void;
}

/** What a sending does while Redis takes no writes. */
export function refusedWritesOf({ whenRefused }: PublisherSettings): RefusedWrites {
  return whenRefused === 'reject' ? 'retry-memory' : 'retry';
}
