/**
 * Payloads by role, over the whole admin server: every page that links lead to, and every answer of
 * the API. A reader without access finds no confidential value anywhere.
 */
import { join } from 'node:path';
import { pino } from 'pino';
import t from 'tap';
import { startRedis } from '../../scripts/lab/redis-server.ts';
import { is, until } from '../../scripts/lab/until.ts';
import { connect } from '../../src/index.ts';
import { orderProto } from '../registry/open-registry.ts';
import { createProject } from '../cli/run-cli.ts';

const FILES = {
  'proto/orders.proto': orderProto(
    'string email = 2 [(millrace.v1.masked) = true];',
    'string note = 3;',
    'int32 amount = 4;',
  ),
  'workers/charge.mjs': `import { defineFunction } from 'millrace/define';
export default defineFunction({ name: 'charge', on: ['order.created'], retry: { attempts: 1 },
  handle({ data }) {
    if (data.amount === 7001)
      throw new TypeError('no account of ' + data.email, { cause: new Error(data.email) });
  } });`,
  'workers/mail.mjs': `import { defineFunction } from 'millrace/define';
export default defineFunction({ name: 'mail', on: ['order.created'],
  retry: { attempts: 5, minDelayMs: 600000, maxDelayMs: 600000 },
  handle({ data }) { throw new Error('no mail to ' + data.email); } });`,
  'workers/seen.mjs': `import { defineView } from 'millrace/define';
export default defineView({ name: 'seen', version: 1, on: ['order.created'],
  evolve: (row, { data }) => ({ email: data.email, times: (row?.times ?? 0) + 1 }) });`,
  'millrace.alerts.yaml': `every: 1s
rules:
  - name: died
    expression: dead_letters > 0
`,
};
const TOKENS = {
  MILLRACE_READ_TOKEN: 'read-token',
  MILLRACE_OPERATE_TOKEN: 'operate-token',
  MILLRACE_TOKEN: 'admin-token',
};
const API = [
  '/api/lag',
  '/api/health',
  '/api/alerts',
  '/api/audit',
  '/api/trend',
  '/api/trend/functions',
  '/api/marks',
  '/metrics',
  '/metrics/deployment',
  '/metrics/alerts',
];
const PAGES = [
  '/',
  '/console/find?subject=A',
  '/console/find?expression=data.amount+%3D%3D+7001',
  '/console/history?category=order&id=A',
  '/console/history?category=order&id=A&view=seen%401',
  '/console/views/row?view=seen&id=A',
  '/console/parked?function=mail',
];
const MOST_PAGES = 150;

type Get = (path: string) => Promise<string>;

const getter =
  (base: string, token: string): Get =>
  async (path) => {
    const headers = { authorization: `Bearer ${token}`, accept: 'text/html' };
    const answer = await fetch(new URL(path, base), { headers });
    if (answer.status >= 500) throw new Error(`${path}: ${answer.status}: ${await answer.text()}`);
    return answer.text();
  };

