import { resolve } from 'node:path';
import { ConfigError } from '../core/errors.ts';
import type { FileDescription } from '../core/thread-protocol.ts';
import type { FunctionFile } from '../core/function-spec.ts';
import type { DefinedFunction } from '../define/define-function.ts';
import { errorInfo } from './error-info.ts';

export interface LoadedFunction {
  readonly definition: DefinedFunction;
  readonly resources: unknown;
}

/** Loads function files into this thread, each once; runs setup() before the first use. */
export function createFunctionLoader(files: readonly FunctionFile[]) {
  const definitions = new Map<string, DefinedFunction>();
  const sources = new Map<string, string>();
  const ready = new Map<string, Promise<LoadedFunction>>();
  let imported: Promise<FileDescription[]> | null = null;

  async function importFile(file: FunctionFile): Promise<FileDescription> {
    const failed = (problem: string): FileDescription => ({
      source: file.source,
      version: file.version,
      spec: null,
      problem,
    });
    let module: { default?: unknown };
    try {
      module = (await import(file.url)) as { default?: unknown };
    } catch (error) {
      if (error instanceof ConfigError || (error as { code?: unknown } | null)?.code === 'CONFIG') {
        return failed((error as ConfigError).problems.join('; '));
      }
      const info = errorInfo(error);
      return failed(`cannot be loaded: ${info.name}: ${info.message}`);
    }
    const definition = defaultOf(module) as DefinedFunction | undefined;
    if (
      definition === null ||
      typeof definition !== 'object' ||
      definition.kind !== 'millrace.function'
    ) {
      return failed(
        'exports no function: its default export must be defineFunction({ … }) or defineView({ … })',
      );
    }
    definitions.set(definition.spec.name, definition);
    sources.set(definition.spec.name, resolve(file.source));
    return { source: file.source, version: file.version, spec: definition.spec, problem: null };
  }

  function importAll(): Promise<FileDescription[]> {
    imported ??= Promise.all(files.map(importFile));
    return imported;
  }

  async function prepare(name: string): Promise<LoadedFunction> {
    await importAll();
    const definition = definitions.get(name);
    if (!definition) throw new ConfigError([`function "${name}" is not in this thread's files`]);
    const resources = definition.setup ? await definition.setup() : undefined;
    return { definition, resources };
  }

  return {
    /** Path of each function's file, as stacks name it. */
    sources: (): ReadonlyMap<string, string> => sources,
    describe(only?: string): Promise<FileDescription[]> {
      return only === undefined
        ? importAll()
        : Promise.all(files.filter((file) => file.source === only).map(importFile));
    },
    /** @throws what the file or its setup() throws; the next call tries again */
    load(name: string): Promise<LoadedFunction> {
      let loading = ready.get(name);
      if (!loading) {
        loading = prepare(name);
        loading.catch(() => ready.delete(name));
        ready.set(name, loading);
      }
      return loading;
    },
    /** Runs the teardown() of every function whose setup() has run. */
    async teardown(): Promise<void> {
      for (const loading of ready.values()) {
        try {
          const { definition, resources } = await loading;
          await definition.teardown?.(resources);
        } catch {
          // a failing teardown must not keep the others from theirs
        }
      }
      ready.clear();
    },
  };
}
/** CommonJS that a compiler wrote keeps its default export one level deeper. */
function defaultOf(module: { default?: unknown }): unknown {
  const outer = module.default as { __esModule?: unknown; default?: unknown } | null | undefined;
  return outer?.__esModule === true ? outer.default : outer;
}

export type FunctionLoader = ReturnType<typeof createFunctionLoader>;
