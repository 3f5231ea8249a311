/** A folder of functions that all read the same type, made for one run. */
import { mkdtempSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface ManyFunctions {
  readonly dir: string;
  readonly names: readonly string[];
  remove(): Promise<void>;
}

export function makeFunctions(count: number): ManyFunctions {
  const dir = mkdtempSync(join(tmpdir(), 'millrace-bench-functions-'));
  const names = Array.from({ length: count }, (_, i) => `reader-${i + 1}`);
  const from = (file: string): string =>
    JSON.stringify(new URL(`./functions/${file}`, import.meta.url).href);
  for (const name of names) {
    writeFileSync(
      join(dir, `${name}.mjs`),
      [
        `import { benchFunction } from ${from('bench-function.js')};`,
        `import { readOrder } from ${from('read-order.js')};`,
        `export default benchFunction({ name: ${JSON.stringify(name)}, work: readOrder });`,
        '',
      ].join('\n'),
    );
  }
  return { dir, names, remove: () => rm(dir, { recursive: true, force: true }) };
}
