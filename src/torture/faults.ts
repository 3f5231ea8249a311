/**
 * Makes fault after fault, chosen by the seed, until the time is over. Each requested fault comes
 * at least once.
 */
import { monotonicMs, sleep } from '../core/clock.ts';
import type { Deployment } from '../deployment.ts';
import type { Child } from './child.ts';
import { seededRandom } from './random.ts';
import { measureTakeover, takeoverBoundMs } from './takeover.ts';
import type { TcpProxy } from './tcp-proxy.ts';
import type { Victims } from './victims.ts';

export const TORTURES = ['kill', 'freeze', 'cut', 'duplicate'] as const;
export type Torture = (typeof TORTURES)[number];

export interface FaultsOptions {
  readonly seed: number;
  readonly seconds: number;
  readonly faults: readonly Torture[];
  readonly leaseMs: number;
  /** Deployment with a connection past the proxy. */
  readonly direct: Deployment;
  /** Null: no connection can be cut. */
  readonly proxy: TcpProxy | null;
  readonly victims: Victims;
  /** Names of the functions. */
  readonly names: readonly string[];
  readonly progress: (text: string) => void;
}

export interface FaultsDone {
  readonly counts: Readonly<Record<Torture, number>>;
  readonly takeoversMs: readonly number[];
}

/**
 * Time limit for losing a reply, ms. Commands are always under way, so a lost reply comes within
 * it.
 */
const LOST_REPLY_MS = 3000;

/** Resolves when no fault is in effect any more. */
export async function injectFaults(
  options: FaultsOptions,
  signal: AbortSignal,
): Promise<FaultsDone> {
  const { faults, proxy, victims, progress } = options;
  const random = seededRandom(`faults/${options.seed}`);
  const counts: Record<Torture, number> = { kill: 0, freeze: 0, cut: 0, duplicate: 0 };
  const takeoversMs: number[] = [];
  const usable = faults.filter((fault) => proxy !== null || fault === 'kill' || fault === 'freeze');
  const endMs = monotonicMs() + options.seconds * 1000;
  const queue = [...usable];
  while (!signal.aborted && usable.length > 0 && (queue.length > 0 || monotonicMs() < endMs)) {
    await sleep(random.whole(200, 800), signal);
    const fault = queue.shift() ?? random.pick(usable);
    counts[fault]++;
    progress(fault);
    switch (fault) {
      case 'kill': {
        const victim = random.pick(victims.alive);
        await victim.kill();
        await taken(options, victim, takeoversMs);
        await victims.spawn();
        break;
      }
      case 'freeze': {
        const victim = random.pick(victims.alive);
        victims.freeze(victim);
        await taken(options, victim, takeoversMs);
        await sleep(random.whole(0, 500));
        victim.thaw();
        break;
      }
      case 'cut':
        proxy?.cutNow();
        break;
      case 'duplicate':
        // The command is executed, but its reply is lost. The sender sends it again, and it must
        // not take effect twice.
        await Promise.race([proxy?.dropRepliesThenCut(random.whole(1, 5)), sleep(LOST_REPLY_MS)]);
        break;
    }
  }
  await sleep(random.whole(100, 300), signal);
  return { counts, takeoversMs };
}

async function taken(
  { direct, names, leaseMs }: FaultsOptions,
  victim: Child,
  takeoversMs: number[],
): Promise<void> {
  const tookMs = await measureTakeover(direct, names, victim.id, 10 * takeoverBoundMs(leaseMs));
  if (tookMs !== null) takeoversMs.push(tookMs);
}
