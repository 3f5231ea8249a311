import { resolve } from 'node:path';
import { ConfigError } from '../core/errors/input-errors.ts';
import type { FileDescription } from '../core/thread-protocol.ts';
import type { FunctionFile } from '../core/function-spec.ts';
import type { DefinedFunction } from '../define/define-function.ts';
import { errorInfo } from './error-info.ts';

export interface LoadedFunction {
  readonly definition: DefinedFunction;
  readonly resources: unknown;
}

/** Loads function files into this thread, each once; runs setup() before the first use. */
export class FunctionLoader {
  /** Path of each function's file, as stacks name it. */
  readonly sources: ReadonlyMap<string, string>;
  readonly #files: readonly FunctionFile[];
  readonly #definitions = new Map<string, DefinedFunction>();
  readonly #sources = new Map<string, string>();
  readonly #ready = new Map<string, Promise<LoadedFunction>>();
  #imported: Promise<FileDescription[]> | null = null;

  constructor(files: readonly FunctionFile[]) {
    this.#files = files;
    this.sources = this.#sources;
  }

  /**
   * Describes function files.
   * @param only this file, by its source. Default: all
   */
  describe(only?: string): Promise<FileDescription[]> {
    if (only === undefined) return this.#importAll();
    const files = this.#files.filter((file) => file.source === only);
    return Promise.all(files.map((file) => this.#import(file)));
  }

  /**
   * Loads a function and runs its setup().
   * @throws any error of the file or its setup(); the next call tries again
   */
  load(name: string): Promise<LoadedFunction> {
    let loading = this.#ready.get(name);
    if (!loading) {
      loading = this.#prepare(name);
      loading.catch(() => this.#ready.delete(name));
      this.#ready.set(name, loading);
    }
    return loading;
  }

  /** Runs the teardown() of every function whose setup() has run. */
  async teardown(): Promise<void> {
    for (const loading of this.#ready.values()) {
      try {
        const { definition, resources } = await loading;
        await definition.teardown?.(resources);
      } catch {
        // a teardown that fails must not keep other teardowns from running
      }
    }
    this.#ready.clear();
  }

  async #prepare(name: string): Promise<LoadedFunction> {
    await this.#importAll();
    const definition = this.#definitions.get(name);
    if (!definition) throw new ConfigError([`function "${name}" is not in this thread's files`]);
    const resources = definition.setup ? await definition.setup() : undefined;
    return { definition, resources };
  }

  #importAll(): Promise<FileDescription[]> {
    this.#imported ??= Promise.all(this.#files.map((file) => this.#import(file)));
    return this.#imported;
  }

  async #import(file: FunctionFile): Promise<FileDescription> {
    const { source, version } = file;
    const found = await definitionIn(file);
    if ('problem' in found) return { source, version, spec: null, problem: found.problem };
    const { spec } = found.definition;
    this.#definitions.set(spec.name, found.definition);
    this.#sources.set(spec.name, resolve(source));
    return { source, version, spec, problem: null };
  }
}

async function definitionIn(
  file: FunctionFile,
): Promise<{ readonly definition: DefinedFunction } | { readonly problem: string }> {
  let module: { default?: unknown };
  try {
    module = (await import(file.url)) as { default?: unknown };
  } catch (error) {
    if (error instanceof ConfigError || (error as { code?: unknown } | null)?.code === 'CONFIG')
      return { problem: (error as ConfigError).problems.join('; ') };
    const info = errorInfo(error);
    return { problem: `cannot be loaded: ${info.name}: ${info.message}` };
  }
  const definition = defaultOf(module) as DefinedFunction | null | undefined;
  if (
    definition === null ||
    typeof definition !== 'object' ||
    definition.kind !== 'millrace.function'
  ) {
    return {
      problem:
        'exports no function: its default export must be defineFunction({ … }) or defineView({ … })',
    };
  }
  return { definition };
}

/** Compiled CommonJS keeps its default export one level deeper. */
function defaultOf(module: { default?: unknown }): unknown {
  const outer = module.default as { __esModule?: unknown; default?: unknown } | null | undefined;
  return outer?.__esModule === true ? outer.default : outer;
}
