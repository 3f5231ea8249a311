/** The dispatcher processes that torture kills and freezes. */
import { appendFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { MillraceError } from '../core/errors/millrace-error.ts';
import { Child } from './child.ts';
import type { ChildSettings } from './dispatcher-main.ts';
import type { FaultOp } from './run-record.ts';

const SCRIPT = fileURLToPath(new URL('./dispatcher-main.js', import.meta.url));

/** A dispatcher does not start with the observed functions: nothing was tortured. */
export class VictimError extends MillraceError {
  readonly code = 'VICTIM';
  constructor(log: string) {
    super(`a dispatcher over the functions does not start: ${log.trim().slice(-2000)}`);
  }
}

export class Victims {
  readonly #settings: ChildSettings;
  readonly #children: Child[] = [];

  constructor(settings: ChildSettings) {
    this.#settings = settings;
  }

  get alive(): Child[] {
    return this.#children.filter((child) => child.alive);
  }

  /** @throws VictimError */
  async spawn(): Promise<void> {
    const child = new Child({ script: SCRIPT, args: [JSON.stringify(this.#settings)] });
    this.#children.push(child);
    await child.started;
    if (!child.alive) throw new VictimError(child.log);
  }

  /**
   * Freezes a process, and records that. After the thaw its handlers may go on beside its heir's
   * work, which the record explains.
   */
  freeze(victim: Child): void {
    const op: FaultOp = { what: 'fault', name: 'frozen', pid: victim.pid };
    appendFileSync(this.#settings.history, `${JSON.stringify(op)}\n`);
    victim.freeze();
  }

  peakRssMb(): number {
    return Math.max(0, ...this.alive.map((child) => child.peakRssMb()));
  }

  /** Drains all processes that are alive. */
  async terminate(): Promise<void> {
    await Promise.all(this.alive.map((child) => child.terminate()));
  }

  async kill(): Promise<void> {
    await Promise.all(this.alive.map((child) => child.kill()));
  }
}
