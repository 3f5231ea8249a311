/** Describes the function files, loaded by a pool thread: their definitions and their problems. */
import type {
  DescribeTask,
  FileDescription,
  FunctionFileData,
} from '../../core/thread-protocol.ts';
import { ConfigError } from '../../core/errors/input-errors.ts';
import { deathCause } from './death-cause.ts';

/** Runs a task in a thread; rejects with an AbortError once its signal aborts. */
export type RunDescribeTask = (
  task: DescribeTask,
  signal: AbortSignal,
) => Promise<readonly FileDescription[]>;

/**
 * @param loadMs a file that takes longer counts as one that never ends loading
 * @throws ConfigError when the files cannot be loaded together, though each of them can
 */
export async function describeFiles(
  run: RunDescribeTask,
  files: readonly FunctionFileData[],
  loadMs: number,
): Promise<readonly FileDescription[]> {
  const describe = (task: DescribeTask): Promise<readonly FileDescription[]> =>
    run(task, AbortSignal.timeout(loadMs));
  try {
    return await describe({ kind: 'describe' });
  } catch (error) {
    // A file ends its thread, or never ends loading: loading each by itself finds that file.
    const found: FileDescription[] = [];
    for (const { source, version } of files) {
      try {
        found.push(...(await describe({ kind: 'describe', only: source })));
      } catch (alone) {
        found.push({ source, version, spec: null, problem: loadProblem(alone, loadMs) });
      }
    }
    if (found.every(({ problem }) => problem === null))
      throw new ConfigError([`the function files, loaded together: ${loadProblem(error, loadMs)}`]);
    return found;
  }
}

function loadProblem(error: unknown, loadMs: number): string {
  return (error as { name?: unknown } | null)?.name === 'AbortError'
    ? `had not finished loading after ${loadMs} ms (MILLRACE_LOAD_MS): a loop, or a top-level await that nothing settles?`
    : `cannot be loaded: it ends its thread: ${deathCause(error)}`;
}
