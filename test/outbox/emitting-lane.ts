/** A lane without a dispatcher, whose events emit. Encoding, commit and relay are the real ones. */
import { Emits } from '../../src/thread/emits.ts';
import { EventView, RunningEvent, type EventOrigin } from '../../src/thread/running-event.ts';
import { readEvent } from '../../src/wire/batch-reader.ts';
import { createCatalog } from '../../src/wire/catalog.ts';
import { loadProtoFolder } from '../../src/wire/proto-folder.ts';
import type { CommitPlan } from '../../src/pipeline/commit/commit-plan.ts';
import type { RedisConnection } from '../../src/redis/contract.ts';
import { Relay } from '../../src/outbox/relay.ts';
import { UnknownOutcomeError } from '../../src/core/errors/server-errors.ts';
import { publish, type BareLane, type Bed } from '../pipeline/bare-lane.ts';
import { PROTO_DIR } from '../../scripts/lab/dispatcher-process.ts';
import { dataFor } from '../../scripts/lab/misbehaving-functions/emit/_plan.ts';

const catalog = createCatalog(loadProtoFolder(PROTO_DIR));

export interface Cause {
  readonly id: string;
  readonly emits: readonly {
    readonly type: string;
    readonly subject: string;
    readonly delayMs?: number;
    readonly size?: number;
  }[];
  readonly outcome: 'done' | 'dead';
}

/** Publishes the causes, takes them and runs them. Does not send the plan. */
export async function turnOf(
  bed: Bed,
  lane: BareLane,
  causes: readonly Cause[],
): Promise<{
  plan: CommitPlan;
  emitted: { id: string; type: string; subject: string; later: boolean }[];
}> {
  await publish(bed, lane.partition, { 'a.b': causes.map(({ id }) => ({ id, subject: 's' })) });
  const emits = new Emits({
    fn: lane.spec.name,
    partition: lane.partition,
    partitions: bed.partitions,
    catalog,
    schemas: new Map(),
    trace: null,
  });
  const emitted: { id: string; type: string; subject: string; later: boolean }[] = [];
  const origin: EventOrigin = {
    typeName: 'a.b',
    type: null,
    partition: lane.partition,
    entryId: '1-1',
    entry: 0,
    base: 0,
    attempt: 1,
  };
  causes.forEach((cause, i) => {
    const header = { ...readEvent(Buffer.alloc(0)), id: cause.id, subject: 's' };
    const view = new EventView(header, true, origin, i);
    const event = new RunningEvent(view, header, origin, i, i);
    const ids = cause.emits.map(({ type, subject, delayMs, size }, at) => ({
      id: emits.add(
        event,
        type,
        dataFor(subject, at, '', size),
        delayMs === undefined ? {} : { delayMs },
      ),
      type,
      subject,
      later: delayMs !== undefined,
    }));
    if (cause.outcome === 'dead') emits.drop(event);
    else {
      emits.settle(event);
      emitted.push(...ids);
    }
  });
  const outcomes = new Map(causes.map(({ id, outcome }) => [id, outcome]));
  const report = emits.report();
  const plan = await lane.turn(({ id }) => outcomes.get(id) ?? 'done', 10_000, {
    keys: [],
    blocks: [],
    emitted: report ? [report] : [],
  });
  if (plan === null || plan === 'stale') throw new Error('nothing was taken');
  return { plan, emitted };
}

export interface Meddling {
  /** Is called before a script is sent. */
  readonly before?: (script: string) => void | Promise<void>;
  /** Whether the answer to a script is lost. */
  readonly lose?: (script: string) => boolean;
  /** Whether a script is not sent, and its outcome is unknown. */
  readonly drop?: (script: string) => boolean;
}

/** Returns the connection, with these mishaps to its scripts. */
export function meddled(connection: RedisConnection, meddling: Meddling): RedisConnection {
  const out = Object.create(connection) as { script: RedisConnection['script'] } & RedisConnection;
  for (const name of ['command', 'commandBuffer'] as const)
    out[name] = (command, ...args) => connection[name](command, ...args);
  out.script = async (call, asBuffers) => {
    await meddling.before?.(call.name);
    if (meddling.drop?.(call.name)) throw new UnknownOutcomeError(call.name);
    const reply = await connection.script(call, asBuffers);
    if (meddling.lose?.(call.name)) throw new UnknownOutcomeError(call.name);
    return reply;
  };
  return out;
}

export function createRelay(
  bed: Bed,
  connection = bed.connection,
  relieved: (partition: number) => void = () => undefined,
): Relay {
  return new Relay({
    connection,
    keys: bed.keys,
    partitionCount: bed.partitions,
    partitions: () => [],
    relieved,
    log: () => undefined,
  });
}
