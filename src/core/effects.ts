/**
 * Effects: what the events of a batch cause in Redis besides their outcomes. The thread packs them
 * into one block (src/wire/message-pack.ts), the dispatcher passes the block on unread, commit.lua
 * takes it apart and does it in the step that acknowledges the entries.
 *
 * A block is a flat list of steps: name, number of operands, operands. A key is its number, from 1,
 * among the keys the batch was given (Batch.effectKeys). Blocks of one batch (one per round after a
 * thread's death) are done in order.
 *
 * All or nothing: when one entry of the batch is no longer pending, the commit writes nothing and
 * says `refused`, because an effect may stand on several events (a row on all of its subject). What
 * is still pending is run again without the missing one. An event that failed or was held back has
 * no effects.
 */
export const STEP = {
  /** key, value, key, value, …: strings */
  SET: 'set',
  /** keys */
  DEL: 'del',
  /** key, members …: of a zset, all with score 0 */
  ADD: 'add',
  /** key, members … */
  REMOVE: 'remove',
} as const;

/** Operands of one step at most: what a script can hand to one command. */
export const STEP_OPERANDS = 2000;
