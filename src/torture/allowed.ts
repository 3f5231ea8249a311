/** Allowances of a run: deviations that its faults cause, and that the checker does not blame. */
export interface Allowed {
  /** Ids of acknowledged events that may be missing: those of a declared window of loss. */
  readonly missing: Set<string>;
  /**
   * Ids of emissions relayed between two servers of a Cluster while one of them lost its data. No
   * script spans both servers, so such an emission may be missing or there twice. On one server
   * none may.
   */
  readonly relayed: Set<string>;
  /** Whether Redis forgot outcomes (power loss, FLUSHALL, failover): settled events run again. */
  stateGoesBack: boolean;
  /**
   * Whether Redis forgot deliveries (a destroyed consumer group): the events under way run again.
   */
  runsAgain: boolean;
  /**
   * Dead letters that were replayed, and events sent again whose first sending may not be there.
   * Form: `function event id`. They run behind later events.
   */
  readonly replayed: Set<string>;
  /**
   * Whether others than the harness published (foreign producers, corrupt entries): runs of
   * unknown ids are no ghosts.
   */
  foreign: boolean;
  /**
   * Whether the server's clock went back. A retry may be due later than any retry of its function,
   * so the sweep sets the subject free. An entry's id may have the time of an older entry.
   */
  clockGoesBack: boolean;
}

export function nothingAllowed(): Allowed {
  return {
    missing: new Set(),
    relayed: new Set(),
    stateGoesBack: false,
    runsAgain: false,
    replayed: new Set(),
    foreign: false,
    clockGoesBack: false,
  };
}
