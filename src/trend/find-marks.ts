/**
 * Finds the marks between two looks: the state before and the facts now in, marks and the next
 * state out. Pure: no part of it reads a clock or Redis.
 *
 * Each mark stands for a difference that was read. The first look makes none.
 */
import type { AlertRecord } from '../alerts/alert-record.ts';
import type { RecordedLoss } from '../lag/losses.ts';
import { FAREWELL_MS } from '../pipeline/ownership/presence.ts';
import type { Known, KnownAlert } from './known-state.ts';
import type { Mark, MarkKind } from './mark.ts';
import { redisMarks } from './redis-marks.ts';
import type { FreshSchema, TrendFacts } from './trend-facts.ts';
import { MOST_TREND_FUNCTIONS } from './trend-times.ts';

export interface FoundMarks {
  /** Oldest first. */
  readonly marks: readonly Mark[];
  readonly known: Known;
}

/** Most marks of one kind and one look. More of them become one mark, with their number. */
const FEW = 5;
const FEW_CHANGES = 20;
/** Most versions of a function that are kept: those of a rolling deploy. */
const MOST_VERSIONS = 8;

/** @param before null: there was no look before */
export function findMarks(before: Known | null, facts: TrendFacts): FoundMarks {
  const functions = functionsNow(before, facts);
  const known: Known = {
    atMs: facts.nowMs,
    ...functions,
    dispatchers: dispatchersNow(before, facts),
    subjects: facts.registered?.subjects ?? before?.subjects ?? null,
    masters:
      facts.masters?.map(({ node, runId, replId, version }) => ({
        node,
        runId,
        replId,
        version,
      })) ??
      before?.masters ??
      null,
    alerts: facts.alerts === null ? (before?.alerts ?? null) : alertsNow(facts.alerts),
    audit: facts.changes?.last ?? before?.audit ?? null,
    losses: facts.losses?.last ?? before?.losses ?? null,
  };
  if (before === null) return { marks: [], known };
  const marks = [
    ...deployMarks(before, known, facts),
    ...schemaMarks(before, facts),
    ...changeMarks(before, facts),
    ...lossMarks(before, facts),
    ...mastersMarks(before, facts),
    ...alertMarks(before, known, facts),
    ...dispatcherMarks(before, known, facts),
  ];
  return { marks: marks.sort((a, b) => a.atMs - b.atMs), known };
}

/** Makes one mark of each, or one of all where they are many. */
function fewOrOne<T>(
  all: readonly T[],
  few: number,
  one: (each: T) => Mark,
  many: (all: readonly T[]) => Mark,
): Mark[] {
  return all.length > few ? [many(all)] : all.map(one);
}

/** Returns the first names, and the number of the others. */
function firstOf(names: readonly string[]): string {
  const more = names.length - FEW;
  return `${names.slice(0, FEW).join(', ')}${more > 0 ? ` and ${more} more` : ''}`;
}

function markOf(
  kind: MarkKind,
  atMs: number,
  text: string,
  from: string,
  of: Partial<Pick<Mark, 'function' | 'type'>> = {},
): Mark {
  return { atMs, kind, function: null, type: null, text, from, ...of };
}

/** Versions that run now, by function, and whether all dispatchers have told theirs. */
function runningVersions({ dispatchers }: TrendFacts): {
  readonly versions: ReadonlyMap<string, ReadonlySet<string>>;
  readonly areAll: boolean;
} {
  const versions = new Map<string, Set<string>>();
  let areAll = true;
  for (const one of dispatchers?.values() ?? []) {
    if (one === 'left') continue;
    if (one === 'silent' || one.functions === undefined) {
      areAll = false;
      continue;
    }
    for (const [fn, version] of Object.entries(one.functions))
      versions.set(fn, (versions.get(fn) ?? new Set()).add(version));
  }
  return { versions, areAll };
}

