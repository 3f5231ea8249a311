/** A signal that ends a whole part: as many wait for it as there are calls under way. */
import { setMaxListeners } from 'node:events';

/**
 * Node warns of a leak from the eleventh listener on; here each call takes its own listener off
 * again.
 */
export function sharedAbort(): AbortController {
  const controller = new AbortController();
  setMaxListeners(0, controller.signal);
  return controller;
}
