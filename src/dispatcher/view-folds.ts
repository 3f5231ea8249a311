/** Makes the folds of a dispatcher's views: its pool folds them without their lanes. */
import type { ViewFold } from '../core/view-fold.ts';
import type { Deployment } from '../deployment.ts';
import { createViewFold, type ViewFoldParts } from '../pipeline/lane/pool-view-fold.ts';
import type { FunctionInfo } from '../pipeline/run/describe-functions.ts';

export interface ViewFoldsOptions extends Pick<
  ViewFoldParts,
  'connection' | 'pool' | 'owner' | 'cancel'
> {
  readonly deployment: Deployment;
  readonly functions: readonly FunctionInfo[];
}

export function createViewFolds(options: ViewFoldsOptions): ViewFold[] {
  const { deployment, functions, connection, pool, owner, cancel } = options;
  const { keys, environment, log } = deployment;
  const limits = {
    leaseTtlMs: environment.MILLRACE_LEASE_MS,
    maxEvents: environment.MILLRACE_BATCH_EVENTS,
    maxBytes: environment.MILLRACE_BATCH_BYTES,
    threads: environment.WORKERS,
    schemaWaitMs: environment.MILLRACE_SCHEMA_WAIT_MS,
  };
  const parts = { keys, log, limits, connection, pool, owner, cancel };
  return functions
    .filter(({ spec }) => spec.view)
    .map((info) => createViewFold({ ...parts, info }));
}
