/**
 * Judges the history of a run under faults. Pure: the same history gives the same verdict.
 *
 * The checker is sound rather than complete. It lets pass whatever a recorded fault explains: a
 * lost lease, a dead thread, a server that went back in time. scripts/chaos/bugs.ts shows which
 * bugs it catches.
 */
import type {
  CommitOp,
  FunctionRules,
  HandlerOp,
  History,
  Letter,
  PublishedEvent,
  Violation,
} from './run-record.ts';

/** One call of a handler for one event. Times are indices into `History.ops`. */
export interface Run {
  readonly op: HandlerOp;
  readonly startedAt: number;
  /** Index of the end; Infinity if the call never ended. */
  endedAt: number;
  outcome: 'end' | 'fail' | 'died';
}

export function check(recorded: History): Violation[] {
  const history = withEmissions(recorded);
  const runs = runsOf(history);
  return [
    ...drainProblems(history),
    ...lossProblems(history, runs),
    ...emitProblems(history, runs),
    ...countProblems(history, runs),
    ...effectProblems(history, runs),
    ...dedupeProblems(history, runs),
    ...scheduleProblems(history, runs),
    ...history.functions
      .filter((fn) => fn.ordering === 'key')
      .flatMap((fn) =>
        orderProblems(
          history,
          fn,
          runs.filter((run) => run.op.fn === fn.name),
        ),
      ),
    ...commitProblems(history),
    ...attemptProblems(history, runs),
    ...letterProblems(history),
    ...foldProblems(history),
    ...history.end.repairs.map((what): Violation => ({ rule: 'repair', what })),
  ];
}

export function runsOf({ ops }: Pick<History, 'ops'>): Run[] {
  const runs: Run[] = [];
  // A key may have several open runs. Without order, an event that comes again after its group was
  // lost may overlap its own retry.
  const open = new Map<string, Run[]>();
  ops.forEach((op, at) => {
    if (op.what !== 'start' && op.what !== 'end' && op.what !== 'fail') return;
    const key = `${op.pid}/${op.thread}/${op.fn}/${op.id}/${op.attempt}`;
    const here = open.get(key) ?? [];
    if (op.what === 'start') {
      const run: Run = { op, startedAt: at, endedAt: Infinity, outcome: 'died' };
      runs.push(run);
      open.set(key, [...here, run]);
      return;
    }
    const run = here[0];
    if (!run)
      throw new Error(`op ${at} of the history ends what never started: ${JSON.stringify(op)}`);
    run.endedAt = at;
    run.outcome = op.what;
    open.set(key, here.slice(1));
  });
  return runs;
}

/**
 * Adds the emitted events to the published ones. An emitted event found in a stream must be handled
 * or dead, once and in order, like a published one.
 * An emitted event inherits its cause's allowances. It may be lost if the cause may be lost. It may
 * come out of order if the cause was replayed.
 */
function withEmissions(history: History): History {
  const { emissions, functions, end, allowed } = history;
  if (emissions === null) return history;
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
    ...history,
    events: [...history.events, ...more],
    allowed: { ...allowed, missing, replayed },
  };
}

