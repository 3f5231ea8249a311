/** A mark: something that happened at a time, to be shown beside the trend. */
import { cut } from '../core/well-formed.ts';

/** Kinds of marks, with their causes. The table in docs/operations.md is printed from here. */
export const MARK_KINDS = {
  deploy: 'a function has another version, is new, or is gone',
  schema: 'an event type has a new version',
  rewind: 'an operator sets where a function goes on',
  replay: 'an operator replays dead letters',
  purge: 'an operator discards dead letters',
  change: 'an operator makes another change',
  loss: 'the deployment has found a loss',
  redis: 'Redis was restarted, has failed over, or has lost the trend',
  alert: 'an alert begins to fire, or ends',
  dispatcher: 'a dispatcher has come, has stopped, or has died',
} as const satisfies Readonly<Record<string, string>>;

export type MarkKind = keyof typeof MARK_KINDS;

export interface Mark {
  /** Time of the event by the server's clock, ms since 1970. For some kinds that of the look. */
  readonly atMs: number;
  readonly kind: MarkKind;
  /** Function concerned. Null: all of them, or none. */
  readonly function: string | null;
  /** Event type concerned. */
  readonly type: string | null;
  /** One line. */
  readonly text: string;
  /** Place where it was found: `audit <entry id>`, `losses <partition>/<id>`, `INFO`, … */
  readonly from: string;
}

/** Most marks that are kept. */
export const MOST_MARKS = 500;
/** Longest text of a mark, and of its other fields, in UTF-16 units. */
const MAX_TEXT = 300;
/** Fields of an entry, in the order in which save-marks.lua takes their values. */
export const MARK_FIELDS = ['at', 'kind', 'function', 'type', 'text', 'from'] as const;

/** Returns the values of the fields. */
export function packMark(mark: Mark): string[] {
  const texts = [mark.kind, mark.function ?? '', mark.type ?? '', mark.text, mark.from];
  return [String(Math.round(mark.atMs)), ...texts.map(oneLine)];
}

/**
 * Reads a mark.
 * @param flat fields and values, alternating
 * @returns null: another program has written the entry
 */
export function unpackMark(flat: readonly string[]): Mark | null {
  const at = new Map<string, string>();
  for (let i = 0; i + 1 < flat.length; i += 2) at.set(flat[i] as string, flat[i + 1] as string);
  const text = (name: (typeof MARK_FIELDS)[number]): string => at.get(name) ?? '';
  const [atMs, kind] = [Number(text('at')), text('kind')];
  if (!Number.isFinite(atMs) || !isMarkKind(kind)) return null;
  return {
    atMs,
    kind,
    function: text('function') === '' ? null : text('function'),
    type: text('type') === '' ? null : text('type'),
    text: text('text'),
    from: text('from'),
  };
}

export function isMarkKind(name: string): name is MarkKind {
  return Object.hasOwn(MARK_KINDS, name);
}

function oneLine(text: string): string {
  return cut(text.replace(/\s+/g, ' ').trim(), MAX_TEXT);
}
