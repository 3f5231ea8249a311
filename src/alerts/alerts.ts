/**
 * Alerts of the deployment: evaluates the rules and notifies the receivers. Any number of processes
 * may run this part. The one that holds the lease in Redis does the work, the others stand by.
 *
 * The owner keeps the state in memory, and writes each change to Redis under its lease. While Redis
 * refuses writes (no memory, a full disk), nobody else can take the lease. So the last owner goes
 * on from memory: these are the moments for which the alerts exist.
 */
import { monotonicMs, sleep } from '../core/clock.ts';
import { RedisReplyError } from '../core/errors/server-errors.ts';
import { Loop, type Lifecycle } from '../core/lifecycle.ts';
import { failureLevel, type Log } from '../core/log.ts';
import type { RetryPolicy } from '../core/retry-policy.ts';
import type { LagReport } from '../lag/lag.ts';
import type { RedisSource } from '../redis/source.ts';
import { serverTime } from '../redis/server-time.ts';
import type { AlertRecord } from './alert-record.ts';
import { AlertStore, type AlertsState, type ReceiverState } from './alert-store.ts';
import { asTold, dueAlerts, RECEIVER_RETRY } from './due-notifications.ts';
import { evaluateRules, type Evaluated } from './evaluate-rules.ts';
import { logAlert } from './log-alert.ts';
import { measure, type Measured } from './measured.ts';
import { ReceiverLine, type LineHost } from './receiver-line.ts';
import { readingsOf } from './readings.ts';
import { LOG_RECEIVER, type Receiver } from './receiver.ts';
import { ALERT_SEVERITIES } from './alert-rule.ts';
import type { AlertSettings } from './rules-file.ts';
import { labelsOfRules } from './known-rules.ts';
import { readSilences, type Silence } from './silences.ts';
import { worstEventOf } from './worst-event.ts';

export interface AlertsOptions {
  readonly source: RedisSource;
  readonly settings: AlertSettings;
  /** Receivers with their secrets: see receiversWithSecrets(). */
  readonly receivers: readonly Receiver[];
  /** Name of this process in the lease. */
  readonly owner: string;
  /**
   * Reads the time at which the deployment was created, a part of the fingerprints. '': it is not
   * known yet.
   */
  readonly created: () => Promise<string>;
  readonly version: string;
  readonly log: Log;
  readonly lag: () => Promise<LagReport>;
  /** Default RECEIVER_RETRY. */
  readonly retry?: RetryPolicy;
  /** TTL of the lease, ms. Default: LEASE_PASSES evaluations, LEAST_LEASE_MS at least. */
  readonly leaseMs?: number;
}

const LEASE_PASSES = 3;
const LEAST_LEASE_MS = 15_000;
/** Longest wait of stop() for notifications under way, ms. */
const LAST_POSTS_MS = 3_000;
/** Longest time of stop(), ms. */
const STOP_MS = 5_000;
/** Most alerts of a pass whose worst event is explained. */
const MOST_EXPLAINED = 5;

export class Alerts implements Lifecycle {
  readonly #options: AlertsOptions;
  readonly #store: AlertStore;
  readonly #loop: Loop;
  readonly #lines: readonly ReceiverLine[];
  /** Null: another process does the work. */
  #state: AlertsState | null = null;
  #silences: readonly Silence[] = [];
  /** Time of the server at the last pass, and our own at that moment, ms. */
  #clock = { serverMs: 0, ownMs: 0 };
  #writesRefused = false;
  #created = '';
  #stopped: Promise<void> | null = null;

