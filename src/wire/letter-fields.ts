/** Fields of a dead letter, as written into its stream entry. */

/**
 * Values as XADD takes them: Buffers, numbers and texts. Fields that are undefined are left out.
 */
export interface LetterFields {
  /** Bytes of the event, the entry or the record. Undefined: the script adds them. */
  readonly event?: Buffer | undefined;
  readonly kind: 'event' | 'entry' | 'record';
  readonly type: string;
  readonly partition: number;
  /** Entry id in the type's stream. */
  readonly entry: string;
  /** Index in the entry. */
  readonly index: number;
  /** Position in the flush. */
  readonly position: number;
  /** Id of the event; '' where it is not known. */
  readonly id: string;
  readonly subject: string;
  readonly reason: string;
  /** Name of the error. */
  readonly name: string;
  readonly message: string;
  readonly stack: string;
  readonly cause?: string | undefined;
  readonly attempts: number;
  /** First failure, ms since 1970. */
  readonly first: number;
  /** Last failure, ms since 1970. */
  readonly last: number;
  /** Source of the batch that the event came with. */
  readonly source?: Buffer | undefined;
  readonly dispatcher: string;
  readonly version: string;
  /** Number of events that the letter stands for. */
  readonly events: number;
  /** Failed attempts, as JSON. */
  readonly history: string;
  /** Group of the letter (src/core/letter-fingerprint.ts). */
  readonly fingerprint: string;
  /** Bytes of the event before its first edit. */
  readonly original?: Buffer | undefined;
  /** Edits of the event's data, as JSON. */
  readonly edits?: string | undefined;
}

/** Names in the stream entry, in the order of writing. */
const NAMES = [
  'event',
  'kind',
  'type',
  'partition',
  'entry',
  'index',
  'position',
  'id',
  'subject',
  'reason',
  'name',
  'message',
  'stack',
  'cause',
  'attempts',
  'first',
  'last',
  'source',
  'dispatcher',
  'version',
  'events',
  'history',
  'fingerprint',
  'original',
  'edits',
] as const satisfies readonly (keyof LetterFields)[];

/** Returns field, value, field, value, … */
export function letterFields(letter: LetterFields): (string | number | Buffer)[] {
  const out: (string | number | Buffer)[] = [];
  for (const name of NAMES) {
    const value = letter[name];
    if (value !== undefined) out.push(name, value);
  }
  return out;
}
