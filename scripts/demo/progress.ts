/** The progress of each function, as its turns report it. */
import { createHistogram } from 'node:perf_hooks';
import type { TurnDone } from '../../src/index.ts';

export interface Progress {
  done: number;
  retried: number;
  dead: number;
  firstMs: number;
  lastMs: number;
  readonly latency: ReturnType<typeof createHistogram>;
}

/** Adds a turn to the progress of its function. */
export function note(progress: Map<string, Progress>, turn: TurnDone): void {
  let p = progress.get(turn.fn);
  if (!p) {
    p = {
      done: 0,
      retried: 0,
      dead: 0,
      firstMs: performance.now(),
      lastMs: 0,
      latency: createHistogram(),
    };
    progress.set(turn.fn, p);
  }
  p.done += turn.done;
  p.retried += turn.retried;
  p.dead += turn.dead;
  p.lastMs = performance.now();
  for (let i = 0; i < turn.ages.length; i += 2) {
    const ms = Math.max(1, Math.round(turn.ages[i] as number));
    for (let n = turn.ages[i + 1] as number; n > 0; n--) p.latency.record(ms);
  }
}
