/**
 * Tests every rule of the checker with a good history in which one thing is changed. The histories
 * are made up; test/chaos/bugs.test.ts has real runs.
 */
import t from 'tap';
import { nothingAllowed } from '../../src/torture/allowed.ts';
import { check } from '../../src/torture/checker.ts';
import {
  RULES,
  type CommitOp,
  type RecordedEmission,
  type HandlerOp,
  type RunRecord,
  type Op,
  type PublishedEvent,
  type Rule,
} from '../../src/torture/run-record.ts';

const handler = (
  what: HandlerOp['what'],
  number: number,
  more: Partial<HandlerOp> = {},
): HandlerOp => ({
  what,
  fn: 'f',
  id: `e${number}`,
  type: 'a',
  subject: 's',
  number,
  attempt: 1,
  position: `0/${number}-0/0`,
  pid: 10,
  thread: 1,
  ...(what === 'end' ? { applied: true } : {}),
  ...more,
});
const commit = (
  what: CommitOp['what'],
  serial: number,
  number: number,
  done: number,
  more: Partial<CommitOp> = {},
): CommitOp => ({
  what,
  fn: 'f',
  partition: 0,
  lease: 'mr:{0}:lease:f',
  epoch: 1,
  serial,
  pid: 10,
  ...(what === 'commit' ? { entries: [['a', `${number}-0`, done]] } : {}),
  ...more,
});
const event = (number: number, more: Partial<PublishedEvent> = {}): PublishedEvent => ({
  id: `e${number}`,
  type: 'a',
  subject: 's',
  number,
  fate: 'acknowledged',
  sentMs: 0,
  atMs: 0,
  innocent: true,
  ...more,
});

/**
 * e1 is done, e2 fails until it is dead, e3 is done. e1 has emitted x1, which g has handled. e2
 * would have emitted x2.
 */
const OPS: readonly Op[] = [
  handler('start', 1),
  handler('end', 1),
  commit('commit', 1, 1, 1),
  commit('committed', 1, 1, 1),
  handler('start', 2),
  handler('fail', 2),
  commit('commit', 2, 2, 0),
  commit('committed', 2, 2, 0),
  handler('start', 2, { attempt: 2 }),
  handler('fail', 2, { attempt: 2 }),
  handler('start', 3),
  handler('end', 3),
  commit('commit', 3, 3, 1),
  commit('committed', 3, 3, 1),
  handler('start', 1, { fn: 'g', id: 'x1', type: 'b', subject: 'to/s' }),
  handler('end', 1, { fn: 'g', id: 'x1', type: 'b', subject: 'to/s' }),
];
const emission = (number: number, innocent: boolean): RecordedEmission => ({
  fn: 'f',
  cause: `e${number}`,
  id: `x${number}`,
  type: 'b',
  subject: 'to/s',
  number,
  innocent,
});
const X1 = { id: 'x1', cause: 'e1' } as const;

const GOOD: RunRecord = {
  ops: OPS,
  events: [event(1), event(2, { innocent: false }), event(3)],
  functions: [
    { name: 'f', on: ['a'], ordering: 'key', attempts: 2, batch: false },
    { name: 'g', on: ['b'], ordering: 'key', attempts: 2, batch: false },
  ],
  emissions: [emission(1, true), emission(2, true)],
  end: {
    functions: [
      {
        name: 'f',
        appended: 3,
        done: 2,
        skipped: 0,
        dead: 1,
        parked: 0,
        pending: 0,
        lag: 0,
        conserved: true,
      },
      {
        name: 'g',
        appended: 1,
        done: 1,
        skipped: 0,
        dead: 0,
        parked: 0,
        pending: 0,
        lag: 0,
        conserved: true,
      },
    ],
    letters: [{ fn: 'f', id: 'e2', kind: 'event', attempts: 2, events: 1, faithful: true }],
    folds: [{ fn: 'f', folded: 2, disordered: 0 }],
    emitted: [X1],
    appended: [],
    scheduled: 0,
    repairs: [],
    drainMs: 10,
    drainBoundMs: 1000,
    peakRssMb: 100,
    rssBoundMb: 200,
    leftBehind: 0,
  },
  allowed: nothingAllowed(),
};

const without = (...at: number[]): Op[] => OPS.filter((_, i) => !at.includes(i));
const insert = (at: number, ...ops: Op[]): Op[] => [...OPS.slice(0, at), ...ops, ...OPS.slice(at)];
const end = (more: Partial<RunRecord['end']>): RunRecord => ({
  ...GOOD,
  end: { ...GOOD.end, ...more },
});
const rulesOf = (history: RunRecord): Rule[] =>
  [...new Set(check(history).map((violation) => violation.rule))].sort();

