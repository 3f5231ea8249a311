/**
 * The state of the alerts in Redis, and the lease that makes one process its writer. Every write
 * checks the lease in the same step.
 *
 * Fields of the hash: `alert:<fingerprint>`, `receiver:<name>`, `history`, `lanes`, `evaluated`,
 * `rules`, `#epoch`. A field that cannot be read is dropped, and costs itself only.
 */
import { RedisReplyError } from '../core/errors/server-errors.ts';
import { defineScript } from '../redis/script.ts';
import type { RedisSpace } from '../redis/source.ts';
import { readAlertRecord, type AlertRecord } from './alert-record.ts';
import { NO_HISTORY, packHistory, unpackHistory, type History } from './history.ts';
import type { Lanes } from './readings.ts';

const holdScript = defineScript({ url: new URL('./hold-alerts.lua', import.meta.url), keys: 2 });
const saveScript = defineScript({ url: new URL('./save-alerts.lua', import.meta.url), keys: 2 });

/** Deliveries to a receiver that fail. A receiver without failures has no state. */
export interface ReceiverState {
  /** Attempts in a row that failed. */
  readonly failures: number;
  /** First failure, and time of the next attempt, by the server's clock, ms since 1970. */
  readonly sinceMs: number;
  readonly nextMs: number;
  /** Last failure, without secrets. */
  readonly error: string;
}

/** The last evaluation that could be stored. */
export interface LastEvaluation {
  /** Time by the server's clock, ms since 1970. */
  readonly atMs: number;
  /** Process that evaluated: host, pid, and a random part. */
  readonly by: string;
}

/** Names of the labels that alerts of a rule have, by the name of the rule. */
export type RuleLabels = ReadonlyMap<string, readonly string[]>;

export interface AlertsState {
  /** Null: none was stored. */
  readonly evaluated: LastEvaluation | null;
  /** Rules of the last evaluation. Empty: they are not known. */
  readonly rules: RuleLabels;
  readonly alerts: ReadonlyMap<string, AlertRecord>;
  readonly receivers: ReadonlyMap<string, ReceiverState>;
  readonly history: History;
  readonly lanes: Lanes;
}

/** Answer to the attempt to hold the lease. */
export interface Hold {
  /** Time by the server's clock, ms since 1970. */
  readonly nowMs: number;
  /**
   * - `held`: this process has the lease, and nobody else has had one meanwhile.
   * - `taken`: the lease is new, and the state is that of another process.
   * - `other`: another process has the lease.
   */
  readonly kind: 'held' | 'taken' | 'other';
}

/** Outcome of a write: see AlertStore.save(). */
export type Saved = 'saved' | 'other' | 'ended';

const ALERT = 'alert:';
const RECEIVER = 'receiver:';

export class AlertStore {
  readonly #space: RedisSpace;
  readonly #owner: string;
  readonly #ttlMs: number;
  #lease = '';
  /** Epoch of our last lease. */
  #epoch = Number.NaN;
  /**
   * Time until which a free lease is left to its last owner, ms since 1970. A lease ends while
   * Redis refuses writes, and its owner alone knows what was told meanwhile. Infinity: Redis
   * refused our last attempt. 0: there was no refusal.
   */
  #patientUntilMs = 0;
  /**
   * Texts in Redis, by field: only changed fields are written. Null: the outcome of a write is not
   * known, so the next one writes or deletes the field in any case.
   */
  #written = new Map<string, string | null>();
  /** Texts of the last write, whatever its outcome. */
  #last: ReadonlyMap<string, string> = new Map();
  /** Whether our lease is new, and the state in Redis was not read since. */
  #unread: 'held' | 'taken' | null = null;
  /** Writes run one after the other, so that an older state never replaces a newer one. */
  #saving: Promise<unknown> = Promise.resolve();

  constructor(space: RedisSpace, owner: string, ttlMs: number) {
    this.#space = space;
    this.#owner = owner;
    this.#ttlMs = ttlMs;
  }

