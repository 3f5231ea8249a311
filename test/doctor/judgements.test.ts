/** Judgements of the doctor: facts in, findings out. No server. */
import t from 'tap';
import { bySeverity, someOf, type Diagnosis } from '../../src/doctor/diagnosis.ts';
import type { FunctionFacts, TypeFacts, WorkFacts } from '../../src/doctor/function-facts.ts';
import { judgeHistories } from '../../src/doctor/histories.ts';
import { judgeFunctions } from '../../src/doctor/judge-functions.ts';
import { judgeServer } from '../../src/doctor/judge-server.ts';
import { judgeMemory, judgePersistence } from '../../src/doctor/judge-storage.ts';
import { judgeTypes } from '../../src/doctor/judge-types.ts';
import { judgeLosses, judgeOutboxes } from '../../src/doctor/ledgers.ts';
import { judgeSchemas } from '../../src/doctor/schemas.ts';
import type { NodeFacts } from '../../src/doctor/server-facts.ts';
import { shellWord } from '../../src/doctor/shell-word.ts';
import { judgeParked } from '../../src/doctor/subjects.ts';
import { judgeTimes } from '../../src/doctor/times.ts';
import { judgeUnopened } from '../../src/doctor/unopened.ts';

const cli = (_node: unknown, command: string): string => `redis-cli ${command}`;
const MB = 1024 * 1024;

/** Returns `<severity> <code>` of each finding but the plain facts. */
function told(found: readonly Diagnosis[]): string[] {
  return found
    .filter(({ cure, code }) => cure !== null || code === 'unknown')
    .map(({ severity, code }) => `${severity} ${code}`);
}

function node(info: Record<string, string | number>, settings: Record<string, string> = {}) {
  const texts = Object.entries(info).map(([name, value]) => [name, String(value)] as const);
  return {
    node: 'a:1',
    info: new Map(texts),
    settings: new Map(Object.entries(settings)),
    disk: null,
  } satisfies NodeFacts;
}

const denied: NodeFacts = { node: 'a:1', info: null, settings: new Map(), disk: null };
const disk = (freeBytes: number): NodeFacts => ({
  ...node({ aof_enabled: 1, aof_current_size: 10 * MB }),
  disk: { dir: '/data', freeBytes, totalBytes: 1000 * MB },
});

t.test('persistence', async (t) => {
  const cases: [string, NodeFacts, string[]][] = [
    ['denied', denied, ['info unknown']],
    ['on', node({ aof_enabled: 1 }, { appendfsync: 'everysec' }), []],
    ['no fsync', node({ aof_enabled: 1 }, { appendfsync: 'no' }), ['warning fsync-no']],
    ['snapshots', node({ aof_enabled: 0 }, { save: '3600 1' }), ['warning persistence-snapshots']],
    ['CONFIG denied', node({ aof_enabled: 0 }), ['warning persistence-snapshots']],
    ['nothing', node({ aof_enabled: 0 }, { save: '' }), ['warning persistence-none']],
    [
      'a write failed',
      node({ aof_enabled: 1, aof_last_write_status: 'err' }),
      ['error aof-failing'],
    ],
    [
      'a rewrite failed',
      node({ aof_enabled: 1, aof_last_write_status: 'ok', aof_last_bgrewrite_status: 'err' }),
      ['warning aof-failing'],
    ],
    [
      'a snapshot failed, and nobody minds',
      node(
        { aof_enabled: 1, rdb_last_bgsave_status: 'err' },
        { 'stop-writes-on-bgsave-error': 'no', save: '60 1' },
      ),
      ['warning snapshot-failing'],
    ],
    [
      'a snapshot failed',
      node({ aof_enabled: 1, rdb_last_bgsave_status: 'err' }),
      ['error snapshot-failing'],
    ],
    ['room', disk(500 * MB), []],
    ['little room', disk(90 * MB), ['warning disk-low']],
    ['no room', disk(5 * MB), ['error disk-low']],
  ];
  for (const [name, facts, wanted] of cases)
    t.strictSame(told(judgePersistence(facts, 'u', cli)), wanted, name);
});

t.test('memory', async (t) => {
  const memory = (used: number, maxmemory: number, system = 1000): NodeFacts =>
    node({ used_memory: used * MB, maxmemory: maxmemory * MB, total_system_memory: system * MB });
  const cases: [string, NodeFacts, string[]][] = [
    ['denied', denied, ['info unknown']],
    ['half', memory(50, 100), []],
    ['much', memory(80, 100), ['warning memory-low']],
    ['nearly all', memory(95, 100), ['error memory-low']],
    ['no limit', memory(50, 0), ['info memory-unlimited']],
    ['no limit, and the machine is full', memory(800, 0), ['warning memory-low']],
    ['no limit, and no size of the machine', memory(800, 0, 0), ['info memory-unlimited']],
  ];
  for (const [name, facts, wanted] of cases)
    t.strictSame(told(judgeMemory(facts, 'u', cli)), wanted, name);
  t.match(judgeMemory(memory(95, 100), 'u', cli)[1]?.command, `maxmemory ${200 * MB}`);
});

