/**
 * Spans of commits, in the dispatcher's thread. A commit's span is a child of its batch's span, and
 * links to the spans of the batch's events. The pool thread has told both with its report, so the
 * dispatcher reads no event.
 */
import { MESSAGING, messagingSpan } from '../core/messaging-conventions.ts';
import type { BatchTraces } from '../core/thread-protocol.ts';
import { MOST_LINKS, type SpanStart, type Tracing } from '../core/tracing.ts';
import type { CommitPlan } from '../pipeline/commit/commit-plan.ts';
import type { LaneStages } from '../pipeline/lane/lane-stages.ts';

/** The lane whose commits are traced. */
export interface TracedLane {
  readonly fn: string;
  readonly partition: number;
  /** Event types of the function. */
  readonly types: readonly string[];
  /** Name of the dispatcher. */
  readonly dispatcher: string;
}

export function traceCommits(stages: LaneStages, tracing: Tracing, lane: TracedLane): LaneStages {
  const tracesOf = new WeakMap<CommitPlan, readonly BatchTraces[]>();
  return {
    ...stages,
    plan(batch, result, context) {
      const plan = stages.plan(batch, result, context);
      if (result.traces) tracesOf.set(plan, result.traces);
      return plan;
    },
    async commit(plan, signal) {
      const tracer = tracing.tracer();
      if (tracer === null) return stages.commit(plan, signal);
      const span = tracer.start(commitSpan(lane, plan, tracesOf.get(plan) ?? []));
      try {
        const reply = await span.run(() => stages.commit(plan, signal));
        if (reply.kind !== 'ok') span.set({ 'error.type': reply.kind });
        span.end();
        return reply;
      } catch (error) {
        span.end(error);
        throw error;
      }
    },
  };
}

function commitSpan(
  { fn, partition, types, dispatcher }: TracedLane,
  { done, retried, dead }: CommitPlan,
  traces: readonly BatchTraces[],
): SpanStart {
  const { name, attributes } = messagingSpan('commit', types.length === 1 ? types[0] : undefined);
  const [first] = traces;
  const events = traces.flatMap((trace) => trace.events);
  return {
    name,
    kind: 'client',
    parent: first?.batch ?? null,
    links: events.slice(0, MOST_LINKS),
    attributes: {
      ...attributes,
      [MESSAGING.group]: fn,
      [MESSAGING.partition]: String(partition),
      [MESSAGING.clientId]: dispatcher,
      [MESSAGING.messages]: done + retried + dead,
      [MESSAGING.outcomes.done]: done,
      [MESSAGING.outcomes.retried]: retried,
      [MESSAGING.outcomes.dead]: dead,
    },
  };
}
