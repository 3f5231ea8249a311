/**
 * A dispatcher as its own process, for tests that kill it: `run-dispatcher.js <functions folder>
 * <proto folder>`. All else comes from the environment. The process prints `ready` on stdout, logs
 * to stderr, and drains on SIGTERM. It ends when its stdin ends, because its test is gone.
 */
import { pino } from 'pino';
import { connect } from '../../src/millrace.ts';
import { ConfigError } from '../../src/core/errors/input-errors.ts';

const [functionsDir = '', protoDir = ''] = process.argv.slice(2);
process.stdin.on('end', () => process.exit(9)).resume();

try {
  const logger = pino(
    { level: process.env['LOG_LEVEL'] ?? 'warn' },
    pino.destination({ dest: 2, sync: true }),
  );
  const millrace = await connect({ protoDir, logger, name: 'test-dispatcher' });
  const dispatcher = millrace.dispatcher({ functionsDir });
  await dispatcher.start();
  process.once('SIGTERM', () => {
    void dispatcher
      .stop()
      .then(() => millrace.close())
      .then(() => {
        process.stdout.write('drained\n');
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
