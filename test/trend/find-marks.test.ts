/** Marks between two looks: each stands for a difference, and no look makes a mark twice. */
import t from 'tap';
import type { AlertRecord } from '../../src/alerts/alert-record.ts';
import type { FunctionLag, LagReport } from '../../src/lag/lag.ts';
import { FAREWELL_MS, type Presence } from '../../src/pipeline/ownership/presence.ts';
import { findMarks } from '../../src/trend/find-marks.ts';
import { packKnown, unpackKnown, type Known } from '../../src/trend/known-state.ts';
import { packMark, unpackMark, MARK_FIELDS, type Mark } from '../../src/trend/mark.ts';
import { masterOf, type RedisMaster } from '../../src/trend/redis-master.ts';
import type { TrendFacts } from '../../src/trend/trend-facts.ts';
import { MOST_TREND_FUNCTIONS } from '../../src/trend/trend-times.ts';

const START_MS = Date.UTC(2026, 10, 29, 12);
const MINUTE_MS = 60_000;

/** Facts of a deployment in which nothing happens. */
const QUIET: TrendFacts = {
  nowMs: START_MS,
  lag: { functions: [] },
  appended: 0,
  dispatchers: new Map(),
  registered: { subjects: new Map(), fresh: [] },
  masters: [],
  changes: { changes: [], last: '5-0' },
  losses: { losses: [], last: ['0-0'] },
  alerts: [],
};

/** Looks, one a minute. Each goes on from the state that the one before has left in Redis. */
function looks(): (facts: Partial<TrendFacts>, afterMs?: number) => readonly Mark[] {
  let known: Known | null = null;
  let nowMs = START_MS;
  return (facts, afterMs = MINUTE_MS) => {
    nowMs += afterMs;
    const found = findMarks(known, { ...QUIET, nowMs, ...facts });
    known = unpackKnown(packKnown(found.known));
    return found.marks;
  };
}

function lagOf(...names: string[]): LagReport {
  return { functions: names.map((name) => ({ name, types: [] }) as unknown as FunctionLag) };
}

function presence(dispatcher: string, functions: Record<string, string>): [string, Presence] {
  const rest = { version: '1', upMs: 1, threads: 1, busy: 0, queued: 0, lanes: 1, rssBytes: 1 };
  return [dispatcher, { dispatcher, ...rest, threadDeaths: 0, functions }];
}

const texts = (marks: readonly Mark[]): string[] => marks.map(({ text }) => text);

t.test('the first look makes no mark, and neither does a look without a change', (t) => {
  const look = looks();
  const facts: Partial<TrendFacts> = {
    lag: lagOf('mail'),
    dispatchers: new Map([presence('d-1', { mail: 'v1' })]),
    registered: { subjects: new Map([['a.b', 2]]), fresh: [] },
    masters: [master('a', 'run-1')],
    alerts: [alert('died', START_MS)],
  };
  t.strictSame(look(facts), []);
  t.strictSame(look(facts), []);
  t.end();
});

t.test('a deploy: new versions, new functions, functions that are gone', (t) => {
  const look = looks();
  const run = (names: string[], ...presences: [string, Presence][]) =>
    look({ lag: lagOf(...names), dispatchers: new Map(presences) });
  const [old, fresh] = [{ mail: 'v1' }, { mail: 'v2' }];
  run(['mail'], presence('d-1', old), presence('d-2', old));
  t.match(run(['mail'], presence('d-1', old), presence('d-2', fresh)), [
    { kind: 'deploy', function: 'mail', text: 'mail runs version v2 after v1', from: 'presence' },
  ]);
  t.strictSame(run(['mail'], presence('d-1', fresh), presence('d-2', fresh)), [], 'once');
  t.match(
    run(['mail'], presence('d-1', old), presence('d-2', fresh)),
    [{ text: 'mail runs version v1 after v2' }],
    'a rollback',
  );
  t.match(
    run(['mail', 'bill'], presence('d-1', { mail: 'v1', bill: 'b1' }), presence('d-2', fresh)),
    [{ kind: 'deploy', function: 'bill', text: 'bill is a new function, version b1' }],
  );
  t.match(run(['bill'], presence('d-1', { bill: 'b1' }), presence('d-2', { bill: 'b1' })), [
    { kind: 'deploy', function: 'mail', text: /^mail is gone/ },
  ]);
  t.end();
});

