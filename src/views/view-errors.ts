import { MillraceError } from '../core/errors/millrace-error.ts';
import { didYouMean } from '../core/suggest.ts';

/** No dispatcher has registered the view, or this version of it, in this deployment. */
export class UnknownViewError extends MillraceError {
  readonly code = 'UNKNOWN_VIEW';
  readonly view: string;
  constructor(view: string, known: readonly string[]) {
    super(
      `view "${view}" is not known in this deployment${didYouMean(view, known)}; known are: ${known.length > 0 ? known.join(', ') : 'none'}. A dispatcher makes its views known when it starts`,
    );
    this.view = view;
  }
}

/**
 * The query is not valid: for example an unknown index, a cursor of another query, or a limit out
 * of bounds. Nothing was read.
 */
export class ViewQueryError extends MillraceError {
  readonly code = 'VIEW_QUERY';
  readonly view: string;
  constructor(view: string, problem: string) {
    super(`query of view "${view}": ${problem}`);
    this.view = view;
  }
}

/** A part of a view's index cannot be read: its key is of another type. It was left as it is. */
export class UnreadableIndexError extends MillraceError {
  readonly code = 'UNREADABLE_INDEX';
  readonly view: string;
  readonly version: number;
  readonly index: string;
  readonly partition: number;
  readonly key: string;
  readonly problem: string;
  constructor(
    { view, version }: { readonly view: string; readonly version: number },
    index: string,
    partition: number,
    at: { readonly key: string; readonly problem: string },
  ) {
    super(
      `index "${index}" of view "${view}", version ${version}, cannot be read in partition ${partition}: ${at.problem} (key ${at.key}). ` +
        `To restore the index: delete that key, raise the view's version, then millrace view rebuild ${view}`,
    );
    this.view = view;
    this.version = version;
    this.index = index;
    this.partition = partition;
    this.key = at.key;
    this.problem = at.problem;
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
    super(
      `view "${view}" had not passed ${position} after ${timeoutMs} ms; it stands at ${at ?? 'its beginning'}. Does a dispatcher run it?`,
    );
    this.view = view;
    this.position = position;
    this.timeoutMs = timeoutMs;
  }
}

/**
 * The state of the view's generations does not allow the switch, rollback or removal. Nothing was
 * changed.
 */
export class ViewGenerationError extends MillraceError {
  readonly code = 'VIEW_GENERATION';
  readonly view: string;
  constructor(view: string, problem: string) {
    super(`view "${view}": ${problem}. Nothing was changed`);
    this.view = view;
  }
}

/** Events of one type and partition that a generation would lack. */
export interface MissingEvents {
  readonly partition: number;
  readonly type: string;
  /** Number of events. Negative: histories hold more events than were appended. */
  readonly events: number;
}

/**
 * Retention has trimmed events that a generation needs, and the histories do not hold them either.
 * The generation is not made live.
 *
 * - `late`: the events were gone already when the generation began.
 * - `unstored`: the events were published without the event store.
 * - `no-histories`: there are no histories.
 */
export class IncompleteHistoriesError extends MillraceError {
  readonly code = 'INCOMPLETE_HISTORIES';
  readonly generation: string;
  readonly why: 'late' | 'unstored' | 'no-histories';
  readonly missing: readonly MissingEvents[];
  constructor(
    generation: string,
    why: 'late' | 'unstored' | 'no-histories',
    missing: readonly MissingEvents[],
  ) {
    const [view, version] = splitGeneration(generation);
    const types = [...new Set(missing.map(({ type }) => type))].sort();
    const count = (of: readonly MissingEvents[]): number =>
      of.reduce((sum, { events }) => sum + events, 0);
    const listed = types
      .map((type) => `${count(missing.filter((one) => one.type === type))} of ${type}`)
      .join(', ');
    const partitions = [...new Set(missing.map(({ partition }) => partition))]
      .sort((a, b) => a - b)
      .join(', ');
    const drop = `millrace view drop ${view} ${version}`;
    super(
      {
        'no-histories': `${count(missing)} events of ${types.join(', ')} are no longer in the streams (retention), and there are no histories to take them from. Version ${version} would lack them. --incomplete builds it without them`,
        unstored:
          `the streams of version ${version} are trimmed (retention). Histories do not hold all of their events, as far as they were searched (partition ${partitions}): ${listed}. The missing events were published without the event store, and version ${version} lacks them. ` +
          `--incomplete goes on without them; ${drop} removes what is built`,
        late:
          `${count(missing)} events (${listed}) were no longer in the streams (retention) when a dispatcher began version ${version}: it lacks them. To build it from the histories stop those dispatchers, then: ${drop}, ` +
          'and rebuild. --incomplete accepts it as it is',
      }[why],
    );
    this.generation = generation;
    this.why = why;
    this.missing = missing;
  }
}

export interface FoldedEvent {
  readonly category: string;
  readonly id: string;
  readonly revision: number;
  readonly type: string;
  readonly eventId: string;
  readonly position: string;
}

/**
 * An event of a history cannot be folded: evolve threw, took too long, or returned no valid row.
 * Nothing of the event's batch was written. Earlier batches stay.
 */
export class ViewFoldError extends MillraceError {
  readonly code = 'VIEW_FOLD';
  readonly generation: string;
  readonly event: FoldedEvent;
  constructor(
    generation: string,
    event: FoldedEvent,
    cause: { readonly name: string; readonly message: string },
  ) {
    const [view, version] = splitGeneration(generation);
    super(
      `view "${view}", version ${version}, cannot fold ${event.type} ${event.eventId} (${event.position}; history ${event.category} ${event.id}, revision ${event.revision}): ${cause.name}: ${cause.message}. ` +
        `Nothing of its batch was written. Mend evolve and rebuild: the build goes on at this event. If evolve now folds earlier events differently too: millrace view drop ${view} ${version} first`,
    );
    this.generation = generation;
    this.event = event;
  }
}

function splitGeneration(name: string): [view: string, version: string] {
  const at = name.lastIndexOf('@');
  return [name.slice(0, at), name.slice(at + 1)];
}

/** The version is not fit to be live. */
export class UnfitGenerationError extends MillraceError {
  readonly code = 'UNFIT_GENERATION';
  readonly view: string;
  readonly version: number;
  readonly problems: readonly string[];
  constructor(view: string, version: number, problems: readonly string[]) {
    const more = problems.length > 1 ? ` (and ${problems.length - 1} more)` : '';
    super(
      `version ${version} of view "${view}" is not made live: ${problems[0] ?? ''}${more}. Wait for its build or repair it; to switch all the same: millrace view switch ${view} ${version} --force`,
    );
    this.view = view;
    this.version = version;
    this.problems = problems;
  }
}
