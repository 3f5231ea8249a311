/** The code of a view's generation, as a build from histories calls it. */
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
      /** Bytes of rows, read and written. */
      readonly rowBytes: number;
      /**
       * Writes the rows and, in the same step, the text under the cursor's key. Once: sent again it
       * changes nothing.
       */
      readonly commit: (turn: PassTurn) => Promise<'ok' | 'stale'>;
      /** id -> the row as it would be stored; absent: there is none. */
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
  /** `<turn>` of this lease, and the one committed before: '' where there is none. */
  readonly turn: string;
  readonly before: string;
  readonly cursor: string;
}

/**
 * A generation's code in the pool, with what it needs of the lanes' machinery. Handed in by the
 * dispatcher.
 */
export interface ViewFold {
  readonly spec: FunctionSpec;
  readonly maxEvents: number;
  readonly maxBytes: number;
  /** Partitions at the same time. */
  readonly parallel: number;
  /** @param fresh onto no rows at all, and nothing is to be committed */
  fold(partition: number, events: readonly FoldEvent[], fresh: boolean): Promise<Folded>;
  /** The lane's lease, renewed until it is released. Null: somebody else has it. */
  acquire(
    partition: number,
  ): Promise<{ readonly leaseValue: string; release(): Promise<void> } | null>;
}
