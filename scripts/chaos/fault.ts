/** The interface of a fault, and the objects that it may use. */
import type { Millrace } from '../../src/millrace.ts';
import type { Allowed } from '../../src/torture/allowed.ts';
import type { Random } from '../../src/torture/random.ts';
import type { TestCluster } from '../lab/redis-cluster.ts';
import type { TestRedis } from '../lab/redis-server.ts';
import type { TcpProxy } from '../lab/tcp-proxy.ts';
import type { DispatcherProcess } from './dispatchers.ts';
import type { LoadOptions, Producer } from './load.ts';
import type { ServerClock } from './server-clock.ts';
import type { Sink } from './sink.ts';

export interface FaultContext {
  readonly seed: number;
  readonly random: Random;
  /** The single server; null with a cluster. */
  readonly redis: TestRedis | null;
  readonly cluster: TestCluster | null;
  readonly proxy: TcpProxy | null;
  readonly serverClock: ServerClock | null;
  /** Service with a connection past the proxy. */
  readonly service: Millrace;
  readonly sink: Sink;
  readonly producers: readonly Producer[];
  readonly allowed: Allowed;
  /** The dispatchers that are alive. */
  readonly dispatchers: readonly DispatcherProcess[];
  readonly partitions: number;
  /** Starts another dispatcher. Resolves when it runs, or has died as ordered. */
  spawn(environment?: Readonly<Record<string, string>>): Promise<DispatcherProcess>;
  /** Writes a line into the history. */
  note(name: string): Promise<void>;
  /** Waits for a time that the seed decides. */
  pause(minMs: number, maxMs: number): Promise<void>;
  /**
   * Declares a window of loss, performance.now(), ms. Events published within it may be missing.
   */
  lostSince(fromMs: number, toMs: number): void;
  /**
   * Declares that servers with these partitions may have forgotten relayed emissions between them
   * and others. This holds for events handled between these two lengths of the sink.
   */
  relayForgets(partitions: ReadonlySet<number>, fromOp: number, toOp: number): void;
  /**
   * Waits until no dead dispatcher owns a lane, and keeps the time as a measured takeover. The
   * victim is dead or frozen, others run.
   */
  takeover(victim: DispatcherProcess): Promise<void>;
}

export interface Fault {
  readonly name: string;
  /** Description in one line, for --help and the table in docs/chaos.md. */
  readonly about: string;
  /**
   * Requirement of the fault. `embedded server`: the single server is started as `millrace start`
   * does it.
   */
  readonly needs?: 'proxy' | 'cluster' | 'server clock' | 'embedded server';
  readonly appendfsync?: 'always' | 'everysec';
  /** Names of the function files to leave out. */
  readonly skip?: readonly string[];
  readonly load?: (random: Random) => LoadOptions;
  readonly environment?: (random: Random) => Readonly<Record<string, string>>;
  /** Breaks something. Resolves when it works again; killed processes need not be replaced. */
  inject(context: FaultContext): Promise<void>;
}
