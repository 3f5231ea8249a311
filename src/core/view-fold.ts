/** Code of a view's generation, as a build from histories calls it. */
import type { FunctionSpec } from './function-spec.ts';

/** An event to fold. */
export interface FoldEvent {
  readonly entryId: string;
  /** Index into the view's types. */
  readonly type: number;
  /** An EventBatch of one. */
  readonly bytes: Buffer;
}

export type Folded =
  | {
      readonly kind: 'folded';
      /** Bytes of rows that were read and written. */
      readonly rowBytes: number;
      /**
       * Writes the rows and, in the same step, the text under the cursor's key. Idempotent: a
       * second call changes nothing.
       */
      readonly commit: (turn: PassTurn) => Promise<'ok' | 'stale'>;
      /**
       * The rows that were folded onto, and the new ones, by id, in their stored form. Absent:
       * there is no row. Not for a fold onto the stored rows.
       */
      readonly rows: () => ReadonlyMap<string, string>;
    }
  | {
      readonly kind: 'failed';
      /** Index of the event. */ readonly event: number;
      readonly name: string;
      readonly message: string;
    }
  | { readonly kind: 'stopped' };

export interface PassTurn {
  readonly leaseValue: string;
  /** Number of the turn under this lease. The turn before it, if there is one, is committed. */
  readonly turn: number;
  readonly cursor: string;
}

/**
 * A generation's code in the pool, with the parts of the lanes' machinery that it needs. The
 * dispatcher hands it in.
 */
export interface ViewFold {
  readonly spec: FunctionSpec;
  readonly maxEvents: number;
  readonly maxBytes: number;
  /** Most partitions that are folded at the same time. */
  readonly parallel: number;
  /**
   * Folds events onto a partition's rows.
   * @param onto `stored`: the rows in Redis. A map: these rows, by id, in their stored form, and no
   *   others; nothing is to be committed
   */
  fold(
    partition: number,
    events: readonly FoldEvent[],
    onto: 'stored' | ReadonlyMap<string, string>,
  ): Promise<Folded>;
  /**
   * Takes the lane's lease, which is renewed until it is released. Null: another dispatcher has the
   * lease.
   */
  acquire(
    partition: number,
  ): Promise<{ readonly leaseValue: string; release(): Promise<void> } | null>;
}
