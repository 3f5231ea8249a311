/**
 * What is there when a run is over: the books of `lag`, the dead letters held against the stream.
 */
import { CAUSATION } from '../core/emitted.ts';
import { CorruptDataError } from '../core/errors.ts';
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

/** Every event in the streams of these types that was emitted. */
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

/** Ids of all events in the streams of these types. */
export async function readAppended(
  deployment: Deployment,
  types: readonly string[],
): Promise<string[]> {
  return (await readStreams(deployment, types)).map(({ id }) => id);
}

/** What cannot be read is left out. */
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
 * The sweep mends what no fault accounts for: a server that was cut off in a script is whole, or
 * has lost the script.
 */
export async function readRepairs(deployment: Deployment): Promise<string[]> {
  const losses = await readLosses(deployment);
  return losses
    .filter(({ kind }) => kind === 'counts' || kind === 'wedged' || kind === 'parked')
    .map(({ kind, partition, message }) => `${kind}, partition ${partition}: ${message}`);
}

/** What waits to be brought to another partition. */
export async function countOutboxes({ connection, keys, partitions }: Deployment): Promise<number> {
  let waiting = 0;
  for (let partition = 0; partition < partitions; partition++)
    waiting += Number(await connection.command('XLEN', keys.outbox(partition)));
  return waiting;
}

/** What waits for its time. */
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

/** Units that are due: with nothing parked there should be none. */
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
