/** The log of commands that run long: JSON lines on stdout. */
import { pino, type DestinationStream, type Logger } from 'pino';

/** Creates a logger on process.stdout, so that a closed pipe is noticed in one place. */
export async function createLogger(level: string): Promise<Logger> {
  let stream: DestinationStream = process.stdout;
  if (process.stdout.isTTY) {
    try {
      const { default: pretty } = await import('pino-pretty');
      stream = pretty({
        colorize: true,
        destination: process.stdout,
        ignore: 'pid,hostname',
        translateTime: 'SYS:HH:MM:ss.l',
      });
    } catch {
      // pino-pretty is not a dependency. A project that installs it gets readable logs.
    }
  }
  return pino({ level }, stream);
}
