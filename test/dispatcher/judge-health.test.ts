/** Health judged from the state of a dispatcher's parts, without a server. */
import t from 'tap';
import { monotonicMs } from '../../src/core/clock.ts';
import {
  GroupLostError,
  RedisReplyError,
  UnknownOutcomeError,
} from '../../src/core/errors/server-errors.ts';
import { readHealth, type HealthReport, type HealthSources } from '../../src/dispatcher/health.ts';
import { RedisTroubles } from '../../src/dispatcher/redis-troubles.ts';
import { LaneProgress } from '../../src/pipeline/lane/lane-progress.ts';

const STALL_MS = 60_000;
const LEASE_MS = 10_000;

const DENIED = new RedisReplyError(
  'commit.lua',
  "ERR The user executing the script can't run this command or subcommand script: x, on @user_script:9.",
);
const WRONGTYPE = new RedisReplyError('take.lua', 'WRONGTYPE mr:{0}:due:f is a string');
const LOST = new UnknownOutcomeError('take.lua');

interface LaneFacts {
  readonly stalled?: boolean;
  readonly failure?: Error;
  /** Time for which its setup fails, ms. */
  readonly setupMs?: number;
}

interface Parts {
  readonly lanes?: readonly LaneFacts[];
  readonly overdueMs?: number;
  readonly missingMs?: number;
  readonly leaseFailure?: unknown;
  readonly unansweredMs?: number;
  readonly stalledOutbox?: boolean;
  /** Time since the last trouble with Redis, ms. */
  readonly calmMs?: number;
}

const laneOf = (facts: LaneFacts, partition: number) => ({
  fn: 'f',
  partition,
  idle: false,
  progress: {
    last: () => 0,
    stalled: () =>
      facts.stalled === true ? `failing for 61 s: ${facts.failure?.message ?? ''}` : null,
    failure: facts.failure ?? null,
  },
  setupFailure:
    facts.setupMs === undefined
      ? null
      : { error: 'TypeError: no db (at /w/f.ts:3:1)', stack: '', sinceMs: 1, atMs: 2, nextMs: 3 },
  setupFailingMs: facts.setupMs ?? 0,
});

/** Judges a running dispatcher with the parts. */
function judged(parts: Parts): HealthReport {
  const { lanes = [{}], overdueMs = 0, missingMs = 0, leaseFailure = null } = parts;
  const connection = { status: 'up', trouble: null, target: 'redis' };
  const troubles = { looked: (trouble: boolean) => (trouble ? 0 : (parts.calmMs ?? Infinity)) };
  return readHealth({
    deployment: {
      environment: { MILLRACE_STALL_MS: STALL_MS, MILLRACE_LEASE_MS: LEASE_MS },
      partitions: 1,
      connection,
    },
    functions: [{ spec: { name: 'f', timeoutMs: 0 } }],
    parts: {
      connection,
      keeper: {
        lanes: new Map(lanes.map((facts, i) => [String(i), laneOf(facts, i)])),
        reportShare: () => ({ lanes: 2, missing: missingMs > 0 ? 1 : 0, unheld: 1, missingMs }),
        reportLeases: () => ({
          overdue: overdueMs > 0 ? 1 : 0,
          overdueMs,
          unowned: 0,
          unownedMs: 0,
        }),
        failure: leaseFailure,
      },
      watch: { refusal: null, unansweredMs: parts.unansweredMs ?? 0 },
      relay: {
        stalled: () => (parts.stalledOutbox === true ? [{ partition: 0, problem: 'waits' }] : []),
      },
      upkeep: { unserved: [] },
    },
    phase: 'running',
    failure: null,
    waitsFor: null,
    troubles,
  } as unknown as HealthSources);
}

interface Row {
  readonly name: string;
  readonly parts: Parts;
  readonly codes: readonly string[];
  readonly ok?: boolean;
  readonly ready?: boolean;
  readonly live?: boolean;
  readonly text?: RegExp;
}