t.test('the server', async (t) => {
  const plain = {
    node: 'a:1',
    flavor: 'redis',
    version: '7.0.15',
    role: 'master',
    replicas: 0,
    maxmemoryPolicy: 'noeviction',
  } as const;
  const masters = new Map<string, never>();
  const judged = (changes: object, refusals: string[] = []): string[] =>
    told(
      judgeServer(
        {
          mode: 'standalone',
          nodes: [{ ...plain, ...changes }],
          url: 'redis://a:1',
          masters,
          refusals,
        },
        cli,
      ),
    );
  t.strictSame(judged({}), []);
  t.strictSame(judged({ maxmemoryPolicy: null }), []);
  t.strictSame(judged({ role: 'replica' }), ['error server-replica']);
  t.strictSame(judged({ version: '6.2.1' }), ['error server-old']);
  t.strictSame(judged({ maxmemoryPolicy: 'volatile-ttl' }), ['error memory-policy']);
  t.strictSame(judged({}, ['the server is a node of a Redis Cluster: name several']), [
    'error server-unfit',
  ]);
});

t.test('clock and latency', async (t) => {
  const judged = (aheadMs: number | null, roundTripsMs: number[]): string[] =>
    told(judgeTimes({ aheadMs, errorMs: 1, roundTripsMs }, 'u', cli));
  t.strictSame(judged(3, [1, 1, 2]), []);
  t.strictSame(judged(null, [1, 1, 2]), ['info unknown']);
  t.strictSame(judged(-5000, [1]), ['warning clock-skewed']);
  t.strictSame(judged(3_600_000, [1]), ['error clock-skewed']);
  t.strictSame(judged(0, [30, 30, 30]), ['warning latency-high']);
  t.strictSame(judged(0, [1, 1, 900]), ['warning latency-high']);
  t.match(
    judgeTimes({ aheadMs: 5000, errorMs: 4990, roundTripsMs: [1] }, 'u', cli)[0],
    { code: 'clock' },
    'a slow answer proves no difference',
  );
});

const idle: FunctionFacts = {
  name: 'f',
  types: ['a.b'],
  members: ['d-1'],
  lanes: [],
  lag: 0,
  pending: 0,
  parked: 0,
  letters: 0,
  oldestMs: null,
  conserved: true,
  appended: 0,
};
const fine = { partition: 3, owned: true, setup: null, deaths: 0, groupless: [] };
const type = (changes: Partial<TypeFacts> = {}): TypeFacts => ({
  type: 'a.b',
  appended: 10,
  kept: 10,
  readers: ['f'],
  foreign: [],
  limits: { maxAgeMs: 1000 },
  backlog: null,
  ...changes,
});
const work = (functions: FunctionFacts[], types: TypeFacts[] = []): WorkFacts => ({
  nowMs: 0,
  partitions: 4,
  functions,
  types,
  unserved: [],
});

t.test('functions', async (t) => {
  const judged = (changes: Partial<FunctionFacts>): string[] =>
    told(judgeFunctions(work([{ ...idle, ...changes }])));
  const lane = (changes: object): Partial<FunctionFacts> => ({ lanes: [{ ...fine, ...changes }] });
  t.strictSame(judged({}), []);
  t.strictSame(judged({ members: [] }), ['warning function-unserved']);
  t.strictSame(judged({ members: [], lag: 1 }), ['error function-unserved']);
  t.strictSame(judged({ members: [], lag: 1, name: 'v@2' }), ['info function-unserved']);
  t.strictSame(judged({ members: [], types: [], letters: 2 }), ['warning dead-letters']);
  t.strictSame(judged(lane({ owned: false })), ['warning lanes-unowned']);
  t.strictSame(judged({ ...lane({ owned: false }), lag: 1, oldestMs: 90_000 }), [
    'error lanes-unowned',
  ]);
  t.strictSame(judged(lane({ deaths: 3 })), ['warning owners-died']);
  t.strictSame(judged(lane({ setup: { error: 'x', sinceMs: 1 } })), ['error setup-failing']);
  t.strictSame(judged(lane({ groupless: ['a.b'] })), ['error group-missing']);
  t.strictSame(judged({ conserved: false }), ['error counts-differ']);
});

