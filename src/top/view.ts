/** The view of `millrace top`: order, filter, selection. Keys change it, and nothing else does. */
import { newest, seriesOf, waiting, type TopModel } from './looks.ts';
import type { FunctionSample } from './sample.ts';

export const SORTS = ['name', 'in', 'out', 'lag', 'dead', 'oldest'] as const;
export type Sort = (typeof SORTS)[number];

export interface TopView {
  readonly sort: Sort;
  /** Whether the order is turned round. Numbers begin with the largest, names with A. */
  readonly reversed: boolean;
  /** Text that the names of the shown functions have in them. */
  readonly filter: string;
  /** Whether keys go into the filter. */
  readonly typing: boolean;
  /** Name of the selected function. Null: the first row. */
  readonly selected: string | null;
  /** Whether the selected function is shown alone. */
  readonly inside: boolean;
  readonly paused: boolean;
  readonly help: boolean;
}

export const FIRST_VIEW: TopView = {
  sort: 'lag',
  reversed: false,
  filter: '',
  typing: false,
  selected: null,
  inside: false,
  paused: false,
  help: false,
};

const MOST_FILTER = 80;

/** Returns the shown functions in their order. */
export function rowsOf(model: TopModel, view: TopView): FunctionSample[] {
  const rows = (model.sample?.functions ?? []).filter(({ name }) => name.includes(view.filter));
  const byName = (a: FunctionSample, b: FunctionSample): number =>
    a.name < b.name ? -1 : a.name > b.name ? 1 : 0;
  const value = (fn: FunctionSample): number => {
    const series = seriesOf(model, fn.name);
    switch (view.sort) {
      case 'in':
        return newest(series.inRate) ?? 0;
      case 'out':
        return newest(series.outRate) ?? 0;
      case 'lag':
        return waiting(fn);
      case 'dead':
        return fn.dead;
      case 'oldest':
        return fn.oldestMs ?? -1;
      case 'name':
        return 0;
    }
  };
  rows.sort((a, b) => value(b) - value(a) || byName(a, b));
  return view.reversed ? rows.reverse() : rows;
}

/** Returns the selected function; null: there is none. */
export function selectedOf(model: TopModel, view: TopView): FunctionSample | null {
  const rows = rowsOf(model, view);
  return rows.find(({ name }) => name === view.selected) ?? rows[0] ?? null;
}

/** Key names: those of Node's readline, or one character. */
export interface Key {
  readonly name: string;
  /** Text that the key types; '' for a key without one. */
  readonly text: string;
}

/** Answer to a key. Null: the user wants to leave. */
export function pressed(view: TopView, key: Key, model: TopModel): TopView | null {
  if (key.name === 'ctrl-c') return null;
  if (view.typing) return typed(view, key);
  if (view.help) return { ...view, help: false };
  const moved = { up: -1, k: -1, down: 1, j: 1, pageup: -10, pagedown: 10 }[key.name];
  if (moved !== undefined) return move(view, moved, model);
  switch (key.name) {
    case 'q':
      return null;
    case 'return':
    case 'right':
      return enter(view, model);
    case 'escape':
      return view.inside ? { ...view, inside: false } : { ...view, filter: '' };
    case 'left':
    case 'backspace':
      return { ...view, inside: false };
    case 'home':
      return move(view, -Infinity, model);
    case 'end':
      return move(view, Infinity, model);
    case 's':
      return { ...view, sort: SORTS[(SORTS.indexOf(view.sort) + 1) % SORTS.length] ?? 'lag' };
    case 'r':
      return { ...view, reversed: !view.reversed };
    case '/':
      return { ...view, typing: true, inside: false };
    case 'p':
    case 'space':
      return { ...view, paused: !view.paused };
    case '?':
    case 'h':
      return { ...view, help: true };
    default:
      return view;
  }
}

function typed(view: TopView, { name, text }: Key): TopView {
  switch (name) {
    case 'return':
      return { ...view, typing: false };
    case 'escape':
      return { ...view, typing: false, filter: '' };
    case 'backspace':
      return { ...view, filter: view.filter.slice(0, -1) };
    default:
      // Names of functions have no other characters.
      return /^[\w.@-]$/.test(text) && view.filter.length < MOST_FILTER
        ? { ...view, filter: view.filter + text }
        : view;
  }
}

function enter(view: TopView, model: TopModel): TopView {
  const selected = selectedOf(model, view);
  return selected === null ? view : { ...view, selected: selected.name, inside: true };
}

function move(view: TopView, by: number, model: TopModel): TopView {
  const rows = rowsOf(model, view);
  const at = rows.findIndex(({ name }) => name === selectedOf(model, view)?.name);
  const to = Math.min(rows.length - 1, Math.max(0, at + by));
  return { ...view, selected: rows[to]?.name ?? null };
}
