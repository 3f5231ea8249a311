/** The form in which groups of routes come to the admin server. */
import type { Hono } from 'hono';
import type { AccessRole } from './access.ts';

/** A group of routes. */
export interface RouteGroup {
  /** First segments of the group's paths: `/subjects` stands for itself and all paths below it. */
  readonly prefixes: readonly string[];
  /** `open`: for everybody who reaches the port (health, metrics). `guarded`: see access.ts. */
  readonly access: 'open' | 'guarded';
  /**
   * Role that a request needs. A request that needs more than `read` changes something, and is
   * recorded with its body and its answer. Default: `read` for GET, HEAD and OPTIONS, `admin` for
   * the rest.
   */
  readonly needs?: (method: string, path: string) => AccessRole;
  /** Whether the group records its changes itself: its bodies or answers have data of payloads. */
  readonly recordsItself?: boolean;
  /** Reads the state that a change is about to change, for the audit log. */
  readonly stateBefore?: (path: string) => Promise<unknown>;
  mount(app: Hono): void;
  /** Form of the group's errors. Default `{ "error": message }`. */
  readonly errorBody?: (status: number, message: string) => unknown;
}
