/** The options of a run, and its result. */
import type { RunRecord, Violation } from '../../src/torture/run-record.ts';
import { takeoverBoundMs } from '../../src/torture/takeover.ts';
import type { Bug, ServerBug } from './bugs.ts';
import type { Fault } from './fault.ts';
import type { LoadOptions } from './load.ts';

export const LEASE_MS = 1000;
export const TAKEOVER_BOUND_MS = takeoverBoundMs(LEASE_MS);

export interface SeedOptions {
  readonly fault: Fault;
  readonly seed: number;
  readonly dispatchers?: number;
  /** Bug to put in. A bug of the server needs a fault that needs the embedded server. */
  readonly bug?: Bug | ServerBug;
  readonly load?: LoadOptions;
  /** Bound of the drain, ms. */
  readonly drainBoundMs?: number;
  /** Names of the function files to leave out. */
  readonly skip?: readonly string[];
  /** Folder for the history of a run with violations. */
  readonly keepDir?: string;
}

export interface SeedResult {
  readonly fault: string;
  readonly seed: number;
  readonly violations: readonly Violation[];
  readonly events: number;
  readonly acknowledged: number;
  readonly handled: number;
  readonly dead: number;
  readonly drainMs: number | null;
  readonly drainBoundMs: number;
  /** Slowest measured takeover of a dead dispatcher's lanes, ms; null: none was measured. */
  readonly takeoverMs: number | null;
  readonly takeoverBoundMs: number;
  readonly peakRssMb: number;
  readonly history: RunRecord;
}
