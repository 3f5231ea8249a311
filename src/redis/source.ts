import type { RedisConnection } from './contract.ts';
import type { Keys } from './keys.ts';

/** The server and the names of its keys: all that the work on one known partition needs. */
export interface RedisSpace {
  readonly connection: RedisConnection;
  readonly keys: Keys;
}

/** The place of a deployment's data: all that most reads and repairs need. */
export interface RedisSource extends RedisSpace {
  /** Number of partitions. */
  readonly partitions: number;
}
