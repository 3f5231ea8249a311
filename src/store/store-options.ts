/** The options of an event store: their bounds. */
import { binaryUnits, wholeNumberRule, type OptionRule } from '../core/option-rule.ts';
import type { Upcast } from '../define/upcast.ts';
import { SOURCE_OPTION } from '../pipeline/append/publisher-options.ts';
import { DEFAULT_STORE, type StoreSettings } from './event-store.ts';

export const STORE_OPTIONS: {
  readonly [K in keyof StoreSettings]: OptionRule<StoreSettings[K]>;
} = {
  maxEvents: wholeNumberRule([1, 10_000_000], DEFAULT_STORE.maxEvents, 'most events of a history'),
  bufferBytes: wholeNumberRule(
    [64 * 1024, 1024 ** 3],
    DEFAULT_STORE.bufferBytes,
    'most bytes of appends without an answer; further appends wait',
    binaryUnits,
  ),
  deadlineMs: wholeNumberRule(
    [100, 3_600_000],
    DEFAULT_STORE.deadlineMs,
    'time after which an append is given up that Redis has not answered, ms',
  ),
  source: SOURCE_OPTION,
  upcasts: {
    value: DEFAULT_STORE.upcasts,
    unset: 'none',
    range: '',
    text: 'functions that turn events of older versions into those that `evolve` expects',
    problem: (given) =>
      Array.isArray(given) &&
      given.every((one: Partial<Upcast> | null) => one?.kind === 'millrace.upcast')
        ? null
        : 'must be a list of upcasts, each made by upcast()',
  },
};
