/** The options on durability, which a publisher and an event store share. */
import { defaultsOf, oneOfRule, wholeNumberRule, type OptionRule } from '../../core/option-rule.ts';
import type { Durability } from './confirm.ts';

export interface DurabilityOptions {
  /**
   * State of an event when its publish or append resolves.
   *
   * - `memory` (default): Redis has it in memory.
   * - `fsync`: it is on disk. This needs WAITAOF (Redis 7.2), or appendfsync always.
   * - `replicated`: `replicas` replicas have it (WAIT).
   */
  readonly durability?: Durability;
  /** With `replicated`: number of replicas, 1 to 1,000. Default 1. */
  readonly replicas?: number;
  /**
   * With `fsync` and `replicated`: longest wait for the confirmation, 1 to 9,999 ms. Default 5,000.
   */
  readonly confirmMs?: number;
}

export const DURABILITY_OPTIONS: {
  readonly [K in keyof Required<DurabilityOptions>]: OptionRule<Required<DurabilityOptions>[K]>;
} = {
  durability: oneOfRule(
    ['memory', 'fsync', 'replicated'],
    'state of the events when `publish` resolves: in the memory of Redis, on disk, or on `replicas` replicas (WAIT). The disk needs WAITAOF (Redis 7.2) or appendfsync always',
  ),
  replicas: wholeNumberRule([1, 1000], 1, 'number of replicas with `replicated`'),
  // With 0 WAIT blocks without end; beyond the time for a reply the connection gives up first.
  confirmMs: wholeNumberRule(
    [1, 9999],
    5000,
    'time to wait for the confirmation with `fsync` and `replicated`, ms',
  ),
};

export const DEFAULT_DURABILITY = defaultsOf(DURABILITY_OPTIONS);
