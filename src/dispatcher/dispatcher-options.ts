/** The options of a dispatcher. The table in docs/operations.md is printed from here. */
import type { OptionRule } from '../core/option-rule.ts';
import { shownValue } from '../core/shown.ts';
import type { ViewFold } from '../core/view-fold.ts';
import type { Deployment } from '../deployment.ts';
import type { TurnDone } from '../pipeline/lane/lane-stages.ts';
import type { FunctionInfo } from '../pipeline/run/describe-functions.ts';
import type { AroundStages } from './lane-factory.ts';

export interface DispatcherOptions {
  readonly deployment: Deployment;
  /** Folder of the function files. */
  readonly functionsDir: string;
  /** Told of every turn that did something. */
  readonly onTurn?: (turn: TurnDone) => void;
  /** Names of function files to leave out. */
  readonly skipFiles?: readonly string[];
  /** For fault injection. */
  readonly aroundStages?: AroundStages;
  /**
   * Prepares views before any lane is registered or started. start() throws its errors.
   */
  readonly beforeLanes?: (views: readonly ViewFold[]) => Promise<void>;
  /**
   * Told, at once and every 30 s, why start() waits: Redis takes no writes. Default: a warning in
   * the log.
   */
  readonly waiting?: (message: string) => void;
  /**
   * Chooses the functions to run among the found ones. Default: all. start() throws its errors.
   */
  readonly choose?: (found: readonly FunctionInfo[]) => readonly FunctionInfo[];
}

type Declared = Omit<DispatcherOptions, 'deployment'>;

export const DISPATCHER_OPTIONS: {
  readonly [K in keyof Required<Declared>]: OptionRule<Declared[K] | undefined>;
} = {
  functionsDir: {
    value: undefined,
    unset: 'must be given',
    range: 'a path',
    text: 'folder of the function files',
    problem: (given) =>
      typeof given === 'string' && given !== ''
        ? null
        : `must be the path of a folder, got ${shownValue(given)}`,
  },
  skipFiles: {
    value: undefined,
    unset: 'none',
    range: 'names of files',
    text: 'function files to leave out',
    problem: (given) =>
      given === undefined ||
      (Array.isArray(given) && given.every((name) => typeof name === 'string'))
        ? null
        : `must be a list of file names, got ${shownValue(given)}`,
  },
  choose: callback('all', 'chooses the functions to run among the found ones'),
  beforeLanes: callback(
    'nothing',
    'prepares the views before any function is registered or started; `start` waits for it',
  ),
  onTurn: callback('nothing', 'told of every turn that did something'),
  waiting: callback(
    'a warning in the log',
    'told at once and every 30 s why `start` waits: Redis takes no writes',
  ),
  aroundStages: callback('nothing', 'gets between a lane and its stages, to inject faults'),
};

function callback(unset: string, text: string): OptionRule<undefined> {
  return {
    value: undefined,
    unset,
    range: 'a function',
    text,
    problem: (given) =>
      given === undefined || typeof given === 'function'
        ? null
        : `must be a function, got ${shownValue(given)}`,
  };
}
