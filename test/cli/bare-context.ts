/** The context of a command that opens nothing: for tests of the command line alone. */
import type { LongRunningContext } from '../../src/cli/context.ts';
import { readEnvironment } from '../../src/config.ts';

export interface Text {
  stdout: string;
  stderr: string;
}

/** @param text collects the output of the command */
export function bareContext(text: Text): LongRunningContext {
  const { signal } = new AbortController();
  return {
    open: () => Promise.reject(new Error('a deployment was opened')),
    out: (line) => void (text.stdout += `${line}\n`),
    err: (line) => void (text.stderr += `${line}\n`),
    takeStop: () => ({ first: signal, second: signal, reason: null }),
    environment: () => readEnvironment({}),
    screen: () => null,
    fail: () => {},
  };
}
