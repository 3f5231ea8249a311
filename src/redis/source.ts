import type { RedisConnection } from './contract.ts';
import type { Keys } from './keys.ts';

/** The place of a deployment's data: all that most reads and repairs need. */
export interface RedisSource {
  readonly connection: RedisConnection;
  readonly keys: Keys;
  /** Number of partitions. */
  readonly partitions: number;
}
