/** What a fault is, and what it may lay hands on. */
import type { Millrace } from '../../src/millrace.ts';
import type { Random } from '../../src/torture/random.ts';
import type { TestCluster } from '../lab/redis-cluster.ts';
import type { TestRedis } from '../lab/redis-server.ts';
import type { TcpProxy } from '../lab/tcp-proxy.ts';
import type { DispatcherProcess } from './dispatchers.ts';
import type { LoadOptions, Producer } from './load.ts';
import type { ServerClock } from './server-clock.ts';
import type { Sink } from './sink.ts';

/** What the checker is told to let pass; see History.allowed. */
export interface Allowed {
  readonly missing: Set<string>;
  readonly relayed: Set<string>;
  stateGoesBack: boolean;
  runsAgain: boolean;
  readonly replayed: Set<string>;
  foreign: boolean;
}

export interface FaultContext {
  readonly seed: number;
  readonly random: Random;
  /** Null with a cluster. */
  readonly redis: TestRedis | null;
  readonly cluster: TestCluster | null;
  readonly proxy: TcpProxy | null;
  readonly serverClock: ServerClock | null;
  /** Not through the proxy. */
  readonly service: Millrace;
  readonly sink: Sink;
  readonly producers: readonly Producer[];
  readonly allowed: Allowed;
  /** That are alive. */
  readonly dispatchers: readonly DispatcherProcess[];
  readonly partitions: number;
  /** Another one; resolves when it runs, or has died as it was told. */
  spawn(environment?: Readonly<Record<string, string>>): Promise<DispatcherProcess>;
  /** Written into the history. */
  note(name: string): Promise<void>;
  /** Waits for a time that the seed decides. */
  pause(minMs: number, maxMs: number): Promise<void>;
  /**
   * Declares a window of loss: what was being published in it (performance.now(), ms) may be
   * missing.
   */
  lostSince(fromMs: number, toMs: number): void;
  /**
   * Declares that servers with these partitions may have forgotten what was relayed between them
   * and others, for events that were handled between these two lengths of the sink.
   */
  relayForgets(partitions: ReadonlySet<number>, fromOp: number, toOp: number): void;
  /**
   * From now until nobody dead owns a lane: kept as measured takeover. The victim is dead or
   * frozen, others run.
   */
  takeover(victim: DispatcherProcess): Promise<void>;
}

export interface Fault {
  readonly name: string;
  /** In one line, for --help and the table in docs/chaos.md. */
  readonly about: string;
  /** `embedded server`: the single server is started as `millrace start` does it. */
  readonly needs?: 'proxy' | 'cluster' | 'server clock' | 'embedded server';
  readonly appendfsync?: 'always' | 'everysec';
  /** Function files to leave out. */
  readonly skip?: readonly string[];
  readonly load?: (random: Random) => LoadOptions;
  readonly environment?: (random: Random) => Readonly<Record<string, string>>;
  /** Resolves when what it has broken works again. Whoever it has killed need not be replaced. */
  inject(context: FaultContext): Promise<void>;
}
