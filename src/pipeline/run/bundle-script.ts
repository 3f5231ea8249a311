/** A script of a user's → JavaScript that this process, or a pool thread, can import. Runs nothing of it. */
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, extname, join, relative } from 'node:path';
import { pathToFileURL } from 'node:url';
import { build } from 'esbuild';
import { ConfigError } from '../../core/errors.ts';

export interface BundledScript {
  /** As the user wrote it, for messages. */
  readonly source: string;
  /** file: URL of the JavaScript. */
  readonly url: string;
  /** First 12 hex digits of its SHA-256. */
  readonly version: string;
}

/**
 * JavaScript is taken as it is. TypeScript is bundled with its relative imports into `<cacheDir>/functions/`; packages stay imports.
 * @throws ConfigError when it cannot be read or does not compile
 */
export async function bundleScript(path: string, cacheDir: string): Promise<BundledScript> {
  const source = relative(process.cwd(), path) || path;
  const name = basename(path);
  try {
    if (/\.m?js$/.test(name)) return { source, url: pathToFileURL(path).href, version: hash(readFileSync(path)) };
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
    // Below the script's own project, so that packages resolve as they do for the source.
    const outDir = join(cacheDir, 'functions');
    mkdirSync(outDir, { recursive: true });
    const out = join(outDir, `${basename(name, extname(name))}-${version}.mjs`);
    writeFileSync(out, text);
    return { source, url: pathToFileURL(out).href, version };
  } catch (error) {
    const errors = (error as { errors?: { text: string; location?: { line: number } | null }[] }).errors ?? [];
    throw new ConfigError([
      `${source} does not compile: ${errors.length > 0 ? errors.slice(0, 5).map((e) => `${e.location ? `line ${e.location.line}: ` : ''}${e.text}`).join('; ') : (error as Error).message}`,
    ]);
  }
}

function hash(text: Uint8Array): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 12);
}
