/** What is there when a run is over: the books of `lag`, the dead letters held against the stream. */
import { CAUSATION } from '../core/emitted.ts';
import { CorruptDataError } from '../core/errors.ts';
import type { Deployment } from '../deployment.ts';
import { readLag } from '../lag/lag.ts';
import { listDeadLetters, type DeadLetter } from '../pipeline/dead/dead-letters.ts';
import { walkBatch } from '../wire/event-batch.ts';
import type { EmittedEvent, FunctionEnd, Letter } from './history.ts';

const PAGE = 500;

export async function readBooks(deployment: Deployment): Promise<FunctionEnd[]> {
  const { functions } = await readLag(deployment);
  return functions.map(({ name, appended, done, dead, parked, pending, lag, conserved }) => ({ name, appended, done, dead, parked, pending, lag, conserved }));
}

export async function readLetters(deployment: Deployment): Promise<Letter[]> {
  const letters: Letter[] = [];
  for await (const letter of listDeadLetters(deployment)) {
    const { function: fn, eventId, kind, attempts, events } = letter;
    letters.push({ fn, id: eventId, kind, attempts, events, faithful: await isFaithful(deployment, letter) });
  }
  return letters;
}

async function isFaithful({ connection, keys }: Deployment, letter: DeadLetter): Promise<boolean | null> {
  if (letter.kind === 'record') return null;
  const found = (await connection.commandBuffer('XRANGE', keys.events(letter.partition, letter.type), letter.entryId, letter.entryId)) as [Buffer, Buffer[]][];
  const fields = found[0]?.[1];
  if (!fields) return null;
  const at = fields.findIndex((field, i) => i % 2 === 0 && field.toString('latin1') === 'b');
  const bytes = at < 0 ? Buffer.alloc(0) : (fields[at + 1] as Buffer);
  if (letter.kind === 'entry') return letter.bytes.equals(bytes);
  let same = false;
  walkBatch(bytes, (header) => {
    if (header.index === letter.index) same = letter.bytes.equals(bytes.subarray(header.offset, header.offset + header.length));
  });
  return same;
}

/** Every event in the streams of these types that was emitted. What cannot be read was not. */
export async function readEmitted({ connection, keys, partitions }: Deployment, types: readonly string[]): Promise<EmittedEvent[]> {
  const out: EmittedEvent[] = [];
  for (const type of types) {
    for (let partition = 0; partition < partitions; partition++) {
      for (let from = '-'; from !== ''; ) {
        const page = (await connection.commandBuffer('XRANGE', keys.events(partition, type), from, '+', 'COUNT', PAGE)) as [Buffer, Buffer[]][];
        for (const [, fields] of page) {
          const at = fields.findIndex((field, i) => i % 2 === 0 && field.toString('latin1') === 'b');
          try {
            if (at >= 0) walkBatch(fields[at + 1] as Buffer, ({ id, extensions }) => void (extensions?.[CAUSATION.cause] !== undefined && out.push({ id, cause: extensions[CAUSATION.cause] as string })));
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

/** What waits to be brought to another partition. */
export async function countOutboxes({ connection, keys, partitions }: Deployment): Promise<number> {
  let waiting = 0;
  for (let partition = 0; partition < partitions; partition++) waiting += Number(await connection.command('XLEN', keys.outbox(partition)));
  return waiting;
}

/** Units that are due: with nothing parked there should be none. */
export async function countDue({ connection, keys, partitions }: Deployment, functions: readonly string[]): Promise<number> {
  let due = 0;
  for (const fn of functions) {
    for (let partition = 0; partition < partitions; partition++) due += Number(await connection.command('ZCARD', keys.due(partition, fn)));
  }
  return due;
}
