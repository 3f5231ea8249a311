/**
 * The rights that `millrace acl` prints: a deployment works with them, and its users can do nothing
 * else. Redis' own log of refusals is the witness.
 */
import { join } from 'node:path';
import type { Redis } from 'ioredis';
import t from 'tap';
import { readLag } from '../../src/lag/lag.ts';
import { connect, type Millrace } from '../../src/millrace.ts';
import { aclRules, PARTS, type Part } from '../../src/redis/acl.ts';
import { emittedId } from '../../scripts/lab/emitted-id.ts';
import { startCluster } from '../../scripts/lab/redis-cluster.ts';
import { startRedis } from '../../scripts/lab/redis-server.ts';
import { is, until } from '../../scripts/lab/until.ts';
import { createProject, NOTES_PROTO, parseLines } from '../cli/run-cli.ts';

/** The tests' own event types are typed. This one is not among them. */
const ADDED = 'note.added' as never;
const FILES = {
  'proto/notes.proto': NOTES_PROTO,
  'workers/keeper.ts': `import { defineFunction } from 'millrace/define';
export default defineFunction({ name: 'keeper', on: ['note.added'], dedupe: { windowMs: 60_000 },
  retry: { attempts: 2, minDelayMs: 1, maxDelayMs: 1 },
  async handle(event, ctx) {
    if (event.data.text === 'bad') throw new Error('as ordered');
    if (event.data.text === 'go') ctx.emit('note.removed', { book: event.data.book + '-gone' });
  } });
`,
  'workers/books.ts': `import { defineView } from 'millrace/define';
export default defineView({ name: 'books', version: 1, on: ['note.added', 'note.removed'],
  evolve(row, event) { return { notes: (row?.notes ?? 0) + 1 }; }, indexes: { notes: { sort: 'notes' } } });
`,
};

async function createUsers(look: Redis): Promise<void> {
  await look.config('SET', 'acllog-max-len', '10000');
  for (const part of PARTS) {
    const rules = aclRules({ namespace: 'mr', part, registersSchemas: false });
    await look.call('ACL', 'SETUSER', part, 'on', '>p@ss:/w', ...rules);
  }
}

/** Refusals that Redis has logged, but for those of INFO and CONFIG, which nobody needs. */
async function refusals(look: Redis): Promise<string[]> {
  const entries = (await look.call('ACL', 'LOG', 10_000)) as unknown[][];
  return entries
    .map((flat) => {
      const of = (name: string): string => String(flat[flat.indexOf(name) + 1]);
      return `${of('username')}: ${of('reason')} ${of('object')}`;
    })
    .filter((text) => !/: command (info|config\|get)$/.test(text));
}

