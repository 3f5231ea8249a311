/** One pool thread: answers the dispatcher's tasks. Holds no Redis connection and no dispatcher. */
import { BroadcastChannel, workerData } from 'node:worker_threads';
import { pino } from 'pino';
import type {
  BatchesTask,
  BatchAnswer,
  BatchReport,
  BatchTask,
  ChannelMessage,
  CollectTask,
  DescribeTask,
  FileDescription,
  LateReport,
  SetupFailed,
  ThreadData,
} from '../core/thread-protocol.ts';
import { claim } from '../core/claims.ts';
import { monotonicMs } from '../core/clock.ts';
import { loadTracing } from '../tracing/open-telemetry.ts';
import { createCatalog } from '../wire/catalog.ts';
import { captureOutput } from './capture-output.ts';
import { EntryChecks } from './entry-checks.ts';
import { errorInfo } from './error-info.ts';
import { FunctionLoader, type LoadedFunction } from './load-functions.ts';
import { noteBatch, watchUncaught } from './late-failures.ts';
import { LateReports } from './late-reports.ts';
import { PayloadWays } from './payload-ways.ts';
import { runBatch, type RunOptions } from './run-batch.ts';
import { SchemaQuestions } from './schema-questions.ts';

// Piscina passes its own data first and the pool's `workerData` second.
const data = (Array.isArray(workerData) ? workerData[1] : workerData) as ThreadData;
const catalog = createCatalog(data.protoSources);
const channel = new BroadcastChannel(data.channel);
const toOutput = data.captures
  ? captureOutput((piece) =>
      channel.postMessage({ kind: 'output', piece } satisfies ChannelMessage),
    )
  : undefined;
const logger = pino({ level: data.logLevel, base: { pid: process.pid } }, toOutput);
const tracing = await loadTracing((err) =>
  logger.warn({ err }, 'OpenTelemetry failed: spans of this thread may be missing'),
);
const functions = new FunctionLoader(data.files);
process.setSourceMapsEnabled(true);

/** Age of a batch's last handlers at which the batch is reported without them, ms. */
const DETACH_MS = { first: 200, next: 50 } as const;

const questions = new SchemaQuestions(channel);
const schemas = new Map(data.schemas);
const payloadWays = new PayloadWays(catalog, schemas, questions.ask);
channel.onmessage = (event: unknown) => {
  const message = (event as { data: ChannelMessage }).data;
  if (message === 'teardown')
    void functions
      .teardown()
      .then(() => tracing?.flush())
      .then(() => channel.postMessage('torn-down'));
  else if (message === 'flush') channel.postMessage('flushed');
  else if (typeof message === 'object' && message.kind === 'schema')
    questions.answered(message, message.answer);
};
channel.unref();
watchUncaught(
  (uncaught) => channel.postMessage({ kind: 'uncaught', uncaught } satisfies ChannelMessage),
  functions.sources,
);

/** Late reports of tasks with handlers that still run. */
const lateOf = new Map<number, LateReports>();

export default async function main(
  task: BatchesTask | CollectTask | DescribeTask,
): Promise<readonly BatchAnswer[] | readonly LateReport[] | readonly FileDescription[]> {
  if (task.kind === 'describe') return functions.describe(task.only);
  if (task.kind === 'collect') return collect(task.group);
  for (const [type, schema] of task.schemas ?? []) schemas.set(type, schema);
  const late = new LateReports();
  const answers: BatchAnswer[] = [];
  const checks = new EntryChecks(task.tasks.length > 1);
  const mixed = task.tasks.some(({ fn }) => fn !== task.tasks[0]?.fn);
  // The batches of a task share one turn. The first batch's handlers may delay the last batch's
  // report, and the last batch may delay the first one's.
  let endsMs: number | null = null;
  for (const [at, batch] of task.tasks.entries()) {
    if (task.claims && !claim(task.claims, at)) {
      answers.push({ kind: 'revoked' });
      continue;
    }
    const report = await run(batch, checks, {
      concurrency: task.concurrency,
      // Later batches of the task need not wait so long again, nor do other functions.
      detachMs: task.detach
        ? late.running > 0 || mixed
          ? DETACH_MS.next
          : DETACH_MS.first
        : Infinity,
      turnMs: task.turnMs,
      // The turn begins when the function is loaded: setup() takes no time of it.
      endsMs: () => (endsMs ??= monotonicMs() + task.turnMs),
      late: (index, report) => late.add({ batch: at, index, report }),
    });
    if (report.kind === 'report' && report.running) late.expect(report.running.length);
    answers.push(report);
  }
  // Reports are kept also where all late handlers ended while a later batch ran.
  if (late.open) lateOf.set(task.group, late);
  return answers;
}

async function collect(group: number): Promise<readonly LateReport[]> {
  const late = lateOf.get(group);
  const reports = (await late?.next()) ?? [];
  if (late?.open === false) lateOf.delete(group);
  return reports;
}

async function run(
  task: BatchTask,
  checks: EntryChecks,
  options: RunOptions,
): Promise<BatchReport | SetupFailed> {
  let loaded: LoadedFunction;
  try {
    loaded = await functions.load(task.fn);
  } catch (error) {
    return { kind: 'setup-failed', error: errorInfo(error) };
  }
  noteBatch(task.fn);
  return runBatch(
    task,
    loaded,
    { catalog, schemas, payloadWays, logger, tracing, partitions: data.partitions, checks },
    options,
  );
}
