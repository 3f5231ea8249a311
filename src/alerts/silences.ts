/**
 * Silences: an operator has the receivers not told of some alerts until a time. The alerts are
 * evaluated all the same. An alert that still fires at the end of a silence is told then.
 */
import { randomBytes } from 'node:crypto';
import { MillraceError } from '../core/errors/millrace-error.ts';
import type { RedisSpace } from '../redis/source.ts';
import { defineScript } from '../redis/script.ts';
import { serverTime } from '../redis/server-time.ts';
import type { AlertRecord } from './alert-record.ts';
import type { Labels } from './figures.ts';

const addScript = defineScript({ url: new URL('./add-silence.lua', import.meta.url), keys: 1 });

export interface Silence {
  readonly id: string;
  /** Name of the rule; null: every rule. */
  readonly alert: string | null;
  /** Labels that the alert must have. */
  readonly labels: Labels;
  /** Times by the server's clock, ms since 1970. */
  readonly fromMs: number;
  readonly untilMs: number;
  readonly comment: string;
}

const MOST_SILENCES = 1000;
export const MOST_SILENCE_MS = 366 * 86_400_000;

/** There are as many silences as there may be. Nothing was changed. */
export class SilenceLimitError extends MillraceError {
  readonly code = 'SILENCE_LIMIT';
  readonly limit = MOST_SILENCES;
  constructor() {
    super(
      `there are ${MOST_SILENCES} silences already. Remove some: millrace alerts silence --remove <id>`,
    );
  }
}

/**
 * Lists the silences that are not over, the next to end first. An unreadable one is left out.
 * @throws RedisReplyError, UnknownOutcomeError
 */
export async function readSilences(space: RedisSpace, nowMs: number): Promise<Silence[]> {
  const { living } = await lookAt(space, nowMs);
  return living.sort((a, b) => a.untilMs - b.untilMs);
}

/** Reads all silences at once. `over`: ids of those that are over or unreadable. */
async function lookAt(
  { connection, keys }: RedisSpace,
  nowMs: number,
): Promise<{ living: Silence[]; over: string[] }> {
  const flat = (await connection.command('HGETALL', keys.alerts('silences'))) as string[];
  const living: Silence[] = [];
  const over: string[] = [];
  for (let i = 0; i + 1 < flat.length; i += 2) {
    const silence = readSilence(flat[i + 1] as string);
    if (silence && silence.untilMs > nowMs) living.push(silence);
    else over.push(flat[i] as string);
  }
  return { living, over };
}

/**
 * Adds a silence, and removes those that are over.
 * @param forMs its length, ms
 * @throws SilenceLimitError, RedisReplyError, UnknownOutcomeError
 */
export async function addSilence(
  space: RedisSpace,
  wanted: Pick<Silence, 'alert' | 'labels' | 'comment'>,
  forMs: number,
): Promise<Silence> {
  const { connection, keys } = space;
  const nowMs = await serverTime(space);
  const { over } = await lookAt(space, nowMs);
  const id = randomBytes(4).toString('hex');
  const silence = { id, ...wanted, fromMs: nowMs, untilMs: nowMs + forMs };
  const added = await addScript.run(
    connection,
    [keys.alerts('silences')],
    [MOST_SILENCES, id, JSON.stringify(silence), ...over],
  );
  if (added !== 1) throw new SilenceLimitError();
  return silence;
}

/**
 * Ends a silence at once.
 * @returns whether it was there
 * @throws RedisReplyError, UnknownOutcomeError
 */
export async function removeSilence(
  { connection, keys }: RedisSpace,
  id: string,
): Promise<boolean> {
  return (await connection.command('HDEL', keys.alerts('silences'), id)) === 1;
}

export function isSilenced(
  { name, labels }: Pick<AlertRecord, 'name' | 'labels'>,
  silences: readonly Silence[],
): boolean {
  return silences.some(
    (silence) =>
      (silence.alert === null || silence.alert === name) &&
      Object.entries(silence.labels).every(([label, value]) => labels[label] === value),
  );
}

function readSilence(text: string): Silence | null {
  try {
    const read = JSON.parse(text) as Partial<Silence>;
    const usable =
      [read.id, read.comment].every((one) => typeof one === 'string') &&
      (read.alert === null || typeof read.alert === 'string') &&
      [read.fromMs, read.untilMs].every((one) => typeof one === 'number') &&
      typeof read.labels === 'object' &&
      read.labels !== null;
    return usable ? (read as Silence) : null;
  } catch {
    return null;
  }
}