function drainProblems({ end }: History): Violation[] {
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
  { events, functions, end, allowed }: History,
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

/**
 * Checks that each emission of an event that is done is in a stream exactly once, with its cause.
 * No emission of any other event may be there.
 */
function emitProblems(
  { emissions, events, end, allowed }: History,
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

/** Checks that Millrace's own counters balance, and that they agree with the history. */
function countProblems({ functions, end, allowed }: History, runs: readonly Run[]): Violation[] {
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

function effectProblems({ ops, allowed, functions }: History, runs: readonly Run[]): Violation[] {
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
  { functions, events, end, emissions, allowed }: History,
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
 * the time of the append, by the clock that the due time is in.
 */
function scheduleProblems({ events, end }: History, runs: readonly Run[]): Violation[] {
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
    const appendedMs = Number.parseInt(op.position.split('/')[1] ?? '', 10);
    if (dueMs !== null && appendedMs < dueMs)
      out.push({
        rule: 'schedule',
        what: `${op.fn}: ${op.id} was appended ${dueMs - appendedMs} ms before it was due, and ran`,
      });
  }
  return out;
}

/**
 * Returns `pid fn partition` of each lost lane: the owner was told of the loss, or Redis refused
 * its commit. The events that the owner held run again.
 */
function lostLeases(ops: History['ops']): Set<string> {
  return new Set(
    ops.flatMap((op) =>
      op.what === 'lease-lost' || op.what === 'refused'
        ? [`${op.pid} ${op.fn} ${op.partition}`]
        : [],
    ),
  );
}

const laneOf = ({ op }: Run): string => `${op.pid} ${op.fn} ${op.position.split('/')[0] as string}`;

/**
 * Checks the order within each subject. When an event begins, all earlier events of its subject are
 * settled: handled or dead. Two calls for one subject do not overlap, unless one of the two
 * processes had lost its lease.
 */
function orderProblems(
  { ops, end, allowed, events }: History,
  fn: FunctionRules,
  runs: readonly Run[],
): Violation[] {
  const out: Violation[] = [];
  const letters = new Map(
    end.letters.filter((letter) => letter.fn === fn.name).map((letter) => [letter.id, letter]),
  );
  const suspended = new Set(
    ops.flatMap((op) => (op.what === 'fault' && op.pid > 0 ? [op.pid] : [])),
  );
  const lost = lostLeases(ops);
  // The events that the process had begun run beside its heir's work until the batch ends, also
  // after the process has noticed the loss.
  const hasLost = (run: Run): boolean => suspended.has(run.op.pid) || lost.has(laneOf(run));
  const bySubject = new Map<string, Run[]>();
  const counted = new Set(events.map((event) => event.id));
  for (const run of runs) {
    if (!counted.has(run.op.id)) continue;
    const list = bySubject.get(run.op.subject);
    if (list) list.push(run);
    else bySubject.set(run.op.subject, [run]);
  }
  for (const [subject, list] of bySubject) {
    const settledAt = settleTimes(
      list,
      letters,
      (id) => allowed.replayed.has(`${fn.name} ${id}`) || allowed.missing.has(id),
    );
    const numbers = [...settledAt.keys()].sort((a, b) => a - b);
    // Number -> the latest settlement of any lower number.
    const below = new Map<number, { readonly at: number; readonly number: number }>();
    let latest = { at: -1, number: -1 };
    for (const number of numbers) {
      below.set(number, latest);
      const at = settledAt.get(number) as number;
      if (at > latest.at) latest = { at, number };
    }
    for (const run of list) {
      const begins = fn.batch ? run.endedAt : run.startedAt;
      const before = below.get(run.op.number) as { at: number; number: number };
      // A failed call of handleBatch says nothing of its single events.
      if (run.outcome !== 'end' && fn.batch) continue;
      if (before.at > begins)
        out.push({
          rule: 'order',
          what: `${fn.name}: ${run.op.id} (number ${run.op.number} of ${subject}) ran before number ${before.number} was settled`,
        });
    }
    let open: Run | null = null;
    for (const run of list) {
      if (open && open.endedAt > run.startedAt && open.outcome !== 'died') {
        const sameCall = fn.batch && open.op.pid === run.op.pid && open.op.thread === run.op.thread;
        const excused = open.op.pid !== run.op.pid && (hasLost(open) || hasLost(run));
        if (!sameCall && !excused) {
          out.push({
            rule: 'overlap',
            what: `${fn.name}: ${run.op.id} of ${subject} began in process ${run.op.pid} while ${open.op.id} was running in ${open.op.pid}`,
          });
        }
      }
      if (open === null || run.outcome !== 'died') open = run;
    }
  }
  return out;
}

/**
 * Returns for each number the time from which it no longer holds up later ones.
 * @param excused whether nobody waits for the event: it may be missing, or was dead and has been
 *   replayed
 */
function settleTimes(
  runs: readonly Run[],
  letters: ReadonlyMap<string, Letter>,
  excused: (id: string) => boolean,
): Map<number, number> {
  const out = new Map<number, number>();
  for (const run of runs) {
    const letter = letters.get(run.op.id);
    let at = Infinity;
    if (excused(run.op.id)) at = -1;
    else if (run.outcome === 'end') at = run.endedAt;
    else if (letter && run.op.attempt >= letter.attempts) at = run.startedAt;
    out.set(run.op.number, Math.min(out.get(run.op.number) ?? Infinity, at));
  }
  return out;
}

/**
 * Checks that entries are acknowledged after the outcomes of their events, and only by the lane's
 * owner.
 */
function commitProblems({ ops, allowed, functions }: History): Violation[] {
  const out: Violation[] = [];
  const observed = new Set(functions.map((fn) => fn.name));
  const ended = new Map<string, Set<string>>();
  const begun = new Map<
    string,
    { readonly op: CommitOp; readonly at: number; readonly early: string | null }
  >();
  const newest = new Map<string, { epoch: number; at: number }>();
  ops.forEach((op, at) => {
    if (op.what === 'end') {
      const key = `${op.fn} ${op.type} ${op.position.slice(0, op.position.lastIndexOf('/'))}`;
      const ids = ended.get(key);
      if (ids) ids.add(op.id);
      else ended.set(key, new Set([op.id]));
    } else if (op.what === 'commit') {
      let early: string | null = null;
      for (const [type, entryId, done] of op.entries ?? []) {
        const handled = ended.get(`${op.fn} ${type} ${op.partition}/${entryId}`)?.size ?? 0;
        if (handled < done && observed.has(op.fn))
          early ??= `${op.fn}: ${done} events of ${type} ${op.partition}/${entryId} were acknowledged as done when ${handled} had been handled`;
      }
      begun.set(`${op.pid}/${op.serial}`, { op, at, early });
    } else if (op.what === 'committed') {
      const begin = begun.get(`${op.pid}/${op.serial}`);
      if (!begin)
        throw new Error(
          `op ${at} of the history ends a commit that never began: ${JSON.stringify(op)}`,
        );
      if (begin.early !== null) out.push({ rule: 'acknowledged early', what: begin.early });
      const newer = newest.get(op.lease);
      if (newer && newer.epoch > op.epoch && newer.at < begin.at && !allowed.stateGoesBack) {
        out.push({
          rule: 'fencing',
          what: `${op.lease}: epoch ${op.epoch} committed after epoch ${newer.epoch} had`,
        });
      }
      if (!newer || op.epoch > newer.epoch) newest.set(op.lease, { epoch: op.epoch, at });
    }
  });
  return out;
}

function attemptProblems({ functions, events, end }: History, runs: readonly Run[]): Violation[] {
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
  { runsAgain }: History['allowed'],
  { ordering }: History['functions'][number],
): boolean {
  return runsAgain && ordering === 'none';
}

function letterProblems({ end, allowed, functions }: History): Violation[] {
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
function foldProblems({ end }: History): Violation[] {
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