t.test('a presence that is missing for a moment is no deploy', (t) => {
  const look = looks();
  const [one, two] = [presence('d-1', { mail: 'v1' }), presence('d-2', { mail: 'v2' })];
  const run = (dispatchers: Map<string, Presence | 'silent'>) =>
    look({ lag: lagOf('mail'), dispatchers });
  run(new Map([one, two]));
  t.strictSame(run(new Map<string, Presence | 'silent'>([['d-1', 'silent'], two])), []);
  t.strictSame(run(new Map([one, two])), []);
  t.end();
});

t.test('versions stay known while nobody runs the function', (t) => {
  const look = looks();
  const run = (...presences: [string, Presence][]) =>
    look({ lag: lagOf('mail'), dispatchers: new Map(presences) });
  run(presence('d-1', { mail: 'v1' }));
  run();
  run();
  t.match(
    run(presence('d-2', { mail: 'v2' })).filter(({ kind }) => kind === 'deploy'),
    [{ text: 'mail runs version v2 after v1' }],
  );
  t.end();
});

t.test('many changes at once are one mark', (t) => {
  const look = looks();
  const names = Array.from({ length: 37 }, (_, i) => `f${String(i).padStart(2, '0')}`);
  const run = (version: string) => {
    const functions = Object.fromEntries(names.map((name) => [name, version]));
    return look({ lag: lagOf(...names), dispatchers: new Map([presence('d', functions)]) });
  };
  run('v1');
  t.match(run('v2'), { length: 1 });
  t.strictSame(texts(run('v3')), [
    '37 functions run new versions: f00, f01, f02, f03, f04 and 32 more',
  ]);
  t.end();
});

t.test('functions beyond the bound: they have no trend, and are not new later', (t) => {
  const names = Array.from({ length: MOST_TREND_FUNCTIONS + 2 }, (_, i) => `f${1000 + i}`);
  const first = findMarks(null, { ...QUIET, lag: lagOf(...names) });
  t.equal(first.known.functions?.size, MOST_TREND_FUNCTIONS);
  t.equal(first.known.untracked, 2);
  const rest = names.slice(1);
  const next = findMarks(first.known, { ...QUIET, lag: lagOf(...rest) });
  t.strictSame(texts(next.marks), ['f1000 is gone: removed, or its counters are lost']);
  t.equal(next.known.functions?.size, MOST_TREND_FUNCTIONS);
  t.equal(next.known.untracked, 1);
  t.end();
});

t.test('dispatchers come, stop and die', (t) => {
  const look = looks();
  const [one, two] = [presence('d-1', {}), presence('d-2', {})];
  look({ dispatchers: new Map([one]) });
  t.strictSame(texts(look({ dispatchers: new Map([one, two]) })), ['dispatcher d-2 has come']);
  t.strictSame(
    texts(look({ dispatchers: new Map<string, Presence | 'left'>([one, ['d-2', 'left']]) })),
    ['dispatcher d-2 has stopped'],
  );
  t.strictSame(look({ dispatchers: new Map([one]) }), [], 'its farewell is gone');
  t.strictSame(look({ dispatchers: new Map() }), [], 'a stall of Redis may have hidden it');
  const [died, ...more] = look({ dispatchers: new Map() });
  t.match(died, { kind: 'dispatcher', text: 'dispatcher d-1 has died' });
  t.equal(died?.atMs, START_MS + 5 * MINUTE_MS, 'the time at which it was missing first');
  t.strictSame(more, []);
  t.strictSame(look({ dispatchers: new Map() }), [], 'once');
  t.end();
});

