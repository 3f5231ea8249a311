/**
 * No message, log line or cause has the password of REDIS_URL, or a part of it, whatever its form.
 */
import { inspect } from 'node:util';
import fc from 'fast-check';
import { pino } from 'pino';
import t from 'tap';
import { connect } from '../../src/index.ts';
import { openConnection } from '../../src/redis/connection.ts';
import { parseRedisUrls } from '../../src/redis/redis-url.ts';
import { createProject } from '../cli/run-cli.ts';
import { freePort, startRedis } from '../../scripts/lab/redis-server.ts';

/** Letters that occur in this order in no message of ours. */
const PARTS = ['zqxj', 'jxqz', 'xzjq'] as const;
const [A, B, C] = PARTS;

const forms: readonly ((secret: string) => string)[] = [
  (s) => `redis://:${s}@127.0.0.1:1`,
  (s) => `redis://user:${s}@127.0.0.1:1`,
  // A password with a colon begins like a user name.
  (s) => `redis://${s.replaceAll(':', '')}@127.0.0.1:1`,
  (s) => `rediss://user:${s}@127.0.0.1:1/0`,
  (s) => `REDIS://user:${s}@[::1]:1/2`,
  (s) => `redis://user:${encodeURIComponent(s)}@127.0.0.1:1`,
  (s) => `redis://user:${s}@127.0.0.1:99999`,
  (s) => `redis://user:${s}@127.0.0.1:1/x`,
  (s) => `redis://user:${s}@127.0.0.1:1?timeout=1`,
  (s) => `redis://user:${s}@127.0.0.1:1#x`,
  (s) => `redis://127.0.0.1:1?password=${s}`,
  (s) => `redis://127.0.0.1:1/0?auth=${s}&db=1`,
  (s) => `redis://127.0.0.1:1/${s}`,
  (s) => `redis://127.0.0.1:1#${s}`,
  // An "@" would surely make the rest the host.
  (s) => `redis://:${s.replaceAll('@', '')}`,
  (s) => `redis://user:${s.replaceAll('@', '')}`,
  (s) => `redis:user:${s}@127.0.0.1:1`,
  (s) => `http://user:${s}@127.0.0.1:1`,
  (s) => `redis-sentinel://user:${s}@127.0.0.1:1/mymaster`,
  (s) => `redis+cluster://:${s}@127.0.0.1:1`,
  (s) => `user:${s}@127.0.0.1:1`,
  (s) => `:${s}@127.0.0.1:1`,
  (s) => `${s}`,
  (s) => `unix:${s}@/run/redis.sock`,
  (s) => `unix://:${s}@/run/redis.sock`,
  (s) => `unix:/run/none.sock?password=${s}`,
  (s) => `unix:/run/none.sock?db=${s}`,
  (s) => `redis://:${s}@127.0.0.1:1,redis://127.0.0.1:2`,
  (s) => `redis://127.0.0.1:1,redis://:${s}@127.0.0.1:2`,
  (s) => `redis://:${s}@127.0.0.1:1,127.0.0.1:2`,
  (s) => `redis://:${s}@127.0.0.1:1, rediss://:${s}@127.0.0.1:2/4`,
];
const joints = [
  '@',
  '/',
  '#',
  '?',
  ':',
  '%',
  '%2',
  ',',
  '&',
  '=',
  ' ',
  '\\',
  '"',
  '[',
  ']',
  '|',
  '%40',
  'redis://',
  '\n',
];

function leaks(text: string): string[] {
  return PARTS.filter((part) => text.toLowerCase().includes(part));
}

function refusalOf(url: string): string {
  try {
    parseRedisUrls(url);
  } catch (error) {
    return told(error);
  }
  throw new Error(`${url} is not refused`);
}

/** Collects everything that a reader may see of an error. */
function told(error: unknown): string {
  return `${inspect(error, { depth: 20, showHidden: false })} ${JSON.stringify(error)} ${String(error)}`;
}

