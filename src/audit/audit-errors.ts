/** Errors of changes whose record could not be written. */
import { MillraceError } from '../core/errors/millrace-error.ts';
import { RedisReplyError } from '../core/errors/server-errors.ts';
import { withoutStop } from '../core/without-stop.ts';

function reasonOf(cause: unknown): string {
  return withoutStop(cause instanceof Error ? cause.message : String(cause));
}

/** A change was not begun, because the audit log takes no record. Nothing was changed. */
export class AuditRefusedError extends MillraceError {
  readonly code = 'AUDIT_REFUSED';
  override readonly retryable: boolean;
  constructor(what: string, key: string, cause: unknown) {
    const denied = cause instanceof RedisReplyError && cause.reply === 'NOPERM';
    super(
      `"${what}" was not begun, because the audit log ${key} cannot be written: ${reasonOf(cause)}. Nothing was changed${denied ? '. The Redis user needs the rights that millrace acl prints for its role' : ''}`,
      { cause },
    );
    this.retryable = cause instanceof MillraceError && cause.retryable;
  }
}

/**
 * A change is over, and the audit log does not have its end. The log shows the change as open. The
 * message says whether the change was made.
 */
export class AuditUnfinishedError extends MillraceError {
  readonly code = 'AUDIT_UNFINISHED';
  /** Whether the change was made. */
  readonly changed: boolean;
  /** @param failure error of the change; null: it was made */
  constructor(what: string, key: string, failure: Error | null, cause: unknown) {
    super(
      `"${what}" ${failure === null ? 'was made' : `failed (${failure.message})`}, but its end could not be written to the audit log ${key}: ${reasonOf(cause)}. millrace audit shows it as open`,
      { cause: failure ?? cause },
    );
    this.changed = failure === null;
  }
}
