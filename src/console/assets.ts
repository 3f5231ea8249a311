/** The files that the pages load: style, script, icon. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';

export interface Asset {
  readonly type: string;
  readonly text: string;
  /** Entity tag: another one for another text. */
  readonly tag: string;
}

const TYPES: Readonly<Record<string, string>> = {
  'console.css': 'text/css; charset=utf-8',
  'console.js': 'text/javascript; charset=utf-8',
  'icon.svg': 'image/svg+xml',
};

/** Reads the files, by name. */
export function assets(): ReadonlyMap<string, Asset> {
  return new Map(
    Object.entries(TYPES).map(([name, type]) => {
      const text = readFileSync(new URL(`./assets/${name}`, import.meta.url), 'utf8');
      const tag = `"${createHash('sha256').update(text).digest('base64url').slice(0, 22)}"`;
      return [name, { type, text, tag }];
    }),
  );
}