  constructor(options: AlertsOptions) {
    this.#options = options;
    const { source, settings, receivers, owner, log } = options;
    const { everyMs } = settings;
    const leaseMs = options.leaseMs ?? Math.max(LEAST_LEASE_MS, LEASE_PASSES * everyMs);
    this.#store = new AlertStore(source, owner, leaseMs);
    this.#lines = receivers.map((receiver) => this.#lineTo(receiver));
    this.#loop = new Loop({
      pass: () => this.#pass(),
      pauseMs: () => everyMs,
      failed: (error) =>
        log(failureLevel(error), 'alerts could not be evaluated, trying again', { err: error }),
    });
  }

  /** Whether this process evaluates the rules now. */
  get isOwner(): boolean {
    return this.#state !== null;
  }

  /** Notifications of this process, by receiver. */
  get counts(): readonly { receiver: string; delivered: number; failed: number }[] {
    return this.#lines.map(({ name, delivered, failed }) => ({
      receiver: name,
      delivered,
      failed,
    }));
  }

  start(): void {
    this.#loop.start();
  }

  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  /** A Redis that does not answer must not hold up the end of the process. */
  async #stop(): Promise<void> {
    const late = new AbortController();
    await Promise.race([this.#end(), sleep(STOP_MS, late.signal)]);
    late.abort();
  }

  async #end(): Promise<void> {
    await this.#loop.stop();
    await Promise.all(this.#lines.map((line) => line.stop(LAST_POSTS_MS)));
    this.#state = null;
    // Redis may be gone. The lease then ends by itself.
    await this.#store.release().catch(() => undefined);
  }

  async #pass(): Promise<void> {
    if (!(await this.#hold())) return;
    const { source, lag, created } = this.#options;
    if (this.#created === '') this.#created = await created();
    const measured = await measure({ source, lag });
    this.#silences = await readSilences(source, this.#nowMs);
    if (this.#state === null) return;
    const evaluated = this.#evaluate(this.#state, measured);
    await this.#explain(evaluated.fired, measured);
    this.#tellLog();
    await this.#save();
    for (const line of this.#lines) line.kick();
  }

  /** Takes or keeps the lease. False: another process has it. */
  async #hold(): Promise<boolean> {
    try {
      const { nowMs, kind } = await this.#store.hold();
      this.#setClock(nowMs);
      if (kind === 'other') this.#state = null;
      else if (kind === 'taken' || this.#state === null) {
        this.#state = this.#store.found();
        this.#writesRefused = false;
      }
      return kind !== 'other';
    } catch (error) {
      if (!this.#isRefusal(error)) throw error;
      if (this.#state === null) return false;
      this.#setClock(await serverTime(this.#options.source));
      return true;
    }
  }

  #evaluate(state: AlertsState, measured: Measured): Evaluated {
    const { settings, source, log } = this.#options;
    const { history, lanes, receivers } = state;
    const nowMs = this.#nowMs;
    const { partitions, keys } = source;
    const { namespace } = keys;
    const writesRefused = this.#writesRefused;
    const now = readingsOf({ measured, partitions, nowMs, history, lanes, writesRefused });
    const evaluated = evaluateRules({
      rules: settings.rules,
      readings: now.readings,
      state,
      nowMs,
      deployment: `${namespace} ${this.#created}`,
      createdMs: Number(this.#created),
      labels: { ...settings.labels, deployment: namespace },
    });
    this.#state = {
      ...evaluated.state,
      receivers,
      lanes: now.lanes,
      evaluated: { atMs: nowMs, by: this.#options.owner },
      rules: labelsOfRules(settings),
    };
    if (evaluated.dropped > 0)
      log('warn', 'more series than alerts are kept for fulfil the rules of alerts', {
        series: evaluated.dropped,
      });
    return evaluated;
  }

  /** Adds the worst event to alerts that begin to fire. A failure costs the explanation only. */
  async #explain(fired: readonly AlertRecord[], { lag }: Measured): Promise<void> {
    const { source, log } = this.#options;
    for (const alert of fired.slice(0, MOST_EXPLAINED)) {
      try {
        const worst = await worstEventOf(source, alert, lag, this.#nowMs);
        this.#update(alert.fingerprint, (now) => ({ ...now, worst }));
      } catch (error) {
        log('warn', 'the worst event of an alert could not be explained', {
          alert: alert.name,
          err: error,
        });
      }
    }
  }

  /** The log is a receiver that takes each notification at once. */
  #tellLog(): void {
    const receiver = { name: LOG_RECEIVER, severities: ALERT_SEVERITIES };
    for (const alert of this.#due(receiver)) {
      logAlert(this.#options.log, alert);
      this.#update(alert.fingerprint, (now) => asTold(now, LOG_RECEIVER, alert, this.#nowMs));
    }
  }

  #due(receiver: Pick<Receiver, 'name' | 'severities'>): AlertRecord[] {
    return dueAlerts(receiver, {
      alerts: this.#state?.alerts.values() ?? [],
      silences: this.#silences,
      nowMs: this.#nowMs,
      repeatMs: this.#options.settings.repeatMs,
    });
  }

  #lineTo(receiver: Receiver): ReceiverLine {
    const { source, version, retry = RECEIVER_RETRY, log } = this.#options;
    const host: LineHost = {
      due: () => this.#due(receiver),
      sender: () => ({ namespace: source.keys.namespace, version, nowMs: this.#nowMs }),
      state: () => this.#state?.receivers.get(receiver.name),
      told: (alerts) => {
        for (const alert of alerts)
          this.#update(alert.fingerprint, (now) => asTold(now, receiver.name, alert, this.#nowMs));
      },
      changed: async (state) => {
        this.#setReceiver(receiver.name, state);
        await this.#save();
      },
      retry,
      log,
    };
    return new ReceiverLine(receiver, host);
  }

  #setReceiver(name: string, state: ReceiverState | null): void {
    if (this.#state === null) return;
    const receivers = new Map(this.#state.receivers);
    if (state === null) receivers.delete(name);
    else receivers.set(name, state);
    this.#state = { ...this.#state, receivers };
  }

  #update(fingerprint: string, change: (now: AlertRecord) => AlertRecord): void {
    const now = this.#state?.alerts.get(fingerprint);
    if (this.#state === null || now === undefined) return;
    const alerts = new Map(this.#state.alerts).set(fingerprint, change(now));
    this.#state = { ...this.#state, alerts };
  }

  /**
   * Writes the state. Another owner ends the work of this process. Where the lease has ended, the
   * memory stays: the next pass keeps it, unless another process has evaluated meanwhile.
   */
  async #save(): Promise<void> {
    try {
      if (this.#state === null) return;
      const saved = await this.#store.save(() => this.#state);
      if (saved === 'other') this.#state = null;
      if (saved !== 'ended') this.#writesRefused = false;
    } catch (error) {
      if (!this.#isRefusal(error)) throw error;
    }
  }

  #isRefusal(error: unknown): boolean {
    const refused = error instanceof RedisReplyError && error.refuses === 'writes';
    if (refused) this.#writesRefused = true;
    return refused;
  }

  #setClock(serverMs: number): void {
    this.#clock = { serverMs, ownMs: monotonicMs() };
  }

  /** Time by the server's clock, ms since 1970. */
  get #nowMs(): number {
    return Math.round(this.#clock.serverMs + monotonicMs() - this.#clock.ownMs);
  }
}
