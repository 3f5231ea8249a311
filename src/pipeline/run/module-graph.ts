/**
 * Finds the modules that a user's scripts reach, and those that Node can load as they lie. Executes
 * none of them.
 */
import { existsSync, readFileSync } from 'node:fs';
import { basename, dirname, extname, join, resolve } from 'node:path';
import { build, type BuildOptions, type OnResolveArgs, type PluginBuild } from 'esbuild';

interface Module {
  readonly format: 'cjs' | 'esm' | undefined;
  readonly imports: readonly { path: string; original: string | undefined; kind: string }[];
}

/** Settings of every run of the compiler. Conditions and fields are Node's, not a bundler's. */
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
 * Resolves an import.
 * @returns the path of the file. Null: a module that is not looked into (built in, unknown).
 *   Undefined: the compiler resolves it, and tells what is wrong
 */
export async function resolveImport(
  compiler: PluginBuild,
  args: OnResolveArgs,
  kind = args.kind,
): Promise<string | null | undefined> {
  if (args.kind === 'entry-point' || args.pluginData === OWN_LOOKUP) return undefined;
  const { importer, namespace, resolveDir } = args;
  const asked = { importer, namespace, resolveDir, kind, with: args.with, pluginData: OWN_LOOKUP };
  const found = await compiler.resolve(args.path, asked);
  // A require or a dynamic import may name an optional package, whose absence the script catches.
  if (found.errors.length > 0) return args.kind === 'import-statement' ? undefined : null;
  if (found.external) return null;
  return found.namespace === 'file' ? found.path : undefined;
}

/** The modules below one or more scripts. */
export class ModuleGraph {
  readonly #modules = new Map<string, Module>();
  readonly #native = new Map<string, boolean>();

  /** Adds the modules that a script reaches. @throws BuildFailure when one does not compile */
  async add(path: string): Promise<void> {
    if (!this.#modules.has(path)) await this.#scan([path]);
  }

  /**
   * Adds the modules that scripts reach, in one run of the compiler: scripts share most of their
   * modules.
   * @throws BuildFailure when one does not compile: none is added
   */
  async addAll(paths: readonly string[]): Promise<void> {
    await this.#scan([...new Set(paths)]);
  }

  async #scan(paths: readonly string[]): Promise<void> {
    const { metafile } = await build({
      ...COMPILER,
      absWorkingDir: process.cwd(),
      entryPoints: paths.map((path, i) => ({ in: path, out: String(i) })),
      format: 'esm',
      outdir: 'scan',
      plugins: [
        {
          name: 'packages-stay',
          setup: (compiler) => {
            compiler.onResolve({ filter: /./ }, async (args) => {
              const found = await resolveImport(compiler, args);
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

  /** Whether Node loads the file, and every module it reaches, as they lie. */
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

/** Whether Node resolves an ES import itself: only by the file's whole name, and no JSON. */
function isNodesOwn({ path, original, kind }: Module['imports'][number]): boolean {
  if (kind !== 'import-statement' || !original?.startsWith('.')) return true;
  return extname(path) !== '.json' && basename(original) === basename(path);
}

function isPackaged(path: string): boolean {
  return /[\\/]node_modules[\\/]/.test(path) && /\.([cm]?js|node)$/.test(path);
}

/** Whether Node takes the file for an ES module. */
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