/** Functions with a trend stay those that have one. Others come up to the bound. */
function functionsNow(
  before: Known | null,
  facts: TrendFacts,
): Pick<Known, 'functions' | 'untracked'> {
  const { lag } = facts;
  if (lag === null)
    return { functions: before?.functions ?? null, untracked: before?.untracked ?? 0 };
  const names = lag.functions.map(({ name }) => name);
  const had = before?.functions ?? new Map<string, readonly string[]>();
  const ordered = [
    ...names.filter((name) => had.has(name)),
    ...names.filter((name) => !had.has(name)),
  ];
  const tracked = ordered.slice(0, MOST_TREND_FUNCTIONS);
  const { versions, areAll } = runningVersions(facts);
  const functions = new Map(
    tracked.map((name) => {
      const [earlier, running] = [had.get(name) ?? [], [...(versions.get(name) ?? [])]];
      // While nobody runs the function, the versions that ran last stay known.
      if (running.length === 0) return [name, earlier] as const;
      const all = areAll ? running : [...new Set([...running, ...earlier])];
      return [name, all.slice(0, MOST_VERSIONS)] as const;
    }),
  );
  return { functions, untracked: names.length - tracked.length };
}

function deployMarks(before: Known, known: Known, { nowMs, lag }: TrendFacts): Mark[] {
  if (lag === null || before.functions === null || known.functions === null) return [];
  const [had, has] = [before.functions, known.functions];
  const names = new Set(lag.functions.map(({ name }) => name));
  // A function that was beyond the bound is not new.
  const fresh = before.untracked > 0 ? [] : [...has.keys()].filter((name) => !had.has(name));
  const gone = [...had.keys()].filter((name) => !names.has(name));
  const changed = [...has].filter(([name, versions]) => {
    const earlier = had.get(name) ?? [];
    return earlier.length > 0 && versions.some((version) => !earlier.includes(version));
  });
  const mark = (text: string, fn: string | null, from: string): Mark =>
    markOf('deploy', nowMs, text, from, { function: fn });
  return [
    ...fewOrOne(
      fresh,
      FEW,
      (name) => {
        const [version] = has.get(name) ?? [];
        const shown = version === undefined ? '' : `, version ${version}`;
        return mark(`${name} is a new function${shown}`, name, 'counters');
      },
      (all) => mark(`${all.length} functions are new: ${firstOf(all)}`, null, 'counters'),
    ),
    ...fewOrOne(
      gone,
      FEW,
      (name) => mark(`${name} is gone: removed, or its counters are lost`, name, 'counters'),
      (all) => mark(`${all.length} functions are gone: ${firstOf(all)}`, null, 'counters'),
    ),
    ...fewOrOne(
      changed,
      FEW,
      ([name, versions]) => {
        const earlier = had.get(name) ?? [];
        const later = versions.filter((version) => !earlier.includes(version));
        const text = `${name} runs version ${later.join(', ')} after ${earlier.join(', ')}`;
        return mark(text, name, 'presence');
      },
      (all) =>
        mark(
          `${all.length} functions run new versions: ${firstOf(all.map(([name]) => name))}`,
          null,
          'presence',
        ),
    ),
  ];
}

function schemaMarks(before: Known, { registered, nowMs }: TrendFacts): Mark[] {
  if (registered === null || before.subjects === null) return [];
  const one = ({ subject, version, details }: FreshSchema): Mark => {
    const by = details === null || details.by === '' ? '' : `, registered by ${details.by}`;
    const id = details === null || details.id === '' ? '' : ` (id ${details.id})`;
    const atMs = details === null || details.atMs === 0 ? nowMs : details.atMs;
    const text = `${subject} has version ${version}${id}${by}`;
    return markOf('schema', atMs, text, 'registry', { type: subject });
  };
  return fewOrOne(registered.fresh, FEW, one, (all) =>
    markOf(
      'schema',
      nowMs,
      `${all.length} types have new versions: ${firstOf(all.map(({ subject }) => subject))}`,
      'registry',
    ),
  );
}

type ChangeNow = NonNullable<TrendFacts['changes']>['changes'][number];

function changeMarks(before: Known, { changes }: TrendFacts): Mark[] {
  if (changes === null || before.audit === null) return [];
  const groups = new Map<string, [ChangeNow, ...ChangeNow[]]>();
  // A registered schema has a mark of its own.
  for (const change of changes.changes.filter((one) => !isRegistration(one))) {
    const key = JSON.stringify([change.action, change.target, change.who, change.outcome]);
    const same = groups.get(key);
    if (same) same.push(change);
    else groups.set(key, [change]);
  }
  return fewOrOne([...groups.values()], FEW_CHANGES, changeMark, (all) => {
    const [first] = all[0] as [ChangeNow];
    const number = all.reduce((sum, group) => sum + group.length, 0);
    const text = `operators have made ${number} changes: millrace audit lists them`;
    return markOf('change', first.atMs, text, `audit ${first.entryId}`);
  });
}

