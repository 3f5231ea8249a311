/** Address of an event. In a partition, (entry id, position) is a total order across types. */
export interface Position {
  readonly partition: number;
  /** Stream entry id, `<ms>-<sequence>`. */
  readonly entryId: string;
  /** Place of the event in its flush, from 0. */
  readonly position: number;
}

/**
 * Compares two stream entry ids numerically: ms, then sequence. As strings, 10-0 would come before
 * 9-0.
 */
export function compareEntryIds(a: string, b: string): number {
  if (a === b) return 0;
  const [aMs = '0', aSeq = '0'] = a.split('-');
  const [bMs = '0', bSeq = '0'] = b.split('-');
  return compareDecimal(aMs, bMs) || compareDecimal(aSeq, bSeq);
}

/**
 * Compares unsigned decimals of any length without leading zeros. Ids reach 2^64 - 1, which a
 * double cannot hold.
 */
function compareDecimal(a: string, b: string): number {
  if (a.length !== b.length) return a.length < b.length ? -1 : 1;
  return a === b ? 0 : a < b ? -1 : 1;
}

/** Returns the text of a position: `3/1795450694309-0/17`. */
export function formatPosition(p: Position): string {
  return positionPrefix(p.partition, p.entryId) + p.position;
}

/** Returns the common beginning of the positions of an entry's events. */
export function positionPrefix(partition: number, entryId: string): string {
  return `${partition}/${entryId}/`;
}

/** Inverse of {@link formatPosition}; null when the text is not a position. */
export function parsePosition(text: string): Position | null {
  const match = /^(\d{1,4})\/(\d{1,20}-\d{1,20})\/(\d{1,9})$/.exec(text);
  if (!match) return null;
  return { partition: Number(match[1]), entryId: match[2] as string, position: Number(match[3]) };
}

/**
 * Returns the time of an entry id, ms since 1970. It is the server's clock at the append, unless a
 * foreign producer chose the id.
 */
export function entryIdTime(entryId: string): number {
  return Number(entryId.slice(0, entryId.indexOf('-')));
}
