/**
 * Describes the functions that the files of a folder define, and everything that is wrong with
 * them. Runs no handler, and needs no server.
 */
import { randomBytes } from 'node:crypto';
import { dirname, join, resolve } from 'node:path';
import { threadEnvironment, type Environment } from '../../config.ts';
import type { FileDescription } from '../../core/thread-protocol.ts';
import { ConfigError } from '../../core/errors/input-errors.ts';
import type { FunctionSpec } from '../../core/function-spec.ts';
import { findFunctions, type FoundFunctions } from './find-functions.ts';
import type { Catalog } from '../../wire/catalog.ts';

export interface FunctionInfo {
  readonly spec: FunctionSpec;
  readonly version: string;
  readonly source: string;
}

export interface DescribeOptions {
  readonly functionsDir: string;
  /** Names of function files to leave out. */
  readonly skipFiles?: readonly string[] | undefined;
  readonly environment: Environment;
  /** The declared event types; null: they are not known, and `on` is not checked. */
  readonly catalog: Catalog | null;
  /** REDIS_URL of the threads. */
  readonly url: string;
}

export const THREAD_ENTRY = new URL('../../../workers/thread.js', import.meta.url);

/** Finds the function files of a folder. Compiled code is kept beside the folder. */
export function findIn(
  functionsDir: string,
  skipFiles?: readonly string[],
): Promise<FoundFunctions> {
  const dir = resolve(functionsDir);
  return findFunctions(dir, join(dirname(dir), '.millrace'), skipFiles);
}

/** @throws ConfigError naming every problem, as Dispatcher.start() does */
export async function describeFunctions(options: DescribeOptions): Promise<FunctionInfo[]> {
  const { environment, catalog } = options;
  const found = await findIn(options.functionsDir, options.skipFiles);
  if (found.files.length === 0) throw new ConfigError(found.problems);
  const { WorkerPool } = await import('./worker-pool.ts');
  const pool = new WorkerPool({
    entry: THREAD_ENTRY,
    threads: 1,
    heapMb: environment.MILLRACE_THREAD_HEAP_MB ?? null,
    env: threadEnvironment(options.url),
    changedSchemas: new Map(),
    data: {
      files: found.files,
      schemas: new Map(),
      protoSources: catalog?.sources ?? [],
      logLevel: environment.LOG_LEVEL,
      // No handler runs, so nothing is emitted to any partition.
      partitions: 1,
      channel: `millrace-describe-${randomBytes(8).toString('hex')}`,
    },
  });
  try {
    return checkFunctions(
      found.problems,
      await pool.describe(environment.MILLRACE_LOAD_MS),
      catalog,
    );
  } finally {
    await pool.close(0);
  }
}

/**
 * Checks the functions of all files together.
 * @param found problems of files that could not be loaded at all
 * @throws ConfigError naming every problem
 */
export function checkFunctions(
  found: readonly string[],
  described: readonly FileDescription[],
  catalog: Catalog | null,
): FunctionInfo[] {
  const problems = [...found];
  const bySource = new Map<string, string>();
  const functions: FunctionInfo[] = [];
  for (const { source, spec, version, problem } of described) {
    if (spec === null) {
      problems.push(`${source} ${problem ?? 'exports no function'}`);
      continue;
    }
    const other = bySource.get(spec.name);
    if (other !== undefined)
      problems.push(`${source}: a function named "${spec.name}" is in ${other} already`);
    bySource.set(spec.name, source);
    for (const type of catalog === null ? [] : spec.on) {
      if (!catalog?.types.has(type)) {
        problems.push(
          `${source}: on names the event type "${type}", which no message under proto/ declares (declared: ${[...(catalog?.types.keys() ?? [])].join(', ') || 'none'})`,
        );
      }
    }
    functions.push({ spec, version, source });
  }
  if (problems.length > 0) throw new ConfigError(problems);
  return functions;
}
