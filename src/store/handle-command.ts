/**
 * Handles a command: loads the aggregate, decides, and appends the decided events at the loaded
 * revision. If another append came first, it loads and decides again.
 *
 * The ids of the events are derived from a command id, if there is one, and the history remembers
 * the append by them. The same command, sent again at any time by anybody, gets the first time's
 * result and appends nothing. A command that led to no event leaves no trace, and is decided again.
 */
import { createHash } from 'node:crypto';
import { sleep, wallClockMs } from '../core/clock.ts';
import { textProblem } from '../core/well-formed.ts';
import type { Decider, NewEvent } from '../define/define-aggregate.ts';
import { decidedEvents } from '../define/decided-events.ts';
import { ConflictError, StoreInputError } from './store-errors.ts';
import type { AppendedEvent, AppendResult } from './append-result.ts';
import type { EventStore } from './event-store.ts';
import { encodeExpected } from './append-history.ts';
import { meets, type ExpectedRevision } from './expected-revision.ts';

export interface CommandOptions {
  /**
   * Id of the command, unique per aggregate, 1 … 256 bytes of UTF-8. Default: none; a command sent
   * again is then another command.
   */
  readonly commandId?: string;
  /** Revision at which the aggregate must be; otherwise the command is refused. Default: any. */
  readonly expectedRevision?: ExpectedRevision;
  /** Most decisions, while other appends keep coming first. 1 … 1,000, default 20. */
  readonly attempts?: number;
  /**
   * CloudEvents extension attributes for each event, such as who and why. With a command id,
   * `commandid` is set too.
   */
  readonly extensions?: Readonly<Record<string, string>>;
}

export interface CommandResult<State> {
  /** State right after the command's events. */
  readonly state: State;
  readonly revision: number;
  /** Events of the command. Empty: the command changed nothing. */
  readonly events: readonly AppendedEvent[];
  /** Whether the command was handled before. If so, this is the result of the first time. */
  readonly repeated: boolean;
}

/** Wait between attempts: a random time up to 2, 4, 8 … ms. */
const WAIT_MS = { first: 2, most: 100 } as const;
const ATTEMPTS = 20;
const MAX_COMMAND_ID = 256;

/**
 * @throws ConflictError: the aggregate is not at `expectedRevision`, or others came first in every
 *   attempt
 * @throws any error of `decide`: the command is refused, nothing was appended
 * @throws the errors of EventStore.append; after an UnknownOutcomeError the command may be sent
 *   again under its id
 */
export async function handleCommand<State, Command, T extends string>(
  store: EventStore,
  decider: Decider<State, Command, T>,
  id: string,
  command: Command,
  options: CommandOptions = {},
): Promise<CommandResult<State>> {
  const { commandId, expectedRevision = 'any', attempts = ATTEMPTS } = options;
  checkOptions(expectedRevision, attempts, commandId);
  const eventIds = commandId === undefined ? null : idsOf(commandId, decider.category, id);
  const addressed: Addressed<Command> = { id, command, eventIds, expectedRevision, options };
  for (let attempt = 1; ; attempt++) {
    const result = await tryOnce(store, decider, addressed);
    if (!(result instanceof ConflictError)) return result;
    if (
      attempt >= attempts ||
      typeof expectedRevision === 'number' ||
      expectedRevision === 'no-stream'
    )
      throw result;
    await sleep(Math.random() * Math.min(WAIT_MS.most, WAIT_MS.first * 2 ** (attempt - 1)));
  }
}

/** @throws StoreInputError */
function checkOptions(
  expectedRevision: ExpectedRevision,
  attempts: number,
  commandId: string | undefined,
): void {
  encodeExpected(expectedRevision);
  if (!Number.isInteger(attempts) || attempts < 1 || attempts > 1000)
    throw new StoreInputError(
      'attempts',
      `must be a whole number from 1 to 1000, it is ${String(attempts)}`,
    );
  if (commandId === undefined) return;
  if (
    typeof commandId !== 'string' ||
    commandId === '' ||
    Buffer.byteLength(commandId) > MAX_COMMAND_ID
  ) {
    throw new StoreInputError('commandId', `must have 1 to ${MAX_COMMAND_ID} bytes of UTF-8`);
  }
  const unfit = textProblem(commandId);
  if (unfit !== null) throw new StoreInputError('commandId', unfit);
}

