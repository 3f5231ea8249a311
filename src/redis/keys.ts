/**
 * Every key that Millrace owns, one function each. All keys of partition p bear the hash tag `{p}`.
 * So one script may touch all of them, on one server or in a Redis Cluster.
 */
export interface Keys {
  readonly namespace: string;
  /** stream: the entries of one (type, partition) */
  events(partition: number, type: string): string;
  /** list: parked events of one subject (ordering 'key') or one event id (ordering 'none') */
  parked(partition: number, fn: string, unit: string): string;
  /** zset: unit -> server time in ms at which its retry is due */
  due(partition: number, fn: string): string;
  /** hash: unit -> dead letter that holds it (onDead: 'hold') */
  held(partition: number, fn: string): string;
  /**
   * zset: unit with a parked list -> arrival of its oldest event, ms since 1970; negative while the
   * unit is held (src/redis/lua/arrivals.lua)
   */
  arrived(partition: number, fn: string): string;
  /** text, JSON: the function's setup fails */
  setupFailure(partition: number, fn: string): string;
  /** stream: dead letters */
  dead(partition: number, fn: string): string;
  /** hash: fingerprint -> JSON, the dead letters of the group (src/redis/lua/letter-groups.lua) */
  groups(partition: number, fn: string): string;
  /**
   * string with TTL: `<dispatcher>:<epoch>`
   * @param lane see laneName
   */
  lease(partition: number, lane: string): string;
  /** set: consumers of a function with ordering 'none' beside the owner */
  helpers(partition: number, fn: string): string;
  /** zset: dispatchers that serve a function -> server time in ms until which they count */
  members(fn: string): string;
  /** string with TTL, JSON: threads and lanes of a dispatcher, for people (presence.ts) */
  presence(dispatcher: string): string;
  /** string with TTL: `<sequence>:<entry id>` of the producer's last flush */
  producer(partition: number, producer: string): string;
  /** set: ids of the type appended in one of two windows that take turns */
  publishedIds(partition: number, type: string, turn: 0 | 1): string;
  /**
   * set: ids of the events that the function has settled in one of two windows that take turns
   * (functions with `dedupe`)
   */
  settledIds(partition: number, fn: string, turn: 0 | 1): string;
  /** zset: `<number>:<event id>` -> server time in ms at which the event is to be appended */
  scheduled(partition: number): string;
  /** hash: event id -> the scheduled event */
  scheduledEvents(partition: number): string;
  /** stream: flushes of emitted events for other partitions, until they are relayed */
  outbox(partition: number): string;
  /** hash: source partition -> id of the last entry of its outbox that was relayed here */
  relayed(partition: number): string;
  /** hash: ms, seq of the last entry id handed out */
  clock(partition: number): string;
  /** hash: see docs/design.md */
  counters(partition: number): string;
  /** list: the aggregate's events, each an EventBatch of one; its length is the revision */
  history(partition: number, category: string, id: string): string;
  /** zset, all scores 0: ids of the category's histories */
  histories(partition: number, category: string): string;
  /** hash: first event id of an append that brought its own ids -> `<revision before>:<events>` */
  appends(partition: number, category: string, id: string): string;
  /** hash: revision, state, schema */
  snapshot(partition: number, category: string, id: string): string;
  /** no key: name for a write that changes nothing (src/doctor/server-facts.ts) */
  trial(partition: number): string;
  /** stream: losses found (src/lag/losses.ts) */
  losses(partition: number): string;
  /** string: a view's row (src/wire/view-row.ts). `generation` is `<view>@<version>` */
  viewRow(partition: number, generation: string, id: string): string;
  /**
   * string: progress of a pass over the histories that builds a generation
   * (src/views/history-pass.ts)
   */
  viewPass(partition: number, generation: string): string;
  /** zset, all scores 0: entries of an index; the index `*` holds all rows */
  viewIndex(partition: number, generation: string, index: string): string;
  /** hash: live, previous and known generations of each view (src/views/generations.ts) */
  views(): string;
  /** hash: settings of the deployment (partitions) */
  settings(): string;
  /** hash: event type -> JSON of its limits (src/upkeep/type-limits.ts) */
  limits(): string;
  /** string with TTL, JSON: progress of a replay of many dead letters (src/mend/replay-state.ts) */
  replayRun(id: string): string;
  /** stream: changes of operators (src/audit/make-audited.ts) */
  audit(): string;
  /** Schema registry; all its keys share the hash tag `{schemas}`. See registry-store.ts. */
  registry(part: RegistryPart): string;
  /** hash: versions of one subject */
  registrySubject(subject: string): string;
  /** Alerts; all their keys share the hash tag `{alerts}`. See src/alerts/alert-store.ts. */
  alerts(part: AlertsPart): string;
  /** History of 72 hours; all its keys share the hash tag `{trend}`. See src/trend. */
  trend(part: TrendPart): string;
  /**
   * stream with TTL: samples of a function
   * @param fn null: those of the whole deployment
   */
  trendSamples(step: TrendStep, fn: string | null): string;
}

