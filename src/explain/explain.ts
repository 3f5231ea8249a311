/**
 * The place and state of an event for each function, its attempts, and why it does not run. Reads
 * only, in bounded pages. find-event.ts looks for the event, explain-state.ts for its state.
 */
import { entryIdTime } from '../core/position.ts';
import { checkText } from '../core/well-formed.ts';
import type { LagRow } from '../lag/lag-counts.ts';
import { readPartitionLag } from '../lag/partition-lag.ts';
import type { PartitionState } from '../redis/counters.ts';
import { explainState, type StateOptions } from './explain-state.ts';
import type { RedisSource } from '../redis/source.ts';
import { serverTime } from '../redis/server-time.ts';
import { findEvents, type EventPlace } from './find-event.ts';
import type {
  ExplainedEvent,
  ExplainOptions,
  ExplainQuery,
  ExplainReport,
  FunctionState,
} from './report.ts';
import { Unseen } from './unseen.ts';
import { waitingEvents } from './waiting.ts';

export type * from './report.ts';

/** @throws InvalidTextError, UnknownOutcomeError, RedisReplyError */
export async function explain(
  source: RedisSource,
  query: ExplainQuery,
  options: ExplainOptions = {},
): Promise<ExplainReport> {
  if ('subject' in query) checkText('the subject', query.subject);
  else checkText('the event id', query.eventId);
  const limit = options.limit ?? 100;
  const unseen = new Unseen();
  const found = await findEvents(source, query, { scan: options.scan ?? 100_000, limit, unseen });
  const nowMs = await serverTime(source);
  const events: ExplainedEvent[] = [];
  for (const place of found.places.slice(-limit)) {
    const state = found.states.find((s) => s.partition === place.partition) as PartitionState;
    events.push(
      await explainPlace(source, state, place, { nowMs, quotes: options.quotes ?? true }),
    );
  }
  const explained = await withUnsettled(source, events);
  const waiting =
    found.places.length > 0 && 'eventId' in query
      ? []
      : await waitingEvents(source, query, limit, unseen);
  return {
    events: explained,
    waiting,
    searched: {
      events: found.events,
      partitions: found.states.length,
      complete: found.complete && unseen.parts.length === 0,
      ...(unseen.parts.length > 0 ? { unseen: unseen.parts } : {}),
    },
  };
}

async function explainPlace(
  source: RedisSource,
  state: PartitionState,
  place: EventPlace,
  options: StateOptions,
): Promise<ExplainedEvent> {
  const functions = await Promise.all(
    state.functions
      .filter((fn) => fn.types.includes(place.type))
      .map((fn) => explainState(source, state, fn, place, options)),
  );
  return {
    id: place.id,
    type: place.type,
    subject: place.subject,
    partition: place.partition,
    entryId: place.entryId,
    index: place.index,
    position: place.position,
    appendedMs: entryIdTime(place.entryId),
    inStream: place.inStream,
    functions,
  };
}

/** Adds the other unsettled events of a function where the event itself is not settled. */
async function withUnsettled(
  source: RedisSource,
  events: readonly ExplainedEvent[],
): Promise<ExplainedEvent[]> {
  const rows: LagRow[] = [];
  const open = events.filter(({ functions }) => functions.some(isUnsettled));
  for (const partition of new Set(open.map((event) => event.partition)))
    rows.push(...(await readPartitionLag(source, partition)).rows);
  return events.map((event) => ({
    ...event,
    functions: event.functions.map((of) => {
      const row = rows.find(
        ({ fn, type, partition }) =>
          fn === of.function && type === event.type && partition === event.partition,
      );
      return row && isUnsettled(of) ? { ...of, unsettled: row.states } : of;
    }),
  }));
}

function isUnsettled({ state }: FunctionState): boolean {
  return state === 'lag' || state === 'pending' || state === 'parked';
}
