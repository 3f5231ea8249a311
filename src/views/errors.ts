import { MillraceError } from '../core/errors.ts';

/** A view (or a version of it) that no dispatcher has registered in this deployment. */
export class UnknownViewError extends MillraceError {
  readonly code = 'UNKNOWN_VIEW';
  readonly view: string;
  constructor(view: string, known: readonly string[]) {
    super(`view "${view}" is not known in this deployment; known are: ${known.length > 0 ? known.join(', ') : 'none'}. A dispatcher makes its views known when it starts`);
    this.view = view;
  }
}

/** A query that cannot be answered: an index that is none, a cursor of another query, a limit out of bounds. Nothing was read. */
export class ViewQueryError extends MillraceError {
  readonly code = 'VIEW_QUERY';
  readonly view: string;
  constructor(view: string, problem: string) {
    super(`query of view "${view}": ${problem}`);
    this.view = view;
  }
}

/** The view had not passed the position within the time. The same call may succeed later. */
export class ViewBehindError extends MillraceError {
  readonly code = 'VIEW_BEHIND';
  override readonly retryable = true;
  readonly view: string;
  readonly position: string;
  readonly timeoutMs: number;
  constructor(view: string, position: string, timeoutMs: number, at: string | null) {
    super(`view "${view}" had not passed ${position} after ${timeoutMs} ms; it stands at ${at ?? 'its beginning'}. Does a dispatcher run it?`);
    this.view = view;
    this.position = position;
    this.timeoutMs = timeoutMs;
  }
}

/** A switch, rollback or removal that the state of the view's generations does not allow. Nothing was changed. */
export class ViewGenerationError extends MillraceError {
  readonly code = 'VIEW_GENERATION';
  readonly view: string;
  constructor(view: string, problem: string) {
    super(`view "${view}": ${problem}. Nothing was changed`);
    this.view = view;
  }
}
