/**
 * A dispatcher that torture kills, stops and cuts off: `dispatcher-main.js <settings as JSON>`. The
 * process ends when its stdin ends.
 */
import { appendFileSync } from 'node:fs';
import { readEnvironment, type Environment } from '../config.ts';
import { openDeployment } from '../deployment.ts';
import { Dispatcher } from '../dispatcher.ts';
import type { LeaseLostOp } from './run-record.ts';

export interface ChildSettings {
  readonly functionsDir: string;
  readonly protoDir: string;
  readonly history: string;
  readonly environment: Partial<Environment>;
}

process.stdin.on('end', () => process.exit(9)).resume();

try {
  const settings = JSON.parse(process.argv[2] ?? '{}') as ChildSettings;
  const deployment = await openDeployment({
    environment: { ...readEnvironment(), ...settings.environment },
    protoDir: settings.protoDir,
    name: 'torture',
    settleSchemas: true,
    log(level, message, fields) {
      if (level === 'error')
        process.stderr.write(
          `${message} ${JSON.stringify(fields, (_, value: unknown) => (value instanceof Error ? value.message : value))}\n`,
        );
      if (!message.startsWith('lease lost')) return;
      const op: LeaseLostOp = {
        what: 'lease-lost',
        fn: String(fields?.['function']),
        partition: Number(fields?.['partition']),
        pid: process.pid,
      };
      appendFileSync(settings.history, `${JSON.stringify(op)}\n`);
    },
  });
  const dispatcher = new Dispatcher({ deployment, functionsDir: settings.functionsDir });
  await dispatcher.start();
  process.once('SIGTERM', () => {
    void dispatcher
      .stop()
      .then(() => deployment.close())
      .then(() => process.stdin.destroy());
  });
  process.stdout.write(`ready ${dispatcher.id}\n`);
} catch (error) {
  process.stderr.write(`${(error as Error).stack ?? String(error)}\n`);
  process.exit(1);
}
