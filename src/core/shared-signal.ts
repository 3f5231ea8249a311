/** A signal that ends a whole part. Each call under way listens to it. */
import { setMaxListeners } from 'node:events';

/**
 * Returns a controller without a limit of listeners. Node warns of a leak from the eleventh
 * listener on, but here each call removes its own listener.
 */
export function sharedAbort(): AbortController {
  const controller = new AbortController();
  setMaxListeners(0, controller.signal);
  return controller;
}
