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
  /** Partitions that a reader of all leaves out, because they cannot be read. Default: none. */
  readonly leftOut?: ReadonlySet<number>;
}

/** Returns the partitions that a reader of all reads. */
export function partitionsOf({
  partitions,
  leftOut,
}: Pick<RedisSource, 'partitions' | 'leftOut'>): number[] {
  const all = Array.from({ length: partitions }, (_, partition) => partition);
  return leftOut === undefined ? all : all.filter((partition) => !leftOut.has(partition));
}
