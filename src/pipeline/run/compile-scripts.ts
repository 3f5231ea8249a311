/**
 * Compiles a user's scripts to JavaScript that this process, or a pool thread, can import. Executes
 * none of them. Each module is compiled alone: all importers in a thread share one instance, as in
 * Node.
 */
import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, realpathSync, renameSync, writeFileSync } from 'node:fs';
import { basename, dirname, extname, join, relative, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import {
  build,
  type OnResolveArgs,
  type OnResolveResult,
  type Plugin,
  type PluginBuild,
} from 'esbuild';
import { ConfigError } from '../../core/errors/input-errors.ts';
import { compiledFolder } from './compiled-folder.ts';
import { COMPILER, resolveImport, ModuleGraph } from './module-graph.ts';

export interface CompiledScript {
  /** Path of the script as the user wrote it, for messages. */
  readonly source: string;
  /** file: URL of the JavaScript. */
  readonly url: string;
  /**
   * First 12 hex digits of the SHA-256 of the compiled JavaScript, or of the file where Node loads
   * it as it lies.
   */
  readonly version: string;
}

type Format = 'cjs' | 'esm';

interface Output {
  readonly text: string;
  readonly exports: readonly string[];
  /** Names of the outputs that this one imports. */
  readonly uses: readonly string[];
}

/** Placeholder for the folder of the outputs, whose name comes from their content. */
const PLACE = '/millrace-compiled-here';

/**
 * Makes scripts importable. JavaScript stays as it is where Node can load it so. TypeScript, and
 * JavaScript that reaches TypeScript, is compiled file by file. The folder is below
 * `<cacheDir>/functions/`, or below the user's cache where that cannot be written.
 *
 * @param paths absolute
 * @returns the scripts that can be imported, and the problems of the others
 */
export async function compileScripts(
  paths: readonly string[],
  cacheDir: string,
): Promise<{ files: CompiledScript[]; problems: string[] }> {
  const compiler = new Compiler(cacheDir);
  const done: { path: string; name: string | null }[] = [];
  const problems: string[] = [];
  await compiler.scan(paths);
  for (const path of paths) {
    try {
      done.push({ path, name: await compiler.compile(realpathSync(path)) });
    } catch (error) {
      if (error instanceof ConfigError) problems.push(...error.problems);
      else problems.push(`${shown(path)} does not compile: ${reason(error, path)}`);
    }
  }
  try {
    const folder = compiler.write();
    const files = done.map(({ path, name }) => {
      const version = name === null ? hash(readFileSync(path)) : compiler.version(name);
      const url = pathToFileURL(name === null ? path : join(folder, name)).href;
      return { source: shown(path), url, version };
    });
    return { files, problems };
  } catch (error) {
    const { message } = error as Error;
    return {
      files: [],
      problems: [...problems, `compiled functions cannot be written: ${message}`],
    };
  }
}

/** Compiles one script. @throws ConfigError when it cannot be read, or does not compile */
export async function compileScript(path: string, cacheDir: string): Promise<CompiledScript> {
  const { files, problems } = await compileScripts([path], cacheDir);
  if (!files[0]) throw new ConfigError(problems);
  return files[0];
}

class Compiler {
  readonly #graph = new ModuleGraph();
  readonly #outputs = new Map<string, Output>();
  /** Folder of the project, with links resolved, as Node resolves them in imports. */
  readonly #project: string;
  readonly #cacheDir: string;
  #folder: string | null = null;

  constructor(cacheDir: string) {
    this.#cacheDir = cacheDir;
    this.#project = realpathSync(dirname(cacheDir));
  }

  /** Looks at all scripts at once. Where one is wrong, each is looked at alone in compile(). */
  async scan(paths: readonly string[]): Promise<void> {
    try {
      await this.#graph.addAll(paths.map((path) => realpathSync(path)));
    } catch {
      // compile() tells the problem, and names the script.
    }
  }

  /** @returns name of the script's output; null: Node loads the script as it lies */
  async compile(path: string): Promise<string | null> {
    try {
      await this.#graph.add(path);
    } catch (error) {
      // Node itself says best what is wrong with plain JavaScript.
      if (/\.[cm]?js$/.test(path)) return null;
      throw error;
    }
    if (this.#graph.isNative(path)) return null;
    const first = { path, format: this.#formatOf(path) };
    const wanted = new Map([[this.#name(first), first]]);
    const made = new Map<string, Output>();
    for (const [name, module] of wanted) {
      if (!this.#outputs.has(name)) made.set(name, await this.#emit(name, module, wanted));
    }
    for (const [name, output] of made) this.#outputs.set(name, output);
    return this.#name(first);
  }

  /** Version of an output: the same in every checkout of the same code. */
  version(name: string): string {
    const reached = new Set([name]);
    for (const each of reached)
      for (const next of this.#outputs.get(each)?.uses ?? []) reached.add(next);
    const here = pathToFileURL(this.#project).href;
    const texts = [...reached].sort().map((each) => {
      const [code = ''] = (this.#outputs.get(each)?.text ?? '').split('\n//# sourceMappingURL=');
      return `${each}\n${code.replaceAll(here, '').replaceAll(this.#project, '')}`;
    });
    return hash(texts.join('\n'));
  }

  /** @returns the folder of the outputs; '' when there are none */
  write(): string {
    if (this.#folder === null) return '';
    const texts = new Map(
      [...this.#outputs].map(([name, { text }]) => [name, text + this.#types(name)]),
    );
    const folder = join(this.#folder, hash([...texts].sort().join('\n')));
    mkdirSync(folder, { recursive: true });
    for (const [name, text] of texts) {
      // The rename is one step: another process may be importing the same file at this moment.
      const draft = join(folder, `.${randomBytes(6).toString('hex')}`);
      writeFileSync(draft, text.replaceAll(PLACE, JSON.stringify(folder).slice(1, -1)));
      renameSync(draft, join(folder, name));
    }
    return folder;
  }

  /**
   * Exports a placeholder for each type that importers name like a value. Where each file is
   * compiled alone, a type that is imported without `type` looks like a value.
   */
  #types(name: string): string {
    const missing = new Set<string>();
    const own = this.#outputs.get(name);
    if (!own || name.endsWith('.cjs') || /^export \* from /m.test(own.text)) return '';
    for (const { text, uses } of this.#outputs.values()) {
      if (!uses.includes(name)) continue;
      for (const [, list, from] of text.matchAll(
        /^(?:import|export) (?:[\w$]+, )?\{([^}]*)\} from "\.\/([^"]+)";$/gm,
      )) {
        if (from !== name) continue;
        for (const item of list?.split(',') ?? []) {
          const wanted = item.trim().split(' as ')[0] ?? '';
          if (wanted !== '' && !own.exports.includes(wanted)) missing.add(wanted);
        }
      }
    }
    if (missing.size === 0) return '';
    return `\nconst __millraceType = void 0;\nexport { ${[...missing].map((one) => `__millraceType as ${one}`).join(', ')} };\n`;
  }

  #formatOf(path: string): Format {
    return this.#graph.isCommonJs(path) ? 'cjs' : 'esm';
  }

  #name({ path, format }: { path: string; format: Format }): string {
    const stem = basename(path, extname(path)).replaceAll(/[^\w.-]/g, '_');
    const place = hash(relative(this.#project, path)).slice(0, 8);
    return `${stem}-${place}.${format === 'cjs' ? 'cjs' : 'mjs'}`;
  }

  async #emit(
    name: string,
    { path, format }: { path: string; format: Format },
    wanted: Map<string, { path: string; format: Format }>,
  ): Promise<Output> {
    this.#folder ??= compiledFolder(this.#cacheDir);
    const uses = new Set<string>();
    const plugin: Plugin = {
      name: 'one-file',
      setup: (compiler) => {
        compiler.onResolve({ filter: /./ }, (args) =>
          this.#resolve(compiler, args, format, (target) => {
            const output = this.#name(target);
            uses.add(output);
            wanted.set(output, target);
            return output;
          }),
        );
      },
    };
    const { outputFiles, metafile } = await build({
      ...COMPILER,
      absWorkingDir: this.#project,
      entryPoints: [path],
      format,
      sourcemap: 'inline',
      // The final place of the output: its source map names the source relative to that place.
      outfile: join(this.#folder, 'compiled', name),
      define: placeOf(path),
      plugins: [plugin],
    });
    const text = withRequire(outputFiles[0]?.text ?? '', path, format);
    const exports = Object.values(metafile.outputs).flatMap((output) => output.exports);
    return { text, exports, uses: [...uses] };
  }

  async #resolve(
    compiler: PluginBuild,
    args: OnResolveArgs,
    format: Format,
    use: (target: { path: string; format: Format }) => string,
  ): Promise<OnResolveResult | undefined> {
    const requires =
      args.kind === 'require-call' || (args.kind === 'import-statement' && format === 'cjs');
    if (args.kind === 'require-resolve') return { path: args.path, external: true };
    const found = await resolveImport(compiler, args, requires ? 'require-call' : args.kind);
    if (found === undefined) return undefined;
    if (found === null) return { path: args.path, external: true };
    const isJson = extname(found) === '.json';
    const native = isJson ? requires || args.with['type'] === 'json' : await this.#isNative(found);
    if (native) return { path: requires ? found : pathToFileURL(found).href, external: true };
    const name = use({ path: found, format: requires ? 'cjs' : this.#formatOf(found) });
    return { path: requires ? `${PLACE}/${name}` : `./${name}`, external: true };
  }

  async #isNative(path: string): Promise<boolean> {
    if (!/[\\/]node_modules[\\/]/.test(path) || !/\.([cm]?js|node)$/.test(path))
      await this.#graph.add(path);
    return this.#graph.isNative(path);
  }
}

/** Makes a compiled file give its source's place as its own. */
function placeOf(path: string): Record<string, string> {
  const [file, dir] = [JSON.stringify(path), JSON.stringify(dirname(path))];
  return {
    'import.meta.url': JSON.stringify(pathToFileURL(path).href),
    'import.meta.filename': file,
    'import.meta.dirname': dir,
    __filename: file,
    __dirname: dir,
  };
}

/** Adds the source's own `require`, on the first line that is there, so that line numbers stay. */
function withRequire(text: string, path: string, format: Format): string {
  const from = JSON.stringify(path);
  if (format === 'cjs') {
    return text.replace(
      /^("use strict";)?/,
      (strict) => `${strict}require = require("node:module").createRequire(${from});`,
    );
  }
  if (!text.includes('var __require =')) return text;
  return `import { createRequire as __millraceRequire } from "node:module"; const require = __millraceRequire(${from});${text}`;
}

interface CompileError {
  readonly text: string;
  readonly location?: { readonly file: string; readonly line: number } | null;
}

function reason(error: unknown, path: string): string {
  const errors = (error as { errors?: CompileError[] }).errors ?? [];
  if (errors.length === 0) return (error as Error).message;
  return errors
    .slice(0, 5)
    .map((one) => describe(one, path))
    .join('; ');
}

/** Describes an error; names the file where it is not the script itself but an imported one. */
function describe({ text, location }: CompileError, path: string): string {
  if (!location) return text;
  return `${resolve(location.file) === realpathSync(path) ? '' : `${location.file}, `}line ${location.line}: ${text}`;
}

function shown(path: string): string {
  return relative(process.cwd(), path) || path;
}

function hash(text: Uint8Array | string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 12);
}
