/**
 * The checker lets pass everything that a fault explains, and no more. The histories are made up,
 * as in checker.test.ts.
 */
import t from 'tap';
import { check } from '../../src/torture/checker.ts';
import type { Op, Rule, RunRecord } from '../../src/torture/run-record.ts';
import { h, handledAgain, late, LATER, once, TWICE } from './made-up-deliveries.ts';
import {
  emission,
  end,
  event,
  GOOD,
  handler,
  insert,
  OPS,
  rulesOf,
  without,
  X1,
} from './made-up-history.ts';

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

t.test('a clock that goes back explains late retries, and no other repair', (t) => {
  const late = 'wedged, partition 3: a parked subject had no reason to wait (late): s1';
  const other = 'wedged, partition 3: a parked subject had no reason to wait (unscheduled): s1';
  const judge = (clockGoesBack: boolean, repairs: string[]): Rule[] =>
    rulesOf({ ...end({ repairs }), allowed: { ...GOOD.allowed, clockGoesBack } });
  t.strictSame(judge(true, [late]), []);
  t.strictSame(judge(true, [late, other]), ['repair']);
  t.strictSame(judge(false, [late]), ['repair']);
  t.end();
});

t.test('a clock that goes back: an id with the time of an older entry tells no time', (t) => {
  const judge = (clockGoesBack: boolean, number: number): Rule[] =>
    rulesOf({
      ...LATER,
      ops: insert(16, ...late(99, number)),
      allowed: { ...GOOD.allowed, clockGoesBack },
    });
  t.strictSame(judge(true, 1), []);
  t.strictSame(judge(true, 0), ['schedule']);
  t.strictSame(judge(false, 1), ['schedule']);
  t.end();
});
