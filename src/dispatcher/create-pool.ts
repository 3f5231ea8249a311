/** Opens the thread pool of a dispatcher, which loads the function files. */
import { threadEnvironment } from '../config.ts';
import type { Distribution } from '../core/distribution.ts';
import type { FailureBursts } from '../core/failure-bursts.ts';
import type { FunctionFile } from '../core/function-spec.ts';
import type { Deployment } from '../deployment.ts';
import { THREAD_ENTRY } from '../pipeline/run/describe-functions.ts';
import { WorkerPool } from '../pipeline/run/worker-pool.ts';
import { WriterSchemas } from '../registry/writer-schemas.ts';
import { sayUncaught } from './uncaught.ts';

export interface PoolParts {
  readonly deployment: Deployment;
  readonly files: readonly FunctionFile[];
  /** Id of the dispatcher. */
  readonly dispatcher: string;
  /** Bounds the log lines of uncaught errors. */
  readonly bursts: FailureBursts;
  /** Told of each thread that an uncaught error has ended. */
  readonly uncaught: () => void;
  /** Counts the seconds that threads wait for a schema. */
  readonly schemaWaits: Distribution;
}

export function createPool(parts: PoolParts): WorkerPool {
  const { deployment, files, dispatcher, bursts, uncaught, schemaWaits: waits } = parts;
  const { environment, catalog, registry, schemas, changedSchemas, log } = deployment;
  const schemaWaitMs = environment.MILLRACE_SCHEMA_WAIT_MS;
  const writers = new WriterSchemas({ registry, schemas, schemaWaitMs, waits, log });
  return new WorkerPool({
    entry: THREAD_ENTRY,
    threads: environment.WORKERS,
    heapMb: environment.MILLRACE_THREAD_HEAP_MB ?? null,
    env: threadEnvironment(deployment.url),
    answer: writers.find,
    changedSchemas,
    uncaught: (error) => {
      uncaught();
      sayUncaught(log, bursts, error);
    },
    data: {
      files,
      schemas,
      protoSources: catalog.sources,
      logLevel: environment.LOG_LEVEL,
      partitions: deployment.partitions,
      channel: `millrace-${dispatcher}`,
    },
  });
}
