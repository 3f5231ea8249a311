/**
 * The line to one receiver. It sends what is due, one request at a time, and backs off after a
 * failure. Lines do not wait for each other: a receiver that is down holds up no other.
 */
import { sleep } from '../core/clock.ts';
import type { Log } from '../core/log.ts';
import type { RetryPolicy } from '../core/retry-policy.ts';
import { sharedAbort } from '../core/shared-signal.ts';
import type { AlertRecord } from './alert-record.ts';
import type { ReceiverState } from './alert-store.ts';
import { backedOff } from './due-notifications.ts';
import { notificationsFor, type Notification, type Sender } from './notification.ts';
import { NotificationError, postNotification } from './post-notification.ts';
import type { Receiver } from './receiver.ts';

/** The owner of the state, as a line sees it. */
export interface LineHost {
  /** Alerts of which the receiver is to be told now. */
  readonly due: () => readonly AlertRecord[];
  readonly sender: () => Sender;
  readonly state: () => ReceiverState | undefined;
  /** Notes that the receiver was told of the alerts. */
  readonly told: (alerts: readonly AlertRecord[]) => void;
  /** Writes what was told, and the receiver's state. Null: the receiver takes notifications. */
  readonly changed: (state: ReceiverState | null) => Promise<void>;
  readonly retry: RetryPolicy;
  readonly log: Log;
}

export class ReceiverLine {
  readonly #receiver: Receiver;
  readonly #host: LineHost;
  readonly #stopping = sharedAbort();
  #running: Promise<void> | null = null;
  #stopped = false;
  #delivered = 0;
  #failed = 0;

  constructor(receiver: Receiver, host: LineHost) {
    this.#receiver = receiver;
    this.#host = host;
  }

  get name(): string {
    return this.#receiver.name;
  }
  /** Requests that the receiver took, and those that failed. */
  get delivered(): number {
    return this.#delivered;
  }
  get failed(): number {
    return this.#failed;
  }

  /** Sends what is due, unless the line is busy or backs off. Returns at once. */
  kick(): void {
    if (this.#stopped || this.#running !== null) return;
    const { nowMs } = this.#host.sender();
    if ((this.#host.state()?.nextMs ?? 0) > nowMs) return;
    this.#running = this.#run().finally(() => (this.#running = null));
  }

  /** Waits for the request under way, at most `deadlineMs`. Then gives it up. */
  async stop(deadlineMs: number): Promise<void> {
    this.#stopped = true;
    if (this.#running === null) return;
    const over = new AbortController();
    await Promise.race([this.#running, sleep(deadlineMs, over.signal)]);
    over.abort();
    this.#stopping.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const host = this.#host;
    const receiver = this.#receiver;
    try {
      const due = host.due();
      let failure: NotificationError | null = null;
      for (const notification of notificationsFor(receiver, due, host.sender())) {
        if (this.#stopped) break;
        const failed = await this.#send(notification);
        failure = failed ?? failure;
        if (failed !== null && !failed.refusesThis) break;
      }
      if (due.length > 0) await this.#note(failure);
    } catch (error) {
      host.log('warn', 'the state of a receiver of alerts could not be written', {
        receiver: receiver.name,
        err: error,
      });
    }
  }

  /** Sends one request. Null: the receiver took it. */
  async #send(notification: Notification): Promise<NotificationError | null> {
    try {
      await postNotification(this.#receiver, notification, this.#stopping.signal);
    } catch (error) {
      if (!(error instanceof NotificationError)) throw error;
      this.#failed++;
      return error;
    }
    this.#delivered++;
    this.#host.told(notification.alerts);
    await this.#host.changed(this.#host.state() ?? null);
    return null;
  }

  async #note(failure: NotificationError | null): Promise<void> {
    const host = this.#host;
    const before = host.state();
    if (this.#stopping.signal.aborted) return;
    if (failure === null) {
      if (before === undefined) return;
      host.log('info', 'a receiver of alerts takes notifications again', {
        receiver: this.name,
        failures: before.failures,
      });
      return host.changed(null);
    }
    const leastMs = failure.retryAfterMs ?? 0;
    const { nowMs } = host.sender();
    const next = backedOff(before, failure.message, nowMs, { retry: host.retry, leastMs });
    host.log('warn', failure.message, {
      receiver: this.name,
      failures: next.failures,
      nextTryInMs: next.nextMs - nowMs,
    });
    return host.changed(next);
  }
}
