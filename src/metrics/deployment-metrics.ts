/**
 * The metrics of the whole deployment: the states of its functions, its outboxes, its server. They
 * are the same from every process, and are read at each scrape.
 */
import { sleep } from '../core/clock.ts';
import type { FunctionLag } from '../lag/lag.ts';
import type { Rate, RatedFunction, RatedLag, TypeRate } from '../lag/rates.ts';
import type { OutboxState } from '../outbox/outbox-state.ts';
import { DEPLOYMENT_METRICS, STATE_METRICS, type MetricRule } from './catalogue.ts';
import { Exposition, type ReadersOf, type Sample } from './exposition.ts';
import type { ServerReading } from './server-reading.ts';
import { retentionHeldMs } from '../upkeep/retention-held.ts';

/** Longest wait of a scrape for Redis, ms. Then the values that only Redis knows are left out. */
const REDIS_WAIT_MS = 3000;

export interface DeploymentSources {
  readonly partitions: number;
  readonly lag: () => Promise<RatedLag>;
  readonly outboxes: () => Promise<readonly OutboxState[]>;
  readonly server: () => Promise<ServerReading>;
  /** Whether metrics with the label `type` have the label `partition` too. */
  readonly byPartition: boolean;
}

/** Facts that Redis has told for a scrape. Null: not known. */
interface Facts {
  readonly functions: readonly RatedFunction[];
  readonly outboxes: readonly OutboxState[] | null;
  readonly server: ServerReading | null;
}

const NOTHING: Facts = { functions: [], outboxes: null, server: null };

export class DeploymentMetrics {
  readonly #sources: DeploymentSources;
  readonly #states: Exposition;
  readonly #rest: Exposition;
  #facts = NOTHING;

  constructor(sources: DeploymentSources) {
    const { byPartition } = sources;
    const facts = (): Facts => this.#facts;
    this.#sources = sources;
    this.#states = new Exposition(STATE_METRICS, { ...ofStates(facts), ...ofOutboxes(facts) });
    this.#rest = new Exposition(
      byPartition ? withPartition(DEPLOYMENT_METRICS) : DEPLOYMENT_METRICS,
      {
        millrace_partitions: () => [{ value: sources.partitions }],
        ...ofTypes(facts, sources),
        ...ofRates(facts, byPartition),
        ...ofServer(facts),
      } satisfies ReadersOf<typeof DEPLOYMENT_METRICS>,
    );
  }

  /** Returns the metrics that /metrics has too, unless the settings leave them out. */
  async statesText(): Promise<string> {
    await this.#read();
    return this.#states.text();
  }

  async text(): Promise<string> {
    const states = await this.statesText();
    return `${states}\n${await this.#rest.text()}`;
  }

  async #read(): Promise<void> {
    const { lag, outboxes, server } = this.#sources;
    const waited = new AbortController();
    const late = sleep(REDIS_WAIT_MS, waited.signal).then(() => null);
    const inTime = <T>(asked: Promise<T>): Promise<T | null> =>
      Promise.race([asked.catch(() => null), late]);
    const [report, outbox, facts] = await Promise.all([
      inTime(lag()),
      inTime(outboxes()),
      inTime(server()),
    ]);
    waited.abort();
    this.#facts = { functions: report?.functions ?? [], outboxes: outbox, server: facts };
  }
}

function ofStates(facts: () => Facts) {
  const each = (of: (lag: FunctionLag) => number) => (): Sample<number>[] =>
    facts().functions.map((lag) => ({ labels: { function: lag.name }, value: of(lag) }));
  return {
    millrace_lag_events: each((of) => of.lag),
    millrace_pending_events: each((of) => of.pending),
    millrace_parked_events: each((of) => of.parked),
    millrace_dead_events: each((of) => of.dead),
    millrace_purged_events: each((of) => of.purged),
    millrace_oldest_event_seconds: each((of) => (of.oldestMs ?? 0) / 1000),
    millrace_conserved: each((of) => (of.conserved ? 1 : 0)),
  };
}

function ofOutboxes(facts: () => Facts) {
  const all = (of: (outboxes: readonly OutboxState[]) => number) => (): Sample<number>[] => {
    const { outboxes } = facts();
    return outboxes === null ? [] : [{ value: of(outboxes) }];
  };
  return {
    millrace_outbox_flushes: all((of) => of.reduce((sum, { entries }) => sum + entries, 0)),
    millrace_outbox_bytes: all((of) => of.reduce((sum, { bytes }) => sum + bytes, 0)),
    millrace_outbox_oldest_seconds: all((of) =>
      Math.max(0, ...of.map(({ oldestMs }) => (oldestMs ?? 0) / 1000)),
    ),
  };
}

