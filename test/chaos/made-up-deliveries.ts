/** Good histories with events that are sent again, and with scheduled ones. */
import type { HandlerOp, Op, RunRecord } from '../../src/torture/run-record.ts';
import { event, GOOD, handler, insert } from './made-up-history.ts';

/** h has `dedupe`. d1 was sent twice, handled at its first place and skipped at the second. */
export const once = (
  what: HandlerOp['what'],
  entry: number,
  more: Partial<HandlerOp> = {},
): HandlerOp =>
  handler(what, 1, { fn: 'h', id: 'd1', type: 'c', position: `0/${entry}-0/0`, ...more });
export const TWICE: RunRecord = {
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
export const h = (more: Partial<RunRecord['end']['functions'][number]>): RunRecord => ({
  ...TWICE,
  end: {
    ...TWICE.end,
    functions: TWICE.end.functions.map((fn) => (fn.name === 'h' ? { ...fn, ...more } : fn)),
  },
});
export const handledAgain = (more: Partial<HandlerOp>): readonly Op[] => [
  ...TWICE.ops,
  once('start', 22, more),
  once('end', 22, { applied: false, ...more }),
];

/** k's events are scheduled: l1 is due at 100 ms and is appended at 120 ms. */
export const late = (ms: number, number = 0): Op[] =>
  (['start', 'end'] as const).map((what) =>
    handler(what, 1, { fn: 'k', id: 'l1', type: 'd', position: `0/${ms}-${number}/0` }),
  );
export const LATER: RunRecord = {
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
