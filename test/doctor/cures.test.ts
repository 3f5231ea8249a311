/**
 * The cures: each command works as people paste it into bash. The commands of all findings run in
 * bash, with functions in the place of the programs. Redis and the command line say whether they
 * know the words.
 */
import { execFileSync } from 'node:child_process';
import { CommanderError } from 'commander';
import t from 'tap';
import { buildProgram } from '../../src/cli/program.ts';
import { ConfigError } from '../../src/core/errors/input-errors.ts';
import {
  ConnectionSetupError,
  ServerUnreachableError,
} from '../../src/core/errors/server-errors.ts';
import type { Deployment } from '../../src/deployment.ts';
import { judgeKeys } from '../../src/doctor/damaged-keys.ts';
import { DIAGNOSES, type Diagnosis } from '../../src/doctor/diagnosis.ts';
import type { FunctionFacts, TypeFacts } from '../../src/doctor/function-facts.ts';
import { judgeHistories } from '../../src/doctor/histories.ts';
import { judgeAdmin } from '../../src/doctor/judge-admin.ts';
import { judgeEmptiness, judgeRefusal } from '../../src/doctor/judge-opening.ts';
import { judgeFunctions } from '../../src/doctor/judge-functions.ts';
import { judgeRights } from '../../src/doctor/judge-rights.ts';
import { judgeServer, judgeWrites } from '../../src/doctor/judge-server.ts';
import { judgeMemory, judgePersistence } from '../../src/doctor/judge-storage.ts';
import { judgeTypes } from '../../src/doctor/judge-types.ts';
import { judgeLosses, judgeOutboxes } from '../../src/doctor/ledgers.ts';
import { explainAdmin, redisCliOf } from '../../src/doctor/redis-cli.ts';
import { judgeSchemas } from '../../src/doctor/schemas.ts';
import { shellWord } from '../../src/doctor/shell-word.ts';
import { judgeParked } from '../../src/doctor/subjects.ts';
import { judgeTimes } from '../../src/doctor/times.ts';
import { judgeUnopened } from '../../src/doctor/unopened.ts';
import { startRedis } from '../../scripts/lab/redis-server.ts';
import { bareContext } from '../cli/bare-context.ts';

/** Programs in commands. Each prints its words instead. */
const STUBS = ['redis-cli', 'millrace', 'df', 'timedatectl', 'openssl']
  .map((name) => `${name}() { printf '%s\\0' ${name} "$@"; }`)
  .join('\n');
const ENV = {
  REDIS_URL: 'redis://someone:secret@10.0.0.1:6379',
  ADMIN_REDIS_URL: 'redis://boss:secret@10.0.0.1:6379',
  ADMIN_USER: 'boss',
  MILLRACE_REDIS_CA: '/a path/ca.pem',
};

