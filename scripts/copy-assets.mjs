/**
 * The end of `npm run build`, for the steps that tsc does not do:
 * - removes files from dist/ that have lost their source: a deleted test would run for ever, a
 *   deleted module would ship;
 * - copies the Lua scripts, generated code and the console's files for browsers beside the compiled
 *   code, which loads them by import.meta.url.
 */
import { cpSync, existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const dist = join(root, 'dist');
/** Folders that tsconfig.json includes. */
const COMPILED = ['src', 'workers', 'scripts', 'test'];
/** Written by tsc, or copied below: nothing else in dist/ is ours to remove. */
const OUTPUT = /(\.d\.ts|\.js\.map|\.js|\.lua|\.html|\.css|\.svg)$/;
const ASSET = /\.(lua|html|css|svg)$|[\\/]generated[\\/].*\.(js|d\.ts)$|[\\/]assets[\\/].*\.js$/;

/** @returns {string[]} paths below the folder, relative to the project or to dist */
function files(base, folder) {
  if (!existsSync(join(base, folder))) return [];
  return readdirSync(join(base, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(base, join(entry.parentPath ?? entry.path, entry.name)));
}

for (const path of COMPILED.flatMap((folder) => files(dist, folder))) {
  if (!OUTPUT.test(path)) continue;
  const sources = [path, path.replace(OUTPUT, '.ts'), path.replace(OUTPUT, '.tsx')];
  if (!sources.some((source) => existsSync(join(root, source))))
    rmSync(join(dist, path), { force: true });
}

for (const path of files(root, 'src').filter((path) => ASSET.test(path))) {
  mkdirSync(dirname(join(dist, path)), { recursive: true });
  cpSync(join(root, path), join(dist, path));
}
