/** A view as the dispatcher and readers know it: its definition without its code. */
export interface ViewSpec {
  /**
   * Name that the user gave. The generation is `<view>@<version>`, which is also the name of its
   * function.
   */
  readonly view: string;
  readonly version: number;
  /** Names of the indexes, in the order in which a row keeps its index values. */
  readonly indexes: readonly string[];
  readonly lookups: ViewLookups;
}

/** Indexes by the arguments that a query must or may give. */
export interface ViewLookups {
  /** Indexes with a `by`: a query names the value of its rows. */
  readonly by: readonly string[];
  /** Indexes with a `sort`: a query may name a range. */
  readonly sort: readonly string[];
}

/** Name of the index of all rows of a generation, by id. A user's index cannot have this name. */
export const ALL_ROWS = '*';

export function generationOf(view: string, version: number): string {
  return `${view}@${version}`;
}

/** Inverse of {@link generationOf}; null for a function that is no view. */
export function parseGeneration(
  fn: string,
): { readonly view: string; readonly version: number } | null {
  const match = /^(.+)@(\d{1,9})$/.exec(fn);
  return match ? { view: match[1] as string, version: Number(match[2]) } : null;
}
