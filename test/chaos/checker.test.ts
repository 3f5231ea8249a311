/**
 * Tests every rule of the checker with a good history in which one thing is changed. The histories
 * are made up; test/chaos/bugs.test.ts has real runs.
 */
import t from 'tap';
import { check } from '../../src/torture/checker.ts';
import { RULES, type Op, type Rule, type RunRecord } from '../../src/torture/run-record.ts';
import { h, handledAgain, late, LATER, TWICE } from './made-up-deliveries.ts';
import {
  commit,
  emission,
  end,
  GOOD,
  handler,
  insert,
  OPS,
  rulesOf,
  without,
  X1,
} from './made-up-history.ts';

t.test('a good history has no violation', (t) => {
  t.strictSame(check(GOOD), []);
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
