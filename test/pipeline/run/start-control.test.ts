/**
 * A thread is told that its lane is somebody else's, or that nothing may start any more.
 */
import { pino } from 'pino';
import t from 'tap';
import { createCells, CELL } from '../../../src/core/progress-cells.ts';
import { LeaseLostError } from '../../../src/core/errors/handler-errors.ts';
import { defineFunction } from '../../../src/define/index.ts';
import { readProtoFolder } from '../../../src/deployment.ts';
import type { BatchTask } from '../../../src/core/thread-protocol.ts';
import { createBatch, packBatches, prepareBatch } from '../../../src/pipeline/batch/batch.ts';
import { StartControl } from '../../../src/pipeline/run/start-control.ts';
import { withoutUntouched } from '../../../src/pipeline/run/untouched.ts';
import type { LoadedFunction } from '../../../src/thread/load-functions.ts';
import { EntryChecks } from '../../../src/thread/entry-checks.ts';
import { runBatch } from '../../../src/thread/run-batch.ts';
import { PayloadWays } from '../../../src/thread/payload-ways.ts';
import { BatchBuilder } from '../../../src/wire/batch-writer.ts';
import { PROTO_DIR } from '../../../scripts/lab/dispatcher-process.ts';

const { catalog } = readProtoFolder(PROTO_DIR);

/** Entries of so many events each, of the subjects given in turn. */
function batchOf(counts: readonly number[], subjects: readonly string[]) {
  let n = 0;
  return createBatch(
    'f',
    0,
    ['test.event'],
    [],
    counts.map((count, at) => {
      const builder = new BatchBuilder();
      for (let i = 0; i < count; i++, n++) {
        const subject = subjects[n % subjects.length] as string;
        builder.add({
          id: `e${n}`,
          subject,
          timeMs: 1,
          source: '',
          schema: 0,
          position: i,
          extensions: null,
          dataBuffer: new Uint8Array(0),
          dataStart: 0,
          dataEnd: 0,
        });
      }
      const { bytes, crc } = builder.finish();
      return { id: `${at + 1}-0`, type: 0, bytes, n: count, crc, count, gone: false };
    }),
  );
}

type Handle = (event: { readonly id: string }, ctx: { readonly signal: AbortSignal }) => unknown;

async function run(batch: ReturnType<typeof batchOf>, control: StartControl, handle: Handle) {
  const definition = defineFunction({
    name: 'f',
    on: ['test.event'],
    handle,
  } as unknown as Parameters<typeof defineFunction>[0]);
  const prepared = prepareBatch(batch, { skip: null, blocked: [], isolate: false, caused: [] });
  const { cells } = prepared;
  const [task] = packBatches([prepared]) as [BatchTask];
  control.observe(cells, batch.events);
  const parts = {
    catalog,
    payloadWays: new PayloadWays(catalog, new Map(), () => Promise.resolve(null)),
    logger: pino({ level: 'silent' }),
    partitions: 1,
    tracing: null,
    schemas: new Map(),
    checks: new EntryChecks(false),
  };
  const options = {
    concurrency: 32,
    detachMs: Infinity,
    turnMs: Infinity,
    endsMs: () => Infinity,
    late: () => undefined,
  };
  const report = await runBatch(
    task,
    { definition, resources: undefined } as unknown as LoadedFunction,
    parts,
    options,
  );
  return { report, states: [...cells.states.subarray(0, batch.events)] };
}

t.test(
  'a lost lease: signals of running handlers abort, also of those asked for later, and nothing more starts',
  async (t) => {
    const control = new StartControl();
    const began: string[] = [];
    const reasons: unknown[] = [];
    const { states } = await run(
      batchOf([4], ['a', 'a', 'b', 'b']),
      control,
      async (event, ctx) => {
        began.push(event.id);
        const asked = event.id === 'e0' ? ctx.signal : null;
        if (began.length === 2) control.lose();
        while (!(asked ?? ctx.signal).aborted)
          await new Promise((resolve) => setTimeout(resolve, 2));
        reasons.push((asked ?? ctx.signal).reason);
      },
    );
    t.strictSame(began, ['e0', 'e2']);
    t.ok(reasons.length === 2 && reasons.every((reason) => reason instanceof LeaseLostError));
    t.strictSame(states, [CELL.DONE, CELL.TODO, CELL.DONE, CELL.TODO]);
  },
);

t.test('running handlers are counted from their batch on until each has ended', async (t) => {
  const control = new StartControl();
  const cells = createCells(2);
  cells.states.fill(CELL.RUNNING);
  control.observe(cells, 2);
  t.equal(control.running, 2, 'in the thread');
  control.observe(null, 0);
  const ends: (() => void)[] = [];
  const end = (): Promise<void> => new Promise((resolve) => ends.push(resolve));
  control.beside(cells, [end(), end()]);
  t.equal(control.running, 2, 'reported, and not committed yet');
  ends[0]?.();
  await Promise.resolve();
  t.equal(control.running, 1);
  ends[1]?.();
  await Promise.resolve();
  t.equal(control.running, 0);
});

t.test('cells that are used again may start at any time', (t) => {
  const cells = createCells(1);
  t.strictSame([...cells.control], [Infinity, 0]);
  t.end();
});

t.test(
  'halted: entries behind the last touched one stay, what is left in the others is parked behind what stands before it',
  async (t) => {
    const control = new StartControl();
    const batch = batchOf([2, 2, 2], ['a', 'b']);
    const { report, states } = await run(batch, control, (event) => {
      if (event.id === 'e2') control.halt();
    });
    t.strictSame(states, [CELL.DONE, CELL.DONE, CELL.DONE, CELL.TODO, CELL.TODO, CELL.TODO]);
    const touched = withoutUntouched(batch, { ...report, states: Uint8Array.from(states) });
    t.strictSame(
      touched?.batch.entries.map(({ id }) => id),
      ['1-0', '2-0'],
    );
    t.strictSame(
      [...(touched?.result.states ?? [])],
      [CELL.DONE, CELL.DONE, CELL.DONE, CELL.BLOCKED],
    );
    t.strictSame(
      touched?.result.blocked.map(({ id }) => id),
      ['e3'],
    );
    t.match(touched, { started: 3, whole: false });
    t.equal(
      withoutUntouched(batch, { ...report, states: new Uint8Array(batch.events) }),
      null,
      'nothing was started at all',
    );
  },
);