t.test('event types and limits', async (t) => {
  const judged = (types: TypeFacts[], functions = [idle]): string[] =>
    told(judgeTypes(work(functions, types), cli));
  t.strictSame(judged([type()]), []);
  t.strictSame(judged([type({ readers: [] })]), ['warning type-unread']);
  t.strictSame(judged([type({ readers: [], kept: 0 })]), []);
  t.strictSame(judged([type({ appended: 0, kept: 0, limits: null })]), ['info type-silent']);
  t.strictSame(judged([type({ foreign: [{ group: 'g', stream: 's' }] })]), ['info group-foreign']);
  t.strictSame(judged([type({ limits: null })]), ['warning limits-none']);
  t.strictSame(judged([type({ limits: { maxBacklog: 5 } })]), ['warning limits-none']);
  const other = type({ type: 'c.d', limits: null });
  t.strictSame(judged([type(), other]), ['info limit-missing']);
  t.strictSame(judged([type(), { ...other, kept: 5e6 }]), ['warning limit-missing']);
  const above = type({ kept: 9000, limits: { maxEvents: 1000 } });
  t.strictSame(judged([above], [{ ...idle, lag: 8000 }]), ['warning retention-held']);
  const [, held] = judgeTypes(work([{ ...idle, lag: 8000 }], [above]), cli);
  t.match(held, { evidence: /f is 8,000 events behind/, command: null }, 'a removal is no cure');
  const [, gone] = judgeTypes(work([{ ...idle, lag: 8000, members: [] }], [above]), cli);
  t.match(gone, { cure: /millrace functions remove f/, command: 'millrace start' });
  const backlog = { fn: 'f', partition: 3, events: 6047, limit: 1000, served: true };
  t.strictSame(judged([type({ backlog })]), ['warning backlog-beyond']);
  t.strictSame(judged([type({ backlog: { ...backlog, events: 1000 } })]), []);
  const [, beyond] = judgeTypes(work([idle], [type({ backlog })]), cli);
  t.match(beyond?.evidence, /f is 6,047 events behind in partition 3, .* 1,000/);
  const [, alone] = judgeTypes(work([idle], [type({ limits: { maxBacklog: 5 } })]), cli);
  t.match(alone, {
    problem: /no event type has a limit of age or number/i,
    evidence: /1 type with max-backlog alone/,
  });
  const limitsNone = judgeTypes(work([], [type({ limits: null }), { ...other, kept: 99 }]), cli);
  t.match(limitsNone.at(-1)?.command, /^millrace limits c\.d --max-age 7d/, 'the largest first');
});

t.test('parked subjects', async (t) => {
  const lane = {
    fn: 'f',
    partition: 0,
    parked: 1,
    scheduled: 1,
    overdue: 0,
    held: 0,
    holders: [],
    never: [],
  };
  const judged = (changes: object): string[] => told(judgeParked([lane, { ...lane, ...changes }]));
  t.strictSame(judged({}), []);
  t.strictSame(judged({ overdue: 2 }), ['warning subjects-overdue']);
  t.strictSame(judged({ never: ['s'] }), ['error subjects-wedged']);
  t.strictSame(judged({ scheduled: 0 }), ['error subjects-wedged']);
  t.strictSame(judged({ held: 2, holders: [] }), ['warning subjects-held']);
  const [held] = judgeParked([{ ...lane, held: 1, holders: [{ unit: 's', letter: "f/0/1-0'" }] }]);
  t.equal(held?.command, `millrace dlq replay 'f/0/1-0'\\'''`, 'a word of the shell');
});

t.test('the rest', async (t) => {
  const history = { category: 'c', partition: 0, histories: 9, looked: 9 };
  const longest = (events: number, snapshot = false): Diagnosis[] =>
    judgeHistories([{ ...history, longest: { id: 'x', events, snapshot } }]);
  t.strictSame(told(longest(9999)), []);
  t.strictSame(told(longest(10_000)), ['warning history-big']);
  t.strictSame(told(longest(1_000_000)), ['error history-big']);
  t.strictSame(told(longest(1_000_000, true)), ['info history-big']);

  const schema = { type: 'a.b', level: 'FULL', findings: [] };
  t.strictSame(told(judgeSchemas([{ ...schema, state: 'registered' }], 'production')), []);
  t.strictSame(told(judgeSchemas([{ ...schema, state: 'new' }], 'production')), [
    'error schema-unregistered',
  ]);
  t.strictSame(told(judgeSchemas([{ ...schema, state: 'refused' }], 'development')), [
    'error schema-incompatible',
  ]);

  const outbox = { partition: 0, entries: 1, bytes: 1, targets: [] };
  t.strictSame(told(judgeOutboxes([{ ...outbox, oldestMs: 1000 }])), []);
  t.strictSame(told(judgeOutboxes([{ ...outbox, oldestMs: 61_000 }])), ['error outbox-stuck']);
  const last = { kind: 'group', atMs: 1e12, message: 'm' };
  t.strictSame(told(judgeLosses([{ partition: 0, losses: 2, last }])), ['warning losses']);

  t.throws(() => judgeUnopened(new TypeError('a bug')), TypeError, 'a bug stays a bug');
  const info: Diagnosis = { ...(longest(1_000_000, true)[0] as Diagnosis) };
  const error: Diagnosis = { ...info, severity: 'error' };
  t.strictSame(bySeverity([info, error]), [error, info]);
  t.equal(someOf(['a', 'b', 'c'], 2), 'a, b and 1 more');
  t.equal(shellWord('a b'), "'a b'");
});
