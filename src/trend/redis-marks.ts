/** Marks of restarts and failovers: the masters at two looks are compared. Pure. */
import type { KnownMaster } from './known-state.ts';
import type { Mark } from './mark.ts';
import type { RedisMaster } from './redis-master.ts';

/** Time by which a process may seem younger than it is, ms: INFO tells whole seconds. */
const SLACK_MS = 2000;

/** @param sinceMs time since the look before, ms */
export function redisMarks(
  before: readonly KnownMaster[],
  now: readonly RedisMaster[],
  nowMs: number,
  sinceMs: number,
): Mark[] {
  const known = new Set(before.map(({ runId }) => runId));
  const there = new Set(now.map(({ runId }) => runId));
  const replaced = new Set<KnownMaster>();
  const texts: string[] = [];
  for (const master of now) {
    if (known.has(master.runId)) continue;
    const same = sameMaster(master, before, now);
    const former = same ?? before.find((one) => isHeir(master, one));
    if (former) replaced.add(former);
    texts.push(same ? changeAt(master, same, sinceMs) : arrival(master, former));
  }
  for (const master of before)
    if (!there.has(master.runId) && !replaced.has(master))
      texts.push(`${master.node} is no master any more`);
  return texts.map((text) => ({
    atMs: nowMs,
    kind: 'redis',
    function: null,
    type: null,
    text,
    from: 'INFO',
  }));
}

/**
 * Finds the master of the same place. A single server is always the same place: two processes may
 * know it by different addresses.
 */
function sameMaster(
  { node }: RedisMaster,
  before: readonly KnownMaster[],
  now: readonly RedisMaster[],
): KnownMaster | undefined {
  const [only] = before;
  if (before.length === 1 && now.length === 1) return only;
  return before.find((one) => one.node === node);
}

/** Whether the master was a replica of the former one. */
function isHeir({ formerReplId }: RedisMaster, { replId }: KnownMaster): boolean {
  return replId !== '' && replId === formerReplId;
}

/**
 * Tells how another process came to a place. A restarted master, too, keeps the former identity of
 * its data. So the age of the process decides.
 */
function changeAt(
  { node, upMs, version }: RedisMaster,
  same: KnownMaster,
  sinceMs: number,
): string {
  const other = same.version === version ? '' : ` (${same.version} before)`;
  return upMs <= sinceMs + SLACK_MS
    ? `Redis was restarted at ${node}, version ${version}${other}`
    : `Redis has failed over: another server answers at ${node}, version ${version}${other}`;
}

function arrival({ node }: RedisMaster, former: KnownMaster | undefined): string {
  return former
    ? `Redis has failed over from ${former.node} to ${node}`
    : `${node} is a master now`;
}