t.test('a good history has no violation', (t) => {
  t.strictSame(check(GOOD), []);
  t.end();
});

/** Without order e2 came again after its group was lost, and died again. */
const diedTwice = (counted: number): RunRecord => ({
  ...end({
    letters: [...GOOD.end.letters, ...GOOD.end.letters],
    functions: [
      { ...(GOOD.end.functions[0] as RunRecord['end']['functions'][number]), dead: counted },
      GOOD.end.functions[1] as RunRecord['end']['functions'][number],
    ],
  }),
  functions: GOOD.functions.map((rules) => ({ ...rules, ordering: 'none' as const })),
  allowed: { ...GOOD.allowed, runsAgain: true },
});

t.test('an event that may die again is counted once or twice', (t) => {
  t.strictSame(check(diedTwice(1)), []);
  t.strictSame(check(diedTwice(2)), []);
  t.strictSame(rulesOf(diedTwice(0)), ['conservation']);
  t.strictSame(rulesOf(diedTwice(3)), ['conservation']);
  t.end();
});

/** h has `dedupe`. d1 was sent twice, handled at its first place and skipped at the second. */
const once = (what: HandlerOp['what'], entry: number, more: Partial<HandlerOp> = {}): HandlerOp =>
  handler(what, 1, { fn: 'h', id: 'd1', type: 'c', position: `0/${entry}-0/0`, ...more });
const TWICE: RunRecord = {
  ...GOOD,
  ops: insert(16, once('start', 21), once('end', 21)),
  events: [
    ...GOOD.events,
    event(1, { id: 'd1', type: 'c' }),
    event(1, { id: 'd1', type: 'c', again: true }),
  ],
  functions: [
    ...GOOD.functions,
    { name: 'h', on: ['c'], ordering: 'key', attempts: 2, batch: false, dedupe: true },
  ],
  end: {
    ...GOOD.end,
    functions: [
      ...GOOD.end.functions,
      {
        name: 'h',
        appended: 2,
        done: 2,
        skipped: 1,
        dead: 0,
        parked: 0,
        pending: 0,
        lag: 0,
        conserved: true,
      },
    ],
  },
};
const h = (more: Partial<RunRecord['end']['functions'][number]>): RunRecord => ({
  ...TWICE,
  end: {
    ...TWICE.end,
    functions: TWICE.end.functions.map((fn) => (fn.name === 'h' ? { ...fn, ...more } : fn)),
  },
});
const handledAgain = (more: Partial<HandlerOp>): readonly Op[] => [
  ...TWICE.ops,
  once('start', 22, more),
  once('end', 22, { applied: false, ...more }),
];

/** k's events are scheduled: l1 is due at 100 ms and is appended at 120 ms. */
const late = (ms: number): Op[] =>
  (['start', 'end'] as const).map((what) =>
    handler(what, 1, { fn: 'k', id: 'l1', type: 'd', position: `0/${ms}-0/0` }),
  );
const LATER: RunRecord = {
  ...GOOD,
  ops: insert(16, ...late(120)),
  events: [...GOOD.events, event(1, { id: 'l1', type: 'd', dueMs: 100 })],
  functions: [
    ...GOOD.functions,
    { name: 'k', on: ['d'], ordering: 'none', attempts: 2, batch: false },
  ],
  end: {
    ...GOOD.end,
    appended: ['l1'],
    functions: [
      ...GOOD.end.functions,
      {
        name: 'k',
        appended: 1,
        done: 1,
        skipped: 0,
        dead: 0,
        parked: 0,
        pending: 0,
        lag: 0,
        conserved: true,
      },
    ],
  },
};

t.test('events that are sent again, and scheduled ones: good histories', (t) => {
  t.strictSame(check(TWICE), []);
  t.strictSame(check(LATER), []);
  t.strictSame(
    check({
      ...LATER,
      ops: insert(16, ...late(90)),
      events: LATER.events.map((e) => (e.id === 'l1' ? { ...e, dueMs: null } : e)),
    }),
    [],
    'nobody was told when it is due',
  );
  t.strictSame(
    check({
      ...GOOD,
      events: GOOD.events.map((e) => (e.id === 'e3' ? { ...e, immortal: true } : e)),
    }),
    [],
  );
  t.end();
});