t.test('what is said of a url, whatever it looks like', async (t) => {
  fc.assert(
    fc.property(
      fc.constantFrom(...forms),
      fc.constantFrom(...joints),
      fc.constantFrom(...joints),
      (form, one, two) => {
        const url = form(`${A}${one}${B}${two}${C}`);
        let said: string;
        try {
          // These texts are shown: the passwords themselves are for the server.
          said = parseRedisUrls(url)
            .map((target) => target.display)
            .join(' ');
        } catch (error) {
          said = told(error);
        }
        if (leaks(said).length > 0) throw new Error(`${url}: ${said}`);
      },
    ),
    { numRuns: 5_000 },
  );
  t.pass('none of 5,000');
});

t.test(
  'a percent-encoded password of any characters reaches the server, and no message',
  async (t) => {
    const alphabet = fc.oneof(fc.constantFrom(...joints), fc.string({ unit: 'grapheme' }));
    fc.assert(
      fc.property(fc.array(alphabet, { maxLength: 8 }), (pieces) => {
        const password = `${A}${pieces.join(B)}${C}`;
        const url = `rediss://user:${encodeURIComponent(password)}@redis.example:6380/2`;
        const [target] = parseRedisUrls(url);
        if (target?.password !== password) throw new Error(`${url}: another password is sent`);
        const said = [target.display, `${url}/x`, `${url}?x=1`, `${url},unix:/run/redis.sock`].map(
          (one, i) => (i === 0 ? one : refusalOf(one)),
        );
        if (leaks(said.join(' ')).length > 0) throw new Error(`${url}: ${said.join(' ')}`);
      }),
      { numRuns: 2_000 },
    );
    t.pass('none of 2,000');
  },
);

t.test(
  'a url with an "@" behind its host is refused: host and port would be the user name and a part of the password',
  async (t) => {
    for (const url of [
      'redis://user:12/34@host',
      'redis://user:12?34@host',
      'redis://user:12#34@host',
      'redis://:hunter2/secret@host',
    ]) {
      t.throws(() => parseRedisUrls(url), { name: 'ConfigError', message: /percent-encoded/ }, url);
      try {
        parseRedisUrls(url);
      } catch (error) {
        t.notMatch((error as Error).message.replace(/\(%40.*\)/, ''), /12|34|hunter2|secret/, url);
      }
    }
  },
);

t.test(
  'what a connection logs and throws: nobody there, a wrong password, a Cluster',
  async (t) => {
    const redis = await startRedis(t, { tcp: true });
    await redis.client().config('SET', 'requirepass', 'right');
    const none = await freePort();
    const secret = `${A}${encodeURIComponent('@/#?:')}${B}`;
    const urls = [
      `redis://:${A}@${B}@127.0.0.1:${none}`,
      `redis://default:${secret}@127.0.0.1:${redis.port}/3`,
      `redis://:${secret}@127.0.0.1:${redis.port},redis://127.0.0.1:${none}`,
    ];
    for (const url of urls) {
      const lines: string[] = [];
      const connection = openConnection({
        url,
        name: 'secrets',
        offlineWaitMs: 100,
        log: (...line) => lines.push(told(line)),
      });
      t.teardown(() => connection.destroy());
      for (const attempt of [
        () => connection.ready(300),
        () => connection.command('AUTH', `${A}wrong`),
        () => connection.command('PING'),
      ]) {
        const error = await attempt().then(
          () => null,
          (reason: unknown) => reason,
        );
        t.ok(error, url);
        t.same(leaks(told(error)), [], `${url}: ${told(error)}`);
      }
      t.same(leaks(lines.join('\n')), [], lines.join('\n'));
      connection.destroy();

      const logged: string[] = [];
      const logger = pino({ level: 'trace' }, { write: (line: string) => void logged.push(line) });
      const error = await connect({
        environment: { REDIS_URL: url },
        protoDir: null,
        logger,
      }).catch((reason: unknown) => reason);
      t.same(leaks(told(error)), [], told(error));
      t.same(leaks(logged.join('\n')), [], logged.join('\n'));
    }
  },
);

t.test('the command line', async (t) => {
  for (const url of [`redis://:${A}/${B}@127.0.0.1:1`, `${A}:${B}`]) {
    for (const args of [['lag']]) {
      const { stdout, stderr } = await createProject(t, url).run(args);
      t.same(leaks(stdout + stderr), [], `${args.join(' ')}: ${stdout}${stderr}`);
    }
  }
});