/** A command for one aggregate. */
interface Addressed<Command> {
  /** Id of the aggregate. */
  readonly id: string;
  readonly command: Command;
  /** Ids of the events, derived from the command's id; null: the command has no id. */
  readonly eventIds: ((index: number) => string) | null;
  readonly expectedRevision: ExpectedRevision;
  readonly options: CommandOptions;
}

/** Loads, decides and appends. Returns a ConflictError if another append came in between. */
async function tryOnce<State, Command, T extends string>(
  store: EventStore,
  decider: Decider<State, Command, T>,
  addressed: Addressed<Command>,
): Promise<CommandResult<State> | ConflictError> {
  const { id, eventIds, expectedRevision } = addressed;
  const { category } = decider;
  const loaded = await store.load(decider, id, eventIds ? { remembered: eventIds(0) } : {});
  if (loaded.remembered) return firstResult(store, decider, id, loaded.remembered);
  const { state, revision } = loaded;
  if (!meets(expectedRevision, revision))
    throw new ConflictError(category, id, expectedRevision, revision);
  const events = decide(decider, addressed, state, revision);
  if (events.length === 0) return { state, revision, events: [], repeated: false };
  let appended: AppendResult;
  try {
    appended = await store.append(category, id, events, { expectedRevision: revision });
  } catch (error) {
    if (error instanceof ConflictError) return error;
    throw error;
  }
  // The same command was handled at the same time.
  if (appended.repeated)
    return firstResult(store, decider, id, {
      before: appended.revision - appended.events.length,
      events: appended.events.length,
    });
  return {
    state: store.advance(decider, id, loaded, events, appended),
    revision: appended.revision,
    events: appended.events,
    repeated: false,
  };
}

/** @throws StoreInputError for an event that the decider does not list; any error of `decide` */
function decide<State, Command, T extends string>(
  decider: Decider<State, Command, T>,
  { id, command, eventIds, options }: Addressed<Command>,
  state: State,
  revision: number,
): NewEvent[] {
  const { category } = decider;
  const now = new Date(wallClockMs());
  const decided = decider.decide(command, state, { id, revision, now });
  const events = decidedEvents(category, decided as readonly NewEvent<T>[] | NewEvent<T>).map(
    (event, i) => ({
      ...event,
      time: event.time ?? now,
      ...(eventIds ? { id: eventIds(i) } : {}),
      ...extensionsOf(event, options),
    }),
  ) as unknown as NewEvent[];
  for (const { type } of events) {
    if (!(decider.events as readonly string[]).includes(type))
      throw new StoreInputError(
        `decider "${category}"`,
        `decided an event of type "${String(type)}", which its events do not list`,
      );
  }
  return events;
}

/** Derives event ids that no other command, and no other aggregate, has. */
function idsOf(commandId: string, category: string, id: string): (index: number) => string {
  const digest = createHash('sha256')
    .update(JSON.stringify([commandId, category, id]))
    .digest('hex')
    .slice(0, 32);
  return (index) => `${digest}-${index}`;
}

function extensionsOf(
  event: { readonly extensions?: Readonly<Record<string, string>> },
  { commandId, extensions }: CommandOptions,
): { extensions?: Record<string, string> } {
  const all = {
    ...extensions,
    ...event.extensions,
    ...(commandId === undefined ? {} : { commandid: commandId }),
  };
  return Object.keys(all).length > 0 ? { extensions: all } : {};
}

async function firstResult<State, Command, T extends string>(
  store: EventStore,
  decider: Decider<State, Command, T>,
  id: string,
  { before, events: count }: { readonly before: number; readonly events: number },
): Promise<CommandResult<State>> {
  const revision = before + count;
  const events: AppendedEvent[] = [];
  for await (const event of store.read(decider.category, id, { from: before + 1, to: revision }))
    events.push({ id: event.id, revision: event.revision, position: event.position });
  const { state } = await store.load(decider, id, { at: revision });
  return { state, revision, events, repeated: true };
}
