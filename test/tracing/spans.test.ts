/** Spans of publishes, of batches in a thread, and of commits. The SDK is in the test thread. */
import { context, trace } from '@opentelemetry/api';
import {
  AlwaysOnSampler,
  ParentBasedSampler,
  SamplingDecision,
  type Sampler,
} from '@opentelemetry/sdk-trace-node';
import { pino } from 'pino';
import t, { type Test } from 'tap';
import { readTraceContext, traceExtensions } from '../../src/core/trace-context.ts';
import type { BatchReport, BatchTask } from '../../src/core/thread-protocol.ts';
import type { Tracer } from '../../src/core/tracing.ts';
import { defineFunction } from '../../src/define/index.ts';
import { readProtoFolder } from '../../src/deployment.ts';
import { traceCommits } from '../../src/dispatcher/trace-commits.ts';
import { tracePublish } from '../../src/pipeline/append/publish-trace.ts';
import { createBatch, packBatches, prepareBatch } from '../../src/pipeline/batch/batch.ts';
import type { CommitReply } from '../../src/pipeline/commit/commit.ts';
import type { CommitPlan } from '../../src/pipeline/commit/commit-plan.ts';
import type { LaneStages } from '../../src/pipeline/lane/lane-stages.ts';
import { EntryChecks } from '../../src/thread/entry-checks.ts';
import type { LoadedFunction } from '../../src/thread/load-functions.ts';
import { PayloadWays } from '../../src/thread/payload-ways.ts';
import { runBatch } from '../../src/thread/run-batch.ts';
import { loadTracing } from '../../src/tracing/open-telemetry.ts';
import { walkBatch } from '../../src/wire/batch-reader.ts';
import { BatchBuilder } from '../../src/wire/batch-writer.ts';
import { PackReader } from '../../src/wire/message-pack.ts';
import { PROTO_DIR } from '../../scripts/lab/dispatcher-process.ts';
import { recordSpans } from './recorded-spans.ts';

const { catalog } = readProtoFolder(PROTO_DIR);
const PARENT_BASED = new ParentBasedSampler({ root: new AlwaysOnSampler() });
const faults: unknown[] = [];

const hex = (n: number, digits: number): string => (n + 1).toString(16).padStart(digits, '0');
const traceparent = (n: number, sampled: boolean): Record<string, string> => ({
  traceparent: `00-${hex(n, 32)}-${hex(n, 16)}-${sampled ? '01' : '00'}`,
});

async function tracing() {
  const loaded = await loadTracing((error) => faults.push(error));
  if (loaded === null) throw new Error('the API is a dev dependency');
  return loaded;
}

async function tracer(): Promise<Tracer> {
  const found = (await tracing()).tracer();
  if (found === null) throw new Error('the SDK is registered');
  return found;
}

type Extensions = Readonly<Record<string, string>> | null;
type Handler = (event: { id: string }, ctx: { emit: Emit; logger: pino.Logger }) => unknown;
type Emit = (type: string, data: unknown, options?: object) => string;

/** Runs one batch, an event for each of the extensions, in this thread. */
async function run(
  extensions: readonly Extensions[],
  handlers: { handle: Handler } | { handleBatch: (events: never, ctx: never) => unknown },
  logger = pino({ level: 'silent' }),
): Promise<BatchReport> {
  const builder = new BatchBuilder();
  for (const [i, one] of extensions.entries()) {
    builder.add({
      id: `e${i}`,
      subject: `s${i}`,
      timeMs: 1,
      source: '',
      schema: 0,
      position: i,
      extensions: one,
      dataBuffer: new Uint8Array(0),
      dataStart: 0,
      dataEnd: 0,
    });
  }
  const { bytes, crc, count } = builder.finish();
  const entry = { id: '1-0', type: 0, bytes, n: count, crc, count, gone: false };
  const batch = createBatch('f', 3, ['test.event'], [], [entry]);
  const [task] = packBatches([
    prepareBatch(batch, { skip: null, blocked: [], isolate: false, caused: [] }),
  ]) as [BatchTask];
  const definition = defineFunction({
    name: 'f',
    on: ['test.event'],
    ...handlers,
  } as unknown as Parameters<typeof defineFunction>[0]);
  return runBatch(
    task,
    { definition, resources: undefined } as unknown as LoadedFunction,
    {
      catalog,
      payloadWays: new PayloadWays(catalog, new Map(), () => Promise.resolve(null)),
      logger,
      partitions: 1,
      tracing: await tracing(),
      checks: new EntryChecks(false),
      schemas: new Map(),
    },
    {
      concurrency: 32,
      detachMs: Infinity,
      turnMs: Infinity,
      endsMs: () => Infinity,
      late: () => undefined,
    },
  );
}

