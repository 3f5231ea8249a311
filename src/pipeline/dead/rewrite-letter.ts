/**
 * Replaces the event of a dead letter. The new letter keeps everything else: the event's place, its
 * attempts, its error, its group, and the subject that it holds. It also keeps the bytes of the
 * event before its first edit.
 */
import { randomUUID } from 'node:crypto';
import { DEADLINE_MS, withRetry } from '../../redis/retry.ts';
import { defineScript } from '../../redis/script.ts';
import { LETTER_GROUPS } from '../../redis/lua/shared.ts';
import { serverTime } from '../../redis/server-time.ts';
import {
  DeadLetterNotFoundError,
  formatLetterId,
  lettersOf,
  type DeadLetter,
  type DeadLetterSource,
} from './dead-letters.ts';

const script = defineScript({
  url: new URL('./rewrite-letter.lua', import.meta.url),
  with: LETTER_GROUPS,
  keys: 3,
});

/** Edits kept in a letter, and attempts of its history. */
const KEPT = 10;

export interface LetterRewrite {
  /** The edited Event message. Its id, subject, source and position are those of the letter's. */
  readonly event: Buffer;
  /** Id of the schema of the new data. 0: none. */
  readonly schema: number;
  /** Person or program that asks for the edit. */
  readonly by: string;
}

/**
 * Replaces the letter. Safe under lost replies: the letter is replaced once.
 * @returns id of the new letter
 * @throws DeadLetterNotFoundError: somebody else has replayed, purged or edited the letter.
 *   UnknownOutcomeError, RedisReplyError
 */
export async function rewriteLetter(
  source: DeadLetterSource,
  letter: DeadLetter,
  { event, schema, by }: LetterRewrite,
): Promise<string> {
  const { connection, keys } = source;
  const { function: fn, partition, letterId } = letter;
  const atMs = await serverTime(source);
  const key = randomUUID();
  const fields = rewrittenFields(letter, event, { key, atMs, by, schema });
  const found = await withRetry(
    async (attempt) => {
      const [kind, id] = (await script.run(
        connection,
        [keys.dead(partition, fn), keys.held(partition, fn), keys.groups(partition, fn)],
        [letterId, letter.subject, letter.fingerprint, ...fields],
      )) as [string, string?];
      if (kind === 'rewritten') return id as string;
      // An earlier sending may have replaced the letter, and its reply was lost.
      return attempt > 1 ? findRewritten(source, letter, key, atMs) : null;
    },
    { deadlineMs: DEADLINE_MS },
  );
  if (found === null) throw new DeadLetterNotFoundError(letter.id);
  return formatLetterId(fn, partition, found);
}

interface Edit {
  /** Names the edit. */
  readonly key: string;
  readonly atMs: number;
  readonly by: string;
  readonly schema: number;
}

function rewrittenFields(
  letter: DeadLetter,
  event: Buffer,
  { key, atMs, by, schema }: Edit,
): (string | Buffer)[] {
  const edit = {
    key,
    at: atMs,
    by,
    schema,
    before: letter.bytes.length,
    after: event.length,
  };
  const edits = letter.edits.map((one) => ({
    key: one.key,
    at: one.atMs,
    by: one.by,
    schema: one.schema,
    before: one.bytesBefore,
    after: one.bytesAfter,
  }));
  // The history goes with the event when it is replayed: the edits do not.
  const note = { at: atMs, attempt: letter.attempts, name: 'Edited', message: `by ${by}` };
  const history = letter.history.map(({ atMs: at, ...attempt }) => ({ at, ...attempt }));
  return [
    ...['event', event],
    ...['history', JSON.stringify([...history, note].slice(-KEPT))],
    ...['original', letter.bytes],
    ...['edits', JSON.stringify([...edits, edit].slice(-KEPT))],
  ];
}

/** Null: there is no such letter any more. */
async function findRewritten(
  source: DeadLetterSource,
  { function: fn, partition }: DeadLetter,
  key: string,
  atMs: number,
): Promise<string | null> {
  // A letter's id is not below the server's time when it is written.
  for await (const letter of lettersOf(source, fn, partition, `${atMs - 1}-0`))
    if (letter.edits.some((edit) => edit.key === key)) return letter.letterId;
  return null;
}
