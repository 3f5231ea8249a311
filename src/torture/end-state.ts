/**
 * Reads the state at the end of a run: the counters as `lag` shows them, and the dead letters
 * compared with the stream.
 */
import { CAUSATION } from '../core/emitted.ts';
import { CorruptDataError } from '../core/errors/data-errors.ts';
import type { Deployment } from '../deployment.ts';
import { readLag } from '../lag/lag.ts';
import { readLosses } from '../lag/losses.ts';
import { listDeadLetters, type DeadLetter } from '../pipeline/dead/dead-letters.ts';
import { walkBatch } from '../wire/batch-reader.ts';
import type { EventHeader } from '../wire/event-header.ts';
import type { EmittedEvent, FunctionEnd, Letter } from './run-record.ts';

const PAGE = 500;

export async function readBooks(deployment: Deployment): Promise<FunctionEnd[]> {
  const { functions } = await readLag(deployment);
  return functions.map(
    ({ name, appended, done, skipped, dead, parked, pending, lag, conserved }) => ({
      name,
      appended,
      done,
      skipped,
      dead,
      parked,
      pending,
      lag,
      conserved,
    }),
  );
}

export async function readLetters(deployment: Deployment): Promise<Letter[]> {
  const letters: Letter[] = [];
  for await (const letter of listDeadLetters(deployment)) {
    const { function: fn, eventId, kind, attempts, events } = letter;
    letters.push({
      fn,
      id: eventId,
      kind,
      attempts,
      events,
      faithful: await isFaithful(deployment, letter),
    });
  }
  return letters;
}

async function isFaithful(
  { connection, keys }: Deployment,
  letter: DeadLetter,
): Promise<boolean | null> {
  if (letter.kind === 'record') return null;
  const found = (await connection.commandBuffer(
    'XRANGE',
    keys.events(letter.partition, letter.type),
    letter.entryId,
    letter.entryId,
  )) as [Buffer, Buffer[]][];
  const fields = found[0]?.[1];
  if (!fields) return null;
  const at = fields.findIndex((field, i) => i % 2 === 0 && field.toString('latin1') === 'b');
  const bytes = at < 0 ? Buffer.alloc(0) : (fields[at + 1] as Buffer);
  if (letter.kind === 'entry') return letter.bytes.equals(bytes);
  let same = false;
  walkBatch(bytes, (header) => {
    if (header.index === letter.index)
      same = letter.bytes.equals(bytes.subarray(header.offset, header.offset + header.length));
  });
  return same;
}

/** Returns every emitted event in the streams of these types. */
export async function readEmitted(
  deployment: Deployment,
  types: readonly string[],
): Promise<EmittedEvent[]> {
  const found = await readStreams(deployment, types);
  return found.flatMap(({ id, extensions }) => {
    const cause = extensions?.[CAUSATION.cause];
    return cause === undefined ? [] : [{ id, cause }];
  });
}

/** Returns the ids of all events in the streams of these types. */
export async function readAppended(
  deployment: Deployment,
  types: readonly string[],
): Promise<string[]> {
  return (await readStreams(deployment, types)).map(({ id }) => id);
}

/** Leaves out entries that cannot be read. */
async function readStreams(
  { connection, keys, partitions }: Deployment,
  types: readonly string[],
): Promise<Pick<EventHeader, 'id' | 'extensions'>[]> {
  const out: Pick<EventHeader, 'id' | 'extensions'>[] = [];
  for (const type of types) {
    for (let partition = 0; partition < partitions; partition++) {
      for (let from = '-'; from !== '';) {
        const page = (await connection.commandBuffer(
          'XRANGE',
          keys.events(partition, type),
          from,
          '+',
          'COUNT',
          PAGE,
        )) as [Buffer, Buffer[]][];
        for (const [, fields] of page) {
          const at = fields.findIndex(
            (field, i) => i % 2 === 0 && field.toString('latin1') === 'b',
          );
          try {
            if (at >= 0)
              walkBatch(
                fields[at + 1] as Buffer,
                ({ id, extensions }) => void out.push({ id, extensions }),
              );
          } catch (error) {
            if (!(error instanceof CorruptDataError)) throw error;
          }
        }
        from = page.length < PAGE ? '' : `(${String(page.at(-1)?.[0])}`;
      }
    }
  }
  return out;
}

/**
 * Returns the sweep's repairs. No fault accounts for one: a server cut off in a script has run the
 * whole script, or has lost it.
 */
export async function readRepairs(deployment: Deployment): Promise<string[]> {
  const losses = await readLosses(deployment);
  return losses
    .filter(({ kind }) => kind === 'counts' || kind === 'wedged' || kind === 'parked')
    .map(({ kind, partition, message }) => `${kind}, partition ${partition}: ${message}`);
}

/** Returns the number of outbox entries on the way to another partition. */
export async function countOutboxes({ connection, keys, partitions }: Deployment): Promise<number> {
  let waiting = 0;
  for (let partition = 0; partition < partitions; partition++)
    waiting += Number(await connection.command('XLEN', keys.outbox(partition)));
  return waiting;
}

/** Returns the number of scheduled events. */
export async function countScheduled({
  connection,
  keys,
  partitions,
}: Deployment): Promise<number> {
  let waiting = 0;
  for (let partition = 0; partition < partitions; partition++)
    waiting += Number(await connection.command('ZCARD', keys.scheduled(partition)));
  return waiting;
}

/** Returns the number of units that are due. With nothing parked there should be none. */
export async function countDue(
  { connection, keys, partitions }: Deployment,
  functions: readonly string[],
): Promise<number> {
  let due = 0;
  for (const fn of functions) {
    for (let partition = 0; partition < partitions; partition++)
      due += Number(await connection.command('ZCARD', keys.due(partition, fn)));
  }
  return due;
}
