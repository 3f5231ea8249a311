/** A slice of `npm run chaos`: one seed of a few faults. */
import t from 'tap';
import { faultNamed } from '../../scripts/chaos/faults/index.ts';
import { runSeed } from '../../scripts/chaos/run-seed.ts';

for (const name of ['kill-random', 'power-loss', 'net-lost-replies']) {
  t.test(`chaos: ${name}`, async (t) => {
    const result = await runSeed({ fault: faultNamed(name), seed: 1 });
    t.strictSame(result.violations.slice(0, 5), []);
    t.ok(
      result.acknowledged > 50 && result.handled > 50,
      `${result.acknowledged} acknowledged, ${result.handled} handled`,
    );
    t.ok(result.dead > 0, 'with dead letters among them');
    const { end, ops } = result.history;
    t.ok(end.emitted.length > 10, `${end.emitted.length} emitted events`);
    t.ok(end.appended.length > 5, `${end.appended.length} scheduled events`);
    t.ok(
      (end.functions.find((fn) => fn.name === 'once')?.skipped ?? 0) > 0,
      'events that were sent again',
    );
    t.ok(
      ops.some((op) => op.what === 'fail' && op.fn === 'held'),
      'and held up',
    );
    if (name === 'kill-random')
      t.ok(
        new Set(result.history.ops.map((op) => op.pid)).size > 2,
        'several dispatchers had a part',
      );
  });
}