  /** @throws RedisReplyError, UnknownOutcomeError */
  async hold(): Promise<Hold> {
    const [now, kind, lease] = await this.#runHold();
    const nowMs = Number(now);
    this.#lease = kind === 'other' ? '' : lease;
    if (kind === 'other' && lease === '') this.#wait(nowMs);
    else this.#patientUntilMs = 0;
    if (kind === 'other') return { nowMs, kind };
    if (kind === 'taken') this.#begin(Number(lease.slice(lease.lastIndexOf(':') + 1)));
    const found = this.#unread;
    if (found === null) return { nowMs, kind };
    // A read that fails leaves the mark: the next call reads, although the lease is held then.
    const fields = await readFields(this.#space);
    this.#written = new Map(fields);
    this.#last = fields;
    this.#unread = null;
    return { nowMs, kind: found };
  }

  async #runHold(): Promise<[string, Hold['kind'], string]> {
    const patient = this.#patientUntilMs > 0 ? String(this.#epoch) : '';
    const args = [this.#owner, this.#ttlMs, this.#lease, patient];
    try {
      const reply = await holdScript.run(this.#space.connection, this.#keys, args);
      return reply as [string, Hold['kind'], string];
    } catch (error) {
      if (error instanceof RedisReplyError && error.refuses === 'writes')
        this.#patientUntilMs = Infinity;
      throw error;
    }
  }

  /** Leaves the free lease to its last owner for as long as a lease lasts. */
  #wait(nowMs: number): void {
    if (this.#patientUntilMs === Infinity) this.#patientUntilMs = nowMs + this.#ttlMs;
    else if (nowMs >= this.#patientUntilMs) this.#patientUntilMs = 0;
  }

  #begin(epoch: number): void {
    // Nobody has had a lease since ours ended, so nobody has changed the state.
    const isNext = epoch === this.#epoch + 1 && this.#unread !== 'taken';
    this.#unread = isNext ? 'held' : 'taken';
    this.#epoch = epoch;
  }

  /** Returns the state that hold() has found. */
  found(): AlertsState {
    return stateOf(this.#last);
  }

  /**
   * Writes the changed parts of the state.
   * @param stateNow reads the state when it is this write's turn; null: there is none any more
   * @returns `other`: another process has the lease; `ended`: nobody has it. Both: nothing was
   *   written
   * @throws RedisReplyError, UnknownOutcomeError
   */
  save(stateNow: () => AlertsState | null): Promise<Saved> {
    const saved = this.#saving.then((): Saved | Promise<Saved> => {
      const state = stateNow();
      if (state === null || this.#unread === 'taken') return 'other';
      return this.#write(fieldsOf(state), this.#ttlMs);
    });
    this.#saving = saved.catch(() => undefined);
    return saved;
  }

  /** Gives the lease back, so that another process need not wait for its end. */
  async release(): Promise<void> {
    await this.#saving;
    if (this.#lease !== '') await this.#write(this.#last, 0);
    this.#lease = '';
  }

  async #write(fields: ReadonlyMap<string, string>, ttlMs: number): Promise<Saved> {
    const gone = [...this.#written.keys()].filter((field) => !fields.has(field));
    const changed = [...fields].filter(([field, text]) => this.#written.get(field) !== text);
    this.#last = fields;
    const args = [this.#lease, ttlMs, gone.length, ...gone, ...changed.flat()];
    let reply: unknown;
    try {
      reply = await saveScript.run(this.#space.connection, this.#keys, args);
    } catch (error) {
      for (const field of [...gone, ...changed.map(([field]) => field)])
        this.#written.set(field, null);
      throw error;
    }
    if (reply !== 1) return reply === 0 ? 'other' : 'ended';
    this.#written = new Map(fields);
    return 'saved';
  }

  get #keys(): string[] {
    const { keys } = this.#space;
    return [keys.alerts('lease'), keys.alerts('state')];
  }
}

/**
 * Reads the state of the alerts. Writes nothing, and needs no lease.
 * @throws RedisReplyError, UnknownOutcomeError
 */
export async function readAlerts(space: RedisSpace): Promise<AlertsState> {
  return stateOf(await readFields(space));
}

/**
 * Reads the process that has the lease of the alerts. Null: no process has it.
 * @throws RedisReplyError, UnknownOutcomeError
 */
export async function readEvaluator({ connection, keys }: RedisSpace): Promise<string | null> {
  const lease = (await connection.command('GET', keys.alerts('lease'))) as string | null;
  return lease === null ? null : lease.replace(/:\d+$/, '');
}

async function readFields({ connection, keys }: RedisSpace): Promise<Map<string, string>> {
  const flat = (await connection.command('HGETALL', keys.alerts('state'))) as string[];
  const fields = new Map<string, string>();
  for (let i = 0; i + 1 < flat.length; i += 2)
    if (flat[i] !== '#epoch') fields.set(flat[i] as string, flat[i + 1] as string);
  return fields;
}

function stateOf(fields: ReadonlyMap<string, string>): AlertsState {
  const alerts = new Map<string, AlertRecord>();
  const receivers = new Map<string, ReceiverState>();
  for (const [field, text] of fields) {
    if (field.startsWith(ALERT)) {
      const alert = readAlertRecord(text);
      if (alert && field === ALERT + alert.fingerprint) alerts.set(alert.fingerprint, alert);
    } else if (field.startsWith(RECEIVER)) {
      const state = readReceiver(text);
      if (state) receivers.set(field.slice(RECEIVER.length), state);
    }
  }
  return {
    evaluated: readEvaluated(parsed(fields.get('evaluated'))),
    rules: readRules(parsed(fields.get('rules'))),
    alerts,
    receivers,
    history: unpackHistory(parsed(fields.get('history'))) ?? NO_HISTORY,
    lanes: readLanes(parsed(fields.get('lanes'))),
  };
}

function fieldsOf(state: AlertsState): Map<string, string> {
  const { evaluated, rules, alerts, receivers, history, lanes } = state;
  const fields = new Map<string, string>();
  if (evaluated) fields.set('evaluated', JSON.stringify(evaluated));
  if (rules.size > 0) fields.set('rules', JSON.stringify([...rules]));
  for (const [fingerprint, alert] of alerts) fields.set(ALERT + fingerprint, JSON.stringify(alert));
  for (const [name, state] of receivers) fields.set(RECEIVER + name, JSON.stringify(state));
  fields.set('history', JSON.stringify(packHistory(history)));
  fields.set('lanes', JSON.stringify([...lanes]));
  return fields;
}

function parsed(text: string | undefined): unknown {
  try {
    return text === undefined ? null : JSON.parse(text);
  } catch {
    return null;
  }
}

function readEvaluated(read: unknown): LastEvaluation | null {
  const { atMs, by } = (read ?? {}) as Partial<LastEvaluation>;
  return Number.isFinite(atMs) && typeof by === 'string' ? { atMs: atMs as number, by } : null;
}

function readRules(packed: unknown): RuleLabels {
  const rules = new Map<string, readonly string[]>();
  if (!Array.isArray(packed)) return rules;
  for (const one of packed as unknown[]) {
    if (!Array.isArray(one) || !Array.isArray(one[1])) continue;
    const [name, labels] = one as [unknown, unknown[]];
    if (typeof name === 'string') rules.set(name, labels.map(String));
  }
  return rules;
}

function readReceiver(text: string): ReceiverState | null {
  const { failures, sinceMs, nextMs, error } = (parsed(text) ?? {}) as Partial<ReceiverState>;
  if (![failures, sinceMs, nextMs].every(Number.isFinite) || typeof error !== 'string') return null;
  return { failures, sinceMs, nextMs, error } as ReceiverState;
}

function readLanes(packed: unknown): Lanes {
  const lanes = new Map<string, readonly [number, number]>();
  if (!Array.isArray(packed)) return lanes;
  for (const one of packed as unknown[]) {
    if (!Array.isArray(one) || !Array.isArray(one[1])) continue;
    const [key, [settled, sinceMs]] = one as [unknown, unknown[]];
    if (typeof key === 'string' && typeof settled === 'number' && typeof sinceMs === 'number')
      lanes.set(key, [settled, sinceMs]);
  }
  return lanes;
}
