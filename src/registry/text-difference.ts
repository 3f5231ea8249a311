/** Differences between the texts of two versions of a schema, as data. */
import { structuredPatch } from 'diff';
import type { ProtoSource } from '../wire/proto-folder.ts';

export interface FileDifference {
  readonly name: string;
  readonly kind: 'added' | 'removed' | 'changed';
  readonly hunks: readonly TextHunk[];
  /** Whether lines are left out, or the files are too different to be compared in time. */
  readonly more: boolean;
}

export interface TextHunk {
  /** First line in the older text and in the newer one, from 1. */
  readonly before: number;
  readonly after: number;
  readonly lines: readonly { readonly kind: 'same' | 'added' | 'removed'; readonly text: string }[];
}

const CONTEXT = 3;
/** Most lines of a file's difference. */
const MOST_LINES = 2000;
/** Time for one file, ms. */
const TIMEOUT_MS = 500;

/** Returns the files that differ, by name. */
export function textDifferences(
  before: readonly ProtoSource[],
  after: readonly ProtoSource[],
): FileDifference[] {
  const [older, newer] = [before, after].map(
    (files) => new Map(files.map(({ name, text }) => [name, text])),
  ) as [Map<string, string>, Map<string, string>];
  return [...new Set([...older.keys(), ...newer.keys()])]
    .sort()
    .filter((name) => older.get(name) !== newer.get(name))
    .map((name) => fileDifference(name, older.get(name), newer.get(name)));
}

function fileDifference(
  name: string,
  before: string | undefined,
  after: string | undefined,
): FileDifference {
  const kind = before === undefined ? 'added' : after === undefined ? 'removed' : 'changed';
  const patch = structuredPatch(name, name, before ?? '', after ?? '', undefined, undefined, {
    context: CONTEXT,
    timeout: TIMEOUT_MS,
  });
  if (patch === undefined) return { name, kind, hunks: [], more: true };
  let left = MOST_LINES;
  let more = false;
  const hunks: TextHunk[] = [];
  for (const { oldStart, newStart, lines } of patch.hunks) {
    // "\ No newline at end of file" is no line of a text.
    const shown = lines.filter((line) => !line.startsWith('\\')).slice(0, left);
    left -= shown.length;
    if (left <= 0) more = true;
    if (shown.length > 0)
      hunks.push({
        before: oldStart,
        after: newStart,
        lines: shown.map((line) => ({ kind: kindOf(line), text: line.slice(1) })),
      });
  }
  return { name, kind, hunks, more };
}

function kindOf(line: string): 'same' | 'added' | 'removed' {
  return line.startsWith('+') ? 'added' : line.startsWith('-') ? 'removed' : 'same';
}
