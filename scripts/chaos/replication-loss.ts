/**
 * Measures the loss of a failover when the dead master was ahead of its replica: `node
 * dist/scripts/chaos/replication-loss.js [runs]`.
 *
 * A Cluster has three masters, each followed by its replica through a proxy that delays the link,
 * or holds back everything on it. Two publishers and a dispatcher work on the Cluster. One master
 * is killed, and the bytes on the link die with it, as when a host dies. The report then says which
 * acknowledged events are in no stream any more, what Millrace says of it, and whether everything
 * goes on.
 */
import { pathToFileURL } from 'node:url';
import Table from 'cli-table3';
import { monotonicMs, sleep } from '../../src/core/clock.ts';
import { partitionOf } from '../../src/core/partition.ts';
import { readLag, type FunctionLag } from '../../src/lag/lag.ts';
import { readLosses } from '../../src/lag/losses.ts';
import type { Millrace } from '../../src/millrace.ts';
import type { Publisher } from '../../src/pipeline/append/publisher.ts';
import { openService, startDispatcher, testDir } from '../lab/dispatcher-process.ts';
import { eventsIn } from '../lab/emits.ts';
import { completions, readHistory, runsOf } from '../lab/history.ts';
import { startCluster, type TestCluster } from '../lab/redis-cluster.ts';
import { type TestLike } from '../lab/redis-server.ts';
import { until } from '../lab/until.ts';

/**
 * The link between a master and its replica. `delayed`: a delay each way, ms. Otherwise: nothing
 * passes for a time before the master dies, ms.
 */
export interface Link {
  readonly kind: 'delayed' | 'cut';
  readonly ms: number;
}

export interface ModeLoss {
  /** Events acknowledged up to the master's death, in its partitions. */
  readonly acknowledged: number;
  /** Number of these events that are in no stream any more. */
  readonly lost: number;
  /**
   * Time from the acknowledgement of the first lost event to the death, ms; null: no event was
   * lost.
   */
  readonly oldestLostMs: number | null;
  /** Refused calls in all partitions, before and after the death. */
  readonly refused: number;
  /** Events acknowledged in the whole run, in all partitions. */
  readonly acknowledgedLater: number;
}

export interface ReplicationLoss {
  readonly memory: ModeLoss;
  readonly replicated: ModeLoss;
  /** Time from the kill until the replica serves its master's slots, ms. */
  readonly failoverMs: number;
  /** Time from the failover until all events in the streams are done, ms. */
  readonly settledMs: number;
  readonly conserved: boolean;
  /** Number of events in a stream without a success of their handler. */
  readonly unhandled: number;
  /** Number of events whose handler succeeded more than once: Redis forgot that they were done. */
  readonly again: number;
  /** Loss ledger: kind -> number. */
  readonly ledger: Readonly<Record<string, number>>;
}

const PARTITIONS = 8;
const SUBJECTS = 64;
/** Events per burst of a publisher, every 5 ms. */
const BURST = 8;
const PAUSE_MS = 5;
const WARM_MS = 700;
const AFTERWARDS_MS = 2000;

interface Acknowledged {
  readonly id: string;
  readonly partition: number;
  readonly atMs: number;
}

/** Publishes at an even pace, however long the answers take. */
class Load {
  readonly acknowledged: Acknowledged[] = [];
  refused = 0;
  readonly #calls = new Set<Promise<void>>();
  readonly #stop = new AbortController();
  readonly #name: string;
  readonly #type: string;
  readonly #publisher: Publisher;

  constructor(name: string, type: string, publisher: Publisher) {
    this.#name = name;
    this.#type = type;
    this.#publisher = publisher;
  }

