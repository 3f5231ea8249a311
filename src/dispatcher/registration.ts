/** Makes views and functions known in the partitions. Writes down losses that are found there. */
import { ClosedError } from '../core/errors/append-errors.ts';
import type { FunctionSpec } from '../core/function-spec.ts';
import type { Log } from '../core/log.ts';
import { adoptForeign } from '../lag/adopt.ts';
import { noteLoss } from '../lag/losses.ts';
import type { LaneLoss } from '../pipeline/lane/lane-stages.ts';
import { registerFunction, type RegisteredGroup } from '../pipeline/ownership/register.ts';
import { counterFields } from '../redis/counters.ts';
import { withRetry } from '../redis/retry.ts';
import type { RedisSource } from '../redis/source.ts';
import { recount } from '../rewind/rewind.ts';
import { registerGenerations } from '../views/generations.ts';
import type { WriteWait } from './write-wait.ts';

export interface RegistrationOptions extends RedisSource {
  readonly writes: WriteWait;
  /** Aborts when the dispatcher stops. */
  readonly stopping: AbortSignal;
  readonly log: Log;
}

const LOST = {
  pending:
    'entries vanished from the stream while they were pending: dead-lettered with the reason "missing"',
  acknowledgement:
    'entries were no longer pending at their acknowledgement: their outcomes were not applied',
  commit:
    'the last commit or a record of a lane was gone: the lane started over from the data in Redis',
} as const;

export class Registration {
  readonly #options: RegistrationOptions;

  constructor(options: RegistrationOptions) {
    this.#options = options;
  }

  /**
   * Makes the views, then the functions, known in every partition.
   * @param between a step between views and functions, whose errors are thrown
   * @throws ConfigError, see registerGenerations; ClosedError when the dispatcher stops meanwhile
   */
  async registerAll(specs: readonly FunctionSpec[], between: () => Promise<void>): Promise<void> {
    const { partitions, stopping, writes } = this.#options;
    await writes.step('to register views', () => registerGenerations(this.#options, specs));
    await between();
    for (const spec of specs) {
      for (let partition = 0; partition < partitions; partition++) {
        if (stopping.aborted) throw new ClosedError('the dispatcher');
        await writes.step('to register functions', () => this.#register(spec, partition));
      }
    }
  }

  /** Registers at a start: a new group begins where the function's `startFrom` says. */
  async #register(spec: FunctionSpec, partition: number): Promise<void> {
    const { connection, keys } = this.#options;
    if (spec.startFrom === 'end') {
      // Earlier entries of foreign producers are not new to the function.
      for (const type of spec.on) await adoptForeign(connection, keys, partition, type);
    }
    const answers = await this.#send(spec, partition);
    const isNew = (answer: RegisteredGroup): boolean => answer === 'exists' || answer === 'created';
    await this.#settle(spec, partition, answers, isNew);
  }

  /**
   * Registers for a lane whose group is gone. The group goes on behind the last commit, or at 0
   * where no commit is known. It never goes on at the end.
   */
  async registerAgain(spec: FunctionSpec, partition: number): Promise<void> {
    const answers = await this.#send({ ...spec, startFrom: 'start' }, partition);
    await this.#settle(spec, partition, answers, (answer) => answer === 'exists');
  }

  /** Writes down entries that a lane found missing. Best effort. */
  lost(fn: string, partition: number, { kind, entryIds }: LaneLoss): void {
    const { connection, keys } = this.#options;
    void noteLoss(connection, keys, partition, {
      kind,
      function: fn,
      from: entryIds[0] ?? '',
      to: entryIds[entryIds.length - 1] ?? '',
      count: entryIds.length,
      message: LOST[kind],
    });
  }

  #send(spec: FunctionSpec, partition: number): Promise<RegisteredGroup[]> {
    const { connection, keys, stopping } = this.#options;
    return withRetry(() => registerFunction(connection, keys, partition, spec), {
      signal: stopping,
      deadlineMs: 30_000,
      minDelayMs: 50,
      maxDelayMs: 1000,
    });
  }

  /** Writes lost groups down. Counts again where events would count twice. */
  async #settle(
    spec: FunctionSpec,
    partition: number,
    answers: readonly RegisteredGroup[],
    asItShouldBe: (answer: RegisteredGroup) => boolean,
  ): Promise<void> {
    for (const [i, answer] of answers.entries()) {
      if (!asItShouldBe(answer))
        await this.#groupLost(spec.name, partition, spec.on[i] as string, answer);
    }
    const double = spec.on.filter((_, i) => answers[i] === 'recount');
    if (double.length > 0) await recount(this.#options, spec.name, partition, double);
  }

  async #groupLost(
    fn: string,
    partition: number,
    type: string,
    answer: RegisteredGroup,
  ): Promise<void> {
    const { connection, keys, stopping, log } = this.#options;
    const at = (await withRetry(
      () => connection.command('HGET', keys.counters(partition), counterFields.at(fn, type)),
      { signal: stopping, deadlineMs: 10_000 },
    )) as string | null;
    const from = at ?? '0-0';
    const behind = answer === 'created' ? ': the counters are gone too' : ', the last commit';
    const message = `a consumer group was gone and has been made again behind ${from}${behind}`;
    log('error', `LOSS: ${message}`, { function: fn, partition, type });
    void noteLoss(connection, keys, partition, {
      kind: 'group',
      function: fn,
      type,
      from,
      to: '',
      count: 0,
      message,
    });
  }
}
