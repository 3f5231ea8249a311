import { existsSync, readFileSync } from 'node:fs';

/**
 * Finds the package's folder: the nearest one above with a package.json (above src, or above
 * dist/src).
 */
export function packageFolder(): URL {
  for (const up of ['../../..', '../']) {
    const folder = new URL(up, import.meta.url);
    if (existsSync(new URL('package.json', folder))) return folder;
  }
  throw new Error('the package lacks its package.json');
}

export function packageVersion(): string {
  return (
    JSON.parse(readFileSync(new URL('package.json', packageFolder()), 'utf8')) as {
      version: string;
    }
  ).version;
}
