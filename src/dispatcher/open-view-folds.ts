/**
 * Opens the views of a folder in a pool of its own, to fold events for people who look. No lane
 * runs, no function is registered, and nothing is written.
 */
import { randomBytes } from 'node:crypto';
import { ANSWER_SECONDS, Distribution } from '../core/distribution.ts';
import { FailureBursts } from '../core/failure-bursts.ts';
import { ConfigError } from '../core/errors/input-errors.ts';
import { sharedAbort } from '../core/shared-signal.ts';
import type { ViewFold } from '../core/view-fold.ts';
import type { Deployment } from '../deployment.ts';
import { checkFunctions, findIn } from '../pipeline/run/describe-functions.ts';
import { registeredBy } from '../registry/registered-by.ts';
import { settleLocalSchemas } from '../registry/local-schemas.ts';
import { createPool } from './create-pool.ts';
import { createViewFolds } from './view-folds.ts';

export interface OpenedFolds {
  /** One for each view of the folder, and each of its versions. */
  readonly folds: readonly ViewFold[];
  /** Ends the folds under way, and the threads. */
  close(): Promise<void>;
}

export interface OpenFoldsOptions {
  readonly functionsDir: string;
  /** Names of function files to leave out. */
  readonly skipFiles?: readonly string[];
}

/** Threads of the pool: people look at one page at a time. */
const THREADS = 1;
const CLOSE_MS = 1000;

/**
 * @throws ConfigError naming every problem of the folder
 * @throws SchemaNotRegisteredError: a schema of the deployment's catalog is not registered, so the
 *   versions that its functions expect are not known
 */
export async function openViewFolds(
  deployment: Deployment,
  { functionsDir, skipFiles }: OpenFoldsOptions,
): Promise<OpenedFolds> {
  const { registry, catalog, environment, log } = deployment;
  const { files, problems } = await findIn(functionsDir, skipFiles);
  if (files.length === 0) throw new ConfigError(problems);
  const owner = `look-${process.pid}-${randomBytes(4).toString('hex')}`;
  const schemas =
    deployment.schemas.size > 0
      ? deployment.schemas
      : await settleLocalSchemas({
          registry,
          catalog,
          // In production mode nothing is registered: this only looks the schemas up.
          mode: 'production',
          registeredBy: () => registeredBy(functionsDir),
          log,
        });
  const here: Deployment = {
    ...deployment,
    schemas,
    environment: { ...environment, WORKERS: THREADS },
  };
  const stop = sharedAbort();
  const bursts = new FailureBursts({ log });
  const pool = createPool({
    deployment: here,
    files,
    dispatcher: owner,
    bursts,
    uncaught: () => undefined,
    schemaWaits: new Distribution(ANSWER_SECONDS),
  });
  const close = async (): Promise<void> => {
    stop.abort();
    await pool.close(CLOSE_MS);
    bursts.close();
  };
  try {
    const described = await pool.describe(environment.MILLRACE_LOAD_MS);
    const functions = checkFunctions(problems, described, catalog);
    const { connection } = deployment;
    const cancel = stop.signal;
    const folds = createViewFolds({ deployment: here, functions, connection, pool, owner, cancel });
    return { folds, close };
  } catch (error) {
    await close();
    throw error;
  }
}