function isRegistration({ action, target }: ChangeNow): boolean {
  return (
    action === 'schema register' ||
    (action === 'POST' && /^\/subjects\/[^/]+\/versions(?:$|\?)/.test(target))
  );
}

function changeMark(group: readonly [ChangeNow, ...ChangeNow[]]): Mark {
  const [{ who, action, target, wanted, outcome, error, atMs, entryId }] = group;
  const asked = (wanted ?? {}) as Record<string, unknown>;
  const to = action === 'rewind' && typeof asked['to'] === 'string' ? ` to ${asked['to']}` : '';
  const times = group.length > 1 ? `, ${group.length} times` : '';
  const failed =
    outcome === 'failed' ? `: it failed (${error ?? 'for a reason not recorded'})` : '';
  const text = `${who}: ${`${action} ${target}`.trim()}${to}${times}${failed}`;
  const [fn, type] = [asked['function'], asked['type']];
  const ofFunction = action === 'rewind' || action.startsWith('functions ') ? target : fn;
  const ofType = action.startsWith('limits ') ? target : type;
  return markOf(kindOf(action), atMs, text, `audit ${entryId}`, {
    function: typeof ofFunction === 'string' ? ofFunction : null,
    type: typeof ofType === 'string' ? ofType : null,
  });
}

function kindOf(action: string): MarkKind {
  if (action === 'rewind') return 'rewind';
  if (action.startsWith('dlq replay')) return 'replay';
  return action.startsWith('dlq purge') || action.startsWith('dlq discard') ? 'purge' : 'change';
}

function lossMarks(before: Known, { losses }: TrendFacts): Mark[] {
  if (losses === null || before.losses === null) return [];
  const groups = new Map<string, [RecordedLoss, ...RecordedLoss[]]>();
  for (const loss of losses.losses) {
    const key = JSON.stringify([loss.kind, loss.function, loss.type]);
    const same = groups.get(key);
    if (same) same.push(loss);
    else groups.set(key, [loss]);
  }
  return fewOrOne([...groups.values()], FEW, lossMark, (all) => {
    const [first] = all[0] as [RecordedLoss];
    const number = all.reduce((sum, group) => sum + group.length, 0);
    const kinds = [...new Set(all.map(([{ kind }]) => kind))].join(', ');
    const text = `${number} losses were found (${kinds}): millrace losses lists them`;
    return markOf('loss', first.atMs, text, `losses ${first.partition}/${first.id}`);
  });
}

function lossMark(group: readonly [RecordedLoss, ...RecordedLoss[]]): Mark {
  const [first] = group;
  const more = group.length > 1 ? ` (and ${group.length - 1} more of this kind)` : '';
  return markOf(
    'loss',
    first.atMs,
    `${first.kind}: ${first.message}${more}`,
    `losses ${first.partition}/${first.id}`,
    { function: first.function ?? null, type: first.type ?? null },
  );
}

function mastersMarks(before: Known, { masters, nowMs }: TrendFacts): Mark[] {
  if (masters === null || before.masters === null) return [];
  return redisMarks(before.masters, masters, nowMs, nowMs - before.atMs);
}

/** A pending alert has not fired, and has no mark. */
function alertsNow(alerts: readonly AlertRecord[]): Map<string, KnownAlert> {
  return new Map(
    alerts.flatMap(({ fingerprint, name, severity, labels, state, firedMs }) => {
      if (firedMs === null || state === 'pending') return [];
      const own = Object.entries(labels)
        .filter(([label]) => !['alertname', 'severity', 'deployment'].includes(label))
        .map(([label, value]) => `${label} ${value}`);
      const text = `${name} (${[severity, ...own].join(', ')})`;
      const ended = state === 'resolved';
      const alert: KnownAlert = { firedMs, ended, text, function: labels['function'] ?? null };
      return [[fingerprint, alert] as const];
    }),
  );
}

