/** Sends one notification over HTTP, and judges the answer. No secret gets into an error. */
import { MillraceError } from '../core/errors/millrace-error.ts';
import { wallClockMs } from '../core/clock.ts';
import { cut } from '../core/well-formed.ts';
import { hideSecrets } from './hide-secrets.ts';
import type { Notification } from './notification.ts';
import type { Receiver } from './receiver.ts';

/** Longest time for an answer, ms. */
const TIMEOUT_MS = 10_000;
/** Part of an answer that an error shows, in characters. */
const SHOWN = 200;
/** Part of an answer that is read, in bytes. */
const READ_BYTES = 4 * SHOWN;
/** Longest time for which a receiver may ask to be left alone, ms. */
const MOST_ALONE_MS = 3_600_000;

/** A receiver has not taken a notification. */
export class NotificationError extends MillraceError {
  readonly code = 'NOTIFICATION';
  override readonly retryable = true;
  readonly receiver: string;
  /** Status of the answer. Null: there was none. */
  readonly status: number | null;
  /** Time that the receiver asks to be left alone, ms. Null: it does not. */
  readonly retryAfterMs: number | null;

  constructor(
    receiver: string,
    problem: string,
    status: number | null = null,
    retryAfterMs: number | null = null,
  ) {
    super(`receiver "${receiver}" has not taken the notification: ${problem}`);
    this.receiver = receiver;
    this.status = status;
    this.retryAfterMs = retryAfterMs;
  }

  /** Whether the receiver refuses this one notification, and may take others. */
  get refusesThis(): boolean {
    const { status } = this;
    return status !== null && status >= 400 && status < 500 && status !== 408 && status !== 429;
  }
}

/** @throws NotificationError */
export async function postNotification(
  receiver: Receiver,
  { url, headers, body }: Notification,
  signal: AbortSignal,
): Promise<void> {
  let answer: Response;
  try {
    answer = await fetch(url, {
      method: 'POST',
      headers: { ...headers },
      body,
      // An answer that leads elsewhere would take the secrets there.
      redirect: 'manual',
      signal: AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]),
    });
  } catch (error) {
    throw new NotificationError(receiver.name, hideSecrets(receiver, failureText(error), false));
  }
  const { text, isCut } = await beginningOf(answer);
  if (answer.ok) return;
  // A cut before this step could leave the first part of a secret.
  const shown = text === '' ? '' : `: ${cut(hideSecrets(receiver, text, isCut), SHOWN)}`;
  throw new NotificationError(
    receiver.name,
    `it answered ${answer.status}${shown}`,
    answer.status,
    retryAfterMs(answer.headers),
  );
}

function failureText(error: unknown): string {
  if (!(error instanceof Error)) return 'the request failed';
  if (error.name === 'TimeoutError') return `no answer within ${TIMEOUT_MS} ms`;
  const { cause } = error;
  return cause instanceof Error && cause.message !== '' ? cause.message : error.message;
}

/** Reads the beginning of the body, and leaves the rest: a body may be endless. */
async function beginningOf(answer: Response): Promise<{ text: string; isCut: boolean }> {
  const reader = answer.body?.getReader();
  if (reader === undefined) return { text: '', isCut: false };
  const chunks: Uint8Array[] = [];
  let isCut = true;
  try {
    for (let bytes = 0; bytes < READ_BYTES;) {
      const { done, value } = (await reader.read()) as { done: boolean; value?: Uint8Array };
      if (done || value === undefined) {
        isCut = false;
        break;
      }
      chunks.push(value);
      bytes += value.length;
    }
    await reader.cancel();
  } catch {
    // The status has come, and says enough.
  }
  const bytes = Buffer.concat(chunks);
  const text = bytes.toString('utf8', 0, READ_BYTES).replace(/\s+/g, ' ').trim();
  return { text, isCut: isCut || bytes.length > READ_BYTES };
}

/**
 * Returns the time that the receiver asks to be left alone, ms. The header gives seconds or a date,
 * which counts from the receiver's own clock, where the answer tells it.
 */
function retryAfterMs(headers: Headers): number | null {
  const after = headers.get('retry-after')?.trim() ?? '';
  const ms = /^[a-z]/i.test(after)
    ? httpDateMs(after) - (httpDateMs(headers.get('date') ?? '') || wallClockMs())
    : Number(after) * 1000;
  return ms > 0 ? Math.min(ms, MOST_ALONE_MS) : null;
}

/** Reads a date of HTTP in one of its three forms. NaN: it is none. */
function httpDateMs(text: string): number {
  if (!/^[a-z]{3,9},? .*\d\d:\d\d:\d\d/i.test(text)) return Number.NaN;
  // The form of asctime() has no zone, and means GMT.
  return Date.parse(text.endsWith('GMT') ? text : `${text} GMT`);
}
