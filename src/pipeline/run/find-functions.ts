/**
 * A folder → the function files in it, ready to be imported by a pool thread. Runs in the
 * dispatcher; executes nothing of them.
 */
import { readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { FunctionFile } from '../../core/function-spec.ts';
import { compileScripts } from './compile-scripts.ts';

const SCRIPT = /\.([cm]?[jt]s|[jt]sx)$/;
const NOT_A_FUNCTION = /(\.d(\.\w+)?\.[cm]?ts|\.test\.([cm]?[jt]s|[jt]sx))$/;

export interface FoundFunctions {
  readonly files: readonly FunctionFile[];
  readonly problems: readonly string[];
}

/**
 * Function files are the scripts directly in the folder. Files in sub-folders, `*.d.ts`,
 * `*.test.*`, and files starting with `_` or `.` are helpers. TypeScript is compiled: see
 * compileScripts().
 *
 * @returns what can be loaded, and what is wrong with the rest, or with the folder
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

  return compileScripts(
    files.map((name) => join(dir, name)),
    cacheDir,
  );
}
