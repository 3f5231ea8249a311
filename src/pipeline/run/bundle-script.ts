/** A script of a user's → JavaScript that this process, or a pool thread, can import. Runs nothing of it. */
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { basename, extname, join, relative, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { build, type Plugin } from 'esbuild';
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
  // Below the script's own project, so that packages resolve as they do for the source.
  const outDir = join(cacheDir, 'functions');
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
      // Where it will lie, so that stacks name the source: its map speaks of the sources from there.
      outfile: join(outDir, `${basename(name, extname(name))}.mjs`),
      define: { 'import.meta.url': OWN_URL },
      plugins: [OWN_URLS],
    });
    const text = result.outputFiles[0]?.contents ?? new Uint8Array();
    const version = hash(text);
    mkdirSync(outDir, { recursive: true });
    const out = join(outDir, `${basename(name, extname(name))}-${version}.mjs`);
    writeFileSync(out, text);
    return { source, url: pathToFileURL(out).href, version };
  } catch (error) {
    const errors = (error as { errors?: CompileError[] }).errors ?? [];
    throw new ConfigError([
      `${source} does not compile: ${errors.length > 0 ? errors.slice(0, 5).map((e) => describe(e, path)).join('; ') : (error as Error).message}`,
    ]);
  }
}

interface CompileError {
  readonly text: string;
  readonly location?: { readonly file: string; readonly line: number } | null;
}

/** The file is named where it is one that the script imports. */
function describe({ text, location }: CompileError, path: string): string {
  if (!location) return text;
  return `${resolve(location.file) === resolve(path) ? '' : `${location.file}, `}line ${location.line}: ${text}`;
}

const OWN_URL = '__millraceOwnUrl';

/** In a bundle, import.meta.url would be the bundle's; each file keeps its own. In front of its first line, so that line numbers stay. */
const OWN_URLS: Plugin = {
  name: 'own-urls',
  setup({ onLoad }) {
    onLoad({ filter: /\.m?[jt]s$/ }, async ({ path }) => {
      const text = await readFile(path, 'utf8');
      if (!text.includes('import.meta.url')) return null;
      return {
        contents: `const ${OWN_URL} = ${JSON.stringify(pathToFileURL(path).href)};${text}`,
        loader: /\.m?ts$/.test(path) ? 'ts' : 'js',
      };
    });
  },
};

function hash(text: Uint8Array): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 12);
}
