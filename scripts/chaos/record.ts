/**
 * Builds the record of a run for the checker: ops, events, the state at the end, and the
 * allowances.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { partitionOf } from '../../src/core/partition.ts';
import type { Millrace } from '../../src/millrace.ts';
import type { Allowed } from '../../src/torture/allowed.ts';
import {
  countDue,
  countScheduled,
  readAppended,
  readBooks,
  readEmitted,
  readLetters,
  readRepairs,
} from '../../src/torture/end-state.ts';
import type {
  RecordedEmission,
  RunRecord,
  Op,
  PublishedEvent,
  Violation,
} from '../../src/torture/run-record.ts';
import { emittedId } from '../lab/emitted-id.ts';
import type { TestRedis } from '../lab/redis-server.ts';
import { PARTITIONS, type Bed } from './bed.ts';
import type { DispatcherProcess } from './dispatchers.ts';
import {
  EMITS,
  LATER,
  plannedEmissions,
  RULES_OF_FUNCTIONS,
  VIEW,
  type FoldedRow,
} from './function-rules.ts';
import { isInnocent } from './load.ts';
import type { SeedOptions } from './seed-options.ts';

const RSS_BOUND_MB = 700;

/** The declarations of a fault: see FaultContext. */
export interface Declared {
  readonly allowed: Allowed;
  readonly windows: { readonly fromMs: number; readonly toMs: number }[];
  readonly forgetful: {
    readonly partitions: ReadonlySet<number>;
    readonly fromOp: number;
    readonly toOp: number;
  }[];
  /** Measured takeovers, ms. */
  readonly takeovers: number[];
}

export async function readRecord(
  { sink, producers, functions, service, redis, fleet }: Bed,
  { allowed, windows, forgetful }: Declared,
  { drainMs, drainBoundMs }: Pick<RunRecord['end'], 'drainMs' | 'drainBoundMs'>,
): Promise<RunRecord> {
  const events = producers.flatMap((producer) => producer.events);
  excuseLost(events, windows, allowed);
  const ops = await sink.read();
  const emissions = functions.some((fn) => fn.name === EMITS.fn) ? events.flatMap(emissionsOf) : [];
  for (const { partitions, fromOp, toOp } of forgetful)
    for (const id of crossing(emissions, ops.slice(fromOp, toOp), partitions))
      allowed.relayed.add(id);
  return {
    ops,
    emissions,
    events,
    functions,
    end: {
      ...(await readEndState(service, redis)),
      drainMs,
      drainBoundMs,
      peakRssMb: fleet.peakRssMb,
      rssBoundMb: RSS_BOUND_MB,
    },
    allowed,
  };
}

/**
 * Allows losses and delays. An event sent only in a window of loss may be missing. An event sent
 * again comes late where its first sending may be gone.
 */
function excuseLost(
  events: readonly PublishedEvent[],
  windows: readonly { readonly fromMs: number; readonly toMs: number }[],
  allowed: Allowed,
): void {
  const inWindow = ({ sentMs, atMs }: PublishedEvent): boolean =>
    windows.some(({ fromMs, toMs }) => atMs >= fromMs && sentMs <= toMs);
  const sure = new Set(
    events.flatMap((event) =>
      event.fate === 'acknowledged' && !inWindow(event) ? [event.id] : [],
    ),
  );
  const doubtful = new Set<string>();
  for (const event of events) {
    if (inWindow(event) && !sure.has(event.id)) allowed.missing.add(event.id);
    if (event.again !== true && (event.fate === 'unknown' || inWindow(event)))
      doubtful.add(event.id);
  }
  for (const { id, type, again } of events) {
    if (!again || !doubtful.has(id)) continue;
    for (const fn of RULES_OF_FUNCTIONS)
      if (fn.on.includes(type)) allowed.replayed.add(`${fn.name} ${id}`);
  }
}

function emissionsOf({ id, type, subject, number }: PublishedEvent): RecordedEmission[] {
  if (type !== EMITS.on) return [];
  return plannedEmissions(subject, number).map((planned, index) => ({
    fn: EMITS.fn,
    cause: id,
    id: emittedId(id, EMITS.fn, index),
    type: EMITS.type,
    subject: planned.subject,
    number,
    innocent: isInnocent(planned.order),
  }));
}

/**
 * Returns the ids of emissions between these partitions and others, for events handled within these
 * ops.
 */
function crossing(
  emissions: readonly RecordedEmission[],
  ops: readonly Op[],
  partitions: ReadonlySet<number>,
): string[] {
  const from = new Map(
    ops.flatMap((op) =>
      op.what === 'end' && op.fn === EMITS.fn ? [[op.id, Number(op.position.split('/')[0])]] : [],
    ),
  );
  return emissions.flatMap(({ id, cause, subject }) => {
    const source = from.get(cause);
    return source !== undefined &&
      partitions.has(source) !== partitions.has(partitionOf(subject, PARTITIONS))
      ? [id]
      : [];
  });
}

async function readEndState(
  { deployment }: Millrace,
  redis: TestRedis | null,
): Promise<
  Pick<
    RunRecord['end'],
    | 'functions'
    | 'letters'
    | 'folds'
    | 'emitted'
    | 'appended'
    | 'scheduled'
    | 'repairs'
    | 'leftBehind'
  >
> {
  const functions = await readBooks(deployment);
  const { connection, partitions } = deployment;
  const lists = redis ? (await redis.client().keys('mr:*:parked:*')).length : 0;
  let folded = 0;
  let disordered = 0;
  for (let partition = 0; partition < partitions; partition++) {
    const masters = await connection.commandOnMasters(
      'KEYS',
      `mr:{${partition}}:view:${VIEW.name}:*`,
    );
    for (const key of masters.flatMap(({ reply }) => reply as string[])) {
      const { row } = JSON.parse(String(await connection.command('GET', key))) as {
        row: FoldedRow;
      };
      folded += row.count;
      disordered += row.disordered;
    }
  }
  const folds = functions.some((fn) => fn.name === VIEW.name)
    ? [{ fn: VIEW.name, folded, disordered }]
    : [];
  return {
    functions,
    folds,
    emitted: await readEmitted(deployment, [EMITS.type]),
    letters: await readLetters(deployment),
    appended: await readAppended(deployment, [LATER.type]),
    scheduled: await countScheduled(deployment),
    repairs: await readRepairs(deployment),
    leftBehind:
      lists +
      (await countDue(
        deployment,
        functions.map((fn) => fn.name),
      )),
  };
}

/**
 * Writes the history to files, for whoever looks for the reason.
 * @returns the folder
 */
export function keep(
  dir: string,
  { fault, seed }: SeedOptions,
  history: RunRecord,
  violations: readonly Violation[],
  fleet: readonly DispatcherProcess[],
): string {
  const folder = join(dir, `${fault.name}-${seed}`);
  mkdirSync(folder, { recursive: true });
  const text = (value: unknown): string =>
    JSON.stringify(value, (_, v: unknown) => (v instanceof Set ? [...(v as Set<unknown>)] : v));
  writeFileSync(join(folder, 'violations.json'), text(violations));
  writeFileSync(join(folder, 'events.json'), text({ ...history, ops: undefined }));
  writeFileSync(join(folder, 'ops.ndjson'), history.ops.map((op) => `${text(op)}\n`).join(''));
  for (const process of fleet)
    writeFileSync(join(folder, `dispatcher-${process.pid}.log`), process.log);
  return folder;
}
