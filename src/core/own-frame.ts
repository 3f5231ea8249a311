import { fileURLToPath } from 'node:url';

/** A line of a stack as V8 writes it: `at fn (place)` or `at place`. */
const FRAME = /^\s+at (?:.*\()?((?:file:\/\/)?[^()\s][^()]*:\d+:\d+)\)?$/gm;
/** Places that are no code of the user: Node itself, and installed packages. */
const FOREIGN = /^node:|\/node_modules\//;
/** Folders of Millrace's own code, in a checkout: compiled, and as source maps name it. */
const OURS = ['../', '../../../src/'].map((path) => fileURLToPath(new URL(path, import.meta.url)));

/**
 * Returns the first place in a stack that is in the user's own code, as `path:line:column`. Where
 * no place is, it is the first place at all. '': the stack has no place.
 */
export function ownFrame(stack: string): string {
  let first = '';
  for (const [, found = ''] of stack.matchAll(FRAME)) {
    const place = found.replace(/^file:\/\//, '');
    if (!FOREIGN.test(place) && !OURS.some((folder) => place.startsWith(folder))) return place;
    if (first === '') first = place;
  }
  return first;
}
