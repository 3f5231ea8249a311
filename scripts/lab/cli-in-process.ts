/**
 * Runs commands of the command line in the test's own process. Each opens a deployment of its own,
 * as main.ts does.
 */
import { Command } from 'commander';
import type { LongRunningContext } from '../../src/cli/context.ts';
import { readEnvironment } from '../../src/config.ts';
import { openDeployment, type Deployment } from '../../src/deployment.ts';

export interface Ran {
  readonly out: string;
  readonly err: string;
  readonly failed: boolean;
  readonly error: unknown;
}

export type Register = (program: Command, context: LongRunningContext) => void;

/** Returns a function that runs one command, with arguments, in a program of its own. */
export function inProcess(
  register: Register,
  environment: Record<string, string>,
  protoDir: string,
): (...args: string[]) => Promise<Ran> {
  const build = (context: LongRunningContext): Promise<Command> => {
    const program = new Command()
      .exitOverride()
      .configureOutput({ writeErr: () => {}, writeOut: () => {} });
    register(program, context);
    return Promise.resolve(program);
  };
  return (...args) => inContext(build, environment, protoDir, args);
}

/**
 * Parses the arguments with the program. Its context collects the output. Closes all deployments
 * that the command opened.
 */
export async function inContext(
  build: (context: LongRunningContext) => Promise<Command>,
  environment: Record<string, string>,
  protoDir: string,
  args: readonly string[],
): Promise<Ran> {
  const ran = { out: '', err: '', failed: false, error: null as unknown };
  const opened: Deployment[] = [];
  const signal = new AbortController().signal;
  const context: LongRunningContext = {
    async open(options = {}) {
      const deployment = await openDeployment({
        environment: { ...readEnvironment(environment), ...options.environment },
        protoDir: options.protoDir === undefined ? protoDir : options.protoDir,
        log: options.log ?? (() => {}),
        name: 'cli',
        settleSchemas: options.settleSchemas ?? false,
        ...(options.unfit ? { unfit: options.unfit } : {}),
        failFast: options.failFast ?? 'refused',
      });
      opened.push(deployment);
      return deployment;
    },
    environment: () => readEnvironment(environment),
    out: (text) => void (ran.out += `${text}\n`),
    err: (text) => void (ran.err += `${text}\n`),
    takeStop: () => ({ first: signal, second: signal, reason: null }),
    screen: () => null,
    fail: () => void (ran.failed = true),
  };
  const program = await build(context);
  ran.error = await program.parseAsync(['node', 'millrace', ...args]).then(
    () => null,
    (error: unknown) => error,
  );
  await Promise.all(opened.map((deployment) => deployment.close()));
  return ran;
}
