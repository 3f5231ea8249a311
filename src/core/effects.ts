/**
 * Effects: writes to Redis that the events of a batch cause besides their outcomes.
 *
 * The thread packs the effects into one block (src/wire/message-pack.ts). The dispatcher passes the
 * block on unread. commit.lua unpacks the block and executes the steps in the call that
 * acknowledges the entries.
 *
 * A block is a flat list of steps: name, number of operands, operands. A key is its number, from 1,
 * among the keys the batch was given (Batch.effectKeys). A batch has one block per round; a
 * thread's death begins a new round. Blocks of one batch are executed in order.
 *
 * All or nothing: when one entry of the batch is no longer pending, the commit writes nothing and
 * says `refused`. An effect may stand on several events: a row on all of its subject. The entries
 * that are still pending run again without the missing one. An event that failed or was held back
 * has no effects.
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

/** Most operands of one step: as many as a script can hand to one command. */
export const STEP_OPERANDS = 2000;
