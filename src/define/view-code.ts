import type { FunctionEvent } from './function-event.ts';

/** A view's code, in the thread that loaded it. */
export interface ViewCode {
  readonly evolve: (row: unknown, event: FunctionEvent<string, unknown>) => unknown;
  readonly indexes: readonly {
    readonly name: string;
    readonly by: (row: object) => unknown;
    readonly sort: (row: object) => unknown;
  }[];
  readonly maxRowBytes: number;
}