/** Reads the extensions of emitted events that go to other partitions. */
function emittedExtensions({ emitted }: BatchReport): Record<string, string>[] {
  const pack = new PackReader(emitted?.block ?? new Uint8Array(0));
  const found: Record<string, string>[] = [];
  pack.uint();
  pack.uint();
  for (let types = pack.uint(); types > 0; types--) {
    pack.text();
    pack.uint();
    pack.uint();
    walkBatch(Buffer.from(pack.raw()), (event) => found.push({ ...event.extensions }));
  }
  return found;
}

const DATA = { key: 'k', number: 0, order: '', filler: new Uint8Array(0) };

t.test('without an SDK nothing is made, and emitted events go on in the trace', async (t) => {
  t.equal((await tracing()).tracer(), null);
  const lines: string[] = [];
  const report = await run(
    [{ ...traceparent(6, true), tracestate: 'a=1' }, null],
    {
      handle: (_event, ctx) => {
        ctx.logger.info('here');
        ctx.emit('test.other', DATA);
      },
    },
    pino({}, { write: (line: string) => void lines.push(line) }),
  );
  t.equal(report.traces, undefined);
  const [first, second] = emittedExtensions(report);
  t.match(first, { ...traceparent(6, true), tracestate: 'a=1', causationid: 'e0' });
  t.notOk(second?.['traceparent']);
  t.match(JSON.parse(lines[0] ?? ''), {
    eventId: 'e0',
    trace_id: hex(6, 32),
    span_id: hex(6, 16),
  });
  t.notOk('trace_id' in (JSON.parse(lines[1] ?? '') as object));
});

t.test('a batch links to sampled contexts up to a bound; only these have spans', async (t) => {
  const { spans } = recordSpans(t, PARENT_BASED);
  const active: Record<string, string | undefined> = {};
  const extensions = Array.from({ length: 402 }, (_, i) =>
    i === 0 ? null : i === 1 ? { traceparent: 'nonsense' } : traceparent(i, i % 2 === 0),
  );
  const report = await run(extensions, {
    handle: async (event) => {
      await Promise.resolve();
      active[event.id] = trace.getActiveSpan()?.spanContext().traceId;
    },
  });
  const batch = spans().find(({ attributes }) => 'messaging.batch.message_count' in attributes);
  t.match(batch, {
    name: 'process test.event',
    kind: 'CONSUMER',
    parentId: undefined,
    attributes: { 'messaging.batch.message_count': 402, 'messaging.consumer.group.name': 'f' },
  });
  t.equal(batch?.links.length, 128);
  t.match(batch?.links[0], { traceId: hex(2, 32), spanId: hex(2, 16) });
  const own = spans().filter((span) => span !== batch && span.spanId !== batch?.spanId);
  t.equal(own.length, 200, 'one span for each sampled event');
  t.ok(own.every(({ parentId, traceId }) => parentId === traceId.slice(16)));
  t.ok(own.every(({ links: [link] }) => link?.spanId === batch?.spanId));
  t.equal(active['e0'], batch?.traceId, 'without a context: in the span of the batch');
  t.equal(active['e1'], batch?.traceId, 'and where the context cannot be read');
  t.equal(active['e3'], hex(3, 32), 'not sampled: in the context of the event');
  t.equal(active['e4'], hex(4, 32));
  t.equal(report.traces?.batch?.spanId, batch?.spanId);
  t.equal(report.traces?.events.length, 128);
});