t.test('a dispatcher that a stall has hidden is back without marks', (t) => {
  const look = looks();
  const one = presence('d-1', {});
  look({ dispatchers: new Map([one]) });
  look({ dispatchers: new Map() });
  t.strictSame(look({ dispatchers: new Map([one]) }), []);
  t.end();
});

t.test('after a long pause of the looks nobody is called dead', (t) => {
  const look = looks();
  look({ dispatchers: new Map([presence('d-1', {})]) });
  look({ dispatchers: new Map() }, FAREWELL_MS);
  t.strictSame(texts(look({ dispatchers: new Map() }, FAREWELL_MS)), ['dispatcher d-1 is gone']);
  t.end();
});

t.test('schemas', (t) => {
  const look = looks();
  look({});
  const details = { id: '77', by: 'anna@laptop', atMs: START_MS + 5 };
  const fresh = [{ subject: 'a.b', version: 2, details }];
  t.match(look({ registered: { subjects: new Map([['a.b', 2]]), fresh } }), [
    {
      atMs: START_MS + 5,
      kind: 'schema',
      type: 'a.b',
      text: 'a.b has version 2 (id 77), registered by anna@laptop',
      from: 'registry',
    },
  ]);
  t.end();
});

function change(entryId: string, action: string, target: string, more: object = {}) {
  return {
    entryId,
    id: entryId,
    atMs: Number(entryId.split('-')[0]),
    endedMs: null,
    who: 'anna',
    via: 'cli',
    action,
    target,
    wanted: null,
    before: null,
    after: null,
    data: null,
    outcome: 'done' as const,
    error: null,
    ...more,
  };
}

t.test('changes of operators', (t) => {
  const look = looks();
  look({});
  const changes = [
    change('10-0', 'rewind', 'mail', { wanted: { to: '2026-11-01', force: false } }),
    change('11-0', 'dlq replay', 'mail', { wanted: { ids: [], function: 'mail' } }),
    change('12-0', 'dlq purge', 'a.b', {
      wanted: { type: 'a.b' },
      outcome: 'failed',
      error: 'Redis is away',
    }),
    change('13-0', 'limits set', 'a.b'),
    change('14-0', 'schema register', 'a.b'),
    change('15-0', 'POST', '/subjects/a.b/versions'),
    change('16-0', 'dlq replay', '1/2-3'),
    change('17-0', 'dlq replay', '1/2-3'),
  ];
  t.match(look({ changes: { changes, last: '17-0' } }), [
    {
      atMs: 10,
      kind: 'rewind',
      function: 'mail',
      text: 'anna: rewind mail to 2026-11-01',
      from: 'audit 10-0',
    },
    { kind: 'replay', function: 'mail', text: 'anna: dlq replay mail' },
    {
      kind: 'purge',
      function: null,
      type: 'a.b',
      text: 'anna: dlq purge a.b: it failed (Redis is away)',
    },
    { kind: 'change', type: 'a.b', text: 'anna: limits set a.b' },
    { kind: 'replay', function: null, text: 'anna: dlq replay 1/2-3, 2 times' },
  ]);
  const many = Array.from({ length: 30 }, (_, i) => change(`${20 + i}-0`, 'rewind', `f${i}`));
  t.match(look({ changes: { changes: many, last: '49-0' } }), [
    { kind: 'change', text: 'operators have made 30 changes: millrace audit lists them' },
  ]);
  t.end();
});

