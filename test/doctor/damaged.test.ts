/**
 * Keys that another program has written, one of each kind: doctor names the key, and the pasted
 * cure frees it. Findings of the other partitions stay.
 */
import { execFileSync } from 'node:child_process';
import t from 'tap';
import type { Diagnosis } from '../../src/doctor/diagnosis.ts';
import { openConnection } from '../../src/redis/connection.ts';
import { expectedType, PARTITION_KEYS } from '../../src/redis/key-types.ts';
import { createKeys } from '../../src/redis/keys.ts';
import { settleSettings } from '../../src/redis/settings.ts';
import { startRedis } from '../../scripts/lab/redis-server.ts';
import { createProject } from '../cli/run-cli.ts';
import { events, publish, specOf, startLane } from '../pipeline/bare-lane.ts';

interface Told {
  readonly status: number | null;
  readonly findings: readonly Diagnosis[];
}

const redis = await startRedis(t, { tcp: true });
const connection = openConnection({ url: redis.url });
t.teardown(() => connection.destroy());
const project = createProject(t, redis.tcpUrl);
const keys = createKeys('mr');
const bed = { redis, connection, keys, partitions: 2 };
await settleSettings(connection, keys, 2);
for (const partition of [0, 1]) await startLane(bed, specOf('keeper', ['note.added']), partition);
await publish(bed, 0, { 'note.added': events(1) });
await publish(bed, 1, { 'note.removed': events(2) });

async function doctor(): Promise<Told> {
  const { status, stdout, stderr } = await project.here(['doctor', '--json'], {
    MILLRACE_PARTITIONS: '2',
  });
  if (stdout === '') throw new Error(stderr);
  return { status, ...(JSON.parse(stdout) as { findings: Diagnosis[] }) };
}

/** Names of a partition's keys behind which others follow, with the rest of the name. */
const RESTS: Readonly<Record<string, readonly string[]>> = {
  events: [':note.added'],
  parked: [':keeper:book-1'],
  ids: [':note.added:0'],
  inbox: [':keeper:1'],
  producer: [':p'],
  scheduled: ['', ':events'],
  history: [':order:A-1'],
  histories: [':order'],
  appends: [':order:A-1'],
  snapshot: [':order:A-1'],
  view: [':v@1:a'],
  index: [':v@1:*'],
  pass: [':v@1'],
  ...Object.fromEntries(
    ['due', 'held', 'arrived', 'setup', 'dead', 'groups', 'lease', 'helpers'].map((name) => [
      name,
      [':keeper'],
    ]),
  ),
};

const KEYS = [
  ...PARTITION_KEYS.flatMap((name) => (RESTS[name] ?? ['']).map((rest) => `mr:{0}:${name}${rest}`)),
  keys.members('keeper'),
  keys.presence('d-1'),
  keys.replayRun('0123456789ab'),
  keys.limits(),
  keys.views(),
  keys.audit(),
  keys.registry('ids'),
  keys.registrySubject('note.added'),
  ...(['lease', 'state', 'silences'] as const).map((part) => keys.alerts(part)),
  ...(['lease', 'state', 'marks'] as const).map((part) => keys.trend(part)),
  keys.trendSamples('1m', null),
  keys.trendSamples('10m', 'keeper'),
];

/** Runs the cure as bash reads it. */
async function cure(command: string): Promise<void> {
  const script = `redis-cli() { printf '%s\\0' "$@"; }\n${command}`;
  const out = execFileSync('bash', ['-c', script], {
    env: { REDIS_URL: redis.tcpUrl },
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const words = out.split('\0').slice(0, -1);
  t.strictSame(words.slice(0, 2), ['-u', redis.tcpUrl]);
  const [name = '', ...args] = words.slice(2);
  await connection.command(name, ...args);
}

for (const key of KEYS) {
  t.test(key, async (t) => {
    const wanted = expectedType(key);
    const found = wanted === 'list' ? 'string' : 'list';
    const kept = (await connection.command('EXISTS', key)) === 1;
    if (kept) await connection.command('RENAME', key, 'kept{0}');
    await connection.command(found === 'list' ? 'LPUSH' : 'SET', key, 'x');
    const told = await doctor();
    const damaged = told.findings.filter(({ code }) => code === 'key-damaged');
    t.match(damaged, [{ severity: 'error', about: key }]);
    t.match(damaged[0]?.evidence, `a ${found} in the place of a ${wanted}`);
    const hidden = key.includes('{0}');
    t.equal(/partition 0 is missing/.test(damaged[0]?.evidence ?? ''), hidden);
    t.equal(told.status, 1);
    t.match(
      told.findings.find(({ code }) => code === 'type-unread'),
      { about: 'note.removed', evidence: '2 events kept' },
      'a finding of the other partition',
    );
    t.equal(
      told.findings.some(({ code }) => code === 'function-unserved'),
      true,
      'and of the function',
    );
    t.equal(told.findings.filter(({ code }) => code === 'writes-refused').length, 0);
    await cure(damaged[0]?.command ?? '');
    t.equal(await connection.command('EXISTS', key), 0, 'the key is free');
    if (kept) await connection.command('RENAME', 'kept{0}', key);
  });
}

t.test('renamed keys are no damage', async (t) => {
  const told = await doctor();
  t.strictSame(
    told.findings.filter(({ code }) => code === 'key-damaged' || code === 'unknown'),
    [],
  );
});

t.test('the settings, without which nothing opens', async (t) => {
  const key = keys.settings();
  await connection.command('RENAME', key, 'kept{0}');
  await connection.command('LPUSH', key, 'x');
  const told = await doctor();
  t.match(told.findings, [{ code: 'key-damaged', about: key, cure: /same MILLRACE_PARTITIONS/ }]);
  t.equal(told.status, 1);
  await cure(told.findings[0]?.command ?? '');
  t.equal(await connection.command('EXISTS', key), 0, 'the key is free');
});