t.test('emitted events carry the span of their emit, or the decision of their cause', async (t) => {
  const { spans } = recordSpans(t, PARENT_BASED);
  const lines: string[] = [];
  const report = await run(
    [traceparent(1, true), traceparent(2, false)],
    {
      handle: (_event, ctx) => {
        ctx.logger.info('here');
        // A context that a pool of connections has lost, or mixed up.
        context.with(context.active().deleteValue(Symbol('none')), () =>
          ctx.emit('test.other', DATA),
        );
      },
    },
    pino({}, { write: (line: string) => void lines.push(line) }),
  );
  const [first, second] = emittedExtensions(report);
  const emit = spans().find(({ name }) => name === 'emit test.other');
  const handled = spans().find(
    ({ traceId, kind }) => traceId === hex(1, 32) && kind === 'CONSUMER',
  );
  t.match(emit, { kind: 'PRODUCER', traceId: hex(1, 32), parentId: handled?.spanId });
  t.match(readTraceContext(first ?? {}), { spanId: emit?.spanId, sampled: true });
  t.match(second, traceparent(2, false));
  t.match(JSON.parse(lines[0] ?? ''), { trace_id: hex(1, 32), span_id: handled?.spanId });
});

t.test(
  'handleBatch: sampled events have spans beside it, and the failed one says so',
  async (t) => {
    const { spans } = recordSpans(t, PARENT_BASED);
    let active: string | undefined;
    await run([traceparent(1, true), traceparent(2, true), null], {
      handleBatch: (events: { id: string }[], ctx: { emit: Emit }) => {
        active = trace.getActiveSpan()?.spanContext().spanId;
        ctx.emit('test.other', DATA, { cause: events[0] });
        return [{ id: 'e1', error: new RangeError('no') }];
      },
    });
    const batch = spans().find(({ attributes }) => 'messaging.batch.message_count' in attributes);
    t.equal(active, batch?.spanId);
    t.equal(batch?.links.length, 2);
    t.match(
      spans().find(({ attributes }) => attributes['messaging.message.id'] === 'e1'),
      { traceId: hex(2, 32), failed: true, attributes: { 'error.type': 'RangeError' } },
    );
    t.match(
      spans().find(({ name }) => name === 'emit test.other'),
      { traceId: hex(1, 32) },
      'an emit is in the trace of its cause',
    );
  },
);

t.test('a publish: a given context wins, wrong items are left to the encoder', async (t) => {
  const { spans } = recordSpans(t, PARENT_BASED);
  const publish = async (items: readonly unknown[], places: { id: string; position: string }[]) => {
    let carried: readonly { type: string }[] = [];
    await tracePublish(await tracer(), {
      operation: 'publish',
      items: items as { type: string }[],
      work: (given) => {
        carried = given;
        return Promise.resolve(places);
      },
      placesOf: (result) => result,
    });
    return { carried, span: spans().at(-1) };
  };
  const one = await publish(
    [{ type: 'a.b', extensions: { x: '1' } }],
    [{ id: 'i', position: '7/1-0/0' }],
  );
  t.match(one.span, {
    name: 'publish a.b',
    attributes: { 'messaging.message.id': 'i', 'messaging.destination.partition.id': '7' },
  });
  t.match(one.carried, [
    { extensions: { x: '1', traceparent: `00-${one.span?.traceId}-${one.span?.spanId}-01` } },
  ]);
  const wrong = [null, 7, { type: 'a.b', extensions: 'x' }, { type: 'a.b', extensions: new Map() }];
  const given = { type: 'c.d', extensions: traceparent(5, true) };
  const many = await publish([given, ...wrong], []);
  t.strictSame(many.carried, [given, ...wrong]);
  t.match(many.span, {
    name: 'publish',
    attributes: { 'messaging.batch.message_count': 5 },
    links: [{ traceId: hex(5, 32) }],
  });
  await t.rejects(
    tracePublish(await tracer(), {
      operation: 'append',
      items: [{ type: 'a.b' }],
      work: () => Promise.reject(new RangeError('no')),
      placesOf: () => [],
    }),
    RangeError,
  );
  t.match(spans().at(-1), { failed: true, attributes: { 'error.type': 'RangeError' } });
});

