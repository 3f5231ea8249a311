/** The parts that a publisher works with. */
import type { ProducerGapError } from '../../core/errors/append-errors.ts';
import type { RedisReplyError } from '../../core/errors/server-errors.ts';
import type { LocalSchema } from '../../core/schema-id.ts';
import type { Tracing } from '../../core/tracing.ts';
import type { RedisConnection } from '../../redis/contract.ts';
import type { Keys } from '../../redis/keys.ts';
import type { RefusedWrites } from '../../redis/retry.ts';
import type { Catalog } from '../../wire/catalog.ts';
import type { Confirm } from './confirm.ts';
import type { PublishMeters } from './publish-meters.ts';
import type { PublisherSettings } from './publisher-options.ts';
import type { Verify } from './verify-deployment.ts';

export interface PublisherParts {
  readonly connection: RedisConnection;
  /** Told that the publisher is closed. */
  readonly closed?: () => Promise<void>;
  readonly keys: Keys;
  readonly catalog: Catalog;
  /** Ids of the types' schemas in the registry, stamped on each event. A type may have none. */
  readonly schemas: ReadonlyMap<string, Pick<LocalSchema, 'id' | 'refused'>>;
  readonly partitions: number;
  readonly confirm: Confirm;
  readonly settings: PublisherSettings;
  /** Reads the limits per type: most events its slowest function may be behind in a partition. */
  readonly maxBacklogs?: () => Promise<ReadonlyMap<string, number>>;
  /** Told that Redis has lost acknowledged flushes, the last under this id ('': not known). */
  readonly gap?: (error: ProducerGapError, lastEntryId: string) => void;
  readonly verify?: Verify;
  /** Counts what is appended. */
  readonly meters?: PublishMeters;
  /** Null or absent: OpenTelemetry's API is not installed. */
  readonly tracing?: Tracing | null;
  /** Told that Redis takes no writes and has refused a flush, which is sent again. */
  readonly refused?: (error: RedisReplyError) => void;
}

/** Returns the conduct of a sending while Redis takes no writes. */
export function refusedWritesOf({ whenRefused, whenFull }: PublisherSettings): RefusedWrites {
  if (whenRefused === 'wait') return 'retry';
  return whenFull === 'wait' ? 'retry-memory' : 'throw';
}
