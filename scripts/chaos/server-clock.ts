/** Sets the wall clock of a running redis-server: see server-clock.c. */
import { execFile } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { projectDir, type TestLike } from '../lab/redis-server.ts';

export interface ServerClock {
  /** Variables for the server's environment. */
  readonly env: Readonly<Record<string, string>>;
  /** Puts the clock ahead by this time from now on; behind if negative. */
  shift(ms: number): void;
}

/** The fault is impossible on this machine: no run took place, which is no failure. */
export class SkippedRun extends Error {
  override readonly name = 'SkippedRun';
}

/** @throws SkippedRun where there is no Linux or no C compiler */
export async function openServerClock(t: TestLike): Promise<ServerClock> {
  if (process.platform !== 'linux')
    throw new SkippedRun('the clock of a server is shifted on Linux only');
  const dir = mkdtempSync(join(tmpdir(), 'millrace-clock-'));
  t.teardown(() => rmSync(dir, { recursive: true, force: true }));
  const library = join(dir, 'server-clock.so');
  try {
    await promisify(execFile)('cc', [
      '-shared',
      '-fPIC',
      '-O2',
      '-o',
      library,
      join(projectDir, 'scripts/chaos/server-clock.c'),
    ]);
  } catch (error) {
    throw new SkippedRun(
      `shifting the clock of a server takes a C compiler: ${(error as Error).message.split('\n')[0] ?? ''}`,
    );
  }
  const shiftFile = join(dir, 'shift');
  const file = openSync(shiftFile, 'w');
  t.teardown(() => closeSync(file));
  const shift = (ms: number): void => {
    const us = Buffer.alloc(8);
    // A process of this machine reads the value. Linux here is always little-endian.
    us.writeBigInt64LE(BigInt(ms) * 1000n);
    writeSync(file, us, 0, 8, 0);
  };
  shift(0);
  return { env: { LD_PRELOAD: library, CHAOS_SERVER_CLOCK: shiftFile }, shift };
}
