/** Looks at the loss ledger and at the outboxes. */
import { grouped } from '../core/option-rule.ts';
import type { OutboxState } from '../outbox/outbox-state.ts';
import { partitionsOf, type RedisSource } from '../redis/source.ts';
import { isoOf, someOf, type Diagnosis } from './diagnosis.ts';

/** Age of an outbox's oldest flush from which on it is told, ms. A relay takes milliseconds. */
const STUCK_MS = 60_000;

export interface LossFacts {
  readonly partition: number;
  /** Losses in the ledger, which keeps the last thousand. */
  readonly losses: number;
  /** Last loss: its kind, and its time by the server's clock. */
  readonly last: { readonly kind: string; readonly atMs: number; readonly message: string };
}

/** @throws UnknownOutcomeError, RedisReplyError */
export async function readLossFacts(source: RedisSource): Promise<LossFacts[]> {
  const { connection, keys } = source;
  const found = await Promise.all(
    partitionsOf(source).map(async (partition) => {
      const key = keys.losses(partition);
      const [losses, last] = (await Promise.all([
        connection.command('XLEN', key),
        connection.command('XREVRANGE', key, '+', '-', 'COUNT', 1),
      ])) as [number, [string, string[]][]];
      const [id = '', flat = []] = last[0] ?? [];
      const field = (name: string): string => flat[flat.indexOf(name) + 1] ?? '';
      const atMs = Number(id.split('-')[0]);
      return { partition, losses, last: { kind: field('kind'), atMs, message: field('message') } };
    }),
  );
  return found.filter(({ losses }) => losses > 0);
}

export function judgeLosses(facts: readonly LossFacts[]): Diagnosis[] {
  if (facts.length === 0) return [];
  const count = facts.reduce((sum, { losses }) => sum + losses, 0);
  const { last } = facts.reduce((a, b) => (b.last.atMs > a.last.atMs ? b : a));
  return [
    {
      code: 'losses',
      severity: 'warning',
      about: null,
      problem: 'The deployment has found data that Redis lost, or that somebody deleted',
      evidence: `${grouped(count)} in the ledger; the last at ${isoOf(last.atMs)}, ${last.kind}: ${last.message}`,
      cure: 'Read the ledger, and publish lost events again',
      command: 'millrace losses',
    },
  ];
}

export function judgeOutboxes(outboxes: readonly OutboxState[]): Diagnosis[] {
  const stuck = outboxes.filter(({ oldestMs }) => (oldestMs ?? 0) > STUCK_MS);
  if (stuck.length === 0) return [];
  return [
    {
      code: 'outbox-stuck',
      severity: 'error',
      about: null,
      problem: 'Events that functions emitted do not leave their outboxes',
      evidence: someOf(
        stuck.map(
          ({ partition, entries, oldestMs }) =>
            `partition ${partition}: flushes ${grouped(entries)}, the oldest for ${Math.round((oldestMs ?? 0) / 1000)} s`,
        ),
        3,
      ),
      cure: 'Start a dispatcher that owns lanes there. If one runs, its log names the target that refuses',
      command: 'millrace outbox',
    },
  ];
}
