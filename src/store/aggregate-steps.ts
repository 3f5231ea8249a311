/** States of an aggregate around a page's events. The aggregate's code runs in this process. */
import type { Aggregate } from '../define/define-aggregate.ts';
import { errorTextOf } from '../payload/show-error.ts';
import type { EventStore } from './event-store.ts';
import type { StateSteps, StepStates, StoredPage } from './history-page.ts';

/**
 * Folds by an aggregate. The state before a page comes from the page before, where that was folded
 * last; else from a snapshot, where one fits. No snapshot is taken.
 */
export function aggregateSteps<State, T extends string>(
  store: EventStore,
  aggregate: Aggregate<State, T>,
): StateSteps {
  const steps = new AggregateFold(store, aggregate as unknown as Aggregate<State, never>);
  return {
    by: `aggregate ${aggregate.category}`,
    statesOf: (page) => steps.statesOf(page),
  };
}

class AggregateFold<State> {
  readonly #store: EventStore;
  readonly #aggregate: Aggregate<State, never>;
  /** Types that `evolve` understands. */
  readonly #types: ReadonlySet<string>;
  /** The last state of the last page. */
  #last: { readonly id: string; readonly revision: number; readonly state: State } | null = null;

  constructor(store: EventStore, aggregate: Aggregate<State, never>) {
    this.#store = store;
    this.#aggregate = aggregate;
    this.#types = new Set<string>(aggregate.events);
  }

  async statesOf({ address: { category, id }, events }: StoredPage): Promise<StepStates> {
    const first = events[0]?.revision;
    const last = events.at(-1)?.revision;
    if (first === undefined || last === undefined)
      return { before: undefined, states: [], problem: null };
    const states: unknown[] = [];
    let before: unknown;
    let at = first;
    try {
      let { state } = await this.#stateAt(id, first - 1);
      before = this.#json(state);
      for await (const event of this.#store.read(category, id, { from: first, to: last })) {
        at = event.revision;
        if (this.#types.has(event.type)) state = this.#aggregate.evolve(state, event as never);
        states.push(this.#json(state));
        at++;
      }
      this.#last = { id, revision: at - 1, state };
      return { before, states, problem: null };
    } catch (error) {
      return { before, states, problem: { revision: at, error: errorTextOf(error) } };
    }
  }

  async #stateAt(id: string, revision: number): Promise<{ readonly state: State }> {
    const last = this.#last;
    // A fold that fails may have changed the state, so the state is not kept meanwhile.
    this.#last = null;
    if (last?.id === id && last.revision === revision) return last;
    return this.#store.load(this.#aggregate, id, { at: revision });
  }

  /** Returns a copy of the state as plain JSON: `evolve` may change the state it was given. */
  #json(state: State): unknown {
    const encode = this.#aggregate.snapshot?.encode;
    const text = JSON.stringify(encode ? encode(state) : state) as string | undefined;
    return text === undefined ? undefined : (JSON.parse(text) as unknown);
  }
}
