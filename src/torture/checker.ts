/**
 * Judges the record of a run under faults. Pure: the same record gives the same verdict.
 *
 * The checker is sound rather than complete. It lets pass whatever a recorded fault explains: a
 * lost lease, a dead thread, a server that went back in time. scripts/chaos/bugs.ts shows which
 * bugs it catches.
 */
import { commitProblems } from './check-commits.ts';
import { emitProblems, withEmissions } from './check-emissions.ts';
import { orderProblems } from './check-order.ts';
import type { RunRecord, Violation } from './run-record.ts';
import { laneOf, lostLeases, runsOf, type Run } from './runs.ts';

export function check(recorded: RunRecord): Violation[] {
  const record = withEmissions(recorded);
  const runs = runsOf(record);
  return [
    ...drainProblems(record),
    ...lossProblems(record, runs),
    ...emitProblems(record, runs),
    ...countProblems(record, runs),
    ...effectProblems(record, runs),
    ...dedupeProblems(record, runs),
    ...scheduleProblems(record, runs),
    ...record.functions
      .filter((fn) => fn.ordering === 'key')
      .flatMap((fn) =>
        orderProblems(
          record,
          fn,
          runs.filter((run) => run.op.fn === fn.name),
        ),
      ),
    ...commitProblems(record),
    ...attemptProblems(record, runs),
    ...letterProblems(record),
    ...foldProblems(record),
    ...repairProblems(record),
  ];
}

function repairProblems({ end, allowed }: RunRecord): Violation[] {
  return end.repairs
    .filter((what) => !(allowed.clockGoesBack && what.includes('no reason to wait (late)')))
    .map((what) => ({ rule: 'repair', what }));
}

function drainProblems({ end }: RunRecord): Violation[] {
  const out: Violation[] = [];
  if (end.drainMs === null) {
    const left = end.functions
      .map((fn) => `${fn.name}: pending ${fn.pending}, lag ${fn.lag}, parked ${fn.parked}`)
      .join('; ');
    out.push({
      rule: 'drain',
      what: `not everything was settled within ${end.drainBoundMs} ms after the faults: ${left}; scheduled ${end.scheduled}`,
    });
  } else if (end.leftBehind > 0)
    out.push({
      rule: 'memory',
      what: `${end.leftBehind} parked lists or due entries are left although nothing is parked`,
    });
  if (end.peakRssMb > end.rssBoundMb)
    out.push({
      rule: 'memory',
      what: `a dispatcher had ${Math.round(end.peakRssMb)} MB, allowed are ${end.rssBoundMb}`,
    });
  return out;
}

/**
 * Checks that each function handled each acknowledged event or has it as a dead letter, and that
 * nothing ran that was not published.
 */
function lossProblems(
  { events, functions, end, allowed }: RunRecord,
  runs: readonly Run[],
): Violation[] {
  const out: Violation[] = [];
  const known = new Set([...events, ...end.emitted].map((event) => event.id));
  const settled = new Set(end.letters.map((letter) => `${letter.fn} ${letter.id}`));
  for (const { op, outcome } of runs) {
    if (outcome === 'end') settled.add(`${op.fn} ${op.id}`);
    if (!allowed.foreign && !known.has(op.id))
      out.push({ rule: 'ghost', what: `${op.fn}: ${op.id} ran but was never published` });
  }
  for (const { id, type, fate } of events) {
    if (fate !== 'acknowledged' || allowed.missing.has(id)) continue;
    for (const fn of functions) {
      if (fn.on.includes(type) && !settled.has(`${fn.name} ${id}`))
        out.push({
          rule: 'lost',
          what: `${fn.name}: ${id} was acknowledged to its publisher but neither done nor dead`,
        });
    }
  }
  return out;
}