t.test('losses', (t) => {
  const look = looks();
  look({});
  const loss = (id: string, kind: 'entries' | 'group', fn: string) => ({
    id,
    partition: 3,
    atMs: Number(id.split('-')[0]),
    kind,
    function: fn,
    from: '',
    to: '',
    count: 1,
    message: 'entries vanished',
  });
  const losses = [loss('7-0', 'entries', 'mail'), loss('8-0', 'entries', 'mail')];
  t.match(look({ losses: { losses, last: ['8-0'] } }), [
    {
      atMs: 7,
      kind: 'loss',
      function: 'mail',
      text: 'entries: entries vanished (and 1 more of this kind)',
      from: 'losses 3/7-0',
    },
  ]);
  const many = Array.from({ length: 8 }, (_, i) => loss(`${20 + i}-0`, 'group', `f${i}`));
  t.match(look({ losses: { losses: many, last: ['27-0'] } }), [
    { kind: 'loss', function: null, text: /^8 losses were found \(group\)/ },
  ]);
  t.end();
});

function alert(
  name: string,
  firedMs: number | null,
  resolvedMs: number | null = null,
): AlertRecord {
  return {
    fingerprint: name,
    name,
    severity: 'critical',
    labels: { alertname: name, severity: 'critical', deployment: 'mr', function: 'mail' },
    summary: '',
    runbook: '',
    expression: 'dead_events > 0',
    figure: 'dead_events',
    state: firedMs === null ? 'pending' : resolvedMs === null ? 'firing' : 'resolved',
    pendingMs: START_MS,
    firedMs,
    resolvedMs,
    value: 1,
    told: {},
    worst: null,
  };
}

t.test('alerts fire and end, each once', (t) => {
  const look = looks();
  look({ alerts: [] });
  t.strictSame(look({ alerts: [alert('died', null)] }), [], 'pending');
  t.match(look({ alerts: [alert('died', 500)] }), [
    {
      atMs: 500,
      kind: 'alert',
      function: 'mail',
      text: 'alert died (critical, function mail) fires',
    },
  ]);
  t.strictSame(look({ alerts: [alert('died', 500)] }), []);
  t.match(look({ alerts: [alert('died', 500, 900)] }), [{ atMs: 900, text: /has ended$/ }]);
  t.strictSame(look({ alerts: [alert('died', 500, 900)] }), []);
  t.strictSame(look({ alerts: [] }), [], 'it is forgotten');
  t.match(
    look({ alerts: [alert('died', 1500, 1600)] }),
    [
      { atMs: 1500, text: /fires$/ },
      { atMs: 1600, text: /has ended$/ },
    ],
    'between two looks',
  );
  look({ alerts: [alert('died', 2000)] });
  t.match(look({ alerts: [] }), [{ text: /has ended$/ }], 'it is gone while it fires');
  t.end();
});

function master(node: string, runId: string, more: Partial<RedisMaster> = {}): RedisMaster {
  return {
    node,
    runId,
    version: '8.0.1',
    replId: `repl-${runId}`,
    formerReplId: '',
    upMs: 86_400_000,
    usedBytes: 1,
    limitBytes: 2,
    ...more,
  };
}

t.test('restart and failover of a single server', (t) => {
  const look = looks();
  const run = (...masters: RedisMaster[]) => texts(look({ masters }));
  run(master('a', 'r1'));
  t.strictSame(
    run(master('a', 'r2', { upMs: 5000, version: '8.2.0', formerReplId: 'repl-r1' })),
    ['Redis was restarted at a, version 8.2.0 (8.0.1 before)'],
    'a restarted master keeps the former identity of its data, too',
  );
  t.strictSame(run(master('a', 'r3', { formerReplId: 'repl-r2', version: '8.2.0' })), [
    'Redis has failed over: another server answers at a, version 8.2.0',
  ]);
  t.strictSame(
    run(master('127.0.0.1', 'r3', { version: '8.2.0' })),
    [],
    'another process may know the server by another address',
  );
  const restarted = { upMs: 5000, version: '8.2.0', formerReplId: 'repl-r3' };
  t.strictSame(run(master('b', 'r4', restarted)), ['Redis was restarted at b, version 8.2.0']);
  t.end();
});

