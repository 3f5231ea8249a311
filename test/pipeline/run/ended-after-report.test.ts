/**
 * A handler that was left behind a report ends before the dispatcher reads the report. The shared
 * cells then hold its end already, and the thread tells its outcome later.
 */
import t from 'tap';
import { CELL, type CellState } from '../../../src/core/progress-cells.ts';
import type { BatchReport, EventRef, Failure } from '../../../src/core/thread-protocol.ts';
import { defineFunction } from '../../../src/define/index.ts';
import { createBatch } from '../../../src/pipeline/batch/batch.ts';
import { OpenBatch } from '../../../src/pipeline/lane/in-flight.ts';
import { BARE_REPORT } from '../../../src/pipeline/run/batch-group.ts';
import { runIsolating } from '../../../src/pipeline/run/run-isolating.ts';
import type { RunResult } from '../../../src/pipeline/run/thread-run.ts';

const { spec } = defineFunction({
  name: 'f',
  on: ['a'],
  ordering: 'none',
  handle: () => {},
} as unknown as Parameters<typeof defineFunction>[0]);

const refAt = (index: number): EventRef => ({
  index,
  entry: 0,
  indexInEntry: index,
  offset: 0,
  length: 0,
  position: index + 1,
  id: `e${index}`,
  subject: '',
});
const failureOf = (ref: EventRef): Failure => ({
  ref,
  error: { name: 'Error', message: 'no', stack: '' },
  retryable: true,
  reason: 'attempts',
});
const report = (rest: Partial<BatchReport>): BatchReport => ({ ...BARE_REPORT, ...rest });

/** @returns the states after the report, and those after the end of the handler left behind */
async function run(late: CellState, end: BatchReport): Promise<readonly number[][]> {
  const bytes = Buffer.alloc(0);
  const batch = createBatch(
    'f',
    0,
    ['a'],
    [],
    [{ id: '1-0', type: 0, bytes, n: 2, crc: 0, count: 2, gone: false }],
  );
  const left = refAt(1);
  const pool = {
    run: ({ cells }: { cells: { states: Uint8Array } }): Promise<RunResult> => {
      cells.states.set([CELL.DONE, late]);
      return Promise.resolve({
        ...report({ running: [left] }),
        stragglers: [{ ref: left, ended: Promise.resolve(end) }],
      });
    },
  };
  const cancel = new AbortController().signal;
  const result = await runIsolating({ pool, batch, spec, cancel, detach: true });
  if (result.kind !== 'result') throw new Error(result.kind);
  const reported = [...result.states];
  const open = new OpenBatch(result);
  for (const { ref, ended } of result.running ?? []) open.end(ref, await ended);
  return [reported, [...open.result().states]];
}

t.test('an event that still ran at the report has its outcome once', async (t) => {
  const ends: readonly [name: string, end: BatchReport, state: CellState][] = [
    ['done', report({}), CELL.DONE],
    ['failed', report({ failures: [failureOf(refAt(1))] }), CELL.FAILED],
  ];
  for (const late of [CELL.RUNNING, CELL.CAUSED, CELL.DONE, CELL.FAILED])
    for (const [name, end, state] of ends)
      t.same(
        await run(late, end),
        [
          [CELL.DONE, CELL.RUNNING],
          [CELL.DONE, state],
        ],
        `cell ${late}, ${name}`,
      );
});