t.test('what a fault explains of events that are sent again is let pass', (t) => {
  const back = { ...TWICE.allowed, stateGoesBack: true };
  t.strictSame(
    rulesOf({ ...TWICE, ops: handledAgain({ pid: 11 }), allowed: back }),
    [],
    'Redis has forgotten that it was settled',
  );
  const lost: Op = { what: 'lease-lost', fn: 'h', partition: 0, pid: 10 };
  const rerun = [
    ...TWICE.ops,
    lost,
    once('start', 21, { pid: 11 }),
    once('end', 21, { pid: 11, applied: false }),
  ];
  t.strictSame(
    rulesOf({ ...TWICE, ops: rerun }),
    [],
    'it was not committed, and runs again at the same place',
  );
  t.strictSame(
    rulesOf({
      ...h({ skipped: 2, done: 3, appended: 3 }),
      allowed: { ...TWICE.allowed, runsAgain: true },
    }),
    [],
    'what comes again with its group is skipped',
  );
  t.strictSame(
    rulesOf({ ...h({ skipped: 2, done: 3, appended: 3 }), emissions: null }),
    [],
    "ids of what is emitted may be the user's",
  );
  t.end();
});

const BROKEN: readonly (readonly [what: string, rule: Rule, history: RunRecord])[] = [
  ['an event neither handled nor dead', 'lost', { ...GOOD, ops: without(10, 11, 12, 13) }],
  ['a letter that is gone', 'lost', end({ letters: [] })],
  ['a run of what nobody published', 'ghost', { ...GOOD, events: GOOD.events.slice(0, 2) }],
  ['an emitted event that is not there', 'emit lost', end({ emitted: [] })],
  [
    'an emitted event with another cause',
    'emit lost',
    end({ emitted: [{ id: 'x1', cause: 'e3' }] }),
  ],
  ['an emitted event that is there twice', 'emit twice', end({ emitted: [X1, X1] })],
  [
    'what an event that is dead would have emitted',
    'emit ghost',
    end({ emitted: [X1, { id: 'x2', cause: 'e2' }] }),
  ],
  [
    'what an event that nobody handled would have emitted',
    'emit ghost',
    { ...GOOD, ops: without(0, 1) },
  ],
  ['what nobody emits', 'emit ghost', end({ emitted: [X1, { id: 'x9', cause: 'e1' }] })],
  ['an emitted event neither handled nor dead', 'lost', { ...GOOD, ops: without(14, 15) }],
  [
    'an emitted event that was charged an attempt',
    'attempts',
    {
      ...GOOD,
      ops: insert(
        16,
        handler('start', 1, { fn: 'g', id: 'x1', type: 'b', subject: 'to/s', attempt: 2 }),
      ),
    },
  ],
  [
    'emitted events of a subject out of order',
    'order',
    {
      ...GOOD,
      emissions: [emission(1, true), { ...emission(3, true), subject: 'to/s' }],
      ops: insert(
        14,
        handler('start', 3, { fn: 'g', id: 'x3', type: 'b', subject: 'to/s' }),
        handler('end', 3, { fn: 'g', id: 'x3', type: 'b', subject: 'to/s' }),
      ),
    },
  ],
  [
    'books that do not balance',
    'conservation',
    end({
      functions: [
        { ...(GOOD.end.functions[0] as RunRecord['end']['functions'][number]), conserved: false },
      ],
    }),
  ],
  [
    'more counted than seen',
    'conservation',
    end({
      functions: [{ ...(GOOD.end.functions[0] as RunRecord['end']['functions'][number]), done: 3 }],
    }),
  ],
  [
    'an effect applied again',
    'applied twice',
    { ...GOOD, ops: insert(14, handler('start', 3, { pid: 11 }), handler('end', 3, { pid: 11 })) },
  ],
  [
    'a second success without a cause',
    'ran twice',
    { ...GOOD, ops: insert(14, handler('start', 3), handler('end', 3, { applied: false })) },
  ],
  [
    'a second success on another thread while the first one lives',
    'ran twice',
    {
      ...GOOD,
      ops: insert(
        2,
        handler('start', 1, { thread: 2 }),
        handler('end', 1, { thread: 2, applied: false }),
      ),
    },
  ],
  [
    'a later event before an earlier one',
    'order',
    {
      ...GOOD,
      ops: [OPS[10] as Op, OPS[11] as Op, ...OPS.slice(0, 10), OPS[12] as Op, OPS[13] as Op],
    },
  ],
  [
    'a later event before the last attempt of one that died',
    'order',
    { ...GOOD, ops: [...OPS.slice(0, 8), ...OPS.slice(10), OPS[8] as Op, OPS[9] as Op] },
  ],
  [
    'two calls for one subject at a time',
    'overlap',
    {
      ...GOOD,
      ops: [
        OPS[0] as Op,
        handler('start', 1, { pid: 11 }),
        ...OPS.slice(1),
        handler('end', 1, { pid: 11, applied: false }),
      ],
    },
  ],
  [
    'acknowledged before it was handled',
    'acknowledged early',
    { ...GOOD, ops: [OPS[2] as Op, OPS[0] as Op, OPS[1] as Op, ...OPS.slice(3)] },
  ],
  [
    'a commit of an older epoch after one of a newer',
    'fencing',
    {
      ...GOOD,
      ops: insert(
        14,
        commit('commit', 1, 3, 0, { pid: 11, epoch: 2 }),
        commit('committed', 1, 3, 0, { pid: 11, epoch: 2 }),
        commit('commit', 4, 3, 0),
        commit('committed', 4, 3, 0),
      ),
    },
  ],
  [
    'an attempt too many',
    'attempts',
    {
      ...GOOD,
      ops: insert(10, handler('start', 2, { attempt: 3 }), handler('fail', 2, { attempt: 3 })),
    },
  ],
  [
    'an innocent that was charged',
    'attempts',
    { ...GOOD, events: GOOD.events.map((e) => ({ ...e, innocent: true })) },
  ],
  [
    'two letters for one event',
    'dead letter',
    end({ letters: [...GOOD.end.letters, ...GOOD.end.letters] }),
  ],
  [
    'a letter with other bytes',
    'dead letter',
    end({ letters: GOOD.end.letters.map((letter) => ({ ...letter, faithful: false })) }),
  ],
  [
    'a row that holds an event twice',
    'applied twice',
    end({ folds: [{ fn: 'f', folded: 3, disordered: 0 }] }),
  ],
  ['a row that lacks an event', 'lost', end({ folds: [{ fn: 'f', folded: 1, disordered: 0 }] })],
  ['a row folded out of order', 'order', end({ folds: [{ fn: 'f', folded: 2, disordered: 1 }] })],
  ['an id handled at two places', 'dedupe', { ...TWICE, ops: handledAgain({}) }],
  [
    'an id handled at two places by two processes',
    'dedupe',
    { ...TWICE, ops: handledAgain({ pid: 11 }) },
  ],
  ['more skipped than was sent again', 'dedupe', h({ skipped: 2, done: 3, appended: 3 })],
  ['fewer done than were handled, and the rest skipped', 'conservation', h({ skipped: 2 })],
  [
    'a scheduled event that was appended twice',
    'schedule',
    { ...LATER, end: { ...LATER.end, appended: ['l1', 'l1'] } },
  ],
  [
    'a scheduled event that was appended early',
    'schedule',
    { ...LATER, ops: insert(16, ...late(99)) },
  ],
  ['a scheduled event neither handled nor dead', 'lost', { ...LATER, ops: OPS }],
  [
    'a dead event that fails for a time only',
    'attempts',
    { ...GOOD, events: GOOD.events.map((e) => (e.id === 'e2' ? { ...e, immortal: true } : e)) },
  ],
  [
    'books that the sweep had to set right',
    'repair',
    end({ repairs: ['counts, partition 0: parked was -1'] }),
  ],
  ['too much memory', 'memory', end({ peakRssMb: 201 })],
  ['parked lists left behind', 'memory', end({ leftBehind: 1 })],
  ['not settled in time', 'drain', end({ drainMs: null })],
];
for (const [what, rule, history] of BROKEN) {
  t.test(`caught: ${what}`, (t) => {
    t.ok(rulesOf(history).includes(rule), `${rulesOf(history).join(', ')}`);
    t.end();
  });
}

