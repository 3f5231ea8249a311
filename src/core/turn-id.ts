/**
 * The id of a lane's turn: `<epoch>.<turn>`. A commit is sent with it, so that Redis recognises a
 * commit that is sent again.
 */
import { epochOf } from './lease-value.ts';

/** @param turn number of the turn under this lease; the first is 1 */
export function turnIdOf(leaseValue: string, turn: number): string {
  return `${epochOf(leaseValue)}.${turn}`;
}

/**
 * Returns the ids that a commit is sent with: the turn's, and behind a space that of the lane's
 * last commit. A Redis that has gone back in time does not know the last commit.
 * @param last '' before the first commit
 */
export function withLastTurn(id: string, last: string): string {
  return last === '' ? id : `${id} ${last}`;
}

/** Returns the turn's own id out of the ids that a commit is sent with. */
export function withoutLastTurn(ids: string): string {
  return ids.split(' ', 1)[0] as string;
}

/**
 * Says whether Redis has forgotten the turn that the lane knows to be committed.
 * @param stored the lane's last turn in Redis; '' without one
 * @param committed the last turn that the lane knows to be committed; '' before the first
 */
export function hasGoneBack(stored: string, committed: string): boolean {
  if (committed === '' || stored === committed) return false;
  const [epoch, turn] = stored.split('.');
  const [ownEpoch, ownTurn] = committed.split('.');
  return epoch !== ownEpoch || Number(turn) < Number(ownTurn);
}
