/**
 * Errors that Millrace throws.
 *
 * Each decision that a caller takes has one class. Each class has typed fields, a stable `code`,
 * and a message. The message names the failure, the thing concerned, the limit, and the cure.
 *
 * Two questions are answered here only, never by matching messages:
 * - `retryable`: may the same call succeed later without a change by the caller?
 * - `outcomeUnknown`: may the call have taken effect although it failed?
 */
export abstract class MillraceError extends Error {
  abstract readonly code: string;
  /** Whether the same call may succeed later, unchanged. */
  readonly retryable: boolean = false;
  /** Whether the call may have taken effect although it failed. */
  readonly outcomeUnknown: boolean = false;

  constructor(message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = new.target.name;
  }

  /**
   * Form for logs, because JSON leaves an error's message out. The cause appears as its text only:
   * its other fields may hold anybody's data.
   */
  toJSON(): Record<string, unknown> {
    const { cause } = this;
    const because =
      cause instanceof Error
        ? `${cause.name}: ${cause.message}`
        : typeof cause === 'string'
          ? cause
          : undefined;
    return {
      ...(this as Record<string, unknown>),
      name: this.name,
      message: this.message,
      ...(because === undefined ? {} : { cause: because }),
    };
  }
}