/** `lease`: string with TTL, `<owner>:<epoch>`. `state`, `silences`: hashes. */
export type AlertsPart = 'lease' | 'state' | 'silences';

/** `lease`: string with TTL, its owner. `state`: hash. `marks`: stream. */
export type TrendPart = 'lease' | 'state' | 'marks';

/** Time between two samples. */
export type TrendStep = '1m' | '10m';

export type RegistryPart =
  'meta' | 'ids' | 'fingerprints' | 'texts' | 'subjects' | 'levels' | 'uses' | 'references';

export function createKeys(namespace: string): Keys {
  const p = (partition: number) => `${namespace}:{${partition}}`;
  return {
    namespace,
    events: (partition, type) => `${p(partition)}:events:${type}`,
    parked: (partition, fn, unit) => `${p(partition)}:parked:${fn}:${unit}`,
    due: (partition, fn) => `${p(partition)}:due:${fn}`,
    held: (partition, fn) => `${p(partition)}:held:${fn}`,
    arrived: (partition, fn) => `${p(partition)}:arrived:${fn}`,
    setupFailure: (partition, fn) => `${p(partition)}:setup:${fn}`,
    dead: (partition, fn) => `${p(partition)}:dead:${fn}`,
    groups: (partition, fn) => `${p(partition)}:groups:${fn}`,
    lease: (partition, lane) => `${p(partition)}:lease:${lane}`,
    helpers: (partition, fn) => `${p(partition)}:helpers:${fn}`,
    members: (fn) => `${namespace}:members:${fn}`,
    presence: (dispatcher) => `${namespace}:presence:${dispatcher}`,
    producer: (partition, producer) => `${p(partition)}:producer:${producer}`,
    publishedIds: (partition, type, turn) => `${p(partition)}:ids:${type}:${turn}`,
    settledIds: (partition, fn, turn) => `${p(partition)}:inbox:${fn}:${turn}`,
    scheduled: (partition) => `${p(partition)}:scheduled`,
    scheduledEvents: (partition) => `${p(partition)}:scheduled:events`,
    outbox: (partition) => `${p(partition)}:outbox`,
    relayed: (partition) => `${p(partition)}:relayed`,
    clock: (partition) => `${p(partition)}:clock`,
    counters: (partition) => `${p(partition)}:counters`,
    history: (partition, category, id) => `${p(partition)}:history:${category}:${id}`,
    histories: (partition, category) => `${p(partition)}:histories:${category}`,
    appends: (partition, category, id) => `${p(partition)}:appends:${category}:${id}`,
    snapshot: (partition, category, id) => `${p(partition)}:snapshot:${category}:${id}`,
    losses: (partition) => `${p(partition)}:losses`,
    trial: (partition) => `${p(partition)}:trial`,
    viewRow: (partition, generation, id) => `${p(partition)}:view:${generation}:${id}`,
    viewIndex: (partition, generation, index) => `${p(partition)}:index:${generation}:${index}`,
    viewPass: (partition, generation) => `${p(partition)}:pass:${generation}`,
    views: () => `${namespace}:registry:views`,
    limits: () => `${namespace}:registry:limits`,
    replayRun: (id) => `${namespace}:replay:${id}`,
    audit: () => `${namespace}:audit`,
    settings: () => `${namespace}:registry:settings`,
    registry: (part) => `${namespace}:registry:{schemas}:${part}`,
    registrySubject: (subject) => `${namespace}:registry:{schemas}:subject:${subject}`,
    alerts: (part) => `${namespace}:{alerts}:${part}`,
    trend: (part) => `${namespace}:{trend}:${part}`,
    trendSamples: (step, fn) => `${namespace}:{trend}:${step}${fn === null ? '' : `:${fn}`}`,
  };
}