/** Checks that Millrace's own counters balance, and that they agree with the record. */
function countProblems({ functions, end, allowed }: RunRecord, runs: readonly Run[]): Violation[] {
  const out: Violation[] = [];
  for (const fn of end.functions) {
    if (!fn.conserved)
      out.push({
        rule: 'conservation',
        what: `${fn.name}: appended ${fn.appended} is not done ${fn.done} + dead ${fn.dead} + parked ${fn.parked} + pending ${fn.pending} + lag ${fn.lag}`,
      });
    const rules = functions.find(({ name }) => name === fn.name);
    if (end.drainMs === null || allowed.stateGoesBack || !rules) continue;
    const letters = end.letters.filter((letter) => letter.fn === fn.name);
    const outcomes = letters.filter((letter) => letter.kind === 'event').map((letter) => letter.id);
    for (const run of runs)
      if (run.op.fn === fn.name && run.outcome === 'end') outcomes.push(run.op.id);
    const seen = new Set(outcomes).size;
    const whole = letters
      .filter((letter) => letter.kind === 'entry')
      .reduce((sum, letter) => sum + letter.events, 0);
    // The group was lost while events were parked, and they came again: each is parked a second
    // time. Each of the two records has an outcome and is counted.
    const most = mayComeAgain(allowed, rules) ? outcomes.length : seen;
    const counted = fn.done - (rules.dedupe ? fn.skipped : 0) + fn.dead - whole;
    if (counted < seen || counted > most) {
      out.push({
        rule: 'conservation',
        what: `${fn.name}: counted ${fn.done} done (${fn.skipped} skipped) and ${fn.dead} dead, but ${seen} events were handled or are dead and ${whole} are in dead entries`,
      });
    }
  }
  return out;
}

function effectProblems({ ops, allowed, functions }: RunRecord, runs: readonly Run[]): Violation[] {
  const out: Violation[] = [];
  const applied = new Set<string>();
  for (const op of ops) {
    if (op.what !== 'end' || op.applied !== true) continue;
    const key = `${op.fn} ${op.id}`;
    if (applied.has(key))
      out.push({
        rule: 'applied twice',
        what: `${op.fn}: the effect of ${op.id} was applied again`,
      });
    applied.add(key);
  }
  if (allowed.stateGoesBack || allowed.runsAgain) return out;
  // One owner has one success. A second success of the same process needs a cause: a lost lease or
  // the death of the thread.
  const lastOfThread = new Map<string, number>();
  ops.forEach((op, at) => {
    if ('thread' in op) lastOfThread.set(`${op.pid}/${op.thread}`, at);
  });
  const lost = lostLeases(ops);
  const views = new Set(functions.filter((fn) => fn.view).map((fn) => fn.name));
  const firstEnd = new Map<string, Run>();
  for (const run of runs) {
    if (run.outcome !== 'end' || views.has(run.op.fn)) continue;
    const { op } = run;
    const key = `${op.pid} ${op.fn} ${op.id}`;
    const before = firstEnd.get(key);
    if (!before) {
      firstEnd.set(key, run);
      continue;
    }
    const threadDied =
      before.op.thread !== op.thread &&
      (lastOfThread.get(`${op.pid}/${before.op.thread}`) as number) < run.startedAt;
    // The process may have noticed the loss before: the events of its current batch still run to
    // their end.
    if (threadDied || lost.has(laneOf(before))) continue;
    out.push({
      rule: 'ran twice',
      what: `${op.fn}: ${op.id} was handled twice by process ${op.pid} though nothing had happened to it`,
    });
  }
  return out;
}

/**
 * Checks functions with `dedupe`. Such a function handles an id at one place of the stream only,
 * whoever owns the lane. A success without a commit is repeated at the same place. The function
 * skips no more events than were sent again.
 */
function dedupeProblems(
  { functions, events, end, emissions, allowed }: RunRecord,
  runs: readonly Run[],
): Violation[] {
  const out: Violation[] = [];
  for (const { name, on } of functions.filter((fn) => fn.dedupe)) {
    // Redis has forgotten the settled ids.
    if (allowed.stateGoesBack) break;
    const places = new Map<string, string>();
    for (const { op, outcome } of runs) {
      if (op.fn !== name || outcome !== 'end') continue;
      const place = places.get(op.id) ?? op.position;
      places.set(op.id, place);
      if (place !== op.position)
        out.push({
          rule: 'dedupe',
          what: `${name}: ${op.id} was handled at ${place} and again at ${op.position}`,
        });
    }
    // The number of repetitions is unknown where users choose the ids of emitted events. Events
    // that come again with their group are skipped as well.
    if (emissions === null || allowed.runsAgain || allowed.foreign) continue;
    const again = events.filter((event) => event.again && on.includes(event.type)).length;
    const skipped = end.functions.find((fn) => fn.name === name)?.skipped ?? 0;
    if (skipped > again)
      out.push({
        rule: 'dedupe',
        what: `${name}: ${skipped} events were skipped, but only ${again} were sent again`,
      });
  }
  return out;
}

