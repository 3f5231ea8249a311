/** Runs programs of the system, and asks a redis-server for its version. */
import { execFile } from 'node:child_process';

export interface ServerVersion {
  readonly version: string;
  readonly flavor: 'redis' | 'valkey';
}

/** A server that runs here. */
export interface ServerBinary extends ServerVersion {
  readonly path: string;
  /** Folders of its libraries, for LD_LIBRARY_PATH; empty where the system's own do. */
  readonly libraryPath: string;
}

/**
 * Asks a program for its version.
 * @throws Error where the program does not run, or is no server
 */
export async function versionOf(path: string, libraryPath: string): Promise<ServerVersion> {
  const text = await withLibraries(libraryPath, path, ['--version'], 10_000);
  const match = /^(Redis|Valkey) server v=(\d+(?:\.\d+)*)/im.exec(text);
  if (!match) throw new Error(`it answers --version with "${text.trim().slice(0, 80)}"`);
  return {
    flavor: (match[1] as string).toLowerCase() as 'redis' | 'valkey',
    version: match[2] as string,
  };
}

export function withLibraries(
  libraryPath: string,
  file: string,
  args: readonly string[],
  timeoutMs: number,
): Promise<string> {
  return output(
    libraryPath === '' ? file : 'env',
    libraryPath === '' ? args : [`LD_LIBRARY_PATH=${libraryPath}`, file, ...args],
    { timeoutMs },
  );
}

/** Resolves with the stdout of a program. It inherits our environment, but speaks English. */
export function output(
  file: string,
  args: readonly string[],
  options: { cwd?: string; timeoutMs?: number } = {},
): Promise<string> {
  return new Promise((done, fail) => {
    const settings = {
      encoding: 'utf8' as const,
      maxBuffer: 64 << 20,
      timeout: options.timeoutMs ?? 10_000,
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    };
    execFile('env', ['LC_ALL=C', file, ...args], settings, (error, stdout, stderr) => {
      if (!error) return done(stdout);
      const said = /^(?:E:|.*error).*$/im.exec(stderr)?.[0] ?? stderr.trim().split('\n')[0];
      fail(
        new Error(
          `${file} ${error.killed ? `did not end within ${settings.timeout} ms` : `failed: ${said || error.message}`}`,
          { cause: error },
        ),
      );
    });
  });
}

export function firstLine(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split('\n')[0] as string;
}
