/** Changes of states and rows, for people and as JSON. */
import { plainShown } from '../payload/plain-shown.ts';
import type { ShownChange, ShownDifference } from '../payload/show-json.ts';
import type { Shown } from '../payload/shown-payload.ts';
import { printable, safeJson } from './printable.ts';

const SIGNS = { added: '+', removed: '-', changed: '~' } as const;

/** @param whole name of the value itself, where it is added, changed or removed as a whole */
export function changeLines({ changes, more }: ShownDifference, whole: string): string[] {
  const text = (value: Shown | null): string =>
    value === null ? '' : printable(safeJson(plainShown(value).data), 200);
  const lines = changes.map(({ path, kind, before, after }) => {
    const values = kind === 'changed' ? `${text(before)} → ${text(after)}` : text(after ?? before);
    return `   ${SIGNS[kind]} ${printable(path.join('.') || `(${whole})`)}: ${values}`;
  });
  return more ? [...lines, '   … and more'] : lines;
}

/** `cut`: the values are too large, and not whole. */
export function changeJson({ path, kind, before, after }: ShownChange): object {
  const [was, is] = [before && plainShown(before), after && plainShown(after)];
  return {
    path,
    kind,
    ...(was ? { before: was.data } : {}),
    ...(is ? { after: is.data } : {}),
    ...((was?.complete ?? true) && (is?.complete ?? true) ? {} : { cut: true }),
  };
}