/** Reads the pages, and all pages that they link to. */
async function crawl(
  base: string,
  token: string,
  more: readonly string[],
): Promise<Map<string, string>> {
  const get = getter(base, token);
  const found = new Map<string, string>();
  const left = [...PAGES, ...more, ...API];
  for (let path = left.shift(); path !== undefined; path = left.shift()) {
    if (found.has(path) || found.size >= MOST_PAGES) continue;
    const text = await get(path);
    found.set(path, text);
    for (const [, href = ''] of text.matchAll(/href="([^"#]+)"/g)) {
      const url = new URL(href.replaceAll('&amp;', '&'), new URL(path, base));
      if (url.origin === new URL(base).origin && !/assets|live/.test(url.pathname))
        left.push(url.pathname + url.search);
    }
  }
  return found;
}

const pathsWith = (pages: ReadonlyMap<string, string>, pattern: RegExp): string[] =>
  [...pages].filter(([, text]) => pattern.test(text)).map(([path]) => path);

t.test('payloads by role', { timeout: 115_000 }, async (t) => {
  const redis = await startRedis(t);
  const look = redis.client();
  const project = createProject(t, redis.url, FILES);
  const running = project.start(['start'], { MILLRACE_PORT: '0', ...TOKENS });
  const [, url = ''] = await running.seen('stderr', /, admin (http:\S+)$/m);
  const apart = project.start(['admin'], {
    MILLRACE_PORT: '0',
    ...TOKENS,
    MILLRACE_PAYLOADS_READ: 'none',
  });
  const [, urlNone = ''] = await apart.seen('stderr', /ready: admin (http:[^,]+),/);
  const millrace = await connect({
    environment: { REDIS_URL: redis.url },
    protoDir: join(project.dir, 'proto'),
    logger: pino({ level: 'silent' }),
  });
  t.teardown(() => millrace.close());
  const email = 'SECRET@x.example';
  await millrace.store().append(
    'order',
    'A',
    [7001, 7002].map((amount) => ({
      type: 'order.created',
      data: { orderId: 'A', email, note: 'OPENNOTE', amount },
    })) as never,
    { expectedRevision: 0 },
  );
  const events: string[] = [];
  for await (const { position } of millrace.store().read('order', 'A'))
    events.push(`/console/event?where=${encodeURIComponent(position)}`);
  const full = getter(url, TOKENS.MILLRACE_OPERATE_TOKEN);
  await until('the alert tells of the dead event', async () => {
    const { alerts } = JSON.parse(await full('/api/alerts')) as { alerts: { worst: string }[] };
    return alerts.some(({ worst }) => /no account of SECRET/.test(worst ?? ''));
  });
  const parked = `mr:{*}:parked:mail:A`;
  await until('mail waits for its retry', async () => is((await look.keys(parked)).length, 1));
  const [, letter = ''] = /letter\?id=([^"&]+)/.exec(await full('/console/dead/charge')) ?? [];
  t.not(letter, '', await full('/console/dead/charge'));

  await t.test('the role operate sees all', async (t) => {
    const pages = await crawl(url, TOKENS.MILLRACE_OPERATE_TOKEN, events);
    const secret = pathsWith(pages, /SECRET/).join('\n');
    for (const where of [
      'event?',
      'letter?',
      'parked',
      'history?',
      'view=seen',
      'views/row',
      '/api/alerts',
    ])
      t.match(secret, where);
  });

  await t.test('the role read sees what is not masked', async (t) => {
    const pages = await crawl(url, TOKENS.MILLRACE_READ_TOKEN, events);
    t.ok(pages.size > 20, `${pages.size} pages`);
    t.strictSame(pathsWith(pages, /SECRET/), []);
    t.match(pathsWith(pages, /OPENNOTE/).join('\n'), /event\?/);
  });

  await t.test('a reader of no payloads sees none', async (t) => {
    const pages = await crawl(urlNone, TOKENS.MILLRACE_READ_TOKEN, events);
    t.ok(pages.size > 20, `${pages.size} pages`);
    t.strictSame(pathsWith(pages, /SECRET|OPENNOTE|700[12]<|&quot;email/), []);
  });

  await t.test('an expression does not tell what is masked', async (t) => {
    const read = getter(url, TOKENS.MILLRACE_READ_TOKEN);
    const find = (get: Get, expression: string): Promise<string> =>
      get(`/console/find?${new URLSearchParams({ expression }).toString()}`);
    const guess = 'data.email.startsWith("S")';
    t.match(await find(full, guess), /console\/event\?where/);
    t.notMatch(await find(read, guess), /console\/event\?where/);
    t.notMatch(await find(read, 'has(data.email)'), /console\/event\?where/);
    t.match(await find(read, 'data.amount == 7002'), /console\/event\?where/);
  });

  await t.test('an edit is recorded by its name, and its data is for few eyes', async (t) => {
    const id = decodeURIComponent(letter);
    const post = (path: string, form: Record<string, string>, token: string) =>
      fetch(`${url}${path}`, {
        method: 'POST',
        redirect: 'manual',
        headers: { authorization: `Bearer ${token}` },
        body: new URLSearchParams(form),
      });
    const edit = (data: string, token = TOKENS.MILLRACE_OPERATE_TOKEN) =>
      post('/console/letter/edit', { id, data }, token);
    const data = { orderId: 'A', email: 'HIDDEN@y.example', note: 'OTHERNOTE', amount: 7003 };
    t.equal((await edit(JSON.stringify(data), TOKENS.MILLRACE_READ_TOKEN)).status, 403);
    t.equal((await edit('HIDDEN')).status, 400, 'no JSON');
    t.equal((await edit('{"orderId":"A","email":{"HIDDEN":1}}')).status, 400, 'another schema');
    t.equal((await edit(JSON.stringify(data))).status, 303);

    type Audited = { changes: { action: string; data: unknown; via: string }[] };
    const audit = async (get: Get) => (JSON.parse(await get('/api/audit')) as Audited).changes;
    const edited = {
      via: 'http',
      action: 'dlq edit',
      target: id,
      outcome: 'done',
      wanted: { fields: 3 },
      after: { letter: /^charge\// },
    };
    const change = { note: 'OTHERNOTE', amount: 7003 };
    const [forFull, ...more] = await audit(full);
    t.match(forFull, { ...edited, data: { before: { note: 'OPENNOTE' }, after: change } });
    t.strictSame(more, [], 'an edit that was refused has changed nothing');
    const [forRead] = await audit(getter(url, TOKENS.MILLRACE_READ_TOKEN));
    t.match(forRead, { ...edited, data: null });
    const raw = JSON.stringify(await look.xrange('mr:audit', '-', '+'));
    t.match(raw, /OTHERNOTE/);
    t.notMatch(raw, /HIDDEN|SECRET/, 'what is masked is not written to the log');
    const shown = await project.here(['audit', '--json']);
    t.notMatch(shown.stdout, /OTHERNOTE/);
    t.match((await project.here(['audit', '--json', '--payload'])).stdout, /OTHERNOTE/);
    for (const base of [url, urlNone])
      t.notMatch(await getter(base, TOKENS.MILLRACE_READ_TOKEN)('/console/audit'), /OTHERNOTE/);
    t.match(await full('/console/audit'), /OTHERNOTE/);
  });
});
