/** The commands of `millrace`, and the help that they share. */
import { Command } from 'commander';
import { packageVersion } from '../core/package-info.ts';
import type { LongRunningContext } from './context.ts';

type Register = (program: Command, context: LongRunningContext) => void;

/**
 * The commands in the order of `--help`. Each is loaded when needed: loading its modules is most of
 * a command's start-up time.
 */
const COMMANDS: Readonly<Record<string, () => Promise<Register>>> = {
  init: async () => (await import('./commands/init.ts')).registerInit,
  start: async () => (await import('./commands/start.ts')).registerStart,
  admin: async () => (await import('./commands/admin.ts')).registerAdmin,
  console: async () => (await import('./commands/console.ts')).registerConsole,
  publish: async () => (await import('./commands/publish.ts')).registerPublish,
  tail: async () => (await import('./commands/tail.ts')).registerTail,
  lag: async () => (await import('./commands/lag.ts')).registerLag,
  top: async () => (await import('./commands/top.ts')).registerTop,
  trend: async () => (await import('./commands/trend.ts')).registerTrend,
  functions: async () => (await import('./commands/functions.ts')).registerFunctions,
  limits: async () => (await import('./commands/limits.ts')).registerLimits,
  doctor: async () => (await import('./commands/doctor.ts')).registerDoctor,
  acl: async () => (await import('./commands/acl.ts')).registerAcl,
  audit: async () => (await import('./commands/audit.ts')).registerAudit,
  losses: async () => (await import('./commands/losses.ts')).registerLosses,
  outbox: async () => (await import('./commands/outbox.ts')).registerOutbox,
  alerts: async () => (await import('./commands/alerts.ts')).registerAlerts,
  scheduled: async () => (await import('./commands/scheduled.ts')).registerScheduled,
  parked: async () => (await import('./commands/parked.ts')).registerParked,
  dlq: async () => (await import('./commands/dlq.ts')).registerDlq,
  history: async () => (await import('./commands/history.ts')).registerHistory,
  explain: async () => (await import('./commands/explain.ts')).registerExplain,
  find: async () => (await import('./commands/find.ts')).registerFind,
  trace: async () => (await import('./commands/trace.ts')).registerTrace,
  view: async () => (await import('./commands/view.ts')).registerView,
  rewind: async () => (await import('./commands/rewind.ts')).registerRewind,
  bench: async () => (await import('./commands/bench.ts')).registerBench,
  torture: async () => (await import('./commands/torture.ts')).registerTorture,
  proto: async () => (await import('./commands/proto.ts')).registerProto,
  schema: async () => (await import('./commands/schema.ts')).registerSchema,
};

/**
 * Builds the program.
 * @param argument first argument of the command line. If it names a command, only that command is
 *   loaded. Undefined: all commands.
 */
export async function buildProgram(
  context: LongRunningContext,
  argument?: string,
): Promise<Command> {
  const program = new Command('millrace')
    .description(
      'Streams in, functions out: Millrace runs functions on the events of Redis Streams, in worker threads.',
    )
    .version(packageVersion(), '-V, --version', 'print the version')
    .helpOption('-h, --help', 'show this help')
    .helpCommand('help [command]', 'show the help of a command')
    // Behind a command, --version is that command's.
    .enablePositionalOptions()
    .showSuggestionAfterError()
    .configureOutput({
      outputError: (text, write) => write(text.replace(/^error: /, 'millrace: ')),
    })
    .addHelpText(
      'after',
      `
Millrace connects to the server in REDIS_URL. Without REDIS_URL it uses an embedded server, with its
data in .millrace/ of this folder. A command starts this server if it does not run yet.
Exit status 0: success. 1: failure. 2: wrong use.
An error is one line. LOG_LEVEL=debug adds its stack.
Help on a command: millrace <command> --help

Example:
  millrace init shop && cd shop && npm install && npm start`,
    )
    .exitOverride();
  for (const register of await Promise.all(loadersOf(argument).map((load) => load())))
    register(program, context);
  return program;
}

function loadersOf(argument: string | undefined): readonly (() => Promise<Register>)[] {
  if (argument === '--version' || argument === '-V') return [];
  const named =
    argument !== undefined && Object.hasOwn(COMMANDS, argument) ? COMMANDS[argument] : undefined;
  return named === undefined ? Object.values(COMMANDS) : [named];
}
