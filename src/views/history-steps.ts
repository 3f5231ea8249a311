/**
 * States of a view's row around the events of a history. The view's code folds the events in a pool
 * thread, as a lane does, and nothing is written. Events that the subject has elsewhere (another
 * category, or no history) are not folded, so the row may differ from the stored one.
 */
import type { FoldEvent, ViewFold } from '../core/view-fold.ts';
import { errorTextOf } from '../payload/show-error.ts';
import type { RedisSource } from '../redis/source.ts';
import {
  isDamaged,
  readStoredPage,
  type StateSteps,
  type StepStates,
  type StoredEvent,
  type StoredPage,
} from '../store/history-page.ts';
import { readStoredRow } from '../wire/view-row.ts';

/** Most events that are folded before a page. A view's row has no snapshots. */
const MOST_BEFORE = 20_000;
/** Events per read before the page. */
const READ = 512;

/** @param most events that are folded before a page; default 20,000 */
export function viewSteps(source: RedisSource, fold: ViewFold, most = MOST_BEFORE): StateSteps {
  return {
    by: `view ${fold.spec.name}`,
    statesOf: (page) => new HistoryFold(source, fold, page).run(most),
  };
}

class HistoryFold {
  readonly #source: RedisSource;
  readonly #fold: ViewFold;
  readonly #page: StoredPage;
  readonly #id: string;
  /** The row in its stored form, by id. Empty: there is none. */
  #rows: ReadonlyMap<string, string> = new Map();

  constructor(source: RedisSource, fold: ViewFold, page: StoredPage) {
    this.#source = source;
    this.#fold = fold;
    this.#page = page;
    this.#id = page.address.id;
  }

  async run(most: number): Promise<StepStates> {
    const { events } = this.#page;
    const first = events[0]?.revision ?? 1;
    let before: unknown;
    const states: unknown[] = [];
    const failed = (revision: number | null, error: unknown): StepStates => ({
      before,
      states,
      problem: { revision, error: errorTextOf(error) },
    });
    if (first - 1 > most)
      return failed(
        null,
        new RangeError(
          `${first - 1} events stand before this page, and at most ${most} are folded for it: read an earlier page`,
        ),
      );
    let at: number | null = null;
    try {
      await this.#foldUpTo(first);
      before = this.#state;
      for (const event of events) {
        at = event.revision;
        await this.#foldAll([event]);
        states.push(this.#state);
      }
      return { before, states, problem: null };
    } catch (error) {
      return failed(error instanceof StepError ? error.revision : at, error);
    }
  }

  /** Folds the events before a revision, a page at a time. */
  async #foldUpTo(end: number): Promise<void> {
    const { category, id } = this.#page.address;
    for (let next = 1; next < end;) {
      const events = Math.min(READ, end - next);
      const page = await readStoredPage(this.#source, category, id, { first: next, events });
      if (page.events.length === 0) return;
      await this.#foldAll(page.events);
      next += page.events.length;
    }
  }

  /** @throws StepError at an event that cannot be read or folded */
  async #foldAll(events: StoredPage['events']): Promise<void> {
    const wanted: StoredEvent[] = [];
    for (const event of events) {
      if (isDamaged(event)) throw new StepError(event.revision, 'CorruptDataError', event.problem);
      if (this.#types.has(event.type)) wanted.push(event);
    }
    const most = Math.max(1, this.#fold.maxEvents);
    for (let i = 0; i < wanted.length; i += most) await this.#foldSome(wanted.slice(i, i + most));
  }

  async #foldSome(events: readonly StoredEvent[]): Promise<void> {
    const types = this.#types;
    const result = await this.#fold.fold(
      this.#page.address.partition,
      events.map(({ entryId, type, element }): FoldEvent => ({
        entryId,
        type: types.get(type) as number,
        bytes: element,
      })),
      this.#rows,
    );
    if (result.kind === 'stopped') throw new Error('the threads that fold are being stopped');
    if (result.kind === 'failed')
      throw new StepError(events[result.event]?.revision ?? null, result.name, result.message);
    this.#rows = result.rows();
  }

  get #types(): ReadonlyMap<string, number> {
    return new Map(this.#fold.spec.on.map((type, i) => [type, i]));
  }

  /** The row as plain JSON. Undefined: there is none. */
  get #state(): unknown {
    const text = this.#rows.get(this.#id);
    return text === undefined ? undefined : readStoredRow(text).row;
  }
}

/** An event that cannot be folded. */
class StepError extends Error {
  readonly revision: number | null;
  constructor(revision: number | null, name: string, message: string) {
    super(message);
    this.name = name;
    this.stack = '';
    this.revision = revision;
  }
}
