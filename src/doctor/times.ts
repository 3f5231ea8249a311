/** Measures the clock of the server, and the round trips to it. Judges both. */
import { monotonicMs, wallClockMs } from '../core/clock.ts';
import { RedisReplyError } from '../core/errors/server-errors.ts';
import type { RedisConnection } from '../redis/contract.ts';
import { fact, unknown, type Diagnosis } from './diagnosis.ts';
import type { RedisCli } from './redis-cli.ts';
import { shellWord } from './shell-word.ts';

const ROUND_TRIPS = 20;
/** Round trips beyond these are told, ms. A turn of a lane makes two or three of them. */
const SLOW = { medianMs: 20, longestMs: 500 } as const;
/** Differences of the clocks that are told, ms. */
const SKEW = { warningMs: 2000, errorMs: 300_000 } as const;

export interface TimeFacts {
  readonly roundTripsMs: readonly number[];
  /**
   * This machine's clock minus the server's, ms; of a Cluster, the greatest difference. Null: TIME
   * is not granted.
   */
  readonly aheadMs: number | null;
  /** Bound of its error, ms: half of the round trip. */
  readonly errorMs: number;
}

/** @throws UnknownOutcomeError, RedisReplyError for a passing refusal */
export async function readTimes(connection: RedisConnection): Promise<TimeFacts> {
  const roundTripsMs: number[] = [];
  let best = { roundTripMs: Infinity, aheadMs: null as number | null };
  for (let i = 0; i < ROUND_TRIPS; i++) {
    const sentMs = monotonicMs();
    const sentAtMs = wallClockMs();
    const times = await serverTimes(connection);
    const roundTripMs = monotonicMs() - sentMs;
    roundTripsMs.push(roundTripMs);
    if (roundTripMs < best.roundTripMs)
      best = {
        roundTripMs,
        aheadMs: furthest(times.map((nowMs) => sentAtMs + roundTripMs / 2 - nowMs)),
      };
  }
  return { roundTripsMs, aheadMs: best.aheadMs, errorMs: best.roundTripMs / 2 };
}

/** Time of each master. Empty: TIME is not granted. The refusal is a round trip all the same. */
async function serverTimes(connection: RedisConnection): Promise<number[]> {
  try {
    const replies = await connection.commandOnMasters('TIME');
    return replies.map(({ reply }) => {
      const [seconds, micros] = reply as [string, string];
      return Number(seconds) * 1000 + Number(micros) / 1000;
    });
  } catch (error) {
    if (error instanceof RedisReplyError && !error.retryable) return [];
    throw error;
  }
}

/** Returns the value furthest from 0. Null: there is none. */
function furthest(values: readonly number[]): number | null {
  return values.reduce<number | null>(
    (most, value) => (most === null || Math.abs(value) > Math.abs(most) ? value : most),
    null,
  );
}

export function judgeTimes(facts: TimeFacts, user: string, cli: RedisCli): Diagnosis[] {
  return [...judgeClock(facts, user, cli), ...judgeLatency(facts.roundTripsMs, cli)];
}

function judgeClock({ aheadMs, errorMs }: TimeFacts, user: string, cli: RedisCli): Diagnosis[] {
  if (aheadMs === null)
    return [
      unknown(
        'clock',
        'TIME is not granted',
        `Grant it to the user ${user}: Millrace needs it`,
        cli(null, `ACL SETUSER ${shellWord(user)} +time`),
      ),
    ];
  const difference = `this machine is ${Math.round(Math.abs(aheadMs))} ms ${aheadMs < 0 ? 'behind' : 'ahead of'} the server (± ${Math.ceil(errorMs)} ms)`;
  const skew = Math.abs(aheadMs) - errorMs;
  if (skew < SKEW.warningMs) return [fact('clock', null, difference)];
  return [
    {
      code: 'clock-skewed',
      severity: skew < SKEW.errorMs ? 'warning' : 'error',
      about: null,
      problem:
        'The clocks differ: times of events, and the time for scheduled events, are off by that',
      evidence: difference,
      cure: 'Synchronise both clocks (NTP). Leases and retries go by the clock of the server alone',
      command: 'timedatectl set-ntp true',
    },
  ];
}

function judgeLatency(roundTripsMs: readonly number[], cli: RedisCli): Diagnosis[] {
  const sorted = roundTripsMs.toSorted((a, b) => a - b);
  const medianMs = sorted[Math.floor(sorted.length / 2)] ?? 0;
  const longestMs = sorted.at(-1) ?? 0;
  const evidence = `${sorted.length} round trips: median ${medianMs.toFixed(1)} ms, longest ${longestMs.toFixed(1)} ms`;
  if (medianMs < SLOW.medianMs && longestMs < SLOW.longestMs)
    return [fact('latency', null, evidence)];
  return [
    {
      code: 'latency-high',
      severity: 'warning',
      about: null,
      problem: 'Round trips to the server are long, and each turn of a lane makes a few of them',
      evidence,
      cure: 'Run the dispatchers near the server, and look for slow commands',
      command: cli(null, 'SLOWLOG GET 10'),
    },
  ];
}