/** Commits once through traced stages, with a reply or an error. */
async function commit(answer: CommitReply | Error, traces: BatchReport['traces']): Promise<void> {
  const plan = { done: 2, retried: 1, dead: 0 } as unknown as CommitPlan;
  const stages = traceCommits(
    {
      plan: () => plan,
      commit: () => (answer instanceof Error ? Promise.reject(answer) : Promise.resolve(answer)),
    } as unknown as LaneStages,
    await tracing(),
    { fn: 'f', partition: 1, types: ['a.b'], dispatcher: 'd' },
  );
  const result = { traces: traces ? [traces] : undefined } as never;
  stages.plan({} as never, result, {} as never);
  await stages.commit(plan, new AbortController().signal);
}

t.test('a commit is a child of its batch, and links to the events', async (t) => {
  const { spans } = recordSpans(t, PARENT_BASED);
  const contextOf = (n: number) => readTraceContext(traceparent(n, true));
  const events = Array.from({ length: 200 }, (_, i) => contextOf(i + 2));
  const traces = { batch: contextOf(1), events } as NonNullable<BatchReport['traces']>;
  await commit({ kind: 'ok' } as CommitReply, traces);
  t.match(spans().at(-1), {
    name: 'commit a.b',
    kind: 'CLIENT',
    traceId: hex(1, 32),
    parentId: hex(1, 16),
    failed: false,
    attributes: { 'messaging.operation.type': 'settle', 'messaging.millrace.retried': 1 },
  });
  t.equal(spans().at(-1)?.links.length, 128);
  await commit({ kind: 'stale' } as CommitReply, undefined);
  t.match(spans().at(-1), { parentId: undefined, attributes: { 'error.type': 'stale' } });
  await t.rejects(commit(new Error('cut off'), undefined), /cut off/);
  t.match(spans().at(-1), { failed: true });
});

async function withSampler(t: Test, shouldSample: Sampler['shouldSample']) {
  const { spans } = recordSpans(t, { shouldSample, toString: () => 'test' });
  const ids: string[] = [];
  await run([traceparent(1, true), null], { handle: (event) => void ids.push(event.id) });
  return { spans: spans(), ids };
}

t.test('a fault of the SDK costs spans and no event, and is told once', async (t) => {
  faults.length = 0;
  const { ids, spans } = await withSampler(t, () => {
    throw new Error('sampler is broken');
  });
  t.strictSame([ids, spans], [['e0', 'e1'], []]);
  t.match(faults, [/sampler is broken/]);
  t.equal(faults.length, 1);
});

t.test('a sampler that takes nothing is obeyed', async (t) => {
  const { ids, spans } = await withSampler(t, () => ({ decision: SamplingDecision.NOT_RECORD }));
  t.strictSame([ids, spans], [['e0', 'e1'], []]);
});

t.test('contexts are read and written as W3C says', (t) => {
  const id = `${hex(1, 32)}-${hex(1, 16)}`;
  for (const bad of [
    '',
    `00-${id}`,
    `ff-${id}-01`,
    `00-${id}-01-more`,
    `00-${hex(-1, 32)}-${hex(1, 16)}-01`,
    `00-${hex(1, 32)}-${hex(-1, 16)}-01`,
    `00-${id.replace('2', 'G')}-01`,
  ])
    t.equal(readTraceContext({ traceparent: bad }), null, bad);
  t.match(readTraceContext({ traceparent: `cc-${id}-03-later` }), { sampled: true });
  const whole = { ...traceparent(1, true), tracestate: 'a=1,b=2' };
  const read = readTraceContext(whole);
  t.strictSame(read && traceExtensions(read), whole);
  t.equal(readTraceContext({}), null);
  t.end();
});