  async run(): Promise<void> {
    for (let n = 0; !this.#stop.signal.aborted;) {
      for (let i = 0; i < BURST; i++, n++)
        this.#publish(`${this.#name}-${n}`, `${this.#name}-subject-${n % SUBJECTS}`, n);
      await sleep(PAUSE_MS, this.#stop.signal);
    }
    await Promise.all(this.#calls);
  }

  stop(): void {
    this.#stop.abort();
  }

  #publish(id: string, key: string, number: number): void {
    const call = this.#publisher
      .publish(this.#type, { key, number, order: 'ok', filler: new Uint8Array(0) }, { id })
      .then(
        () =>
          void this.acknowledged.push({
            id,
            partition: partitionOf(key, PARTITIONS),
            atMs: monotonicMs(),
          }),
        () => void this.refused++,
      )
      .finally(() => this.#calls.delete(call));
    this.#calls.add(call);
  }
}

export async function measureReplicationLoss(t: TestLike, link: Link): Promise<ReplicationLoss> {
  const cluster = await startCluster(t, { masters: 3, replicas: true, proxiedLinks: true });
  const history = `${testDir(t)}/history`;
  const service = await openService(t, cluster.url, PARTITIONS);
  await startDispatcher(t, {
    url: cluster.url,
    functions: 'ordered',
    history,
    environment: { MILLRACE_LEASE_MS: '1500', MILLRACE_UPKEEP_MS: '500', WORKERS: '1' },
  });
  const memory = new Load('memory', 'test.event', service.publisher({ deadlineMs: 20_000 }));
  const replicated = new Load(
    'replicated',
    'test.other',
    service.publisher({ durability: 'replicated', confirmMs: 3000, deadlineMs: 20_000 }),
  );
  const loading = Promise.all([memory.run(), replicated.run()]);
  await sleep(WARM_MS);
  const death = await killMaster(cluster, link);
  await sleep(AFTERWARDS_MS);
  memory.stop();
  replicated.stop();
  await loading;

  const beganMs = monotonicMs();
  const there = await idsInStreams(cluster);
  const fn = await untilAllSettled(service);
  const settledMs = Math.round(monotonicMs() - beganMs);
  const done = completions(runsOf(readHistory(history)));
  const ledger: Record<string, number> = {};
  for (const { kind } of await readLosses(service.deployment))
    ledger[kind] = (ledger[kind] ?? 0) + 1;
  return {
    memory: lossOf(memory, death, there),
    replicated: lossOf(replicated, death, there),
    failoverMs: death.failoverMs,
    settledMs,
    conserved: fn.conserved,
    ledger,
    unhandled: [...there].filter((id) => !done.has(id)).length,
    again: [...done.values()].filter((times) => times > 1).length,
  };
}

/** The death of a master, by monotonicMs. */
interface Death {
  /** Partitions of the master. */
  readonly dying: ReadonlySet<number>;
  readonly killMs: number;
  readonly goneMs: number;
  /** Time from the kill until the replica serves its master's slots, ms. */
  readonly failoverMs: number;
}

async function killMaster(cluster: TestCluster, link: Link): Promise<Death> {
  const victim = await cluster.ownerOf('mr:{0}:counters');
  const dying = new Set<number>();
  for (let p = 0; p < PARTITIONS; p++)
    if ((await cluster.ownerOf(`mr:{${p}}:counters`)) === victim) dying.add(p);

  const way = cluster.links[victim];
  if (link.kind === 'delayed') way?.delay(link.ms);
  else way?.halfOpen(true);
  await sleep(link.kind === 'delayed' ? 2 * link.ms + 500 : link.ms);
  const killMs = monotonicMs();
  way?.cutNow();
  await cluster.nodes[victim]?.kill();
  const goneMs = monotonicMs();
  way?.halfOpen(false);
  way?.delay(0);
  await cluster.succeeded(victim);
  const failoverMs = Math.round(monotonicMs() - killMs);
  // The master comes back as the replica of its heir, because the heir alone could replicate
  // nothing. It drops its own, unreplicated data.
  await cluster.nodes[victim]?.restart();
  return { dying, killMs, goneMs, failoverMs };
}

async function idsInStreams(cluster: TestCluster): Promise<Set<string>> {
  const look = cluster.client();
  const there = new Set<string>();
  for (const type of ['test.event', 'test.other'])
    for (const { id } of await eventsIn(look, PARTITIONS, type)) there.add(id);
  return there;
}

function untilAllSettled({ deployment }: Millrace): Promise<FunctionLag> {
  return until(
    'all that is there is settled',
    async () => {
      const found = (await readLag(deployment)).functions.find(({ name }) => name === 'ordered');
      return found && found.lag + found.pending + found.parked === 0 ? found : null;
    },
    60_000,
  );
}

/** @param there ids of the events in the streams */
function lossOf(
  { acknowledged, refused }: Load,
  { dying, killMs, goneMs, failoverMs }: Death,
  there: ReadonlySet<string>,
): ModeLoss {
  const before = acknowledged.filter(
    ({ partition, atMs }) => dying.has(partition) && atMs <= goneMs,
  );
  const lost = acknowledged.filter(({ id }) => !there.has(id));
  return {
    acknowledged: before.length,
    lost: lost.length,
    refused,
    acknowledgedLater: acknowledged.filter(({ atMs }) => atMs > goneMs + failoverMs).length,
    oldestLostMs:
      lost.length === 0 ? null : Math.round(killMs - Math.min(...lost.map(({ atMs }) => atMs))),
  };
}

const LINKS: readonly Link[] = [
  { kind: 'delayed', ms: 0 },
  { kind: 'delayed', ms: 20 },
  { kind: 'delayed', ms: 200 },
  { kind: 'delayed', ms: 1000 },
  { kind: 'cut', ms: 1000 },
];

async function main(runs: number): Promise<number> {
  const table = new Table({
    head: [
      'link to the replica',
      'memory: acknowledged',
      'lost',
      'oldest lost ms',
      'replicated: acknowledged',
      'lost',
      'failover ms',
      'settled ms',
      'run again',
      'unhandled',
      'conserved',
      'loss ledger',
    ],
    style: { head: [], border: [] },
  });
  let broken = false;
  for (const link of LINKS) {
    for (let run = 0; run < runs; run++) {
      const undo: (() => void | Promise<void>)[] = [];
      try {
        const { memory, replicated, ...rest } = await measureReplicationLoss(
          { teardown: (fn) => void undo.push(fn) },
          link,
        );
        broken ||=
          replicated.lost > 0 ||
          rest.unhandled > 0 ||
          !rest.conserved ||
          memory.acknowledgedLater === 0 ||
          replicated.acknowledgedLater === 0;
        table.push([
          link.kind === 'cut' ? `cut for ${link.ms} ms` : `${link.ms} ms behind`,
          memory.acknowledged,
          memory.lost,
          memory.oldestLostMs ?? '-',
          replicated.acknowledged,
          replicated.lost,
          rest.failoverMs,
          rest.settledMs,
          rest.again,
          rest.unhandled,
          rest.conserved ? 'yes' : 'NO',
          Object.entries(rest.ledger)
            .map(([kind, count]) => `${kind} ${count}`)
            .join(', ') || '-',
        ]);
        process.stderr.write(`${JSON.stringify({ link, memory, replicated, ...rest })}\n`);
      } finally {
        for (const fn of undo.reverse()) await fn();
      }
    }
  }
  process.stdout.write(`${table.toString()}\n`);
  return broken ? 1 : 0;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href)
  process.exitCode = await main(Number(process.argv[2] ?? 1));
