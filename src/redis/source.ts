import type { RedisConnection } from './contract.ts';
import type { Keys } from './keys.ts';

/** Where a deployment's data is: all that most reads and repairs of it need. */
export interface RedisSource {
  readonly connection: RedisConnection;
  readonly keys: Keys;
  /** Number of partitions. */
  readonly partitions: number;
}
