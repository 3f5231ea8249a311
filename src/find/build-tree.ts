/** Builds the nodes of a tree from the effects that were found, with the state of each event. */
import type { PartitionState, RegisteredFunction } from '../redis/counters.ts';
import type { Correlated } from './correlated-scan.ts';
import { askState, type AskedState, type StateQuestions } from './event-states.ts';
import type { TracedEvent, TraceNode, TraceStep } from './event-tree.ts';

/** The effects of a tree, by the id of their cause. */
export interface TreeParts {
  readonly root: Correlated;
  readonly effects: ReadonlyMap<string, readonly (Correlated | TracedEvent)[]>;
  /** Partitions, with the functions that are registered there. */
  readonly partitions: readonly PartitionState[];
}

const NO_READER: AskedState = {
  state: null,
  unasked: 'no function of this name reads the type now',
};

/** @returns the root, and the number of events in the tree */
export async function buildNodes(
  questions: StateQuestions,
  { root, effects, partitions }: TreeParts,
  notes: string[],
): Promise<{ readonly root: TraceNode; readonly events: number }> {
  const shown = new Set<string>();
  let events = 0;
  const nodeOf = async (one: Correlated | TracedEvent): Promise<TraceNode> => {
    events++;
    const event = 'traced' in one ? one.traced : one;
    const again = shown.has(event.id);
    shown.add(event.id);
    const steps = 'traced' in one && !again ? await stepsOf(one) : [];
    return { event, untilAppendMs: difference(event.publishedMs, event.appendedMs), again, steps };
  };
  const stepsOf = async ({ traced, place }: Correlated): Promise<TraceStep[]> => {
    const caused = effects.get(traced.id) ?? [];
    const home = partitions.find(({ partition }) => partition === traced.partition);
    const readers = (home?.functions ?? []).filter(({ types }) => types.includes(place.type));
    const steps: TraceStep[] = [];
    for (const name of namesOf(readers, caused)) {
      const fn = readers.find((reader) => reader.name === name);
      const asked = home && fn ? await askState(questions, place, home, fn) : NO_READER;
      const emitted: TraceNode[] = [];
      for (const one of caused) if (sourceOf(one) === name) emitted.push(await nodeOf(one));
      steps.push({ function: name, ...asked, ...boundsOf(traced, emitted), emitted });
    }
    return steps;
  };
  const node = await nodeOf(root);
  if (questions.missed > 0)
    notes.push('The tree is large: the states of its last events were not asked for');
  return { root: node, events };
}

/** Returns the functions that read the event, and other sources of its effects. */
function namesOf(
  readers: readonly RegisteredFunction[],
  caused: readonly (Correlated | TracedEvent)[],
): Set<string> {
  return new Set([...readers.map(({ name }) => name), ...caused.map(sourceOf)]);
}

function sourceOf(one: Correlated | TracedEvent): string {
  return 'traced' in one ? one.traced.source : one.source;
}

/** Returns the bounds of the time that a function took. */
function boundsOf(
  { appendedMs }: TracedEvent,
  emitted: readonly TraceNode[],
): Pick<TraceStep, 'untilEmitMs' | 'doneWithinMs'> {
  return {
    untilEmitMs: difference(appendedMs, least(emitted.map(({ event }) => event.publishedMs))),
    doneWithinMs: difference(appendedMs, least(emitted.map(({ event }) => event.appendedMs))),
  };
}

function difference(fromMs: number | null, toMs: number | null): number | null {
  return fromMs === null || toMs === null ? null : toMs - fromMs;
}

function least(times: readonly (number | null)[]): number | null {
  const known = times.filter((time) => time !== null);
  return known.length === 0 ? null : Math.min(...known);
}

/** Returns the time of the last append in a tree, ms since 1970. */
export function lastAppendOf(node: TraceNode): number | null {
  const below = node.steps.flatMap(({ emitted }) => emitted.map(lastAppendOf));
  const known = [node.event.appendedMs, ...below].filter((time) => time !== null);
  return known.length === 0 ? null : Math.max(...known);
}
