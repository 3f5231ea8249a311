/**
 * A commit while its parts are planned. Each part (plan-held.ts, plan-retries.ts, plan-inbox.ts)
 * reads the outcomes of the run, and adds arguments and counts. plan-commit.ts lays them out.
 */
import type { EventRef, Failure } from '../../core/thread-protocol.ts';
import type { ParkedRecord } from '../../wire/parked.ts';
import type { Batch } from '../batch/batch.ts';
import type { Arg, CommitContext, FailedAttempt, ResultOfRun, Unsettled } from './commit-plan.ts';
import { afterFailure, attemptOf, type Delay } from './failed-attempt.ts';
import { letterOfEvent, type PlannedLetter } from './letters.ts';

/** Place of a dead letter's event or entry. */
export interface LetterOrigin {
  /** Index of the entry in the batch; -1: the event is a retry. */
  readonly entry: number;
  readonly type: string;
}

export class CommitDraft {
  readonly batch: Batch;
  readonly result: ResultOfRun;
  readonly context: CommitContext;

  /** Units, in the order of their parked lists among the keys. */
  readonly units: string[] = [];
  readonly #unitNumbers = new Map<string, number>();
  /** Events by which the units' lists grow. */
  readonly growth = new Map<string, number>();
  /** Units in which nothing has failed. */
  readonly left = new Set<string>();

  parked = 0;
  readonly parkArgs: Arg[] = [];
  letters = 0;
  readonly letterArgs: Arg[] = [];
  /** Groups that an earlier letter has described. */
  readonly #described = new Set<string>();
  readonly retryArgs: Arg[] = [];
  /** Records in hand of each unit retried. */
  readonly inHand: string[] = [];

  /** Events done. */
  done = 0;
  /** Events that failed and are tried again. */
  retried = 0;
  /** Events dead-lettered. */
  dead = 0;
  readonly failed: FailedAttempt[] = [];
  /** Parked records of unsettled events, by index. */
  readonly unsettled = new Map<number, Buffer>();
  /** Indexes of the events that this turn dead-letters. */
  readonly died = new Set<number>();
  /** Indexes of retried events whose records stay in their lists. */
  readonly staying = new Set<number>();

  readonly #failures = new Map<number, Failure>();
  readonly #open = new Map<number, Unsettled>();

  constructor(batch: Batch, result: ResultOfRun, context: CommitContext) {
    this.batch = batch;
    this.result = result;
    this.context = context;
    for (const failure of result.failures) this.#failures.set(failure.ref.index, failure);
    for (const one of result.unsettled ?? []) this.#open.set(one.ref.index, one);
  }

  failureOf(index: number): Failure | undefined {
    return this.#failures.get(index);
  }

  unsettledOf(index: number): Unsettled | undefined {
    return this.#open.get(index);
  }

  allUnsettled(): IterableIterator<Unsettled> {
    return this.#open.values();
  }

  /** Name of an event's unit: its subject, or without order its id. */
  unitOf(ref: EventRef): string {
    return this.context.spec.ordering === 'key' ? ref.subject : ref.id;
  }

  /** Number of a unit in the script, from 1. */
  numberOf(unit: string): number {
    const known = this.#unitNumbers.get(unit);
    if (known !== undefined) return known;
    const number = this.units.push(unit);
    this.#unitNumbers.set(unit, number);
    return number;
  }

  grow(unit: string, by: number): void {
    this.growth.set(unit, (this.growth.get(unit) ?? 0) + by);
  }

  /** Events in a unit's list, with those that this turn has parked so far. */
  parkedIn(unit: string): number {
    return this.context.parkedOf(unit) + (this.growth.get(unit) ?? 0);
  }

  /** @param entry index of its entry in the batch */
  park(unit: string, entry: number, delay: number | string, record: Buffer): void {
    this.parked++;
    this.grow(unit, 1);
    this.parkArgs.push(this.numberOf(unit), entry + 1, delay, record);
  }

  /**
   * Counts a failed attempt, or dead-letters the event if the attempt was its last one.
   * @returns the event's record and the time to its next attempt; null: the event is dead
   */
  fail(
    ref: EventRef,
    unit: string,
    before: ParkedRecord,
    failure: Failure,
  ): { readonly record: ParkedRecord; readonly delay: NonNullable<Delay> } | null {
    const { record, delay } = afterFailure(before, failure, this.context);
    if (delay === null) {
      this.buryEvent(ref, record, failure, this.#holds(unit));
      return null;
    }
    if (typeof delay === 'number') {
      this.retried++;
      this.failed.push(attemptOf(record, failure, delay));
    }
    return { record, delay };
  }

  /** @param holds number of the unit that the letter holds; 0: none */
  buryEvent(ref: EventRef, record: ParkedRecord, failure: Failure, holds: number): void {
    const { entry, index } = ref;
    const letter = letterOfEvent(record, failure, this.context);
    this.bury({ entry, type: record.type }, 1, holds, letter);
    this.died.add(index);
    this.failed.push(attemptOf(record, failure, null));
  }

  bury(
    { entry, type }: LetterOrigin,
    events: number,
    holds: number,
    { group, fields }: PlannedLetter,
  ): void {
    const { fingerprint } = group;
    const about = this.#described.has(fingerprint) ? '' : group.about;
    this.#described.add(fingerprint);
    this.letterArgs.push(entry + 1, type, events, holds, fingerprint, about);
    this.letterArgs.push(fields.length, ...fields);
    this.letters++;
    this.dead += events;
  }

  /** Number of the unit, if a dead event holds its unit; 0: it does not, or has no subject. */
  #holds(unit: string): number {
    if (this.context.spec.onDead !== 'hold' || unit === '') return 0;
    this.grow(unit, 0);
    return this.numberOf(unit);
  }
}
