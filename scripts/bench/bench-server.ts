/** A fresh embedded server in a folder of its own, removed afterwards. */
import { existsSync, mkdtempSync, readFileSync, symlinkSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readEnvironment } from '../../src/config.ts';
import { startEmbeddedServer } from '../../src/redis/embedded-server.ts';
import { findServerBinary } from '../../src/redis/server-binary.ts';
import type { ServerBinary } from '../../src/redis/server-program.ts';
import { PACKAGE_DIR } from './settings.ts';

export interface BenchServer {
  readonly url: string;
  /** CPU time of the server, s; null where /proc does not tell. */
  cpuSeconds(): number | null;
  /** Peak of the server's resident memory, MB; null where /proc does not tell. */
  peakRssMb(): number | null;
  remove(): Promise<void>;
}

/** The project's own cache. The binary is downloaded once, not for every scenario. */
const CACHE = join(PACKAGE_DIR, '.millrace');

export function benchBinary(): Promise<ServerBinary> {
  const given = readEnvironment().MILLRACE_REDIS_SERVER;
  return findServerBinary({
    cacheDir: CACHE,
    ...(given === undefined ? {} : { serverPath: given }),
  });
}

export async function startBenchServer(appendfsync: 'everysec' | 'always'): Promise<BenchServer> {
  await benchBinary();
  const given = readEnvironment().MILLRACE_REDIS_SERVER;
  const dir = mkdtempSync(join(tmpdir(), 'millrace-bench-'));
  if (existsSync(join(CACHE, 'redis-server')))
    symlinkSync(join(CACHE, 'redis-server'), join(dir, 'redis-server'));
  try {
    const server = await startEmbeddedServer({
      dir,
      appendfsync,
      ...(given === undefined ? {} : { serverPath: given }),
    });
    const proc = (file: string): string | null => {
      try {
        return readFileSync(`/proc/${server.pid}/${file}`, 'utf8');
      } catch {
        return null;
      }
    };
    return {
      url: server.url,
      cpuSeconds() {
        // utime and stime are fields 14 and 15, in ticks of 10 ms. The name (field 2) may hold
        // spaces.
        const fields = proc('stat')?.split(') ')[1]?.split(' ');
        return fields ? (Number(fields[11]) + Number(fields[12])) / 100 : null;
      },
      peakRssMb() {
        const peak = /^VmHWM:\s+(\d+) kB/m.exec(proc('status') ?? '');
        return peak ? Number(peak[1]) / 1024 : null;
      },
      async remove() {
        await server.stop();
        await rm(dir, { recursive: true, force: true });
      },
    };
  } catch (error) {
    await rm(dir, { recursive: true, force: true });
    throw error;
  }
}

/**
 * Returns the CPU time of the whole machine since its start, s: used by any process, and taken by
 * the host (steal). Null without /proc.
 */
export function machineCpuSeconds(): { readonly busy: number; readonly steal: number } | null {
  try {
    const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0, steal = 0] = (
      readFileSync('/proc/stat', 'utf8').split('\n')[0] ?? ''
    )
      .split(/\s+/)
      .slice(1)
      .map(Number);
    return { busy: (user + nice + system + irq + softirq) / 100, steal: steal / 100 };
  } catch {
    return null;
  }
}
