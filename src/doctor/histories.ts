/**
 * Looks for big histories. Nothing lists categories or lengths, so the search takes samples: some
 * pages of keys for the categories, then some histories of each category. The finding says how many
 * histories were looked at.
 */
import { grouped } from '../core/option-rule.ts';
import { partitionsOf, type RedisSource } from '../redis/source.ts';
import { counted, grouping, someOf, type Diagnosis } from './diagnosis.ts';
import { sampleKeys } from './sample-keys.ts';
import { shellWord } from './shell-word.ts';

/** Most histories of a category that are looked at. */
const SAMPLE = 1000;
const MOST_CATEGORIES = 100;
/** Events from which on a history is told: a command reads it whole where there is no snapshot. */
const BIG = { warning: 10_000, error: 1_000_000 } as const;

export interface HistoryFacts {
  readonly category: string;
  readonly partition: number;
  /** Histories of the category in the partition. */
  readonly histories: number;
  /** Longest of those that were looked at. */
  readonly longest: {
    readonly id: string;
    readonly events: number;
    readonly snapshot: boolean;
  } | null;
  readonly looked: number;
}

/**
 * Looks at up to SAMPLE random histories of each category.
 * @throws UnknownOutcomeError, RedisReplyError
 */
export async function readHistories(source: RedisSource): Promise<HistoryFacts[]> {
  const categories = await sampleCategories(source);
  const each = Math.max(1, Math.ceil(SAMPLE / source.partitions));
  const found: HistoryFacts[] = [];
  for (const category of categories) {
    found.push(
      ...(await Promise.all(
        partitionsOf(source).map((partition) => readCategory(source, partition, category, each)),
      )),
    );
  }
  return found.filter(({ histories }) => histories > 0);
}

/** Finds the categories in a sample of the keys: a history's key names its category. */
async function sampleCategories(source: RedisSource): Promise<string[]> {
  const found = new Set<string>();
  for await (const names of sampleKeys(source, `${source.keys.namespace}:{*}:histor*`)) {
    for (const name of names) {
      const category = /:\{\d+\}:histor(?:y|ies):([^:]+)/.exec(name)?.[1];
      if (category !== undefined && found.size < MOST_CATEGORIES) found.add(category);
    }
  }
  return [...found].sort();
}

async function readCategory(
  { connection, keys }: RedisSource,
  partition: number,
  category: string,
  each: number,
): Promise<HistoryFacts> {
  const index = keys.histories(partition, category);
  const [histories, ids] = (await Promise.all([
    connection.command('ZCARD', index),
    connection.command('ZRANDMEMBER', index, each),
  ])) as [number, string[]];
  const lengths = (await Promise.all(
    ids.map((id) => connection.command('LLEN', keys.history(partition, category, id))),
  )) as number[];
  const at = lengths.reduce((best, length, i) => (length > (lengths[best] ?? -1) ? i : best), 0);
  const id = ids[at];
  const snapshot =
    id !== undefined &&
    (await connection.command('EXISTS', keys.snapshot(partition, category, id))) === 1;
  const longest = id === undefined ? null : { id, events: lengths[at] ?? 0, snapshot };
  return { category, partition, histories, longest, looked: ids.length };
}

export function judgeHistories(facts: readonly HistoryFacts[]): Diagnosis[] {
  const byCategory = grouping(facts, ({ category }) => category);
  return [...byCategory].flatMap(([category, of]) => {
    const all = of.reduce((sum, { histories }) => sum + histories, 0);
    const looked = of.reduce((sum, one) => sum + one.looked, 0);
    const big = of
      .flatMap(({ longest }) =>
        longest !== null && longest.events >= BIG.warning ? [longest] : [],
      )
      .sort((a, b) => b.events - a.events);
    const [first] = big;
    if (first === undefined) return [];
    return [
      {
        code: 'history-big',
        severity: first.snapshot ? 'info' : first.events >= BIG.error ? 'error' : 'warning',
        about: `${category} ${first.id}`,
        problem: first.snapshot
          ? 'A history has very many events. Its snapshot keeps commands quick'
          : 'A history has very many events and no snapshot: each command reads all of them',
        evidence: `${someOf(
          big.map(({ id, events }) => `${id} ${counted(events, 'event')}`),
          3,
        )}; ${grouped(looked)} of ${grouped(all)} histories of ${category} were looked at`,
        cure: 'Declare a snapshot for the aggregate (docs/event-store.md), or split it into smaller ones',
        command: `millrace history ${shellWord(category)} ${shellWord(first.id)} --limit 5`,
      } satisfies Diagnosis,
    ];
  });
}
