/**
 * Means of the console to mend: rehearsals, and the replays of many letters that this process runs.
 */
import type { Deployment } from '../deployment.ts';
import { Rehearsals, type Rehearsal } from '../mend/rehearse.ts';
import { ReplayRun } from '../mend/replay-run.ts';
import type { ReplayFilter, ReplayPace, ReplayRunState } from '../mend/replay-state.ts';
import type { DeadLetter } from '../pipeline/dead/dead-letters.ts';

/** Functions that a rehearsal runs. */
export interface FunctionsFolder {
  readonly dir: string;
  readonly skipFiles: readonly string[];
}

/** Replays that this process runs at once. */
const MOST_RUNS = 8;

export class Mending {
  readonly #deployment: Deployment;
  readonly #folder: FunctionsFolder | null;
  readonly #closed = new AbortController();
  /** End of the rehearsal that was asked for last. One runs at a time: each has a thread. */
  #last: Promise<unknown> = Promise.resolve();
  /** Replays under way, by id. */
  readonly #runs = new Map<string, { readonly run: ReplayRun; readonly stop: AbortController }>();

  /** @param folder null: this process knows no functions, so it rehearses nothing */
  constructor(deployment: Deployment, folder: FunctionsFolder | null) {
    this.#deployment = deployment;
    this.#folder = folder;
  }

  get canRehearse(): boolean {
    return this.#folder !== null;
  }

  /**
   * Runs the event of a letter in the thread. Writes nothing to Redis.
   * @throws ConfigError: the functions cannot be loaded
   */
  async rehearse(letter: DeadLetter): Promise<Rehearsal> {
    const folder = this.#folder;
    if (folder === null) throw new Error('this process knows no functions');
    return this.#afterOthers(async () => {
      // A new thread loads the files as they are now: somebody may have mended them a moment ago.
      const rehearsals = await Rehearsals.open({
        deployment: this.#deployment,
        functionsDir: folder.dir,
        skipFiles: folder.skipFiles,
        signal: this.#closed.signal,
      });
      try {
        return await rehearsals.run(letter);
      } finally {
        await rehearsals.close();
      }
    });
  }

  /**
   * Begins a replay of many letters, which goes on by itself.
   * @returns its id. Null: too many run already
   */
  async replay(filter: ReplayFilter, pace: ReplayPace): Promise<string | null> {
    if (this.#runs.size >= MOST_RUNS) return null;
    const run = await ReplayRun.begin(this.#deployment, filter, pace);
    const { id } = run.state;
    const stop = new AbortController();
    this.#runs.set(id, { run, stop });
    const { log } = this.#deployment;
    run
      .proceed({ signal: AbortSignal.any([stop.signal, this.#closed.signal]) })
      .then((end) => log('info', 'a replay of dead letters has ended', { replay: id, end }))
      .catch((err: unknown) => log('error', 'a replay of dead letters failed', { replay: id, err }))
      .finally(() => this.#runs.delete(id));
    return id;
  }

  /** Returns the state of a replay that this process runs. */
  stateOf(id: string): ReplayRunState | null {
    return this.#runs.get(id)?.run.state ?? null;
  }

  /** Ends a replay before its next letter. @returns whether this process runs it */
  cancel(id: string): boolean {
    const found = this.#runs.get(id);
    found?.stop.abort();
    return found !== undefined;
  }

  /** Ends the rehearsal under way, and the replays before their next letter. */
  close(): Promise<void> {
    this.#closed.abort();
    return this.#afterOthers(() => Promise.resolve());
  }

  #afterOthers<T>(task: () => Promise<T>): Promise<T> {
    const ended = this.#last.then(task);
    this.#last = ended.catch(() => undefined);
    return ended;
  }
}