type TypeRow = FunctionLag['types'][number];

const STATES = ['lag', 'pending', 'parked', 'held'] as const;

/** Values of a row, each with its labels beside function, type and partition. */
type ValuesOf = (row: TypeRow) => readonly (readonly [Sample['labels'], number])[];

function ofTypes(facts: () => Facts, { byPartition, partitions }: DeploymentSources) {
  const each =
    (of: ValuesOf, both = (a: number, b: number): number => a + b) =>
    (): Sample<number>[] => {
      const told = new Map<string, Sample<number>>();
      for (const { name, types } of facts().functions)
        for (const row of types)
          for (const [more, value] of of(row)) {
            const partition = byPartition ? { partition: String(row.partition) } : {};
            const labels = { function: name, type: row.type, ...more, ...partition };
            const key = JSON.stringify(labels);
            const before = told.get(key)?.value;
            told.set(key, { labels, value: before === undefined ? value : both(before, value) });
          }
      return [...told.values()];
    };
  return {
    millrace_appended_events_total: each((row) => [[{}, row.appended]]),
    millrace_settled_events_total: each((row) => [
      [{ outcome: 'done' }, row.done],
      [{ outcome: 'dead' }, row.dead],
    ]),
    millrace_state_events: each(({ states }) =>
      STATES.map((state) => [{ state }, states[state].events]),
    ),
    millrace_state_oldest_seconds: each(
      ({ states }) => STATES.map((state) => [{ state }, (states[state].oldestMs ?? 0) / 1000]),
      Math.max,
    ),
    millrace_retention_held_seconds: each((row) => {
      const limits = facts().server?.limits.get(row.type);
      if (limits?.maxAgeMs === undefined && limits?.maxEvents === undefined) return [];
      return [[{}, retentionHeldMs(row, limits, partitions) / 1000]];
    }, Math.max),
  };
}

/** A figure of the rates of a type, or of one of its partitions. Null: not known, or none. */
type RateFigure = (rate: Rate & Pick<TypeRate, 'backlogLimit'>) => number | null;

function ofRates(facts: () => Facts, byPartition: boolean) {
  const each = (of: RateFigure) => (): Sample<number>[] =>
    facts().functions.flatMap(({ name, rate }) =>
      (rate?.types ?? []).flatMap((whole) => {
        const { type, partitions } = whole;
        const parts = byPartition
          ? partitions.map((one) => [one, { partition: String(one.partition) }] as const)
          : [[whole, {}] as const];
        return parts.flatMap(([part, more]) => {
          const value = of(part);
          return value === null ? [] : [{ labels: { function: name, type, ...more }, value }];
        });
      }),
    );
  return {
    millrace_arrival_events_per_second: each((rate) => rate.arrivalPerSecond),
    millrace_settled_events_per_second: each((rate) => rate.servicePerSecond),
    millrace_drain_seconds: each(({ drainMs }) => inSeconds(drainMs)),
    millrace_backlog_limit_seconds: each((rate) =>
      inSeconds(rate.backlogLimit?.reachedInMs ?? null),
    ),
  };
}

function inSeconds(ms: number | null): number | null {
  return ms === null ? null : ms / 1000;
}

function ofServer(facts: () => Facts) {
  const known = (of: (server: ServerReading) => number | null) => (): Sample<number>[] => {
    const { server } = facts();
    const value = server && of(server);
    return value === null ? [] : [{ value }];
  };
  return {
    millrace_backlog_limit_events: (): Sample<number>[] =>
      [...(facts().server?.limits ?? [])].flatMap(([type, { maxBacklog: value }]) =>
        value === undefined ? [] : [{ labels: { type }, value }],
      ),
    millrace_last_loss_timestamp_seconds: known((of) => of.lastLossMs / 1000),
    millrace_redis_memory_bytes: known((of) => of.memory && of.memory.usedBytes),
    millrace_redis_memory_limit_bytes: known((of) => of.memory && of.memory.limitBytes),
    millrace_redis_disk_bytes: known((of) => of.disk && of.disk.usedBytes),
    millrace_redis_disk_limit_bytes: known((of) => of.disk && of.disk.limitBytes),
  };
}

/** Gives the metrics that have the labels `function` and `type` the label `partition` too. */
function withPartition(
  catalogue: Readonly<Record<string, MetricRule>>,
): Readonly<Record<string, MetricRule>> {
  return Object.fromEntries(
    Object.entries(catalogue).map(([name, rule]) => [
      name,
      rule.labels.includes('function') && rule.labels.includes('type')
        ? { ...rule, labels: [...rule.labels, 'partition'] }
        : rule,
    ]),
  );
}