const ROWS: readonly Row[] = [
  { name: 'all is well', parts: {}, codes: [], ok: true, ready: true, live: true },
  {
    name: 'a turn that lacks a right within its script, from the first failure on',
    parts: { lanes: [{ failure: DENIED }, {}] },
    codes: ['writes-noperm'],
    live: true,
    text: /commit\.lua.*can't run this command/,
  },
  {
    name: 'a turn that may not read its group',
    parts: {
      lanes: [
        { failure: new GroupLostError('f', 0, "ERR The user executing the script can't run this") },
      ],
    },
    codes: ['writes-noperm'],
    live: true,
    text: /refused to read the consumer group of function "f" in partition 0: ERR The user/,
  },
  {
    name: 'a group that is gone',
    parts: { lanes: [{ failure: new GroupLostError('f', 0, 'NOGROUP No such key') }] },
    codes: [],
    ok: true,
    ready: true,
    live: true,
  },
  {
    name: 'it hides the stall of the lane',
    parts: { lanes: [{ failure: DENIED, stalled: true }] },
    codes: ['writes-noperm'],
    live: true,
  },
  {
    name: 'a lane with a key of another type',
    parts: { lanes: [{ failure: WRONGTYPE, stalled: true }] },
    codes: ['lane-refused'],
    ready: true,
    live: true,
    text: /take\.lua: WRONGTYPE mr:\{0\}:due:f/,
  },
  {
    name: 'a lane that stalls for another failure',
    parts: { lanes: [{ failure: LOST, stalled: true }] },
    codes: ['lane-stalled'],
    ready: true,
  },
  {
    name: 'the setup fails for a while',
    parts: { lanes: [{ setupMs: STALL_MS, stalled: true }] },
    codes: [],
    ok: true,
    ready: true,
    live: true,
  },
  {
    name: 'the setup fails for too long',
    parts: { lanes: [{ setupMs: 1 }, { setupMs: STALL_MS + 1000, stalled: true }] },
    codes: ['setup-failing'],
    ready: true,
    live: true,
    text: /TypeError: no db \(at \/w\/f\.ts:3:1\); in 2 lanes, for 61 s/,
  },
  {
    name: 'a lease that is late, although Redis answers',
    parts: { overdueMs: 12_000 },
    codes: ['lease-overdue'],
    text: /the leases of 1 lanes have run out: the last renewal or commit was 12 s ago/,
  },
  {
    name: 'a lease whose key has another type',
    parts: { overdueMs: 12_000, leaseFailure: WRONGTYPE },
    codes: ['lease-refused'],
    live: true,
    text: /WRONGTYPE/,
  },
  {
    name: 'lanes that nobody holds, because their leases have another type',
    parts: { missingMs: STALL_MS, leaseFailure: WRONGTYPE },
    codes: ['lease-refused', 'share-not-held'],
    live: true,
  },
  {
    name: 'lanes that nobody holds for another failure',
    parts: { missingMs: STALL_MS, leaseFailure: LOST },
    codes: ['share-not-held'],
  },
  {
    name: 'Redis does not answer: nothing is said about lanes yet',
    parts: { lanes: [{ stalled: true }], stalledOutbox: true, unansweredMs: 1000 },
    codes: [],
    ok: true,
    ready: true,
    live: true,
  },
  {
    name: 'Redis does not answer for longer than a lease',
    parts: { lanes: [{ stalled: true }], unansweredMs: 12_000, overdueMs: 12_000 },
    codes: ['unreachable'],
    live: true,
  },
  {
    name: 'Redis is back: all times begin anew',
    parts: {
      lanes: [{ stalled: true }],
      stalledOutbox: true,
      overdueMs: 30_000,
      missingMs: 90_000,
      calmMs: 500,
    },
    codes: [],
    ok: true,
    ready: true,
    live: true,
  },
  {
    name: 'Redis has been back for longer than a lease',
    parts: { overdueMs: 30_000, missingMs: 90_000, calmMs: LEASE_MS + 1 },
    codes: ['lease-overdue', 'share-not-held'],
  },
  {
    name: 'Redis has been back for as long as a stall',
    parts: { lanes: [{ stalled: true }], stalledOutbox: true, calmMs: STALL_MS + 1 },
    codes: ['lane-stalled', 'outbox-stalled'],
    ready: true,
  },
];

for (const { name, parts, codes, ok = false, ready = false, live = false, text } of ROWS)
  t.test(name, async (t) => {
    const report = judged(parts);
    t.strictSame(
      report.reasons.map(({ code }) => code),
      codes,
    );
    t.match(report, { ok, ready, live });
    if (text) t.match(report.reasons[0]?.text, text);
  });

t.test('the time since the last trouble', async (t) => {
  const troubles = new RedisTroubles();
  t.equal(troubles.looked(false), Infinity);
  t.equal(troubles.looked(true), 0);
  t.ok(troubles.looked(false) < Infinity);
});

t.test('a lane that has stalled stays so while it tries again', async (t) => {
  const others = { progressMs: -Infinity, timeoutMs: 0 };
  const progress = new LaneProgress(120_000);
  progress.doing = 'reading';
  progress.running();
  t.equal(progress.stalled(-1000, others), null, 'a handler has its time');
  progress.failed(new Error('refused'));
  t.match(progress.stalled(-1000, others), /^failing for \d+ s: refused/);
  progress.running();
  t.match(progress.stalled(-1000, others), /^failing for \d+ s: refused/, 'the next turn');
  progress.passed();
  t.equal(progress.stalled(-1000, others), null, 'the turn has succeeded');
  t.ok(progress.last() <= monotonicMs());
});
