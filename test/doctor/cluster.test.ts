/** The doctor on a Cluster: it looks at every master, and its commands name the right one. */
import { Redis } from 'ioredis';
import t from 'tap';
import type { Diagnosis, DiagnosisCode } from '../../src/doctor/diagnosis.ts';
import { startCluster, type TestCluster } from '../../scripts/lab/redis-cluster.ts';
import { createProject } from '../cli/run-cli.ts';

interface Looked {
  readonly status: number | null;
  readonly findings: readonly Diagnosis[];
}

function setUpDoctor(t: Parameters<typeof createProject>[0], cluster: TestCluster) {
  const project = createProject(t, cluster.url);
  return async (env: NodeJS.ProcessEnv = {}): Promise<Looked> => {
    const { status, stdout, stderr } = await project.here(['doctor', '--json'], env);
    if (stdout === '') throw new Error(stderr);
    return { status, ...(JSON.parse(stdout) as { findings: Diagnosis[] }) };
  };
}

const of = ({ findings }: Looked, code: DiagnosisCode): Diagnosis[] =>
  findings.filter((one) => one.code === code);

t.test('a Cluster of two masters, with a replica each', async (t) => {
  const cluster = await startCluster(t, { masters: 2, replicas: true });
  const doctor = setUpDoctor(t, cluster);
  const [first, second] = cluster.nodes.map(({ port }) => `127.0.0.1:${port}`) as [string, string];
  const redisCli = 'redis-cli -u "${REDIS_URL%%,redis*}"';
  const cli = `${redisCli} -h 127.0.0.1 -p ${cluster.nodes[1]?.port}`;
  const ill = new Redis({ host: '127.0.0.1', port: cluster.nodes[1]?.port as number });
  t.teardown(() => ill.disconnect());

  await t.test('in order: a fact for each master, no errors', async (t) => {
    const told = await doctor();
    t.strictSame(
      told.findings.filter(({ severity }) => severity !== 'info'),
      [],
    );
    t.equal(told.status, 0);
    for (const code of ['server', 'persistence', 'memory'] as const)
      t.match(
        of(told, code)
          .map(({ about }) => about)
          .sort(),
        [first, second].sort(),
        code,
      );
    t.match(of(told, 'server')[0]?.evidence, /cluster, master, 1 replica/);
    t.equal(of(told, 'unknown').length, 0, 'all checks came to an end');
  });

  await t.test('policy, files and memory of one master', async (t) => {
    await ill.config('SET', 'maxmemory-policy', 'allkeys-lru');
    await ill.config('SET', 'appendonly', 'no');
    const told = await doctor();
    await ill.config('SET', 'maxmemory-policy', 'noeviction');
    await ill.config('SET', 'maxmemory', '1mb');
    const full = await doctor();
    await ill.config('SET', 'maxmemory', '0');
    await ill.config('SET', 'appendonly', 'yes');
    for (const code of ['memory-policy', 'persistence-none'] as const) {
      const found = of(told, code);
      t.strictSame([code, found.map(({ about }) => about)], [code, [second]]);
      t.ok(found[0]?.command?.startsWith(`${cli} CONFIG SET`), found[0]?.command ?? code);
    }
    t.strictSame(
      of(full, 'memory-low').map(({ about }) => about),
      [second],
    );
    const [refused, ...more] = of(full, 'writes-refused');
    t.equal(more.length, 0);
    t.match(refused, { about: 'OOM', cure: /memory-low has the command/ });
    t.match(refused?.evidence, new RegExp(`^${second}: .*OOM`));
    const own: string[] = [];
    for (let partition = 0; partition < 4; partition++)
      if ((await cluster.ownerOf(`mr:{${partition}}:counters`)) === 1) own.push(String(partition));
    t.ok(
      refused?.evidence.endsWith(`partitions ${own.join(', ')}`),
      refused?.evidence ?? 'nothing refused',
    );
  });

  await t.test('a right that one master does not grant', async (t) => {
    const login = ['on', '>pass', '+@all', '~mr:*'];
    for (const { port } of cluster.nodes) {
      const node = new Redis({ host: '127.0.0.1', port });
      await node.call('ACL', 'SETUSER', 'almost', ...login);
      node.disconnect();
    }
    await ill.call('ACL', 'SETUSER', 'almost', '-xack');
    const told = await doctor({
      REDIS_URL: cluster.url.replaceAll('redis://', 'redis://almost:pass@'),
    });
    const missing = of(told, 'rights-missing');
    t.equal(missing.length, 1);
    t.match(missing[0]?.evidence, `(node ${second})`);
    const command = missing[0]?.command ?? '';
    t.ok(command.startsWith(`${redisCli} --cluster call 127.0.0.1:`), command);
    t.match(command, /:\d+ ACL SETUSER almost "\+xack"$/);
  });
});
