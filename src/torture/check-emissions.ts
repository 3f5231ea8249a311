/** The checker's rules on emitted events. */
import type { RunRecord, PublishedEvent, Violation } from './run-record.ts';
import type { Run } from './runs.ts';

/**
 * Adds the emitted events to the published ones. An emitted event found in a stream must be handled
 * or dead, once and in order, like a published one.
 * An emitted event inherits its cause's allowances. It may be lost if the cause may be lost. It may
 * come out of order if the cause was replayed.
 */
export function withEmissions(record: RunRecord): RunRecord {
  const { emissions, functions, end, allowed } = record;
  if (emissions === null) return record;
  const there = new Set(end.emitted.map(({ id }) => id));
  const missing = new Set(allowed.missing);
  const replayed = new Set(allowed.replayed);
  const more = emissions.map(
    ({ fn, cause, id, type, subject, number, innocent }): PublishedEvent => {
      if (allowed.missing.has(cause)) missing.add(id);
      if (allowed.replayed.has(`${fn} ${cause}`))
        for (const consumer of functions)
          if (consumer.on.includes(type)) replayed.add(`${consumer.name} ${id}`);
      return {
        id,
        type,
        subject,
        number,
        innocent,
        fate: there.has(id) ? 'acknowledged' : 'unknown',
        sentMs: 0,
        atMs: 0,
      };
    },
  );
  return {
    ...record,
    events: [...record.events, ...more],
    allowed: { ...allowed, missing, replayed },
  };
}

/**
 * Checks that each emission of an event that is done is in a stream exactly once, with its cause.
 * No emission of any other event may be there.
 */
export function emitProblems(
  { emissions, events, end, allowed }: RunRecord,
  runs: readonly Run[],
): Violation[] {
  if (emissions === null) return [];
  const out: Violation[] = [];
  const found = new Map<string, number>();
  for (const { id, cause } of end.emitted)
    found.set(`${cause} ${id}`, (found.get(`${cause} ${id}`) ?? 0) + 1);
  const handled = new Set(
    runs.flatMap(({ op, outcome }) => (outcome === 'end' ? [`${op.fn} ${op.id}`] : [])),
  );
  const dead = new Set(end.letters.map((letter) => `${letter.fn} ${letter.id}`));
  const unknown = new Set(events.flatMap((event) => (event.fate === 'unknown' ? [event.id] : [])));
  for (const { fn, cause, id, type } of emissions) {
    const count = found.get(`${cause} ${id}`) ?? 0;
    found.delete(`${cause} ${id}`);
    const done = handled.has(`${fn} ${cause}`) && !dead.has(`${fn} ${cause}`);
    if (!done && count > 0) {
      out.push({
        rule: 'emit ghost',
        what: `${fn}: ${type} ${id} is there, but ${cause}, which causes it, ${dead.has(`${fn} ${cause}`) ? 'is dead' : 'was never handled'}`,
      });
    }
    // An emission between two servers, one of which lost its data, may be missing or there twice.
    if (allowed.relayed.has(id)) continue;
    if (count > 1)
      out.push({
        rule: 'emit twice',
        what: `${fn}: ${type} ${id}, emitted for ${cause}, is there ${count} times`,
      });
    // The cause was handled, its commit was forgotten, and the cause itself is gone too. Either the
    // cause was acknowledged in the window of loss, or it was never acknowledged. One server
    // forgets the commit and its emissions together; the event then runs again.
    const forgotten = allowed.missing.has(cause) || (allowed.stateGoesBack && unknown.has(cause));
    if (done && count === 0 && end.drainMs !== null && !forgotten)
      out.push({
        rule: 'emit lost',
        what: `${fn}: ${type} ${id} is missing, though ${cause}, which causes it, is done`,
      });
  }
  const ours = new Set(events.map((event) => event.id));
  for (const key of found.keys()) {
    // Nobody planned the emissions of foreign events.
    if (allowed.foreign && !ours.has(key.slice(0, key.indexOf(' ')))) continue;
    out.push({
      rule: 'emit ghost',
      what: `${key.replace(' ', ' has emitted ')}, which no function emits`,
    });
  }
  return out;
}
