/** Sends one notification over HTTP, and judges the answer. No secret gets into an error. */
import { MillraceError } from '../core/errors/millrace-error.ts';
import { cut } from '../core/well-formed.ts';
import type { Notification } from './notification.ts';
import type { Receiver } from './receiver.ts';

/** Longest time for an answer, ms. */
const TIMEOUT_MS = 10_000;
/** Part of an answer that an error shows, in characters. */
const SHOWN = 200;

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
  const clean = (text: string): string => withoutSecrets(receiver, text);
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
    throw new NotificationError(receiver.name, clean(failureText(error)));
  }
  const text = await beginningOf(answer);
  if (answer.ok) return;
  // A cut before this step could leave the first part of a secret.
  const shown = text === '' ? '' : `: ${cut(clean(text), SHOWN)}`;
  throw new NotificationError(
    receiver.name,
    `it answered ${answer.status}${shown}`,
    answer.status,
    retryAfterMs(answer.headers.get('retry-after')),
  );
}

function failureText(error: unknown): string {
  if (!(error instanceof Error)) return 'the request failed';
  if (error.name === 'TimeoutError') return `no answer within ${TIMEOUT_MS} ms`;
  const { cause } = error;
  return cause instanceof Error && cause.message !== '' ? cause.message : error.message;
}

/** Reads the beginning of the body, and leaves the rest: a body may be endless. */
async function beginningOf(answer: Response): Promise<string> {
  const reader = answer.body?.getReader();
  if (reader === undefined) return '';
  const chunks: Uint8Array[] = [];
  try {
    for (let bytes = 0; bytes < 4 * SHOWN;) {
      const { done, value } = (await reader.read()) as { done: boolean; value?: Uint8Array };
      if (done || value === undefined) break;
      chunks.push(value);
      bytes += value.length;
    }
    await reader.cancel();
  } catch {
    // The status has come, and says enough.
  }
  return Buffer.concat(chunks).toString('utf8').replace(/\s+/g, ' ').trim();
}

/** Removes the parts of the receiver that may be secret: address, key, and values of headers. */
function withoutSecrets({ url, routingKey, headers }: Receiver, text: string): string {
  const secrets = [url, routingKey, ...Object.values(headers)];
  try {
    const { pathname, search, username, password } = new URL(url);
    secrets.push(pathname, search, username, password);
  } catch {
    // The address as a whole is among the secrets.
  }
  let clean = text;
  for (const secret of secrets) if (secret.length > 3) clean = clean.replaceAll(secret, '…');
  return clean;
}

function retryAfterMs(header: string | null): number | null {
  const seconds = Number(header ?? Number.NaN);
  return Number.isFinite(seconds) && seconds > 0 ? Math.min(seconds, 3600) * 1000 : null;
}
