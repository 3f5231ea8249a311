/** A folder → the function files in it, ready to be imported by a pool thread. Runs in the dispatcher; executes nothing of them. */
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, extname, join, relative, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { build } from 'esbuild';
import { ConfigError } from '../../core/errors.ts';
import type { FunctionFile } from '../../core/function-spec.ts';

const SCRIPT = /\.(ts|mts|js|mjs)$/;
const NOT_A_FUNCTION = /(\.d\.m?ts|\.test\.m?[jt]s)$/;

/**
 * Function files are the scripts directly in the folder. Files in sub-folders, `*.d.ts`, `*.test.*`, and files starting
 * with `_` or `.` are helpers. TypeScript is bundled with its relative imports into `<cacheDir>/functions/`; packages stay imports.
 *
 * @throws ConfigError listing every file that does not compile, or that there is none
 */
export async function findFunctions(folder: string, cacheDir: string, skip: readonly string[] = []): Promise<FunctionFile[]> {
  const dir = resolve(folder);
  let names: string[];
  try {
    names = readdirSync(dir, { withFileTypes: true }).filter((e) => e.isFile()).map((e) => e.name);
  } catch (error) {
    throw new ConfigError([`functions folder ${folder} cannot be read: ${(error as Error).message}`]);
  }
  const files = names
    .filter((name) => SCRIPT.test(name) && !NOT_A_FUNCTION.test(name) && !/^[_.]/.test(name) && !skip.includes(name))
    .sort();
  if (files.length === 0) throw new ConfigError([`functions folder ${folder} holds no function file (*.ts, *.mts, *.js, *.mjs)`]);

  const problems: string[] = [];
  const found: FunctionFile[] = [];
  for (const name of files) {
    const path = join(dir, name);
    const source = relative(process.cwd(), path) || path;
    if (/\.m?js$/.test(name)) {
      const text = readFileSync(path);
      found.push({ source, url: pathToFileURL(path).href, version: hash(text) });
      continue;
    }
    try {
      const result = await build({
        entryPoints: [path],
        bundle: true,
        packages: 'external',
        platform: 'node',
        format: 'esm',
        target: 'node20',
        sourcemap: 'inline',
        write: false,
        logLevel: 'silent',
        define: { 'import.meta.url': JSON.stringify(pathToFileURL(path).href) },
      });
      const text = result.outputFiles[0]?.contents ?? new Uint8Array();
      const version = hash(text);
      // Below the functions' own folder, so that packages resolve as they do for the source.
      const outDir = join(cacheDir, 'functions');
      mkdirSync(outDir, { recursive: true });
      const out = join(outDir, `${basename(name, extname(name))}-${version}.mjs`);
      writeFileSync(out, text);
      found.push({ source, url: pathToFileURL(out).href, version });
    } catch (error) {
      const errors = (error as { errors?: { text: string; location?: { line: number } | null }[] }).errors ?? [];
      problems.push(
        `${source} does not compile: ${errors.length > 0 ? errors.slice(0, 5).map((e) => `${e.location ? `line ${e.location.line}: ` : ''}${e.text}`).join('; ') : (error as Error).message}`,
      );
    }
  }
  if (problems.length > 0) throw new ConfigError(problems);
  return found;
}

function hash(text: Uint8Array): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 12);
}
