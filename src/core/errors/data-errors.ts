/** Errors of stored data: bytes, rows and attributes that cannot be read. */
import { MillraceError } from './millrace-error.ts';

/** Bytes that do not hold the expected data: checksum, framing or message do not match. */
export class CorruptDataError extends MillraceError {
  readonly code = 'CORRUPT_DATA';
  readonly reason: 'checksum' | 'decode' | 'count' | 'missing';
  /** Place of the event in its history; null: the bytes are no history's. */
  readonly history: PlaceInHistory | null;
  constructor(
    reason: CorruptDataError['reason'],
    message: string,
    options?: { cause?: unknown; history?: PlaceInHistory },
  ) {
    super(message, options);
    this.reason = reason;
    this.history = options?.history ?? null;
  }
}

export interface PlaceInHistory {
  readonly category: string;
  readonly id: string;
  readonly revision: number;
  /** Id of the event; null: the id cannot be read either. */
  readonly eventId: string | null;
}

/**
 * A stored row of a view that cannot be read. The row was left as it is. Other rows are not
 * concerned.
 */
export class UnreadableRowError extends MillraceError {
  readonly code = 'UNREADABLE_ROW';
  readonly view: string;
  readonly version: number;
  /** Id of the row. */
  readonly id: string;
  readonly problem: string;
  /** Key of the row in Redis, with the deployment's prefix where that is known. */
  readonly key: string;
  /** @param generation `<view>@<version>` */
  constructor(generation: string, id: string, key: string, problem: string) {
    const at = generation.lastIndexOf('@');
    const view = generation.slice(0, at);
    super(
      `row ${JSON.stringify(id)} of view "${view}", version ${generation.slice(at + 1)}, cannot be read: ${problem} ` +
        `(key ${key}). To restore the row: raise the view's version, then run millrace view rebuild ${view}. ` +
        'To start the row without its past events: delete that key, then run millrace dlq replay',
    );
    this.view = view;
    this.version = Number(generation.slice(at + 1));
    this.id = id;
    this.key = key;
    this.problem = problem;
  }
}

/**
 * An event with an invalid attribute, although the event's bytes can be decoded. A foreign producer
 * wrote it.
 */
export class EnvelopeError extends MillraceError {
  readonly code = 'ENVELOPE';
  /** `id`, `subject`, `source`, `type` or `extensions`. */
  readonly field: string;
  /**
   * Reason of its dead letter. `decode`: not valid UTF-8. `envelope`: empty, too long, or an
   * invalid extension.
   */
  readonly reason: 'decode' | 'envelope';
  constructor(field: string, reason: 'decode' | 'envelope', problem: string) {
    super(`the event's ${field} ${problem}. Fix its producer, and publish the event again`);
    this.field = field;
    this.reason = reason;
  }
}
