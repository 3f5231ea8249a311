/**
 * Finds the function files of a folder, and makes them ready for a pool thread to import. Runs in
 * the dispatcher, and executes none of them.
 */
import { readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { FunctionFile } from '../../core/function-spec.ts';

const SCRIPT = /\.([cm]?[jt]s|[jt]sx)$/;
const NOT_A_FUNCTION = /(\.d(\.\w+)?\.[cm]?ts|\.test\.([cm]?[jt]s|[jt]sx))$/;

export interface FoundFunctions {
  readonly files: readonly FunctionFile[];
  readonly problems: readonly string[];
}

/**
 * Finds and compiles function files: the scripts directly in the folder. Files in sub-folders,
 * `*.d.ts`, `*.test.*`, and files that start with `_` or `.` are helpers. See compileScripts() for
 * the compilation.
 *
 * @returns the files that can be loaded, and the problems of the others, or of the folder
 */
export async function findFunctions(
  folder: string,
  cacheDir: string,
  skip: readonly string[] = [],
): Promise<FoundFunctions> {
  const dir = resolve(folder);
  let names: string[];
  try {
    names = readdirSync(dir, { withFileTypes: true })
      .filter((e) => e.isFile())
      .map((e) => e.name);
  } catch (error) {
    return {
      files: [],
      problems: [`functions folder ${folder} cannot be read: ${(error as Error).message}`],
    };
  }
  const files = names
    .filter(
      (name) =>
        SCRIPT.test(name) &&
        !NOT_A_FUNCTION.test(name) &&
        !/^[_.]/.test(name) &&
        !skip.includes(name),
    )
    .sort();
  if (files.length === 0)
    return {
      files: [],
      problems: [
        `functions folder ${folder} holds no function file (*.ts, *.mts, *.cts, *.tsx, *.js, *.mjs, *.cjs, *.jsx)`,
      ],
    };

  // Loaded here: a process that only publishes needs no compiler.
  const { compileScripts } = await import('./compile-scripts.ts');
  return compileScripts(
    files.map((name) => join(dir, name)),
    cacheDir,
  );
}