function alertMarks(before: Known, known: Known, { alerts, nowMs }: TrendFacts): Mark[] {
  if (alerts === null || before.alerts === null || known.alerts === null) return [];
  const [had, has] = [before.alerts, known.alerts];
  const mark = (text: string, atMs: number, fn: string | null): Mark =>
    markOf('alert', atMs, text, 'alerts', { function: fn });
  const fired = [...has].filter(
    ([fingerprint, { firedMs }]) => had.get(fingerprint)?.firedMs !== firedMs,
  );
  const wasFiring = (fingerprint: string, { firedMs }: KnownAlert): boolean => {
    const earlier = had.get(fingerprint);
    return earlier?.firedMs !== firedMs || !earlier.ended;
  };
  const ended = [
    ...[...has].filter(([fingerprint, one]) => one.ended && wasFiring(fingerprint, one)),
    ...[...had].filter(([fingerprint, one]) => !one.ended && !has.has(fingerprint)),
  ];
  const endOf = (fingerprint: string): number =>
    alerts.find((alert) => alert.fingerprint === fingerprint)?.resolvedMs ?? nowMs;
  return [
    ...fewOrOne(
      fired,
      FEW,
      ([, one]) => mark(`alert ${one.text} fires`, one.firedMs, one.function),
      (all) =>
        mark(`${all.length} alerts fire: ${firstOf(all.map(([, one]) => one.text))}`, nowMs, null),
    ),
    ...fewOrOne(
      ended,
      FEW,
      ([fingerprint, one]) => mark(`alert ${one.text} has ended`, endOf(fingerprint), one.function),
      (all) =>
        mark(
          `${all.length} alerts have ended: ${firstOf(all.map(([, one]) => one.text))}`,
          nowMs,
          null,
        ),
    ),
  ];
}

/**
 * A stall of Redis ends presences and memberships of dispatchers that live. So a missing dispatcher
 * stays known until the look after, without a mark.
 */
function dispatchersNow(
  before: Known | null,
  { dispatchers, nowMs }: TrendFacts,
): Known['dispatchers'] {
  if (dispatchers === null) return before?.dispatchers ?? null;
  const now = new Map<string, number>();
  for (const [id, one] of dispatchers) if (one !== 'left') now.set(id, 0);
  for (const [id, missingMs] of before?.dispatchers ?? [])
    if (missingMs === 0 && !dispatchers.has(id)) now.set(id, nowMs);
  return now;
}

function dispatcherMarks(before: Known, known: Known, { dispatchers, nowMs }: TrendFacts): Mark[] {
  if (dispatchers === null || before.dispatchers === null || known.dispatchers === null) return [];
  const [had, has] = [before.dispatchers, known.dispatchers];
  const mark = (text: string, atMs: number, from: string): Mark =>
    markOf('dispatcher', atMs, text, from);
  const joined = [...has.keys()].filter((id) => !had.has(id));
  const left = [...had.keys()].filter((id) => dispatchers.get(id) === 'left');
  const missing = [...had].filter(
    ([id, missingMs]) => missingMs > 0 && !has.has(id) && !dispatchers.has(id),
  );
  // A farewell does not outlast a long pause of the looks.
  const end = nowMs - before.atMs < FAREWELL_MS / 2 ? 'has died' : 'is gone';
  return [
    ...fewOrOne(
      joined,
      FEW,
      (id) => mark(`dispatcher ${id} has come`, nowMs, 'members'),
      (all) => mark(`${all.length} dispatchers have come: ${firstOf(all)}`, nowMs, 'members'),
    ),
    ...fewOrOne(
      left,
      FEW,
      (id) => mark(`dispatcher ${id} has stopped`, nowMs, 'presence'),
      (all) => mark(`${all.length} dispatchers have stopped: ${firstOf(all)}`, nowMs, 'presence'),
    ),
    ...fewOrOne(
      missing,
      FEW,
      ([id, missingMs]) => mark(`dispatcher ${id} ${end}`, missingMs, 'presence'),
      (all) =>
        mark(
          `${all.length} dispatchers are gone: ${firstOf(all.map(([id]) => id))}`,
          nowMs,
          'presence',
        ),
    ),
  ];
}
