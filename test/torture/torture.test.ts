import t from 'tap';
import { startCluster } from '../../scripts/lab/redis-cluster.ts';
import { startRedis } from '../../scripts/lab/redis-server.ts';
import type { TortureReport } from '../../src/torture/torture.ts';
import { createProject, NOTES_PROTO } from '../cli/run-cli.ts';
import { dump } from '../../scripts/lab/counters.ts';

const FILES = {
  'proto/notes.proto': NOTES_PROTO,
  'workers/keeper.ts': `import { defineFunction } from 'millrace/define';
import { nap } from './_nap.ts';
export default defineFunction({ name: 'keeper', on: ['note.added', 'note.removed'], retry: { attempts: 3 },
  async handle(event, ctx) {
    await nap();
    if (ctx.attempt === 1 && event.id.endsWith('7')) throw new Error('the first time it fails');
    if (event.id.endsWith('13')) throw new Error('always');
    if (event.type === 'note.added') ctx.emit('note.removed', { book: 'emitted' });
  } });
`,
  'workers/book.mjs': `import { defineView } from 'millrace/define';
export default defineView({ name: 'book', version: 1, on: ['note.added'], evolve: (row, event) => ({ notes: (row?.notes ?? 0) + 1, text: event.data.text }) });
`,
  'workers/_nap.ts': `import { setTimeout as delay } from 'node:timers/promises';
export const nap = () => delay(2);
`,
  'workers/summary.mjs': `import { defineFunction } from 'millrace/define';
export default defineFunction({ name: 'summary', on: ['note.added'], async handleBatch(events) {
  return events.filter((event) => event.id.endsWith('5') && event.data.number % 2 === 0).map((event) => ({ id: event.id, error: new Error('named') }));
} });
`,
};

t.test(
  'millrace torture: nothing is lost or out of order, and the real data is left alone',
  async (t) => {
    const redis = await startRedis(t);
    const look = redis.client();
    const project = createProject(t, redis.url, FILES);
    t.equal(
      (await project.run(['publish', 'note.added', '--data', '{"book":"real","number":1}'])).status,
      0,
    );
    const before = await dump(look);
    const { status, stdout, stderr } = await project.run(
      ['torture', '--seconds', '1', '--seed', '3', '--json'],
      { env: { WORKERS: '2' } },
    );
    t.equal(status, 0, stderr);
    const report = JSON.parse(stdout) as TortureReport;
    t.strictSame(report.violations, []);
    t.strictSame(
      report.functions.map(({ name, lost, orderBreaks }) => ({ name, lost, orderBreaks })),
      [
        { name: 'book@1', lost: 0, orderBreaks: 0 },
        { name: 'keeper', lost: 0, orderBreaks: 0 },
        { name: 'summary', lost: 0, orderBreaks: 0 },
      ],
    );
    t.ok(
      report.functions.every((fn) => fn.handled > 0),
      'handlers ran',
    );
    t.ok(
      (report.functions.find((fn) => fn.name === 'keeper')?.dead ?? 0) > 0,
      'and failed as they do',
    );
    t.ok(
      Object.values(report.faults).every((count) => count >= 1),
      JSON.stringify(report.faults),
    );
    t.equal(report.takeover.boundMs, 1250);
    t.ok(report.takeover.measured >= 2, 'a takeover after a kill and after a freeze');
    t.ok(report.settledMs !== null);
    t.ok(report.acknowledged > 20 && report.acknowledged <= report.published);
    t.strictSame(await dump(look), before, 'no key is left, none has changed');
  },
);

t.test('millrace torture: wrong use', async (t) => {
  const redis = await startRedis(t);
  const project = createProject(t, redis.url, FILES);
  const wrong = await project.run(['torture', '--fault', 'kill,explode']);
  t.equal(wrong.status, 2);
  t.match(wrong.stderr, /"explode" is none of kill, freeze, cut, duplicate/);
  const missing = await project.run(['torture', './nowhere']);
  t.equal(missing.status, 1);
  t.match(missing.stderr, /nowhere/);
});

t.test(
  'millrace torture on a Cluster: kill and freeze; what cannot be done there is named',
  async (t) => {
    const cluster = await startCluster(t, { masters: 3 });
    const look = cluster.client();
    const project = createProject(t, cluster.url, FILES);
    const { status, stdout, stderr } = await project.run(
      ['torture', '--seconds', '1', '--seed', '3', '--json'],
      { env: { WORKERS: '2', MILLRACE_PARTITIONS: '8' } },
    );
    t.equal(status, 0, stderr);
    const report = JSON.parse(stdout) as TortureReport;
    t.strictSame(report.violations, []);
    t.match(report.faults, { cut: 0, duplicate: 0 });
    t.ok(report.faults.kill >= 1 && report.faults.freeze >= 1, JSON.stringify(report.faults));
    t.match(report.leftOut, { faults: ['cut', 'duplicate'], why: /Cluster/ });
    t.ok(
      report.functions.length === 3 &&
        report.functions.every((fn) => fn.handled > 0 && fn.lost === 0 && fn.orderBreaks === 0),
    );
    t.ok(report.takeover.measured >= 2);
    t.ok(report.settledMs !== null);
    const left = await Promise.all(look.nodes('master').map((node) => node.keys('*torture*')));
    t.strictSame(left.flat(), [], 'no key is left on any master');
    const network = await project.run(['torture', '--fault', 'cut'], {
      env: { MILLRACE_PARTITIONS: '8' },
    });
    t.equal(network.status, 1);
    t.match(network.stderr, /nothing can be tortured: cut need a proxy .*Cluster/);
  },
);