/** Runs the command in bash, and returns the words that its program gets. */
function wordsOf(command: string): string[] {
  const script = `set -eu\n${STUBS}\n${command}`;
  const out = execFileSync('bash', ['-c', script], {
    env: ENV,
    encoding: 'utf8',
    // With a socket in its stdin, bash would read .bashrc.
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  return out.split('\0').slice(0, -1);
}

const NASTY = "o'neil $(touch x) `x` \u0007";
const NODE = '10.0.0.1:6379';

function place(changes: object): Deployment {
  return {
    connection: { isCluster: false, ...changes },
    environment: { MILLRACE_REDIS_CA: ENV.MILLRACE_REDIS_CA },
    server: { nodes: [{ node: NODE }] },
    url: ENV.REDIS_URL,
    ...changes,
  } as unknown as Deployment;
}

const PLACES: readonly (readonly [string, Deployment])[] = [
  ['a server', place({})],
  ['a Cluster', place({ isCluster: true })],
  ['a socket', place({ url: 'unix:/a%20dir/redis.sock?db=3' })],
];

const server = { node: NODE, flavor: 'redis', role: 'master', replicas: 0 } as const;
const facts = (info: Record<string, string | number>, settings = {}, freeBytes = 1e9) => ({
  node: NODE,
  info: new Map(Object.entries(info).map(([name, value]) => [name, String(value)])),
  settings: new Map(Object.entries<string>(settings)),
  disk: { dir: "/it's here", freeBytes, totalBytes: 1e9 },
});
const lane = { partition: 1, owned: true, setup: null, deaths: 0, groupless: [] };
const fn: FunctionFacts = {
  ...{ name: 'f', types: ['a.b'], members: ['d-1'], lag: 8, pending: 0, parked: 0, letters: 0 },
  ...{ oldestMs: null, conserved: true, appended: 9, lanes: [] },
};
const type: TypeFacts = {
  ...{ type: 'a.b', appended: 9, kept: 9, readers: ['f'], foreign: [], limits: null },
  backlog: null,
};
const parked = {
  ...{ fn: 'f', partition: 0, parked: 1, scheduled: 1, overdue: 0, held: 0 },
  ...{ holders: [], never: [] },
};

/** Returns findings of every code. */
function allFindings(cli: ReturnType<typeof redisCliOf>): Diagnosis[] {
  const judgedServer = (changes: object, refusals: string[] = []): Diagnosis[] => {
    const node = { ...server, version: '7.2.0', maxmemoryPolicy: 'noeviction', ...changes };
    const master = { address: '10.0.0.2:6380', linked: false };
    const masters = new Map([[NODE, master]]);
    return judgeServer(
      { mode: 'standalone', nodes: [node], url: ENV.REDIS_URL, masters, refusals },
      cli,
    );
  };
  const work = (functions: FunctionFacts[], types: TypeFacts[]) => ({
    ...{ nowMs: 0, partitions: 4, functions, types },
    unserved: [{ partition: 9, type: 'a.b', events: 1, firstEntryId: '' }],
  });
  const lanes = (...of: object[]) => of.map((one) => ({ ...lane, ...one }));
  const refused = (reply: string) => ({ partition: 0, node: null, reply, message: reply });
  const right = (role: string, command: string) => ({ role, command, refusal: 'no key' }) as never;
  const owner = { namespace: 'mr', user: NASTY, mode: 'production' };
  const kept = { maxEvents: 1, maxBacklog: 1 };
  const backlog = { fn: 'f', partition: 0, events: 9, limit: 1, served: false };
  const draft = { type: 'a.b', level: '', findings: ['x'] };
  return [
    ...judgeUnopened(new ConfigError(['x'])),
    ...judgeAdmin({
      environment: { MILLRACE_HOST: '0.0.0.0', MILLRACE_ALLOWED_HOSTS: [] } as never,
    }),
    ...judgeUnopened(new ServerUnreachableError('redis://a', 'x'), ENV),
    ...judgeUnopened(new ConnectionSetupError('redis://a', 'AUTH', 'NOAUTH x.', 'y')),
    ...(['server', 'proto', 'partitions'] as const).flatMap((kind) =>
      judgeRefusal({ kind, problem: 'x' }, 4),
    ),
    judgeEmptiness('mr', 'redis://a'),
    ...judgedServer({}, ['the server is odd']),
    ...judgedServer({ role: 'replica' }),
    ...judgedServer({ version: '6.0.0', maxmemoryPolicy: 'allkeys-lru' }),
    ...judgeWrites(['READONLY', 'MISCONF', 'OOM', 'NOREPLICAS', 'CLUSTERDOWN', 'X'].map(refused)),
    ...judgePersistence({ node: NODE, info: null, settings: new Map(), disk: null }, NASTY, cli),
    ...judgePersistence(facts({ aof_enabled: 0 }, { save: '' }), NASTY, cli),
    ...judgePersistence(facts({ aof_enabled: 0 }, { save: '60 1' }), NASTY, cli),
    ...judgePersistence(facts({ aof_enabled: 1 }, { appendfsync: 'no' }, 1e3), NASTY, cli),
    ...[1e3, 9e8].flatMap((free) => [
      ...judgePersistence(
        facts({ aof_enabled: 1, aof_last_write_status: 'err' }, {}, free),
        'u',
        cli,
      ),
      ...judgePersistence(
        facts(
          { aof_enabled: 1, aof_last_bgrewrite_status: 'err', rdb_last_bgsave_status: 'err' },
          {},
          free,
        ),
        'u',
        cli,
      ),
    ]),
    ...judgeMemory(facts({ used_memory: 99, maxmemory: 100 }), NASTY, cli),
    ...judgeMemory(facts({ used_memory: 9, total_system_memory: 100 }), NASTY, cli),
    ...judgeRights(
      {
        ...{ user: NASTY, means: 'a script', hidden: null, asked: 9, part: 'dispatcher' },
        missing: [
          right('look', 'hget'),
          right('publish', 'xadd'),
          right('run', 'xgroup|create'),
          right('register', 'hset'),
          right('optional', 'info'),
        ],
      },
      owner,
      cli,
    ),
    ...judgeRights(
      { user: null, means: null, hidden: 'x', asked: 0, missing: [], part: null },
      owner,
      cli,
    ),
    ...judgeTimes({ roundTripsMs: [900], aheadMs: null, errorMs: 1 }, NASTY, cli),
    ...judgeTimes({ roundTripsMs: [1], aheadMs: 9e6, errorMs: 1 }, NASTY, cli),
    ...judgeTimes({ roundTripsMs: [1], aheadMs: 0, errorMs: 1 }, NASTY, cli),
    ...judgeFunctions(
      work(
        [
          { ...fn, members: [] },
          { ...fn, members: [], name: 'v@2' },
          {
            ...fn,
            ...{ letters: 2, conserved: false },
            lanes: lanes(
              { owned: false },
              { deaths: 2 },
              { setup: { error: 'x', sinceMs: 1 } },
              { groupless: ['a.b'] },
            ),
          },
        ],
        [],
      ),
    ),
    ...judgeTypes(
      work(
        [fn],
        [
          { ...type, readers: [], limits: { maxAgeMs: 1 } },
          { ...type, appended: 0, foreign: [{ group: NASTY, stream: 'mr:{0}:events:a.b' }] },
          { ...type, kept: 9e6, limits: kept, backlog },
        ],
      ),
      cli,
    ),
    ...judgeTypes(work([{ ...fn, members: [] }], [{ ...type, kept: 9e6, limits: kept }]), cli),
    ...judgeTypes(work([fn], [type]), cli),
    ...judgeKeys(
      {
        damaged: [
          { key: 'mr:{0}:clock', found: 'list', wanted: 'hash' },
          { key: 'mr:members:f', found: 'list', wanted: 'zset' },
        ],
        silent: new Map([[1, 'x']]),
        leftOut: new Set(),
      },
      1,
      cli,
    ),
    ...judgeLosses([{ partition: 0, losses: 1, last: { kind: 'x', atMs: 1, message: 'x' } }]),
    ...judgeOutboxes([{ partition: 0, entries: 1, bytes: 1, oldestMs: 1e6, targets: [] }]),
    ...judgeSchemas(
      [
        { ...draft, state: 'new' },
        { ...draft, state: 'refused' },
      ],
      'production',
    ),
    ...judgeParked([
      { ...parked, overdue: 1, never: ['s'] },
      { ...parked, held: 1, holders: [{ unit: 's', letter: `f/0/${NASTY}` }] },
    ]),
    ...judgeHistories([
      {
        ...{ category: 'c', partition: 0, histories: 1, looked: 1 },
        longest: { id: NASTY, events: 1e6, snapshot: false },
      },
    ]),
  ].map(explainAdmin);
}

t.test('the commands of all findings', async (t) => {
  const redis = await startRedis(t);
  const look = redis.client();
  for (const [name, where] of PLACES) {
    for (const admin of [true, false]) {
      const denied = { has: () => !admin } as never;
      const findings = allFindings(redisCliOf(where, { user: NASTY, denied }));
      const missing = Object.keys(DIAGNOSES).filter(
        (code) => !findings.some((one) => one.code === code),
      );
      t.strictSame(missing, [], `${name}: every code has a finding here`);
      for (const { code, command, cure } of findings) {
        if (command === null) continue;
        const what = `${name}, ${admin ? 'admin' : 'user'}, ${code}: ${command}`;
        t.notMatch(command, /\p{C}/u, `${what}: a terminal shows all of it`);
        const [program, ...words] = wordsOf(command);
        if (program === 'redis-cli') {
          const at = words.findIndex((word) => /^[A-Z]{4,}$/.test(word) || word === 'ACL');
          const answer = await look.call('ACL', 'DRYRUN', 'default', ...words.slice(at));
          t.equal(words.includes(ENV.MILLRACE_REDIS_CA), !command.includes(' -s '), what);
          if (code !== 'server-unreachable') {
            t.equal(
              command.includes('REDIS_URL"') && !admin,
              /ADMIN_REDIS_URL/.test(command),
              what,
            );
            t.equal(!admin, /administrator/.test(cure ?? ''), `${what}: the cure says who`);
          }
          t.equal(answer, 'OK', what);
          const asked = words.indexOf('SETUSER');
          if (asked >= 0) t.equal(words[asked + 1], NASTY, `${what}: the true user`);
        } else if (program === 'millrace') t.ok(await knows(words), what);
        else if (program === undefined)
          t.match(command, /^export [A-Z_]+=\S+(?: rand -hex 32\))?$/, what);
      }
    }
  }
});

/** Whether the command line takes the words. */
async function knows(words: readonly string[]): Promise<boolean> {
  const program = await buildProgram(bareContext({ stdout: '', stderr: '' }), words[0]);
  const all = [program, ...program.commands, ...program.commands.flatMap((one) => one.commands)];
  for (const one of all)
    one.exitOverride().configureOutput({ writeErr: () => {}, writeOut: () => {} });
  try {
    await program.parseAsync([...words], { from: 'user' });
    return true;
  } catch (error) {
    // Any other error comes from the command itself: it was called.
    return !(error instanceof CommanderError) || error.exitCode === 0;
  }
}

t.test('a word of bash is the text, whatever is in it', async (t) => {
  for (const text of ['', 'a b', "it's", '$HOME `x` "y"', NASTY, "\u001b[31m\n'\\", '\u202e\u00e9'])
    t.strictSame(wordsOf(`df ${shellWord(text)}`), ['df', text]);
});

t.test('the master takes the place of the replica in REDIS_URL', async (t) => {
  const node = { ...server, role: 'replica', version: '7.2.0', maxmemoryPolicy: null } as const;
  const lead = (url: string, linked: boolean) => {
    const masters = new Map([[NODE, { address: '10.0.0.2:6380', linked }]]);
    const found = judgeServer(
      { mode: 'standalone', nodes: [node], url, masters, refusals: [] },
      (_node, command) => `redis-cli ${command}`,
    );
    return found.find(({ code }) => code === 'server-replica');
  };
  const linked = lead(ENV.REDIS_URL, true);
  t.strictSame(wordsOf(`${linked?.command ?? ''}\ndf "$REDIS_URL"`), [
    'df',
    'redis://someone:secret@10.0.0.2:6380',
  ]);
  t.notMatch(linked?.cure, /REPLICAOF/, 'a master that lives stays the only one');
  t.match(lead(ENV.REDIS_URL, false)?.cure, /Only where that master is gone .*REPLICAOF NO ONE/);
  t.equal(lead('redis://another.name', true)?.command, null, 'the address is not in the URL');
});
