/** Lines of `millrace top` where there is no terminal: one for each function and look. */
import { shortTime } from './short-figures.ts';
import { newest, seriesOf, waiting, type TopModel } from './looks.ts';
import { ownedOf } from './columns.ts';
import { rowsOf, type TopView } from './view.ts';

/** @param time stamp of the look */
export function rowLines(model: TopModel, view: TopView, time: string): string[] {
  if (model.problem !== null) return [`${time}  problem=${JSON.stringify(model.problem)}`];
  return rowsOf(model, view).map((fn) => {
    const { inRate, outRate } = seriesOf(model, fn.name);
    return [
      time,
      fn.name,
      `in/s=${newest(inRate)?.toFixed(1) ?? '-'}`,
      `out/s=${newest(outRate)?.toFixed(1) ?? '-'}`,
      `lag=${waiting(fn)}`,
      `parked=${fn.parked}`,
      `dead=${fn.dead}`,
      `oldest=${shortTime(fn.oldestMs)}`,
      `lanes=${ownedOf(fn)}/${fn.owners.length}`,
      ...(fn.conserved ? [] : ['conserved=no']),
    ].join('  ');
  });
}
