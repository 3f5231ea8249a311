/**
 * `millrace console`: the admin server with its pages, read-only, for any deployment. While Redis
 * is away, the page tells the diagnosis.
 */
import type { Command } from 'commander';
import type { LongRunningContext } from '../context.ts';
import { serveAdmin } from './admin.ts';

interface ConsoleFlags {
  readonly allowChanges?: boolean;
}

export function registerConsole(program: Command, context: LongRunningContext): void {
  program
    .command('console')
    .description('show the deployment in a web browser')
    .option('--allow-changes', 'accept changes, such as replays (default: refuse them)')
    .addHelpText(
      'after',
      `
The pages are those at / of millrace start and millrace admin: Flow, Find, Dead letters, Parked,
Lanes and others. The server listens at MILLRACE_HOST and MILLRACE_PORT.
The process writes nothing into Redis, unless changes are accepted.
Logs go to stdout as JSON lines. SIGTERM or SIGINT ends the process with exit status 0.

Examples:
  millrace console
  REDIS_URL=rediss://looker:secret@redis.example:6380 MILLRACE_PORT=0 millrace console`,
    )
    .action((flags: ConsoleFlags) =>
      serveAdmin(flags, context, (url) => `console at ${url}/`, true),
    );
}
