/** Named places in a lane's turn at which a dispatcher dies as by kill -9. */
import { setTimeout as delay } from 'node:timers/promises';
import type { LaneStages } from '../../src/pipeline/lane/lane-stages.ts';

export const FAULT_POINTS = [
  'lease acquired',
  'before take',
  'after take',
  'retries in hand',
  'before run',
  'during run',
  'after run',
  'before commit',
  'during commit',
  'after commit',
  'turn done',
] as const;
export type FaultPoint = (typeof FAULT_POINTS)[number];

/** Parses `point:n`: the process dies the n-th time it reaches the point. */
export function parseFaultPoint(text: string): {
  readonly point: FaultPoint;
  readonly hits: number;
} {
  const [name = '', hits = '1'] = text.split(':');
  if (!(FAULT_POINTS as readonly string[]).includes(name))
    throw new Error(`no such fault point: ${text}; there are ${FAULT_POINTS.join(', ')}`);
  return { point: name as FaultPoint, hits: Number(hits) };
}

const die = (): void => void process.kill(process.pid, 'SIGKILL');

export function dieAt({
  point,
  hits,
}: {
  readonly point: FaultPoint;
  readonly hits: number;
}): (stages: LaneStages) => LaneStages {
  let left = hits;
  /** @returns whether the process is to die now */
  const reached = (at: FaultPoint): boolean => at === point && --left === 0;
  const passing = (at: FaultPoint): void => {
    if (reached(at)) die();
  };
  return (stages) => ({
    ...stages,
    beginSearch() {
      passing('lease acquired');
      return stages.beginSearch();
    },
    reader: {
      reset: () => stages.reader.reset(),
      get drained() {
        return stages.reader.drained;
      },
      get pendingLeft() {
        return stages.reader.pendingLeft;
      },
      async take(leaseValue, budget) {
        passing('before take');
        const taken = await stages.reader.take(leaseValue, budget);
        // An empty look does not count: nothing would be lost.
        if (taken.kind === 'ok' && taken.entries.length + taken.units.length > 0)
          passing('after take');
        return taken;
      },
    },
    async fetchParked(units) {
      const parked = await stages.fetchParked(units);
      passing('retries in hand');
      return parked;
    },
    async run(...batch) {
      passing('before run');
      if (reached('during run')) void delay(Math.random() * 10).then(die);
      const result = await stages.run(...batch);
      passing('after run');
      return result;
    },
    async commit(plan, signal) {
      passing('before commit');
      const reply = stages.commit(plan, signal);
      // A few ms decide whether the commit is on its way, has arrived, or is answered.
      if (reached('during commit')) void delay(Math.random() * 4).then(die);
      const answer = await reply;
      passing('after commit');
      return answer;
    },
    turnDone(turn) {
      passing('turn done');
      stages.turnDone(turn);
    },
  });
}
