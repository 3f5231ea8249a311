/**
 * Deployments that are broken on purpose, each on a real server: the command names the cause. A
 * deployment in order has neither errors nor warnings.
 */
import { mkdirSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import type { Diagnosis, DiagnosisCode } from '../../src/doctor/diagnosis.ts';
import { announceMember } from '../../src/pipeline/ownership/members.ts';
import { openConnection } from '../../src/redis/connection.ts';
import { aclRules } from '../../src/redis/acl.ts';
import { createKeys } from '../../src/redis/keys.ts';
import { settleSettings } from '../../src/redis/settings.ts';
import { setTypeLimits } from '../../src/upkeep/type-limits.ts';
import { startRedis } from '../../scripts/lab/redis-server.ts';
import { until } from '../../scripts/lab/until.ts';
import { createProject, NOTES_PROTO } from '../cli/run-cli.ts';
import {
  events,
  publish,
  specOf,
  startLane,
  type BareLane,
  type Bed,
} from '../pipeline/bare-lane.ts';

interface Told {
  readonly status: number | null;
  readonly ok: boolean;
  readonly errors: number;
  readonly warnings: number;
  readonly findings: readonly Diagnosis[];
}

/** A server, and a project that asks about it. */
interface Patient extends Bed {
  readonly doctor: (env?: NodeJS.ProcessEnv) => Promise<Told>;
  readonly text: (env?: NodeJS.ProcessEnv) => Promise<string>;
  readonly config: (name: string, value: string | number) => Promise<unknown>;
  readonly write: (name: string, text: string) => string;
}

const redis = await startRedis(t, { tcp: true, args: ['--enable-protected-configs', 'yes'] });
const connection = openConnection({ url: redis.url });
t.teardown(() => connection.destroy());
const project = createProject(t, redis.tcpUrl);
let made = 0;

/** Makes a deployment of its own, with one function that dispatchers serve, in order. */
async function admit(): Promise<Patient> {
  const namespace = `mr${made++}`;
  const keys = createKeys(namespace);
  const bed = { redis, connection, keys, partitions: 2 };
  await settleSettings(connection, keys, 2);
  const plain = { MILLRACE_NAMESPACE: namespace, MILLRACE_PARTITIONS: '2' };
  const run = (args: string[], env: NodeJS.ProcessEnv): ReturnType<typeof project.here> =>
    project.here(['doctor', ...args], { ...plain, ...env });
  return {
    ...bed,
    doctor: async (env = {}) => {
      const { status, stdout, stderr } = await run(['--json'], env);
      if (stdout === '') throw new Error(stderr);
      return { status, ...(JSON.parse(stdout) as Omit<Told, 'status'>) };
    },
    text: async (env = {}) => (await run([], env)).stdout,
    config: (name, value) => connection.command('CONFIG', 'SET', name, value),
    write: project.write,
  };
}

/** Starts both lanes of a function, as a dispatcher does. */
async function serve(bed: Bed, fn: string, more: Parameters<typeof specOf>[2] = {}) {
  await announceMember(connection, bed.keys, fn, 'test', 60_000);
  const lanes: BareLane[] = [];
  for (let partition = 0; partition < bed.partitions; partition++)
    lanes.push(await startLane(bed, specOf(fn, ['note.added'], more), partition));
  return lanes as [BareLane, BareLane];
}

async function limit(bed: Bed): Promise<void> {
  await setTypeLimits(bed, 'note.added', { maxAgeMs: 86_400_000 });
}

/** Returns the finding; fails with all codes where it is missing. */
function findingOf({ findings }: Told, code: DiagnosisCode): Diagnosis {
  const found = findings.find((one) => one.code === code);
  if (!found) throw new Error(`no ${code} among ${findings.map((one) => one.code).join(', ')}`);
  return found;
}

t.test('a deployment in order', async (t) => {
  const patient = await admit();
  const [lane] = await serve(patient, 'keeper');
  await limit(patient);
  await publish(patient, 0, { 'note.added': events(3) });
  await lane.drain();
  const told = await patient.doctor();
  const bad = told.findings.filter(({ severity }) => severity !== 'info');
  t.strictSame(bad, [], 'nothing is wrong');
  t.match(told, { ok: true, errors: 0, warnings: 0, status: 0 });
  t.match(findingOf(told, 'server').evidence, /standalone, master/);
  t.match(findingOf(told, 'rights').evidence, /(\d+) of \1 commands granted/);
  t.match(findingOf(told, 'deployment').evidence, /2 partitions, 1 event type with 3 events kept/);
});

interface Broken {
  readonly name: string;
  /** Breaks it. Returns settings of the environment. */
  readonly breaks: (patient: Patient) => Promise<NodeJS.ProcessEnv | void>;
  readonly mends?: (patient: Patient) => Promise<unknown>;
  readonly code: DiagnosisCode;
  readonly severity: Diagnosis['severity'];
  readonly evidence: RegExp;
  /** Missing: the cure is a sentence. */
  readonly command?: RegExp;
  /** Further codes. */
  readonly also?: readonly DiagnosisCode[];
}

const CASES: readonly Broken[] = [
  {
    name: 'a policy that evicts',
    breaks: async ({ config }) => void (await config('maxmemory-policy', 'allkeys-lru')),
    mends: ({ config }) => config('maxmemory-policy', 'noeviction'),
    code: 'memory-policy',
    severity: 'error',
    evidence: /allkeys-lru/,
    command: /^redis-cli -u "\$REDIS_URL" CONFIG SET maxmemory-policy noeviction$/,
  },
  {
    name: 'a server that writes nothing to disk',
    breaks: async ({ config }) => void (await config('appendonly', 'no')),
    mends: ({ config }) => config('appendonly', 'yes'),
    code: 'persistence-none',
    severity: 'warning',
    evidence: /aof_enabled:0, save ""/,
    command: /CONFIG SET appendonly yes/,
  },
  {
    name: 'a replica',
    breaks: async () => void (await connection.command('REPLICAOF', '127.0.0.1', '1')),
    mends: () => connection.command('REPLICAOF', 'NO', 'ONE'),
    code: 'server-replica',
    severity: 'error',
    evidence: /slave, master 127\.0\.0\.1:1, master_link_status:down/,
    command: /^export REDIS_URL="\$\{REDIS_URL\/127\.0\.0\.1:\d+\/127\.0\.0\.1:1\}"$/,
    also: ['writes-refused'],
  },
  {
    name: 'a full memory',
    breaks: async ({ config }) => void (await config('maxmemory', '1mb')),
    mends: ({ config }) => config('maxmemory', 0),
    code: 'writes-refused',
    severity: 'error',
    evidence: /OOM/,
    also: ['memory-low'],
  },
  {
    name: 'a disk that takes no snapshot',
    breaks: async ({ config }) => {
      const dir = join(redis.dir, 'gone');
      mkdirSync(dir);
      await config('save', '3600 1');
      await config('dir', dir);
      rmdirSync(dir);
      await connection.command('BGSAVE');
      await until('the snapshot has failed', async () =>
        /rdb_last_bgsave_status:err/.test(String(await connection.command('INFO', 'persistence'))),
      );
    },
    mends: async ({ config }) => {
      await config('dir', redis.dir);
      await config('save', '');
    },
    code: 'snapshot-failing',
    severity: 'error',
    evidence: /rdb_last_bgsave_status:err/,
    command: /BGSAVE/,
    also: ['writes-refused'],
  },
  {
    name: 'another number of partitions',
    breaks: () => Promise.resolve({ MILLRACE_PARTITIONS: '3' }),
    code: 'partitions-differ',
    severity: 'error',
    evidence: /MILLRACE_PARTITIONS is 3.* with 2/,
    command: /MILLRACE_PARTITIONS=2/,
  },
  {
    name: 'events where nobody reads',
    breaks: async (patient) => void (await publish(patient, 5, { 'note.added': events(4) })),
    code: 'partitions-unserved',
    severity: 'error',
    evidence: /4 events lie in partition 5/,
    command: /MILLRACE_PARTITIONS=2/,
  },
  {
    name: 'a function without a dispatcher',
    breaks: async (patient) => {
      await startLane(patient, specOf('orphan', ['note.added']), 0);
      await publish(patient, 0, { 'note.added': events(7) });
    },
    code: 'function-unserved',
    severity: 'error',
    evidence: /lag 7/,
    command: /^millrace start$/,
    also: ['limits-none'],
  },
  {
    name: 'a type without a reader',
    breaks: async (patient) => void (await publish(patient, 0, { 'note.removed': events(2) })),
    code: 'type-unread',
    severity: 'warning',
    evidence: /2 events kept/,
    command: /millrace limits note\.removed --max-age 7d/,
  },
  {
    name: 'a lost consumer group',
    breaks: async (patient) => {
      await serve(patient, 'keeper');
      await connection.command(
        'XGROUP', 'DESTROY', patient.keys.events(1, 'note.added'), 'keeper',
      ); // prettier-ignore
    },
    code: 'group-missing',
    severity: 'error',
    evidence: /note\.added in partitions 1/,
    command: /millrace start/,
  },
  {
    name: 'a lane that nobody owns',
    breaks: async (patient) => {
      await serve(patient, 'keeper');
      await connection.command('DEL', patient.keys.lease(1, 'keeper'));
    },
    code: 'lanes-unowned',
    severity: 'warning',
    evidence: /partitions 1;/,
  },
  {
    name: 'a held subject',
    breaks: async (patient) => {
      const [lane] = await serve(patient, 'strict', { onDead: 'hold' });
      await publish(patient, 0, { 'note.added': events(2, 'book-7') });
      await lane.work(() => 'dead');
    },
    code: 'subjects-held',
    severity: 'warning',
    evidence: /book-7 by strict\/0\//,
    command: /millrace dlq replay strict\/0\/\d+-\d+/,
    also: ['dead-letters'],
  },
  {
    name: 'a wedged subject',
    breaks: async (patient) => {
      const [lane] = await serve(patient, 'keeper');
      await publish(patient, 0, { 'note.added': events(2, 'book-8') });
      await lane.work(() => 'retry');
      await connection.command('ZADD', patient.keys.due(0, 'keeper'), '+inf', 'book-8');
    },
    code: 'subjects-wedged',
    severity: 'error',
    evidence: /never due and not held: book-8/,
    command: /millrace start/,
  },
  {
    name: 'a deleted entry',
    breaks: async (patient) => {
      await serve(patient, 'keeper');
      const entry = await publish(patient, 0, { 'note.added': events(2) });
      await connection.command('XDEL', patient.keys.events(0, 'note.added'), entry);
    },
    code: 'counts-differ',
    severity: 'error',
    evidence: /appended 2/,
    command: /millrace losses/,
  },
  {
    name: 'a big history',
    breaks: async ({ keys }) => {
      await connection.command('ZADD', keys.histories(1, 'order'), 0, 'A-1');
      const rows = Array.from({ length: 10_000 }, () => 'x');
      await connection.command('RPUSH', keys.history(1, 'order', 'A-1'), ...rows);
    },
    code: 'history-big',
    severity: 'warning',
    evidence: /A-1 10,000 events; 1 of 1 histories of order/,
    command: /millrace history order A-1 --limit 5/,
  },
  {
    name: 'a setup that fails',
    breaks: async (patient) => {
      await serve(patient, 'keeper');
      const failure = { error: 'no database', stack: '', sinceMs: 1, atMs: 2, nextMs: 3 };
      await connection.command(
        'SET',
        patient.keys.setupFailure(0, 'keeper'),
        JSON.stringify(failure),
      );
    },
    code: 'setup-failing',
    severity: 'error',
    evidence: /no database/,
  },
  {
    name: 'a server that is not there',
    breaks: () => Promise.resolve({ REDIS_URL: 'redis://127.0.0.1:1' }),
    code: 'server-unreachable',
    severity: 'error',
    evidence: /ECONNREFUSED/,
    command: /PING/,
  },
  {
    name: 'a wrong password',
    breaks: () => Promise.resolve({ REDIS_URL: `redis://nobody:s3cret@127.0.0.1:${redis.port}` }),
    code: 'server-unreachable',
    severity: 'error',
    evidence: /^(?!.*s3cret).*WRONGPASS/,
  },
  {
    name: 'an admin server that is open to everybody',
    breaks: () => Promise.resolve({ MILLRACE_HOST: '0.0.0.0' }),
    code: 'admin-open',
    severity: 'warning',
    evidence: /MILLRACE_HOST is 0\.0\.0\.0, no token is set/,
    command: /MILLRACE_READ_TOKEN/,
  },
  {
    name: 'a setting that does not exist',
    breaks: () => Promise.resolve({ MILLRACE_PARTITONS: '2' }),
    code: 'settings-invalid',
    severity: 'error',
    evidence: /MILLRACE_PARTITONS: no such setting/,
    command: /millrace start --help/,
  },
];

for (const { name, breaks, mends, code, severity, evidence, command, also = [] } of CASES) {
  t.test(name, async (t) => {
    const patient = await admit();
    const env = (await breaks(patient)) ?? {};
    const told = await patient.doctor(env).finally(() => mends?.(patient));
    const found = findingOf(told, code);
    t.equal(found.severity, severity);
    t.match(found.evidence, evidence);
    if (command) t.match(found.command, command);
    else t.equal(found.command, null);
    t.ok(found.cure);
    for (const other of also) t.ok(findingOf(told, other));
    t.equal(told.status, told.errors > 0 ? 1 : 0);
    t.equal(
      told.findings.filter((one) => one.code === 'unknown').length,
      0,
      'all checks came to an end',
    );
  });
}

t.test('a schema that contradicts the registered one', async (t) => {
  const patient = await admit();
  const env = { MILLRACE_NAMESPACE: patient.keys.namespace, MILLRACE_PARTITIONS: '2' };
  t.equal((await project.here(['schema', 'register', 'note.added'], env)).status, 0);
  project.write('proto/notes.proto', NOTES_PROTO.replace('int64 number = 2', 'string number = 2'));
  const told = await patient.doctor();
  project.write('proto/notes.proto', 'syntax = "proto3"; message');
  const unreadable = await patient.doctor();
  project.write('proto/notes.proto', NOTES_PROTO);
  t.match(findingOf(told, 'schema-incompatible'), { severity: 'error', about: 'note.added' });
  t.match(findingOf(told, 'schema-unregistered'), { severity: 'info', about: 'note.removed' });
  t.match(findingOf(unreadable, 'proto-invalid').evidence, /notes\.proto/);
});

t.test('users with few rights: INFO is denied, nothing is hidden', async (t) => {
  const patient = await admit();
  await serve(patient, 'keeper');
  const as = async (user: string, ...rules: string[]): Promise<NodeJS.ProcessEnv> => {
    await connection.command('ACL', 'SETUSER', user, 'reset', 'on', '>pass', ...rules);
    return { REDIS_URL: `redis://${user}:pass@127.0.0.1:${redis.port}` };
  };
  const mr = `%R~${patient.keys.namespace}:*`;
  const looker = ['+@read', '+client|setname', '+time', '+eval_ro', '+evalsha_ro', '+ping'];
  const told = await patient.doctor(await as('looker', mr, ...looker, '+acl|whoami', '+eval'));
  const unknown = told.findings.filter(({ code }) => code === 'unknown').map(({ about }) => about);
  t.strictSame(unknown, ['persistence', 'memory']);
  t.match(findingOf(told, 'server').evidence, /replicas unknown/);
  t.match(findingOf(told, 'rights').evidence, /user looker: .* told by a script/);
  t.match(findingOf(told, 'rights-missing'), { severity: 'warning' });
  t.match(
    findingOf(told, 'rights-missing').command,
    /^redis-cli -u "\$ADMIN_REDIS_URL" ACL SETUSER looker .*"\+xadd"/,
  );
  t.match(
    findingOf(told, 'rights-missing').cure,
    /set ADMIN_REDIS_URL to the URL of an administrator/,
  );
  t.equal(told.status, 0, 'a user that only looks is no error');

  const blind = await patient.doctor(await as('blind', mr, ...looker.slice(0, 3), '+ping'));
  t.match(
    blind.findings.filter(({ code }) => code === 'unknown').map(({ about }) => about),
    ['persistence', 'memory', 'rights'],
  );

  // With DRYRUN each command is compared, and the one that is missing is named.
  const all = ['+@all', '-xack', '-info', `~${patient.keys.namespace}:*`];
  const almost = await patient.doctor(await as('almost', ...all));
  const missing = almost.findings.filter(({ code }) => code === 'rights-missing');
  t.strictSame(
    missing.map(({ severity, command }) => [
      severity,
      command?.replace('redis-cli -u "$REDIS_URL" ACL SETUSER ', ''),
    ]),
    [
      ['error', 'almost "+xack"'],
      ['info', 'almost "+info"'],
    ],
  );
  t.equal(almost.status, 1, 'no commit works');

  // The least rights of each part are no error of that part.
  for (const [part, lacking] of [
    ['dispatcher', 0],
    ['producer', 1],
    ['reader', 2],
  ] as const) {
    const rules = aclRules({ namespace: patient.keys.namespace, part, registersSchemas: true });
    const { errors, findings } = await patient.doctor(await as(`mr-${part}`, ...rules));
    t.equal(errors, 0, part);
    const roles = findings.filter(
      ({ code, severity }) => code === 'rights-missing' && severity === 'warning',
    );
    t.equal(roles.filter(({ problem }) => !/register/.test(problem)).length, lacking, part);
  }
  const rules = aclRules({
    namespace: patient.keys.namespace,
    part: 'dispatcher',
    registersSchemas: true,
  });
  const lame = await patient.doctor(await as('lame', ...rules, '-xack'));
  t.match(findingOf(lame, 'rights-missing'), { severity: 'error', about: 'lame', problem: /xack/ });
  t.match(
    findingOf(lame, 'rights-missing').command,
    /"\$ADMIN_REDIS_URL" ACL SETUSER lame "\+xack"$/,
  );
  t.match(
    lame.findings.filter(({ code }) => code === 'unknown').map(({ command }) => command),
    [/ACL SETUSER lame \+info$/, /ACL SETUSER lame \+info$/],
  );
});

t.test('the text for people has evidence and commands, and no control characters', async (t) => {
  const patient = await admit();
  const [lane] = await serve(patient, 'strict', { onDead: 'hold' });
  await publish(patient, 0, { 'note.added': events(1, 'a\u001b[31mb\nc') });
  await lane.work(() => 'dead');
  const text = await patient.text();
  t.match(text, /^warning {2}subjects-held {2}strict\n {9}Dead letters hold 1 subject for ever/m);
  t.match(text, /^ {9}\$ millrace dlq replay strict\/0\//m);
  t.notMatch(text, /\u001b/);
});
