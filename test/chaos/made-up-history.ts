/** A good history for the checker, made up, and the changes that tests make in it. */
import { nothingAllowed } from '../../src/torture/allowed.ts';
import { check } from '../../src/torture/checker.ts';
import type {
  CommitOp,
  RecordedEmission,
  HandlerOp,
  RunRecord,
  Op,
  PublishedEvent,
  Rule,
} from '../../src/torture/run-record.ts';

export const handler = (
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
export const commit = (
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
export const event = (number: number, more: Partial<PublishedEvent> = {}): PublishedEvent => ({
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
export const OPS: readonly Op[] = [
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
export const emission = (number: number, innocent: boolean): RecordedEmission => ({
  fn: 'f',
  cause: `e${number}`,
  id: `x${number}`,
  type: 'b',
  subject: 'to/s',
  number,
  innocent,
});
export const X1 = { id: 'x1', cause: 'e1' } as const;

export const GOOD: RunRecord = {
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

export const without = (...at: number[]): Op[] => OPS.filter((_, i) => !at.includes(i));
export const insert = (at: number, ...ops: Op[]): Op[] => [
  ...OPS.slice(0, at),
  ...ops,
  ...OPS.slice(at),
];
export const end = (more: Partial<RunRecord['end']>): RunRecord => ({
  ...GOOD,
  end: { ...GOOD.end, ...more },
});
export const rulesOf = (history: RunRecord): Rule[] =>
  [...new Set(check(history).map((violation) => violation.rule))].sort();