t.test('every rule has its case', (t) => {
  t.strictSame([...new Set(BROKEN.map(([, rule]) => rule))].sort(), [...RULES].sort());
  t.end();
});

t.test('what a fault explains is let pass', (t) => {
  const zombie = insert(
    2,
    handler('start', 1, { pid: 11 }),
    handler('end', 1, { pid: 11, applied: false }),
  );
  t.strictSame(
    rulesOf({ ...GOOD, ops: zombie }),
    [],
    'another process ran it again, one after the other',
  );
  const overlap = [
    OPS[0] as Op,
    handler('start', 1, { pid: 11 }),
    ...OPS.slice(1),
    handler('end', 1, { pid: 11, applied: false }),
  ];
  t.strictSame(
    rulesOf({ ...GOOD, ops: [...overlap, { what: 'lease-lost', fn: 'f', partition: 0, pid: 10 }] }),
    [],
    'the first one had lost its lease',
  );
  t.strictSame(
    rulesOf({ ...GOOD, ops: [{ what: 'fault', name: 'frozen', pid: 10 }, ...overlap] }),
    [],
    'or was stopped',
  );
  t.strictSame(
    rulesOf({
      ...GOOD,
      ops: without(10, 11, 12, 13),
      events: GOOD.events.slice(0, 2).concat(event(3, { fate: 'unknown' })),
      end: {
        ...GOOD.end,
        folds: [],
        functions: [
          { ...(GOOD.end.functions[0] as RunRecord['end']['functions'][number]), done: 1 },
        ],
      },
    }),
    [],
    'nobody was told that it is there',
  );
  const threads = insert(
    2,
    handler('start', 1, { thread: 2 }),
    handler('end', 1, { thread: 2, applied: false }),
  ).map((op, i) => (i > 3 && 'thread' in op ? { ...op, thread: 2 } : op));
  t.strictSame(
    rulesOf({ ...GOOD, ops: threads }),
    [],
    'its thread died before it was known to be done',
  );
  t.end();
});