/**
 * Checks that a scheduled event is appended once, and not before it is due. The entry's id holds
 * the time of the append, by the clock that the due time is in. Where that clock went back, an id
 * with a number behind its time may have the time of an older entry: ids never go back.
 */
function scheduleProblems({ events, end, allowed }: RunRecord, runs: readonly Run[]): Violation[] {
  const out: Violation[] = [];
  const times = new Map<string, number>();
  for (const id of end.appended) times.set(id, (times.get(id) ?? 0) + 1);
  const due = new Map(
    events.flatMap(({ id, dueMs }) => (dueMs === undefined ? [] : [[id, dueMs]])),
  );
  for (const [id, count] of times)
    if (count > 1 && due.has(id))
      out.push({ rule: 'schedule', what: `${id}, scheduled once, was appended ${count} times` });
  for (const { op } of runs) {
    const dueMs = due.get(op.id) ?? null;
    const [appendedMs = NaN, number] = (op.position.split('/')[1] ?? '').split('-').map(Number);
    const tellsTime = !allowed.clockGoesBack || number === 0;
    if (dueMs !== null && appendedMs < dueMs && tellsTime)
      out.push({
        rule: 'schedule',
        what: `${op.fn}: ${op.id} was appended ${dueMs - appendedMs} ms before it was due, and ran`,
      });
  }
  return out;
}

function attemptProblems({ functions, events, end }: RunRecord, runs: readonly Run[]): Violation[] {
  const out: Violation[] = [];
  const most = new Map(functions.map((fn) => [fn.name, fn.attempts]));
  const innocent = new Set(events.filter((event) => event.innocent).map((event) => event.id));
  const immortal = new Set(events.filter((event) => event.immortal).map((event) => event.id));
  for (const { op } of runs) {
    const limit = most.get(op.fn) ?? Infinity;
    if (op.attempt > limit)
      out.push({
        rule: 'attempts',
        what: `${op.fn}: ${op.id} was tried ${op.attempt} times, allowed are ${limit}`,
      });
    else if (op.attempt > 1 && innocent.has(op.id))
      out.push({
        rule: 'attempts',
        what: `${op.fn}: ${op.id}, which never fails, was charged an attempt`,
      });
  }
  for (const letter of end.letters) {
    if (innocent.has(letter.id))
      out.push({
        rule: 'attempts',
        what: `${letter.fn}: ${letter.id}, which never fails, is dead`,
      });
    if (immortal.has(letter.id))
      out.push({
        rule: 'attempts',
        what: `${letter.fn}: ${letter.id}, which fails for a time only, is dead`,
      });
  }
  return out;
}

/**
 * Returns whether a settled event may come again, and die again. Without order, one dispatcher
 * settles events behind entries that another one has pending. After the loss of the group those
 * settled events are delivered again.
 */
function mayComeAgain(
  { runsAgain }: RunRecord['allowed'],
  { ordering }: RunRecord['functions'][number],
): boolean {
  return runsAgain && ordering === 'none';
}

function letterProblems({ end, allowed, functions }: RunRecord): Violation[] {
  const out: Violation[] = [];
  // An event relayed twice between servers may die twice.
  const again = new Set(
    functions.filter((rules) => mayComeAgain(allowed, rules)).map((rules) => rules.name),
  );
  const seen = new Set<string>();
  for (const { fn, id, kind, faithful } of end.letters) {
    if (faithful === false)
      out.push({
        rule: 'dead letter',
        what: `${fn}: the dead letter of ${id} does not hold the bytes of the event`,
      });
    if (kind !== 'event') continue;
    if (seen.has(`${fn} ${id}`) && !again.has(fn) && !allowed.relayed.has(id))
      out.push({ rule: 'dead letter', what: `${fn}: ${id} has two dead letters` });
    seen.add(`${fn} ${id}`);
  }
  return out;
}

/**
 * Checks that a view's rows hold each event that is done once, in order. The rows are written
 * together with the acknowledgement.
 */
function foldProblems({ end }: RunRecord): Violation[] {
  const out: Violation[] = [];
  for (const { fn, folded, disordered } of end.folds) {
    const done = end.functions.find(({ name }) => name === fn)?.done ?? 0;
    if (folded !== done)
      out.push({
        rule: folded > done ? 'applied twice' : 'lost',
        what: `${fn}: its rows hold ${folded} events, ${done} are done`,
      });
    if (disordered > 0)
      out.push({ rule: 'order', what: `${fn}: ${disordered} events are folded behind later ones` });
  }
  return out;
}
