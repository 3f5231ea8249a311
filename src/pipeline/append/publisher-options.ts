/** The options of a publisher. The table in docs/publishing.md is printed from here. */
import {
  binaryUnits,
  defaultsOf,
  grouped,
  oneOfRule,
  wholeNumberRule,
  type OptionRule,
} from '../../core/option-rule.ts';
import { textProblem } from '../../core/well-formed.ts';
import { LIMITS } from '../../wire/event-attributes.ts';
import { DEFAULT_SOURCE } from '../../wire/event-identity.ts';

/** Defaults and bounds: PUBLISHER_OPTIONS, and the table in docs/publishing.md. */
export interface PublisherSettings {
  /** Most bytes buffered over all partitions, those in flight included. Default 32 MiB. */
  readonly bufferBytes: number;
  /** Most events of one flush of a partition. Default 2,048. */
  readonly flushEvents: number;
  /** Most bytes of one flush of a partition. Default 256 KiB. */
  readonly flushBytes: number;
  /** Time that an idle partition waits for more events before it flushes, ms. Default 0. */
  readonly lingerMs: number;
  /** Most flushes in flight over all partitions. Default 32. */
  readonly maxFlushes: number;
  /** With a full buffer: `wait` (default), or `reject` with BackpressureError. */
  readonly whenFull: 'wait' | 'reject';
  /**
   * Time after which an event is given up that Redis has not answered, ms. It includes the time in
   * which the event's flush waited behind others. Each flush is sent at least once, and waits a
   * second for its answer. Default 30,000.
   */
  readonly deadlineMs: number;
  /**
   * When Redis takes no writes (full disk, too few replicas): `wait` (default) until deadlineMs, or
   * `reject` at once with Redis' error. Full memory is waited for, unless `whenFull` rejects too.
   */
  readonly whenRefused: 'wait' | 'reject';
  /** CloudEvents source of events that name none. Default `millrace`. */
  readonly source: string;
}

/** Each batch holds the source, so its size is bounded. */
export const SOURCE_OPTION: OptionRule<string> = {
  value: DEFAULT_SOURCE,
  unset: `\`${DEFAULT_SOURCE}\``,
  range: `at most ${grouped(LIMITS.source)} bytes`,
  text: 'CloudEvents source of events that name none',
  problem: (given) => {
    const problem = textProblem(given);
    if (problem !== null) return problem;
    const bytes = Buffer.byteLength(given as string);
    return bytes > LIMITS.source ? `has ${bytes} bytes, the limit is ${LIMITS.source}` : null;
  },
};

export const PUBLISHER_OPTIONS: {
  readonly [K in keyof PublisherSettings]: OptionRule<PublisherSettings[K]>;
} = {
  bufferBytes: wholeNumberRule(
    [64 * 1024, 1024 ** 3],
    32 * 1024 ** 2,
    'most bytes buffered over all partitions, those in flight included',
    binaryUnits,
  ),
  flushEvents: wholeNumberRule([1, 65_536], 2048, 'most events of one flush of a partition'),
  flushBytes: wholeNumberRule(
    [1024, 64 * 1024 ** 2],
    256 * 1024,
    'most bytes of one flush of a partition',
    binaryUnits,
  ),
  lingerMs: wholeNumberRule(
    [0, 1000],
    0,
    'time that an idle partition waits for more events before it flushes, ms; 0: none',
  ),
  maxFlushes: wholeNumberRule([1, 1024], 32, 'most flushes in flight over all partitions'),
  whenFull: oneOfRule(
    ['wait', 'reject'],
    'with a full buffer: wait for room, or reject with `BackpressureError`',
  ),
  deadlineMs: wholeNumberRule(
    [100, 3_600_000],
    30_000,
    "longest time from publish to Redis' answer, ms. Waiting behind other flushes counts. Each flush is sent at least once, and has a second for its answer",
  ),
  whenRefused: oneOfRule(
    ['wait', 'reject'],
    'when Redis takes no writes (full disk, too few replicas): wait until `deadlineMs`, or reject at once with its error. Full memory is waited for, unless `whenFull` rejects too',
  ),
  source: SOURCE_OPTION,
};

export const DEFAULT_PUBLISHER: PublisherSettings = defaultsOf(PUBLISHER_OPTIONS);
