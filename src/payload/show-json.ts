/**
 * Shows rows of views and states of aggregates: plain JSON, made by code from events. No schema
 * says which parts of it are confidential. So only readers who see everything see it.
 */
import type { ValueChange, Difference } from './difference.ts';
import {
  cutOf,
  NO_ACCESS,
  NO_SCHEMA,
  PAGE_LIMITS,
  shownText,
  type PayloadAccess,
  type Shown,
  type ShowLimits,
  type ValuePath,
} from './shown-payload.ts';

/** @param value as JSON.parse gives it */
export function showJson(
  value: unknown,
  access: PayloadAccess,
  limits: ShowLimits = PAGE_LIMITS,
): Shown {
  if (access !== 'full') return access === 'none' ? NO_ACCESS : NO_SCHEMA;
  let nodes = 0;
  const show = (one: unknown, path: ValuePath, depth: number): Shown => {
    nodes++;
    if (typeof one === 'string') return shownText(Buffer.from(one), limits.bytes, path);
    if (typeof one === 'number')
      return { kind: 'number', type: 'json', text: Object.is(one, -0) ? '-0' : String(one) };
    if (typeof one === 'boolean') return { kind: 'bool', value: one };
    if (typeof one !== 'object' || one === null) return { kind: 'null' };
    if (depth > limits.depth || nodes > limits.nodes)
      return {
        kind: 'left-out',
        why: depth > limits.depth ? 'depth' : 'nodes',
        cut: { bytes: null, path },
      };
    if (Array.isArray(one)) {
      const items: Shown[] = [];
      for (const item of one as unknown[]) {
        if (items.length >= limits.items || nodes > limits.nodes) break;
        items.push(show(item, [...path, items.length], depth + 1));
      }
      return { kind: 'list', items, size: one.length, ...cutOf(one.length - items.length, path) };
    }
    const fields: { name: string; value: Shown }[] = [];
    const members = Object.entries(one);
    for (const [name, its] of members) {
      if (fields.length >= limits.items || nodes > limits.nodes) break;
      fields.push({ name, value: show(its, [...path, name], depth + 1) });
    }
    const more = members.length - fields.length;
    return { kind: 'message', type: '', fields, more, unknown: 0, ...cutOf(more, path) };
  };
  return show(value, [], 0);
}

/** Shows one value whole: the end of a cut. Null: there is no such value. */
export function wholeJsonAt(
  value: unknown,
  path: ValuePath,
  access: PayloadAccess,
  limits: ShowLimits,
): Shown | null {
  if (access !== 'full') return showJson(value, access, limits);
  let at: unknown = value;
  for (const step of path) {
    if (typeof at !== 'object' || at === null || !Object.hasOwn(at, step)) return null;
    at = (at as Record<string | number, unknown>)[step];
  }
  return showJson(at, access, limits);
}

export interface ShownChange {
  readonly path: ValueChange['path'];
  readonly kind: ValueChange['kind'];
  /** Null: there was none. */
  readonly before: Shown | null;
  /** Null: there is none. */
  readonly after: Shown | null;
}

export interface ShownDifference {
  readonly changes: readonly ShownChange[];
  /** Whether there are further changes, or parts that were not compared. */
  readonly more: boolean;
}

/** Values of a change are small: the whole stands beside the difference. */
const CHANGE_LIMITS: ShowLimits = { depth: 6, nodes: 60, items: 20, bytes: 500 };

/** @param difference of values that the reader may see whole */
export function showDifference({ changes, more }: Difference): ShownDifference {
  const show = (change: ValueChange, side: 'before' | 'after'): Shown | null =>
    side in change ? showJson(change[side], 'full', CHANGE_LIMITS) : null;
  return {
    changes: changes.map((change) => ({
      path: change.path,
      kind: change.kind,
      before: show(change, 'before'),
      after: show(change, 'after'),
    })),
    more,
  };
}
