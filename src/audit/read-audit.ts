/** Reads the audit log: the changes of operators, each with its beginning and its end. */
import { DEADLINE_MS, withRetry } from '../redis/retry.ts';
import type { RedisSpace } from '../redis/source.ts';

export interface AuditedChange {
  readonly id: string;
  /** Time of the beginning by the server's clock, ms since 1970. */
  readonly atMs: number;
  /** Time of the end. Null: no end is recorded. */
  readonly endedMs: number | null;
  readonly who: string;
  readonly via: string;
  readonly action: string;
  readonly target: string;
  readonly wanted: unknown;
  readonly before: unknown;
  readonly after: unknown;
  /** Data of payloads, for readers who see whole payloads. Null: none, or hidden. */
  readonly data: unknown;
  /** `open`: the change is being made, or its process died, or its end could not be recorded. */
  readonly outcome: 'done' | 'failed' | 'open';
  readonly error: string | null;
}

/** Records read at once. */
const PAGE = 500;

type Fields = ReadonlyMap<string, string>;
interface Ended {
  readonly atMs: number;
  readonly fields: Fields;
}

/**
 * Lists the last changes, the newest first.
 * @param limit most changes
 * @throws UnknownOutcomeError, RedisReplyError
 */
export async function readAudit(space: RedisSpace, limit: number): Promise<AuditedChange[]> {
  const changes = new Map<string, AuditedChange>();
  // An end comes behind its beginning. So a walk from the last record meets the end first.
  const ends = new Map<string, Ended>();
  for await (const [entryId, flat] of recordsBackwards(space)) {
    const fields = fieldsOf(flat);
    const id = fields.get('change') ?? entryId;
    const atMs = Number(entryId.split('-')[0]);
    if (fields.get('stage') === 'ended') {
      if (!ends.has(id)) ends.set(id, { atMs, fields });
      continue;
    }
    // A record that was sent twice: the first one tells the time.
    if (!changes.has(id) && changes.size >= limit) break;
    changes.set(id, changeOf(id, atMs, fields, ends.get(id)));
  }
  return [...changes.values()];
}

/** Changes that began behind a place in the log. */
export interface ChangesAfter {
  /** Oldest first. A change is `open` where its end is not among the records that were read. */
  readonly changes: readonly (AuditedChange & { readonly entryId: string })[];
  /** Id of the last record that was read: the next place. */
  readonly last: string;
}

/**
 * Lists the changes that began behind a record.
 * @param after entry id of the record. Null: only the place of the last record is wanted
 * @param most most records that are read
 * @throws UnknownOutcomeError, RedisReplyError
 */
export async function readAuditAfter(
  { connection, keys }: RedisSpace,
  after: string | null,
  most: number,
): Promise<ChangesAfter> {
  const read = (): Promise<unknown> =>
    after === null
      ? connection.command('XREVRANGE', keys.audit(), '+', '-', 'COUNT', 1)
      : connection.command('XRANGE', keys.audit(), `(${after}`, '+', 'COUNT', most);
  const records = (await withRetry(read, { deadlineMs: DEADLINE_MS })) as [string, string[]][];
  const last = records.at(-1)?.[0] ?? after ?? '0-0';
  if (after === null) return { changes: [], last };
  const ends = new Map<string, Ended>();
  const begun = new Map<string, { readonly entryId: string; readonly fields: Fields }>();
  for (const [entryId, flat] of records) {
    const fields = fieldsOf(flat);
    const id = fields.get('change') ?? entryId;
    if (fields.get('stage') === 'ended')
      ends.set(id, { atMs: Number(entryId.split('-')[0]), fields });
    else if (!begun.has(id)) begun.set(id, { entryId, fields });
  }
  const changes = [...begun].map(([id, { entryId, fields }]) => ({
    entryId,
    ...changeOf(id, Number(entryId.split('-')[0]), fields, ends.get(id)),
  }));
  return { changes, last };
}

async function* recordsBackwards({
  connection,
  keys,
}: RedisSpace): AsyncGenerator<[string, string[]]> {
  let last = '+';
  for (;;) {
    const read = (): Promise<unknown> =>
      connection.command('XREVRANGE', keys.audit(), last, '-', 'COUNT', PAGE);
    const page = (await withRetry(read, { deadlineMs: DEADLINE_MS })) as [string, string[]][];
    yield* page;
    if (page.length < PAGE) return;
    last = `(${(page.at(-1) as [string, string[]])[0]}`;
  }
}

function changeOf(
  id: string,
  atMs: number,
  begun: Fields,
  ended: Ended | undefined,
): AuditedChange {
  const outcome = ended?.fields.get('outcome');
  return {
    id,
    atMs,
    endedMs: ended?.atMs ?? null,
    who: begun.get('who') ?? '',
    via: begun.get('via') ?? '',
    action: begun.get('action') ?? '',
    target: begun.get('target') ?? '',
    wanted: valueOf(begun.get('wanted')),
    before: valueOf(begun.get('before')),
    after: valueOf(ended?.fields.get('after')),
    data: valueOf(begun.get('data')),
    outcome: outcome === 'done' || outcome === 'failed' ? outcome : 'open',
    error: ended?.fields.get('error') ?? null,
  };
}

function fieldsOf(flat: readonly string[]): Fields {
  const fields = new Map<string, string>();
  for (let i = 0; i + 1 < flat.length; i += 2) fields.set(flat[i] as string, flat[i + 1] as string);
  return fields;
}

/** A value that was cut is no JSON: its text is shown. */
function valueOf(text: string | undefined): unknown {
  if (text === undefined) return null;
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}