t.test('what a fault explains of emitted events is let pass', (t) => {
  const allow = (
    allowed: Partial<RunRecord['allowed']>,
    more: Partial<RunRecord['end']>,
    events = GOOD.events,
  ): Rule[] => rulesOf({ ...end(more), events, allowed: { ...GOOD.allowed, ...allowed } });
  t.strictSame(
    allow({ missing: new Set(['e1']) }, { emitted: [] }),
    [],
    'lost together with its cause',
  );
  t.strictSame(
    allow({ missing: new Set(['e1']) }, { emitted: [X1, X1] }),
    ['emit twice'],
    'but not doubled',
  );
  t.strictSame(
    allow({ missing: new Set(['e3']), stateGoesBack: true }, { emitted: [] }),
    ['emit lost'],
    'nor lost for another one',
  );
  const unknown = [event(1, { fate: 'unknown' }), ...GOOD.events.slice(1)];
  t.strictSame(
    allow({ stateGoesBack: true }, { emitted: [] }, unknown),
    [],
    'gone with a cause that nobody was told of',
  );
  t.strictSame(
    allow({}, { emitted: [] }, unknown),
    ['emit lost'],
    'which is gone only where Redis forgets',
  );
  t.strictSame(
    allow({ relayed: new Set(['x1']) }, { emitted: [X1, X1] }),
    [],
    'relayed twice between servers of which one forgot',
  );
  t.strictSame(allow({ relayed: new Set(['x1']) }, { emitted: [] }), [], 'or not');
  t.strictSame(
    allow({ relayed: new Set(['x2']) }, { emitted: [X1, { id: 'x2', cause: 'e2' }] }),
    ['emit ghost', 'lost'],
    'but never for an event that is dead',
  );
  const late = {
    ...GOOD,
    emissions: [emission(1, true), emission(3, true)],
    allowed: { ...GOOD.allowed, replayed: new Set(['f e1']) },
  };
  const third = insert(
    14,
    handler('start', 3, { fn: 'g', id: 'x3', type: 'b', subject: 'to/s' }),
    handler('end', 3, { fn: 'g', id: 'x3', type: 'b', subject: 'to/s' }),
  );
  const functions = GOOD.end.functions.map((fn) =>
    fn.name === 'g' ? { ...fn, appended: 2, done: 2 } : fn,
  );
  t.strictSame(
    rulesOf({
      ...late,
      ops: third,
      end: { ...GOOD.end, functions, emitted: [X1, { id: 'x3', cause: 'e3' }] },
    }),
    [],
    'behind later ones, because its cause was dead and replayed',
  );
  const stranger = [X1, { id: 'y1', cause: 'foreign' }];
  t.strictSame(
    allow({ foreign: true }, { emitted: stranger }),
    [],
    'emitted because of what somebody else has published',
  );
  t.strictSame(
    allow({}, { emitted: stranger }),
    ['emit ghost'],
    'where there is nobody else, it is not',
  );
  t.strictSame(
    allow({ foreign: true }, { emitted: [X1, { id: 'x9', cause: 'e1' }] }),
    ['emit ghost'],
    'nor is what an event of ours never emits',
  );
  t.strictSame(
    rulesOf({ ...GOOD, emissions: null }),
    [],
    'nobody knows what the functions emit: what is in the streams is no ghost',
  );
  t.end();
});
