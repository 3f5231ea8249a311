/**
 * A dispatcher under chaos, as its own process: `dispatcher-main.js <proto folder>`. All else comes
 * from the environment. The process writes its commits and lost leases to the sink, dies at
 * CHAOS_POINT, and has the bug CHAOS_BUG. It prints `ready` on stdout, logs to stderr, and drains
 * on SIGTERM. It ends when its stdin ends, because the harness is gone.
 */
import { fileURLToPath } from 'node:url';
import { readEnvironment } from '../../src/config.ts';
import { ConfigError } from '../../src/core/errors/input-errors.ts';
import { openDeployment } from '../../src/deployment.ts';
import type { Log } from '../../src/core/log.ts';
import { Dispatcher } from '../../src/dispatcher.ts';
import type { LaneStages } from '../../src/pipeline/lane/lane-stages.ts';
import { BUGS, plantBug, type Bug } from './bugs.ts';
import { dieAt, parseFaultPoint } from './fault-points.ts';
import { recordCommits } from './recorder.ts';
import { Sink } from './sink.ts';

process.stdin.on('end', () => process.exit(9)).resume();

const setting = (name: string): string => process.env[name] ?? '';

try {
  const sink = new Sink(setting('CHAOS_SINK'));
  const log: Log = (level, message, fields) => {
    if (level !== 'debug')
      process.stderr.write(`${JSON.stringify({ level, message, ...fields }, errorsAsText)}\n`);
    if (message.startsWith('lease lost')) {
      void sink.push({
        what: 'lease-lost',
        fn: String(fields?.['function']),
        partition: Number(fields?.['partition']),
        pid: process.pid,
      });
    }
  };
  const deployment = await openDeployment({
    environment: readEnvironment(),
    protoDir: process.argv[2] ?? null,
    log,
    name: 'chaos',
    settleSchemas: true,
  });
  const { connection, keys } = deployment;
  let dispatcher: Dispatcher | null = null;
  const typesOf = (fn: string) =>
    dispatcher?.functions.find((info) => info.spec.name === fn)?.spec.on ?? [];
  const bug = setting('CHAOS_BUG');
  const bugged =
    bug === ''
      ? null
      : plantBug(BUGS.find((known) => known === bug) as Bug, {
          currentLease: async ({ fn, partition }) =>
            (await connection.command('GET', keys.lease(partition, fn))) as string | null,
          async pendingIds({ fn, partition }) {
            const found = await Promise.all(
              typesOf(fn).map((type) =>
                connection.command('XPENDING', keys.events(partition, type), fn, '-', '+', 10_000),
              ),
            );
            return (found as [string][][]).flat().map(([id]) => id);
          },
        });
  const point = setting('CHAOS_POINT');
  const deadly = point === '' ? (stages: LaneStages) => stages : dieAt(parseFaultPoint(point));
  dispatcher = new Dispatcher({
    deployment,
    functionsDir: fileURLToPath(new URL('./functions/', import.meta.url)),
    skipFiles: setting('CHAOS_SKIP')
      .split(',')
      .filter((name) => name !== ''),
    aroundStages(stages, lane) {
      const recorded = recordCommits(stages, lane, sink);
      return deadly(bugged ? bugged(recorded, lane) : recorded);
    },
  });
  await dispatcher.start();
  process.once('SIGTERM', () => {
    void dispatcher
      ?.stop()
      .then(() => deployment.close())
      .then(() => {
        sink.close();
        process.stdin.destroy();
      });
  });
  process.stdout.write(`ready ${dispatcher.id}\n`);
} catch (error) {
  process.stderr.write(
    error instanceof ConfigError
      ? `${error.message}\n`
      : `${(error as Error).stack ?? String(error)}\n`,
  );
  process.exit(1);
}

function errorsAsText(_: string, value: unknown): unknown {
  return value instanceof Error ? `${value.name}: ${value.message}` : value;
}
