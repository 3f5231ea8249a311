import { fileURLToPath } from 'node:url';

/**
 * A line of a stack as V8 writes it: `at fn (place)` or `at place`. No part of it crosses a line
 * break: a hostile text would take quadratic time.
 */
const FRAME = /^[ \t]+at (?:(.*)\()?((?:file:\/\/)?[^()\s][^()\n]*:\d+:\d+)\)?$/gm;
/** Places that are no code of the user: Node itself, and installed packages. */
const FOREIGN = /^node:|\/node_modules\//;
/** Folders of Millrace's own code, in a checkout: compiled, and as source maps name it. */
const OURS = ['../', '../../../src/'].map((path) => fileURLToPath(new URL(path, import.meta.url)));

/** A frame of a stack. */
interface Frame {
  /** Function; '' where the stack names none. */
  readonly name: string;
  /** `path:line:column` */
  readonly place: string;
}

/** Reads the frames of a stack, the innermost first. */
export function readFrames(stack: string): readonly Frame[] {
  return [...stack.matchAll(FRAME)].map(([, name = '', place = '']) => ({
    name: name.trim(),
    place: place.replace(/^file:\/\//, ''),
  }));
}

/** Whether a place, as `path:line:column`, is in the user's own code. */
export function isOwnPlace(place: string): boolean {
  return !FOREIGN.test(place) && !OURS.some((folder) => place.startsWith(folder));
}

/**
 * Returns the first place in a stack that is in the user's own code, as `path:line:column`. Where
 * no place is, it is the first place at all. '': the stack has no place.
 */
export function ownFrame(stack: string): string {
  const frames = readFrames(stack);
  return (frames.find(({ place }) => isOwnPlace(place)) ?? frames[0])?.place ?? '';
}
