import t from 'tap';
import { FAULTS } from '../../scripts/chaos/faults/index.ts';
import { readOptions, UsageError, type ChaosOptions } from '../../scripts/chaos/options.ts';

t.test('options of npm run chaos', (t) => {
  t.match(readOptions([]), { faults: FAULTS, seeds: [1, 2, 3], jobs: 1, json: null });
  t.strictSame((readOptions(['--seeds', '30']) as ChaosOptions).seeds.at(-1), 30);
  t.strictSame((readOptions(['--seed', '7']) as ChaosOptions).seeds, [7]);
  t.strictSame(
    (readOptions(['--seed', '11-13', '--fault', 'freeze,flushall']) as ChaosOptions).seeds,
    [11, 12, 13],
  );
  t.strictSame(
    (readOptions(['--fault', 'freeze, flushall']) as ChaosOptions).faults.map(
      (fault) => fault.name,
    ),
    ['freeze', 'flushall'],
  );
  t.equal((readOptions(['--bug', 'keep the torn end']) as ChaosOptions).bug, 'keep the torn end');
  t.equal((readOptions([]) as ChaosOptions).bug, null);
  t.equal(readOptions(['--help']), 'help');
  for (const wrong of [
    ['--seed', '3-1'],
    ['--seed', 'x'],
    ['--seeds', '0'],
    ['--seeds', '2', '--seed', '3'],
    ['--fault', 'nope'],
    ['--what'],
    ['--jobs', '0'],
    ['--bug', 'none'],
  ]) {
    t.throws(() => readOptions(wrong), wrong.join(' '));
    try {
      readOptions(wrong);
    } catch (error) {
      t.ok(error instanceof UsageError, (error as Error).message);
    }
  }
  t.end();
});
