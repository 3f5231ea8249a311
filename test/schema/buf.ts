/**
 * Asks the real `buf` about many pairs of schemas in one run. Each pair is a package of its own.
 */
import { execFile } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { projectDir } from '../../scripts/lab/redis-server.ts';

export interface Pair {
  /** Texts of one file, in the given package. */
  readonly old: (pack: string) => string;
  readonly fresh: (pack: string) => string;
}

/** Returns the broken rules of buf's category WIRE, for each pair in order. */
export async function bufBans(pairs: readonly Pair[]): Promise<readonly (readonly string[])[]> {
  const dir = mkdtempSync(join(tmpdir(), 'millrace-buf-'));
  try {
    pairs.forEach((pair, i) => {
      for (const side of ['old', 'fresh'] as const) {
        mkdirSync(join(dir, side, `p${i}`), { recursive: true });
        writeFileSync(join(dir, side, `p${i}/a.proto`), pair[side](`p${i}`));
      }
    });
    for (const side of ['old', 'fresh']) {
      const options = 'millrace/v1/options.proto';
      mkdirSync(dirname(join(dir, side, options)), { recursive: true });
      copyFileSync(join(projectDir, 'proto', options), join(dir, side, options));
    }
    // The binary itself is called, because the script in .bin starts a Node for each run.
    const own = join(
      projectDir,
      `node_modules/@bufbuild/buf-${process.platform}-${process.arch}/bin/buf`,
    );
    const buf = existsSync(own) ? own : join(projectDir, 'node_modules/.bin/buf');
    const config = JSON.stringify({ version: 'v2', breaking: { use: ['WIRE'] } });
    const bans: string[][] = pairs.map(() => []);
    try {
      await promisify(execFile)(
        buf,
        [
          'breaking',
          join(dir, 'fresh'),
          '--against',
          join(dir, 'old'),
          '--config',
          config,
          '--error-format',
          'json',
        ],
        {
          timeout: 120_000,
          maxBuffer: 64 * 1024 * 1024,
          env: { ...process.env, HOME: dir },
        },
      );
    } catch (error) {
      const { stdout, code } = error as { stdout?: string; code?: number };
      // Status 100: buf has found something. Another status is a failure of buf itself, for example
      // a schema that does not compile.
      if (code !== 100) throw error;
      for (const line of (stdout ?? '').trim().split('\n')) {
        const { path, type, message } = JSON.parse(line) as {
          path?: string;
          type: string;
          message: string;
        };
        const at = /(?:^|\/)p(\d+)\/a\.proto$/.exec(path ?? '');
        if (!at) throw new Error(`a finding of no pair: ${type}: ${message}`, { cause: error });
        bans[Number(at[1])]?.push(type);
      }
    }
    return bans;
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}
