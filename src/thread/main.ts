/** One pool thread: answers the dispatcher's tasks. Holds no Redis connection and no dispatcher. */
import { BroadcastChannel, workerData } from 'node:worker_threads';
import { pino } from 'pino';
import type { BatchesTask, BatchReport, BatchTask, ChannelMessage, DescribeTask, FileDescription, SetupFailed, ThreadData } from '../core/batch-task.ts';
import { createCatalog } from '../wire/catalog.ts';
import { errorInfo } from './error-info.ts';
import { createFunctionLoader, type LoadedFunction } from './load-functions.ts';
import { noteBatch, watchUncaught } from './late-failures.ts';
import { runBatch } from './run-batch.ts';
import { SchemaQuestions } from './schema-questions.ts';
import { WriterSchemas } from './writer-schemas.ts';

// Piscina hands its own data first and the pool's `workerData` second.
const data = (Array.isArray(workerData) ? workerData[1] : workerData) as ThreadData;
const catalog = createCatalog(data.protoSources);
const logger = pino({ level: data.logLevel, base: { pid: process.pid } });
const functions = createFunctionLoader(data.files);
process.setSourceMapsEnabled(true);

const channel = new BroadcastChannel(data.channel);
const questions = new SchemaQuestions(channel);
const schemas = new WriterSchemas(catalog, data.schemas, questions.ask);
channel.onmessage = (event: unknown) => {
  const message = (event as { data: ChannelMessage }).data;
  if (message === 'teardown') void functions.teardown().then(() => channel.postMessage('torn-down'));
  else if (typeof message === 'object' && message.kind === 'schema') questions.answered(message.key, message.answer);
};
channel.unref();
watchUncaught((uncaught) => channel.postMessage({ kind: 'uncaught', uncaught } satisfies ChannelMessage), functions.sources);

export default async function main(
  task: BatchesTask | DescribeTask,
): Promise<(BatchReport | SetupFailed)[] | FileDescription[]> {
  if (task.kind === 'describe') return functions.describe(task.only);
  const reports: (BatchReport | SetupFailed)[] = [];
  for (const batch of task.tasks) reports.push(await run(batch));
  return reports;
}

async function run(task: BatchTask): Promise<BatchReport | SetupFailed> {
  let loaded: LoadedFunction;
  try {
    loaded = await functions.load(task.fn);
  } catch (error) {
    return { kind: 'setup-failed', error: errorInfo(error) };
  }
  noteBatch(task.fn);
  return runBatch(task, loaded, { catalog, schemas, logger, partitions: data.partitions, schemaIds: data.schemas });
}
