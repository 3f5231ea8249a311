/**
 * A history as a slider: its events page by page, the state after each event, and what each event
 * changed. Without code that folds, the data of each event is compared with the data of the last
 * event of its type before it.
 */
import { differenceOf } from '../payload/difference.ts';
import { plainShown } from '../payload/plain-shown.ts';
import { showData, wholeValueAt, type DataShape } from '../payload/show-data.ts';
import { showDifference, showJson, type ShownDifference } from '../payload/show-json.ts';
import { showError, type ShownError } from '../payload/show-error.ts';
import {
  PAGE_LIMITS,
  showUndecoded,
  type PayloadAccess,
  type Shown,
  type ShowLimits,
  type ValuePath,
  WHOLE_LIMITS,
} from '../payload/shown-payload.ts';
import type { RedisSource } from '../redis/source.ts';
import {
  isDamaged,
  readStoredPage,
  type PageOptions,
  type StateSteps,
  type StepStates,
  type StoredEvent,
} from './history-page.ts';

export interface SliderParts {
  readonly source: RedisSource;
  /** Finds the shape of a payload. Null: its schema is not known. */
  readonly shapeOf: (type: string, schema: number) => Promise<DataShape | null>;
  /** Folds the states. Null: no code is there that does. */
  readonly steps: StateSteps | null;
  readonly access: PayloadAccess;
  /** Default: PAGE_LIMITS. */
  readonly limits?: ShowLimits;
}

export interface SliderOptions extends PageOptions {
  /** Revision whose state is shown. Default: the last one of the page. */
  readonly at?: number;
}

export interface SliderStep {
  readonly revision: number;
  /** Null: the event cannot be read. */
  readonly event: Omit<StoredEvent, 'data' | 'element'> | null;
  /** The damage of an event that cannot be read. */
  readonly problem: string | null;
  /** Null: the event cannot be read. */
  readonly data: Shown | null;
  /**
   * Difference of the data from that of an earlier event of the same type. Null: the page has none
   * before it, or the reader sees no payloads.
   */
  readonly dataChanges: (ShownDifference & { readonly since: number }) | null;
  /** Changes of the state by the event. Null: not known, or not shown to this reader. */
  readonly stateChanges: ShownDifference | null;
}

export interface Slider {
  readonly category: string;
  readonly id: string;
  readonly partition: number;
  /** Number of events in the history; 0: there is no history. */
  readonly revision: number;
  readonly steps: readonly SliderStep[];
  /** First revision of the page before; null: there is none. */
  readonly previous: number | null;
  /** First revision of the page behind; null: there is none. */
  readonly next: number | null;
  /** Null: no code is there that folds. */
  readonly folded: {
    readonly by: string;
    /** Revision whose state is shown. Null: the fold has no state of this page. */
    readonly at: number | null;
    readonly state: Shown | null;
    /** Reason for which states are missing. Null: none is missing. */
    readonly problem: { readonly revision: number | null; readonly error: ShownError } | null;
  } | null;
}

/**
 * Reads a page of a history. The cost follows the page, and for the states before it the fold.
 * @throws StoreInputError, OversizeError for a wrong address; UnknownOutcomeError, RedisReplyError
 */
export async function readSlider(
  parts: SliderParts,
  category: string,
  id: string,
  options: SliderOptions = {},
): Promise<Slider> {
  const { steps: folder, access, limits = PAGE_LIMITS } = parts;
  const page = await readStoredPage(parts.source, category, id, options);
  // A reader who sees no states need not wait for their fold.
  const states = folder !== null && access === 'full' ? await folder.statesOf(page) : null;
  const latest = new Map<string, { readonly revision: number; readonly data: unknown }>();
  const steps: SliderStep[] = [];
  for (const [i, event] of page.events.entries()) {
    const stateChanges = states === null ? null : changesAt(states, i);
    if (isDamaged(event)) {
      const { revision, problem } = event;
      steps.push({ revision, event: null, problem, data: null, dataChanges: null, stateChanges });
      continue;
    }
    const { data: bytes, element: _element, ...attributes } = event;
    const shape = await parts.shapeOf(event.type, event.schema);
    const shown = shape
      ? showData(shape, bytes, access, limits)
      : showUndecoded(bytes, access, limits);
    let dataChanges: SliderStep['dataChanges'] = null;
    if (shown.kind === 'message') {
      const { data, complete } = plainShown(shown);
      const before = latest.get(event.type);
      if (before) {
        const { changes, more } = showDifference(differenceOf(before.data, data));
        dataChanges = { since: before.revision, changes, more: more || !complete };
      }
      latest.set(event.type, { revision: event.revision, data });
    }
    steps.push({
      revision: event.revision,
      event: attributes,
      problem: null,
      data: shown,
      dataChanges,
      stateChanges,
    });
  }
  return {
    category,
    id,
    partition: page.address.partition,
    revision: page.revision,
    steps,
    previous: page.previous,
    next: page.next,
    folded: folder && foldedAt(folder.by, states, steps, options.at, { access, limits }),
  };
}

/**
 * Shows one value of an event's data whole: the end of a cut.
 * @returns null: there is no such event or value, or the event cannot be read
 * @throws StoreInputError, OversizeError for a wrong address; UnknownOutcomeError, RedisReplyError
 */
export async function wholeEventValue(
  { source, shapeOf, access }: Pick<SliderParts, 'source' | 'shapeOf' | 'access'>,
  { category, id, revision }: Pick<Slider, 'category' | 'id' | 'revision'>,
  path: ValuePath,
): Promise<Shown | null> {
  const { events } = await readStoredPage(source, category, id, { first: revision, events: 1 });
  const [event] = events;
  if (event === undefined || isDamaged(event)) return null;
  const shape = await shapeOf(event.type, event.schema);
  return shape
    ? wholeValueAt(shape, event.data, path, access)
    : showUndecoded(event.data, access, WHOLE_LIMITS);
}

function changesAt({ before, states }: StepStates, i: number): ShownDifference | null {
  if (i >= states.length) return null;
  return showDifference(differenceOf(i === 0 ? before : states[i - 1], states[i]));
}

function foldedAt(
  by: string,
  states: StepStates | null,
  steps: readonly SliderStep[],
  wanted: number | undefined,
  { access, limits }: { readonly access: PayloadAccess; readonly limits: ShowLimits },
): Slider['folded'] {
  const first = steps[0]?.revision;
  if (states === null || first === undefined)
    return { by, at: null, state: states === null ? showJson(null, access) : null, problem: null };
  const last = first + states.states.length - 1;
  const at = Math.min(last, Math.max(first, wanted ?? last));
  const { problem } = states;
  return {
    by,
    at: last < first ? null : at,
    state: last < first ? null : showJson(states.states[at - first] ?? null, access, limits),
    problem: problem && {
      revision: problem.revision,
      error: showError(problem.error, access),
    },
  };
}
