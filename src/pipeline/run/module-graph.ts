/**
 * Scripts of a user's → which modules they reach, and which of these Node can load as they lie.
 * Runs nothing of them.
 */
import { existsSync, readFileSync } from 'node:fs';
import { basename, dirname, extname, join, resolve } from 'node:path';
import { build, type BuildOptions, type OnResolveArgs, type PluginBuild } from 'esbuild';

interface Module {
  readonly format: 'cjs' | 'esm' | undefined;
  readonly imports: readonly { path: string; original: string | undefined; kind: string }[];
}

/** What every run of the compiler shares. Conditions and fields are Node's, not a bundler's. */
export const COMPILER = {
  bundle: true,
  platform: 'node',
  target: 'node20',
  conditions: [],
  mainFields: ['main'],
  supported: { 'import-attributes': true },
  write: false,
  metafile: true,
  logLevel: 'silent',
} as const satisfies BuildOptions;

const OWN_LOOKUP = Symbol('own lookup');

/**
 * Path of the file that an import names; null: none that we look into (built in, unknown);
 * undefined: the compiler's own way, which tells what is wrong.
 */
export async function lookUp(
  compiler: PluginBuild,
  args: OnResolveArgs,
  kind = args.kind,
): Promise<string | null | undefined> {
  if (args.kind === 'entry-point' || args.pluginData === OWN_LOOKUP) return undefined;
  const { importer, namespace, resolveDir } = args;
  const asked = { importer, namespace, resolveDir, kind, with: args.with, pluginData: OWN_LOOKUP };
  const found = await compiler.resolve(args.path, asked);
  // An optional package is loaded where its absence is caught.
  if (found.errors.length > 0) return args.kind === 'import-statement' ? undefined : null;
  if (found.external) return null;
  return found.namespace === 'file' ? found.path : undefined;
}

/** The modules below one or more scripts. */
export class ModuleGraph {
  readonly #modules = new Map<string, Module>();
  readonly #native = new Map<string, boolean>();

  /** @throws BuildFailure when a module below the script does not compile */
  async add(path: string): Promise<void> {
    if (this.#modules.has(path)) return;
    const { metafile } = await build({
      ...COMPILER,
      absWorkingDir: process.cwd(),
      entryPoints: [path],
      format: 'esm',
      outfile: 'scan.mjs',
      plugins: [
        {
          name: 'packages-stay',
          setup: (compiler) => {
            compiler.onResolve({ filter: /./ }, async (args) => {
              const found = await lookUp(compiler, args);
              if (found === undefined) return undefined;
              if (found === null) return { path: args.path, external: true };
              return { path: found, external: isPackaged(found) };
            });
          },
        },
      ],
    });
    for (const [name, { format, imports }] of Object.entries(metafile.inputs)) {
      const inside = imports.filter((one) => one.external !== true);
      this.#modules.set(resolve(name), {
        format,
        imports: inside.map(({ path, original, kind }) => ({
          path: resolve(path),
          original,
          kind,
        })),
      });
    }
  }

  isCommonJs(path: string): boolean {
    return extname(path) === '.cjs' || this.#modules.get(path)?.format === 'cjs';
  }

  /** Node loads it, and all that it reaches, as it lies: one instance for all who import it. */
  isNative(path: string): boolean {
    const known = this.#native.get(path);
    if (known !== undefined) return known;
    const reached = new Set([path]);
    for (const each of reached) {
      for (const { path: next } of this.#modules.get(each)?.imports ?? []) reached.add(next);
    }
    const native = [...reached].every((each) => this.#loadsAsItLies(each));
    this.#native.set(path, native);
    return native;
  }

  #loadsAsItLies(path: string): boolean {
    if (extname(path) === '.node') return true;
    if (extname(path) === '.json') return true;
    if (!/\.[cm]?js$/.test(path)) return false;
    const module = this.#modules.get(path);
    if (!module || module.format !== 'esm') return true;
    return isModuleFile(path) && module.imports.every(isNodesOwn);
  }
}

/** Node finds an import of an ES module only by its whole name, and JSON only by an attribute. */
function isNodesOwn({ path, original, kind }: Module['imports'][number]): boolean {
  if (kind !== 'import-statement' || !original?.startsWith('.')) return true;
  return extname(path) !== '.json' && basename(original) === basename(path);
}

function isPackaged(path: string): boolean {
  return /[\\/]node_modules[\\/]/.test(path) && /\.([cm]?js|node)$/.test(path);
}

/** Node takes it for an ES module. */
function isModuleFile(path: string): boolean {
  if (extname(path) !== '.js') return extname(path) === '.mjs';
  for (let dir = dirname(path); ; dir = dirname(dir)) {
    const file = join(dir, 'package.json');
    if (existsSync(file)) {
      return (JSON.parse(readFileSync(file, 'utf8')) as { type?: unknown }).type === 'module';
    }
    if (dir === dirname(dir)) return false;
  }
}