t.test('a deployment under the least rights', async (t) => {
  const redis = await startRedis(t, { tcp: true });
  const look = redis.client();
  await createUsers(look);
  const url = (part: Part): string =>
    redis.tcpUrl.replace('redis://', `redis://${part}:${encodeURIComponent('p@ss:/w')}@`);
  const p = createProject(t, redis.tcpUrl, FILES);
  const run = async (part: Part, ...args: string[]) => {
    const ran = await p.here(args, { REDIS_URL: url(part) });
    return { status: ran.status, out: ran.stdout, err: ran.stderr };
  };
  const ok = async (part: Part, ...args: string[]): Promise<string> => {
    const { status, out, err } = await run(part, ...args);
    t.equal(status, 0, `${part}: ${args.join(' ')}: ${err}`);
    return out;
  };
  const open = async (part: Part): Promise<Millrace> => {
    const millrace = await connect({
      environment: {
        REDIS_URL: url(part),
        MILLRACE_PARTITIONS: 4,
        MILLRACE_MODE: 'production',
        MILLRACE_UPKEEP_MS: 50,
        WORKERS: 1,
        LOG_LEVEL: 'silent',
      },
      protoDir: join(p.dir, 'proto'),
    });
    t.teardown(() => millrace.close());
    return millrace;
  };
  const settled = (reader: Millrace, dead: number) =>
    until('all is settled', async () => {
      const { functions } = await readLag(reader.deployment);
      const busy = functions.some((fn) => fn.lag + fn.pending + fn.parked > 0);
      const letters = functions.reduce((sum, fn) => sum + fn.letters, 0);
      return functions.length === 2 && !busy && letters === dead;
    });

  await ok('admin', 'schema', 'register');
  const producer = await open('producer');
  const publisher = producer.publisher({ durability: 'memory' });
  const data = (text: string, book = text) => ({ book, number: 1, text }) as never;
  await t.test('publish, schedule, append, snapshot', async (t) => {
    for (const text of ['good', 'bad', 'go'])
      await publisher.publish(ADDED, data(text), { id: text });
    await publisher.publish(ADDED, data('soon'), { delayMs: 10 });
    await publisher.publish(ADDED, data('late'), { id: 'late', delayMs: 3_600_000 });
    const store = producer.store();
    await store.append('book', 'b1', [{ type: ADDED, data: data('stored', 'b1') }], {
      expectedRevision: 'no-stream',
    });
    let read = 0;
    for await (const event of store.read('book', 'b1')) read += event.revision;
    t.equal(read, 1);
    t.strictSame(await refusals(look), []);
  });

  const running = (await open('dispatcher')).dispatcher({ functionsDir: join(p.dir, 'workers') });
  await t.test('dispatch, retry, dead-letter, emit, fold, trim', async (t) => {
    await ok('admin', 'limits', 'note.added', '--max-events', '1');
    await running.start();
    await settled(producer, 1);
    await until('retention has trimmed', async () => {
      const lengths = await Promise.all(
        [0, 1, 2, 3].map((partition) => look.xlen(`mr:{${partition}}:events:note.added`)),
      );
      return lengths.reduce((sum, length) => sum + length, 0) <= 4;
    });
    t.match(parseLines(await ok('reader', 'lag', '--json')), [
      {
        functions: [
          { name: 'books@1', conserved: true },
          { name: 'keeper', dead: 1 },
        ],
      },
    ]);
    t.strictSame(await refusals(look), []);
  });

  await t.test('look', async (t) => {
    const gone = emittedId('go', 'keeper', 0);
    await until('the emitted event has come', async () =>
      is((await run('reader', 'trace', gone)).status, 0),
    );
    for (const args of [
      ['lag', '--types'],
      ['explain', 'bad', '--json'],
      ['find', 'true'],
      ['trend'],
      ['losses'],
      ['outbox'],
      ['scheduled', 'list'],
      ['dlq', 'list', '--json'],
      ['dlq', 'groups', '--json'],
      ['history', 'book', 'b1', '--json'],
      ['view', 'list', 'books', '--index', 'notes'],
      ['view', 'status'],
      ['schema', 'list'],
      ['limits'],
      ['tail', 'note.removed', '--no-follow'],
      ['audit', '--json'],
    ])
      await ok('reader', ...args);
    t.strictSame(await refusals(look), []);
  });

  await t.test('operate', async (t) => {
    const [letter] = parseLines(await ok('reader', 'dlq', 'list', '--json'));
    const sameData = '{"book":"bad","number":1,"text":"bad"}';
    await ok('admin', 'dlq', 'edit', String(letter?.['id']), '--data', sameData);
    await ok('admin', 'dlq', 'replay', '--all');
    await settled(producer, 1);
    await ok('admin', 'dlq', 'purge', '--all', '--yes');
    await ok('admin', 'scheduled', 'cancel', 'late');
    await ok('admin', 'schema', 'level', 'note.added', 'NONE');
    await ok('admin', 'rewind', 'keeper', '--to', 'end');
    await running.stop();
    await ok('admin', 'functions', 'remove', 'keeper', '--discard');
    t.strictSame(await refusals(look), []);
    t.match(
      parseLines(await ok('reader', 'audit', '--json')).map(({ outcome }) => outcome),
      [...Array.from({ length: 8 }, () => 'done')],
    );
  });

  await t.test('and nothing else', async (t) => {
    const denied: Readonly<Record<string, readonly Part[]>> = {
      FLUSHALL: PARTS,
      'CONFIG SET maxmemory 1': PARTS,
      INFO: PARTS,
      'KEYS *': PARTS,
      'ACL LIST': PARTS,
      'CLIENT KILL TYPE normal': PARTS,
      'SCRIPT FLUSH': PARTS,
      'GET other:key': PARTS,
      'SET other:key x': PARTS,
      'PUBLISH channel x': PARTS,
      'DEL mr:{0}:counters': ['reader'],
      'XADD mr:{0}:events:note.added * b x': ['reader'],
      'XADD mr:{0}:dead:keeper * b x': ['reader', 'producer'],
      'SET mr:{0}:lease:keeper x': ['reader', 'producer'],
      'HSET mr:registry:limits note.added {}': ['reader', 'producer', 'dispatcher'],
      'HSET mr:registry:{schemas}:ids 1 x': ['reader', 'producer', 'dispatcher'],
      'XADD mr:audit * a b': ['reader', 'producer', 'dispatcher'],
      'XTRIM mr:audit MAXLEN 0': ['reader', 'producer', 'dispatcher'],
    };
    for (const part of PARTS) {
      const client = look.duplicate({
        path: '',
        host: '127.0.0.1',
        port: redis.port,
        username: part,
        password: 'p@ss:/w',
        enableReadyCheck: false,
      });
      t.teardown(() => client.disconnect());
      for (const [command, parts] of Object.entries(denied)) {
        if (!parts.includes(part)) continue;
        const [name = '', ...args] = command.split(' ');
        const error = await client.call(name, ...args).then(
          () => 'it was allowed',
          (reason: unknown) => String(reason),
        );
        t.match(error, /NOPERM/, `${part}: ${command}`);
      }
    }
  });
});

