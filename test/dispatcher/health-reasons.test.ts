/**
 * Each reason for red health, made on real servers behind a port that moves. Probes, metric and log
 * tell its code and cure. Health is green within a lease after the end of the reason. One
 * dispatcher meets the reasons one after the other.
 */
import { mkdirSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import type { Redis } from 'ioredis';
import { pino } from 'pino';
import t, { type Test } from 'tap';
import { healthRoutes } from '../../src/admin/health-routes.ts';
import { startAdminServer } from '../../src/admin/server.ts';
import {
  HEALTH_REASONS,
  REASON_CODES,
  reasonFor,
  type HealthReason,
  type ReasonCode,
} from '../../src/core/health-reason.ts';
import { HealthLog } from '../../src/dispatcher/health-log.ts';
import { connect } from '../../src/millrace.ts';
import { announceMember, assignLanes, removeMember } from '../../src/pipeline/ownership/members.ts';
import { functionsDirOf, PROTO_DIR } from '../../scripts/lab/dispatcher-process.ts';
import { startRedis, type TestRedis } from '../../scripts/lab/redis-server.ts';
import { startProxy, type TcpProxy } from '../../scripts/lab/tcp-proxy.ts';
import { is, until } from '../../scripts/lab/until.ts';

const LEASE_MS = 6000;
const PARTITIONS = 2;
const USER = ['on', '>pw', '~*', '&*', '+@all'];

interface Answer {
  readonly status: number;
  readonly body: {
    readonly code?: string;
    readonly cure?: string;
    readonly reason?: string;
    readonly reasons?: readonly HealthReason[];
  };
}

interface LogLine {
  readonly level: number;
  readonly msg: string;
  readonly reason?: string;
  readonly cure?: string;
}

interface Bed {
  readonly first: TestRedis;
  readonly second: TestRedis;
  readonly look: Redis;
  readonly proxy: TcpProxy;
  readonly millrace: Awaited<ReturnType<typeof connect>>;
  readonly dispatcher: string;
  readonly lines: readonly LogLine[];
  ask(path: string): Promise<Answer>;
  /** Value of millrace_health for the reason. */
  metric(reason: string): Promise<string | undefined>;
}

interface Case {
  readonly name: string;
  readonly code: ReasonCode;
  begin(bed: Bed): Promise<unknown>;
  end(bed: Bed): Promise<unknown>;
  /** Facts that the text must have. */
  readonly text?: RegExp;
}

const dataOf = (number: number) => ({
  key: 's',
  number,
  order: 'ok',
  filler: new Uint8Array(0),
});
const leaseKey = 'mr:{0}:lease:handle';
/** Members that announce themselves and hold no lanes. */
const phantoms: string[] = [];

const CASES: readonly Case[] = [
  {
    name: 'the server becomes a replica',
    code: 'writes-readonly',
    begin: ({ look }) => look.replicaof('127.0.0.1', 1),
    end: ({ look }) => look.replicaof('NO', 'ONE'),
    text: /READONLY/,
  },
  {
    name: 'full memory',
    code: 'writes-oom',
    begin: ({ look }) => look.config('SET', 'maxmemory', '1'),
    end: ({ look }) => look.config('SET', 'maxmemory', '0'),
    text: /OOM/,
  },
  {
    name: 'files that cannot be written',
    code: 'writes-misconf',
    async begin({ look, first }) {
      mkdirSync(join(first.dir, 'dump.rdb'));
      await look.config('SET', 'save', '3600 1');
      await look.bgsave().catch(() => undefined);
    },
    async end({ look, first }) {
      await look.config('SET', 'save', '');
      rmdirSync(join(first.dir, 'dump.rdb'));
    },
    text: /MISCONF.*its files are in/s,
  },
  {
    name: 'too few replicas',
    code: 'writes-noreplicas',
    begin: ({ look }) => look.config('SET', 'min-replicas-to-write', '3'),
    end: ({ look }) => look.config('SET', 'min-replicas-to-write', '0'),
    text: /NOREPLICAS/,
  },
  {
    name: 'a user without the right to write',
    code: 'writes-noperm',
    begin: ({ look }) => look.call('ACL', 'SETUSER', 'worker', '-@write'),
    end: ({ look }) => look.call('ACL', 'SETUSER', 'worker', '+@all'),
  },
  {
    name: 'a user without a right that only some scripts need',
    code: 'writes-noperm',
    async begin({ look, millrace }) {
      await look.call('ACL', 'SETUSER', 'worker', '-xack');
      await millrace.publisher().publish('test.event', dataOf(9), { id: 'not acknowledged' });
    },
    end: ({ look }) => look.call('ACL', 'SETUSER', 'worker', '+@all'),
    text: /commit\.lua: .*script/,
  },
  {
    name: 'a password that is no longer valid',
    code: 'login-refused',
    async begin({ look, proxy }) {
      await look.call('ACL', 'SETUSER', 'worker', 'resetpass', '>other');
      proxy.cutNow();
    },
    end: ({ look }) => look.call('ACL', 'SETUSER', 'worker', 'resetpass', '>pw'),
    text: /WRONGPASS/,
  },
  {
    name: 'a frozen server',
    code: 'unreachable',
    begin: ({ first }) => Promise.resolve(first.pause()),
    end: ({ first }) => Promise.resolve(first.resume()),
    text: /has not answered for \d+ s|connection|answered/,
  },
  {
    name: 'a server that takes no connections',
    code: 'unreachable',
    begin({ proxy }) {
      proxy.refuse(true);
      return Promise.resolve(proxy.cutNow());
    },
    end: ({ proxy }) => Promise.resolve(proxy.refuse(false)),
  },
  {
    name: 'a lease that cannot be renewed, although the server answers',
    code: 'lease-refused',
    begin: ({ look }) => look.multi().rename(leaseKey, 'aside').lpush(leaseKey, 'no').exec(),
    end: ({ look }) => look.multi().del(leaseKey).rename('aside', leaseKey).exec(),
    text: /renew-leases\.lua: WRONGTYPE mr:\{0\}:lease:handle is a list/,
  },
  {
    name: 'no lanes, and members that take none',
    code: 'lanes-unowned',
    async begin({ millrace, dispatcher }) {
      const { connection, keys } = millrace.deployment;
      while (assignLanes('handle', PARTITIONS, [dispatcher, ...phantoms]).includes(dispatcher))
        phantoms.push(`phantom-${phantoms.length}`);
      for (const one of phantoms) await announceMember(connection, keys, 'handle', one, 600_000);
    },
    async end({ millrace }) {
      const { connection, keys } = millrace.deployment;
      for (const one of phantoms) await removeMember(connection, keys, 'handle', one);
    },
    text: /nobody owns 2 of them/,
  },
];

/** Opens the bed: two servers, the second a replica of the first, behind one port. */
async function openBed(t: Test): Promise<Bed> {
  const [first, second] = await Promise.all([
    startRedis(t, { tcp: true }),
    startRedis(t, { tcp: true }),
  ]);
  const look = first.client();
  for (const server of [look, second.client()])
    await server.call('ACL', 'SETUSER', 'worker', ...USER);
  const proxy = await startProxy(t, { port: first.port });
  const lines: LogLine[] = [];
  const stream = new Writable({
    write(chunk: Buffer, _encoding, done) {
      lines.push(JSON.parse(chunk.toString()) as LogLine);
      done();
    },
  });
  const millrace = await connect({
    environment: {
      REDIS_URL: proxy.url.replace('redis://', 'redis://worker:pw@'),
      MILLRACE_PARTITIONS: PARTITIONS,
      MILLRACE_LEASE_MS: LEASE_MS,
      WORKERS: 1,
    },
    protoDir: PROTO_DIR,
    logger: pino({ level: 'info' }, stream),
  });
  t.teardown(() => millrace.close());
  const dispatcher = millrace.dispatcher({ functionsDir: functionsDirOf('handle') });
  await dispatcher.start();
  const admin = await startAdminServer({
    host: '127.0.0.1',
    port: 0,
    token: undefined,
    groups: [healthRoutes(() => dispatcher.health())],
    log: () => {},
  });
  t.teardown(() => admin.close());
  return {
    first,
    second,
    look,
    proxy,
    millrace,
    dispatcher: dispatcher.id,
    lines,
    async ask(path) {
      const response = await fetch(`${admin.url}${path}`);
      return { status: response.status, body: (await response.json()) as Answer['body'] };
    },
    async metric(reason) {
      const text = await millrace.metrics();
      return new RegExp(`^millrace_health\\{reason="${reason}"\\} (\\d)$`, 'm').exec(text)?.[1];
    },
  };
}

async function isGreen({ ask }: Bed): Promise<boolean> {
  const answers = await Promise.all(['/readyz', '/healthz', '/livez'].map((path) => ask(path)));
  return answers.every(({ status }) => status === 200);
}

/** Waits until both probes are red for the reason. */
async function isRed(t: Test, bed: Bed, { code, text = /./ }: Case): Promise<void> {
  const ready = await until(`/readyz and /healthz are red: ${code}`, async () => {
    const [answer, health] = await Promise.all([bed.ask('/readyz'), bed.ask('/healthz')]);
    return answer.status === 503 &&
      health.status === 503 &&
      answer.body.code === code &&
      text.test(answer.body.reason ?? '')
      ? answer
      : null;
  });
  const { cause, cure } = HEALTH_REASONS[code];
  t.match(ready.body, { status: 'not ready', reason: text, cure });
  const live = await bed.ask('/livez');
  t.equal(live.status, cause === 'process' ? 503 : 200, 'red only where a restart may cure it');
  t.equal(await bed.metric(code), '1', 'the metric says so');
  await until('the log says so', () => told(bed, code, /^not (well|ready): /).length > 0);
}

const told = ({ lines }: Bed, code: string, pattern: RegExp): LogLine[] =>
  lines.filter(({ msg, reason }) => reason === code && pattern.test(msg));

t.test('health is red for each reason, and green within a lease after its end', async (t) => {
  const bed = await openBed(t);
  await until('all is green', () => isGreen(bed));
  t.equal(await bed.metric('writes-oom'), '0', 'a reason that does not hold is 0');
  for (const one of CASES) {
    await t.test(one.name, async (t) => {
      const before = told(bed, one.code, /^not/).length;
      await one.begin(bed);
      try {
        await isRed(t, bed, one);
      } finally {
        await one.end(bed);
      }
      await until('it is green again', () => isGreen(bed), LEASE_MS);
      t.equal(await bed.metric(one.code), '0');
      await until(
        'the log says that it is over',
        () => told(bed, one.code, /^well again/).length > 0,
      );
      const lines = told(bed, one.code, /^not/).slice(before);
      t.ok(lines.every(({ cure }) => cure === HEALTH_REASONS[one.code].cure));
      t.ok(lines.length <= 2, 'told once, or once for not ready and once for not well');
    });
  }
  await t.test('a failover: the demoted server is left, the port leads to the new master', (t) =>
    failOver(t, bed),
  );
});

/** Moves the port to the other server, with events before and after. */
async function failOver(t: Test, bed: Bed): Promise<void> {
  const { first, second, look, proxy, millrace } = bed;
  const next = second.client();
  const done = await doneOn(look);
  await next.replicaof('127.0.0.1', first.port);
  await until('the replica has all', async () =>
    /master_link_status:up/.test(await next.info('replication')),
  );
  const publisher = millrace.publisher();
  await publisher.publish('test.event', dataOf(0), { id: 'before' });
  await until('the replica has the first event', async () => is(await doneOn(next), done + 1));
  await next.replicaof('NO', 'ONE');
  await look.replicaof('127.0.0.1', second.port);
  // The event is published while the port still leads to the demoted server.
  const published = publisher.publish('test.event', dataOf(1), { id: 'meanwhile' });
  await isRed(t, bed, CASES[0] as Case);
  const accepted = proxy.accepted;
  proxy.leadTo({ port: second.port });
  await until('it is green again', () => isGreen(bed), LEASE_MS);
  t.ok(proxy.accepted > accepted, 'all connections were opened anew');
  await published;
  await publisher.publish('test.event', dataOf(2), { id: 'after' });
  await until('all are done on the new master', async () => is(await doneOn(next), done + 3));
  const clients = String(await look.client('LIST', 'TYPE', 'NORMAL'));
  t.notMatch(
    clients,
    /name=millrace/,
    'no connection has stayed at the old one, not even a blocked one',
  );
}

/** Events that the function has done, by the server's counters. */
async function doneOn(redis: Redis): Promise<number> {
  let done = 0;
  for (let p = 0; p < PARTITIONS; p++)
    done += Number(await redis.hget(`mr:{${p}}:counters`, 'done:handle:test.event'));
  return done;
}

t.test('the log is told once, then every minute, and when it is over', async (t) => {
  let now = 0;
  let reasons: HealthReason[] = [];
  const told: unknown[] = [];
  const log = new HealthLog({
    health: () => ({
      reasons,
      problems: reasons
        .filter(({ code }) => code === 'writes-oom')
        .map((one) => ({ ...one, function: null, partition: null, problem: one.text })),
    }),
    log: (level, message, fields) => told.push([level, message, fields]),
    now: () => now,
  });
  const look = (atMs: number, ...codes: ReasonCode[]): unknown[] => {
    now = atMs;
    reasons = codes.map((code) => reasonFor(code, `text of ${code}`, 'cure'));
    told.length = 0;
    log.look();
    return [...told];
  };
  const oom = ['error', 'not well: text of writes-oom'];
  t.strictSame(look(0), []);
  t.strictSame(look(1000, 'writes-oom'), [[...oom, { reason: 'writes-oom', cure: 'cure' }]]);
  t.strictSame(look(2000, 'writes-oom'), []);
  t.strictSame(look(60_000, 'writes-oom', 'lanes-elsewhere'), [
    ['warn', 'not ready: text of lanes-elsewhere', { reason: 'lanes-elsewhere', cure: 'cure' }],
  ]);
  t.strictSame(look(61_000, 'writes-oom'), [
    [...oom, { reason: 'writes-oom', cure: 'cure', seconds: 60 }],
    ['info', 'well again: lanes-elsewhere is over', { reason: 'lanes-elsewhere', seconds: 1 }],
  ]);
  t.strictSame(look(62_000), [
    ['info', 'well again: writes-oom is over', { reason: 'writes-oom', seconds: 61 }],
  ]);
  t.strictSame(look(63_000, 'writes-oom').length, 1, 'a new time is told at once');
});

t.test('every reason has a cure, and a code that fits a label', async (t) => {
  for (const code of REASON_CODES) {
    t.match(code, /^[a-z][a-z-]{3,29}$/);
    t.match(HEALTH_REASONS[code].cure, /^[A-Z].{10,}[^.]$/);
  }
});
