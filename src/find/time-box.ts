/** Ends synchronous work that takes too long: expressions come from people. */
import { createContext, Script } from 'node:vm';

/** The only way in which V8 ends synchronous work is the time limit of a script. */
const script = new Script('work()');
const box: { work: (() => void) | null } = { work: null };
let context: ReturnType<typeof createContext> | null = null;

/**
 * Runs the work, which is never nested.
 * @param ms time limit; the thread is held up for that long at most
 * @returns false: the work was ended in its midst
 * @throws any error of the work
 */
export function runInTime(work: () => void, ms: number): boolean {
  context ??= createContext(box);
  box.work = work;
  try {
    script.runInContext(context, { timeout: ms });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ERR_SCRIPT_EXECUTION_TIMEOUT') return false;
    throw error;
  } finally {
    box.work = null;
  }
}