t.test('a Cluster under the least rights', async (t) => {
  const cluster = await startCluster(t, { masters: 2 });
  const nodes = cluster.nodes.map((node) => node.client());
  await Promise.all(nodes.map(createUsers));
  const p = createProject(t, cluster.url, FILES);
  const env = (part: Part): NodeJS.ProcessEnv => ({
    REDIS_URL: cluster.url.replaceAll(
      'redis://',
      `redis://${part}:${encodeURIComponent('p@ss:/w')}@`,
    ),
    MILLRACE_MODE: 'production',
    MILLRACE_PORT: '0',
  });
  const ok = async (part: Part, ...args: string[]): Promise<string> => {
    const { status, stdout, stderr } = await p.here(args, env(part));
    t.equal(status, 0, `${part}: ${args.join(' ')}: ${stderr}`);
    return stdout;
  };
  await ok('admin', 'schema', 'register');
  for (const text of ['good', 'bad', 'go', 'b1', 'b2', 'b3'])
    await ok('producer', 'publish', 'note.added', '--data', JSON.stringify({ book: text, text }));
  const running = p.start(['start', './workers'], env('dispatcher'));
  await running.seen('stderr', /ready: /);
  const lag = await until('all is settled', async () => {
    const [{ functions }] = parseLines(await ok('reader', 'lag', '--json')) as [
      { functions: { lag: number; pending: number; parked: number; conserved: boolean }[] },
    ];
    return functions.length === 2 &&
      functions.every((fn) => fn.lag + fn.pending + fn.parked === 0 && fn.conserved)
      ? functions
      : null;
  });
  t.match(lag, [
    { name: 'books@1', appended: 7 },
    { name: 'keeper', appended: 6, dead: 1 },
  ]);
  for (const args of [['losses'], ['dlq', 'list'], ['view', 'status'], ['audit']])
    await ok('reader', ...args);
  await ok('admin', 'dlq', 'purge', '--all', '--yes');
  running.child.kill('SIGTERM');
  t.equal((await running.ended).status, 0);
  for (const node of nodes) t.strictSame(await refusals(node), []);
  // The doctor tries what its user may not do.
  await ok('reader', 'doctor');
});

t.test('millrace acl prints a command that redis-cli takes, and keeps the password', async (t) => {
  const redis = await startRedis(t, { tcp: true });
  const look = redis.client();
  const p = createProject(t, redis.tcpUrl, { 'proto/notes.proto': NOTES_PROTO });
  const send = async (...args: string[]): Promise<string> => {
    const { status, stdout } = await p.here(['acl', ...args], { MILLRACE_NAMESPACE: 'shop' });
    t.equal(status, 0);
    const [name = '', ...rest] = stdout.trim().split(' ');
    await look.call(name, ...rest);
    return stdout;
  };
  t.match(await send('reader'), /^ACL SETUSER shop-reader on resetkeys .*%R~shop:\* /);
  await look.call('ACL', 'SETUSER', 'shop-reader', '>secret');
  await send('reader');
  t.equal(await redis.client().auth('shop-reader', 'secret'), 'OK');
  t.notMatch(await send('producer'), /schemas/);
  t.match(await send('producer', '--registers-schemas', '--user', 'dev'), /SETUSER dev .*schemas/);
});