t.test('failovers in a Cluster, and masters that come and go', (t) => {
  const look = looks();
  const run = (...masters: RedisMaster[]) => texts(look({ masters }));
  const [a, b] = [master('a', 'r1'), master('b', 'r2')];
  run(a, b);
  const heir = master('c', 'r3', { formerReplId: 'repl-r1' });
  t.strictSame(run(b, heir), ['Redis has failed over from a to c']);
  t.strictSame(run(b, heir), []);
  t.strictSame(run(b, heir, master('d', 'r4')), ['d is a master now']);
  t.strictSame(run(b, heir), ['d is no master any more']);
  t.strictSame(run(b, master('c', 'r5', { upMs: 1000, formerReplId: 'repl-r3' })), [
    'Redis was restarted at c, version 8.0.1',
  ]);
  t.end();
});

t.test('a part that cannot be read makes no marks, now and at its return', (t) => {
  const look = looks();
  const all: Partial<TrendFacts> = {
    lag: lagOf('mail'),
    dispatchers: new Map([presence('d-1', { mail: 'v1' })]),
    registered: { subjects: new Map([['a.b', 2]]), fresh: [] },
    masters: [master('a', 'r1')],
    alerts: [alert('died', 500)],
  };
  const nothing: TrendFacts = {
    nowMs: START_MS,
    lag: null,
    appended: null,
    dispatchers: null,
    registered: null,
    masters: null,
    changes: null,
    losses: null,
    alerts: null,
  };
  look(all);
  const { nowMs: _nowMs, ...unread } = nothing;
  t.strictSame(look(unread), []);
  t.strictSame(look(all), []);
  t.end();
});

t.test('INFO, as servers write it', (t) => {
  const info = [
    '# Server',
    'redis_version:7.2.4',
    'valkey_version:8.0.1',
    'run_id:abc',
    'uptime_in_seconds:61',
    '# Replication',
    'role:master',
    'master_replid:def',
    `master_replid2:${'0'.repeat(40)}`,
    '# Memory',
    'used_memory:1024',
    'maxmemory:0',
    'total_system_memory:4096',
    '',
  ].join('\r\n');
  t.strictSame(masterOf('h:1', info), {
    node: 'h:1',
    runId: 'abc',
    version: '8.0.1',
    replId: 'def',
    formerReplId: '',
    upMs: 61_000,
    usedBytes: 1024,
    limitBytes: 4096,
  });
  t.end();
});

t.test('a mark is one line, and the same after Redis', (t) => {
  const mark: Mark = {
    atMs: START_MS,
    kind: 'loss',
    function: null,
    type: 'a.b',
    text: `one\ntwo ${'x'.repeat(500)}`,
    from: 'losses 1/2-3',
  };
  const flat = MARK_FIELDS.flatMap((field, i) => [field, packMark(mark)[i] as string]);
  const read = unpackMark(flat);
  t.match(read, { ...mark, text: /^one two x+$/ });
  t.equal(read?.text.length, 300);
  t.equal(unpackMark(['at', '1', 'kind', 'unknown']), null);
  t.equal(unpackMark(['at', 'x', 'kind', 'loss']), null);
  t.end();
});

t.test('a damaged part of the state costs itself only', (t) => {
  const { known } = findMarks(null, { ...QUIET, lag: lagOf('mail'), masters: [master('a', 'r1')] });
  for (const [part, text] of [
    ['functions', '[["mail",5]]'],
    ['masters', '[{}]'],
    ['alerts', '{'],
    ['audit', '"x"'],
    ['losses', '[5]'],
    ['dispatchers', '[[1,2]]'],
    ['subjects', '"a"'],
  ] as const) {
    const fields = packKnown(known).set(part, text);
    t.strictSame(unpackKnown(fields), { ...known, [part]: null }, part);
  }
  t.equal(unpackKnown(new Map()), null);
  t.end();
});
