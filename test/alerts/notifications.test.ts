/** The bodies of notifications, their way over HTTP, and which of them are due. */
import t from 'tap';
import type { AlertRecord } from '../../src/alerts/alert-record.ts';
import { ALERT_SEVERITIES } from '../../src/alerts/alert-rule.ts';
import {
  backedOff,
  asTold,
  dueAlerts,
  RECEIVER_RETRY,
} from '../../src/alerts/due-notifications.ts';
import { notificationsFor } from '../../src/alerts/notification.ts';
import { NotificationError, postNotification } from '../../src/alerts/post-notification.ts';
import { withSecrets, type Receiver } from '../../src/alerts/receiver.ts';
import { AlertRulesError, receiversWithSecrets } from '../../src/alerts/rules-file.ts';
import { isSilenced, type Silence } from '../../src/alerts/silences.ts';
import { startReceiver } from './webhook-receiver.ts';

const FIRED_MS = Date.UTC(2026, 10, 29, 1, 2, 3);
const SENDER = { namespace: 'mr', version: '0.1.0', nowMs: FIRED_MS + 5000 };

const ALERT: AlertRecord = {
  fingerprint: '0123456789abcdef',
  name: 'oldest-event',
  severity: 'critical',
  labels: { alertname: 'oldest-event', severity: 'critical', function: 'mail', env: 'x' },
  summary: 'An event waits.',
  runbook: 'https://wiki.example/oldest',
  expression: 'oldest_event_seconds > 1m',
  figure: 'oldest_event_seconds',
  state: 'firing',
  pendingMs: FIRED_MS - 60_000,
  firedMs: FIRED_MS,
  resolvedMs: null,
  value: 61.23456789,
  told: {},
  worst: 'event e1 (order.created, subject A-1): <!channel> & more',
};
const ENDED: AlertRecord = { ...ALERT, state: 'resolved', resolvedMs: FIRED_MS + 4000 };

const RECEIVER: Receiver = {
  name: 'hook',
  type: 'webhook',
  url: 'http://127.0.0.1/s3cr3t-path',
  routingKey: 'R0UT1NG-KEY',
  headers: { authorization: 'Bearer t0k3n' },
  severities: ALERT_SEVERITIES,
  explain: true,
};

/** Bodies that a receiver of this type is sent. */
function bodies(
  type: Receiver['type'],
  alerts: readonly AlertRecord[],
  more: Partial<Receiver> = {},
) {
  return notificationsFor({ ...RECEIVER, type, ...more }, alerts, SENDER).map(
    ({ body }) => JSON.parse(body) as Record<string, unknown>,
  );
}

t.test('webhook: the body of Alertmanager, version 4', async (t) => {
  const other = { ...ENDED, fingerprint: 'ffff', labels: { ...ALERT.labels, function: 'shop' } };
  const [body, second, ...rest] = bodies('webhook', [ALERT, other, { ...ALERT, name: 'loss' }]);
  t.equal(rest.length, 0, 'one request for each rule');
  t.match(second, { groupLabels: { alertname: 'loss' } });
  t.strictSame(body, {
    version: '4',
    groupKey: '{}:{alertname="oldest-event"}',
    truncatedAlerts: 0,
    status: 'firing',
    receiver: 'hook',
    groupLabels: { alertname: 'oldest-event' },
    commonLabels: { alertname: 'oldest-event', severity: 'critical', env: 'x' },
    commonAnnotations: {
      summary: 'An event waits.',
      value: '61.2346',
      runbook_url: 'https://wiki.example/oldest',
      worst_event: ALERT.worst,
    },
    externalURL: 'urn:millrace:mr',
    alerts: [
      {
        status: 'firing',
        labels: ALERT.labels,
        annotations: {
          summary: 'An event waits.',
          description: 'oldest_event_seconds > 1m holds; the value is 61.2346',
          value: '61.2346',
          runbook_url: 'https://wiki.example/oldest',
          worst_event: ALERT.worst,
        },
        startsAt: '2026-11-29T01:02:03.000Z',
        endsAt: '0001-01-01T00:00:00Z',
        generatorURL: 'urn:millrace:mr:alert:oldest-event',
        fingerprint: '0123456789abcdef',
      },
      {
        status: 'resolved',
        labels: other.labels,
        annotations: {
          ...(body?.['commonAnnotations'] as object),
          description:
            'oldest_event_seconds > 1m holds no more; while it held, its last value was 61.2346',
        },
        startsAt: '2026-11-29T01:02:03.000Z',
        endsAt: '2026-11-29T01:02:07.000Z',
        generatorURL: 'urn:millrace:mr:alert:oldest-event',
        fingerprint: 'ffff',
      },
    ],
  });
  const many = Array.from({ length: 120 }, (_, i) => ({ ...ALERT, fingerprint: `${i}` }));
  t.strictSame(
    bodies('webhook', many).map((one) => (one['alerts'] as unknown[]).length),
    [50, 50, 20],
  );
});

t.test('pagerduty: an event of the Events API v2 for each alert', async (t) => {
  const [fires, ends] = bodies('pagerduty', [ALERT, ENDED]);
  t.match(fires, {
    routing_key: 'R0UT1NG-KEY',
    event_action: 'trigger',
    dedup_key: '0123456789abcdef',
    payload: {
      summary: 'oldest-event (function mail, env x): An event waits.',
      source: 'millrace/mr',
      severity: 'critical',
      timestamp: '2026-11-29T01:02:03.000Z',
      component: 'mail',
      custom_details: { worst_event: ALERT.worst },
    },
    links: [{ href: 'https://wiki.example/oldest' }],
  });
  t.strictSame(ends, {
    routing_key: 'R0UT1NG-KEY',
    event_action: 'resolve',
    dedup_key: '0123456789abcdef',
  });
  const [long] = bodies('pagerduty', [
    { ...ALERT, summary: 'x'.repeat(3000), runbook: 'docs/a.md' },
  ]);
  t.equal((long?.['payload'] as { summary: string }).summary.length, 1024);
  t.notMatch(long, { payload: { custom_details: { runbook_url: /./ } } });
  t.notOk('links' in (long ?? {}), 'a runbook without an address is no link');
});

t.test('slack: blocks within its limits, and no mark-up from texts', async (t) => {
  const [message] = bodies('slack', [ALERT, ENDED]);
  const text = JSON.stringify(message);
  t.match(text, /\*critical\* oldest-event \(function mail, env x\)/);
  t.match(text, /\*resolved\*/);
  t.match(text, /&lt;!channel&gt; &amp; more/);
  t.notMatch(text, /<!channel>/);
  t.match(text, /0123456789abcdef/);
  const long = { ...ALERT, worst: '<'.repeat(4000) };
  const messages = bodies(
    'slack',
    Array.from({ length: 45 }, () => long),
  );
  t.equal(messages.length, 3);
  for (const { blocks } of messages as unknown as { blocks: { text?: { text: string } }[] }[]) {
    t.ok(blocks.length <= 50);
    for (const block of blocks) t.ok((block.text?.text.length ?? 0) <= 3000);
  }
});

t.test('cloudevent: structured mode, with the fingerprint as its subject', async (t) => {
  const [fires, ends] = bodies('cloudevent', [ALERT, ENDED]);
  t.match(fires, {
    specversion: '1.0',
    source: '/millrace/mr',
    type: 'millrace.alert.firing',
    subject: '0123456789abcdef',
    time: '2026-11-29T01:02:08.000Z',
    datacontenttype: 'application/json',
    data: {
      fingerprint: '0123456789abcdef',
      severity: 'critical',
      value: 61.23456789,
      endsAt: null,
    },
  });
  t.match(ends, { type: 'millrace.alert.resolved', data: { endsAt: '2026-11-29T01:02:07.000Z' } });
  t.not(fires?.['id'], ends?.['id']);
  const [one] = notificationsFor({ ...RECEIVER, type: 'cloudevent' }, [ALERT], SENDER);
  t.equal(one?.headers['content-type'], 'application/cloudevents+json; charset=utf-8');
});

t.test('the worst event is left out where the receiver asks for that', async (t) => {
  for (const type of ['webhook', 'pagerduty', 'slack', 'cloudevent'] as const) {
    t.match(JSON.stringify(bodies(type, [ALERT])), /subject A-1/, type);
    t.notMatch(JSON.stringify(bodies(type, [ALERT], { explain: false })), /subject A-1/, type);
  }
});

const silence = (more: Partial<Silence>): Silence => ({
  id: '1',
  alert: null,
  labels: {},
  fromMs: 0,
  untilMs: 1e15,
  comment: '',
  ...more,
});

t.test('due is what the receiver does not know', async (t) => {
  const firing = { status: 'firing', atMs: FIRED_MS } as const;
  const resolved = { status: 'resolved', atMs: FIRED_MS } as const;
  const quiet = [silence({ alert: 'oldest-event', labels: { function: 'mail' } })];
  const rows: [string, Partial<AlertRecord>, boolean, Silence[]?, number?][] = [
    ['new', {}, true],
    ['pending', { state: 'pending' }, false],
    ['pending again, and told before', { state: 'pending', told: { hook: firing } }, true],
    ['told', { told: { hook: firing } }, false],
    ['told long ago', { told: { hook: firing } }, true, [], FIRED_MS + 60_000],
    ['ended and never told', { state: 'resolved' }, false],
    ['ended', { state: 'resolved', told: { hook: firing } }, true],
    ['ended and told', { state: 'resolved', told: { hook: resolved } }, false],
    ['fires anew', { told: { hook: resolved } }, true],
    ['another receiver was told', { told: { other: firing } }, true],
    ['silenced', {}, false, quiet],
    ['its end while silenced', { state: 'resolved', told: { hook: firing } }, true, quiet],
    ['another severity', { severity: 'info' }, false],
  ];
  for (const [what, more, wanted, silences = [], nowMs = FIRED_MS + 1] of rows) {
    const due = dueAlerts(
      { name: 'hook', severities: ['critical'] },
      { alerts: [{ ...ALERT, ...more }], silences, nowMs, repeatMs: 60_000 },
    );
    t.equal(due.length === 1, wanted, what);
  }
  const told = asTold(ALERT, 'hook', ALERT, FIRED_MS);
  t.strictSame(told.told, { hook: firing });
  t.strictSame(asTold(told, 'hook', ENDED, FIRED_MS).told, { hook: resolved });
});

t.test('a silence asks for all its labels', async (t) => {
  t.ok(isSilenced(ALERT, [silence({})]));
  t.ok(isSilenced(ALERT, [silence({ labels: { function: 'mail', env: 'x' } })]));
  t.notOk(isSilenced(ALERT, [silence({ labels: { function: 'mail', env: 'y' } })]));
  t.notOk(isSilenced(ALERT, [silence({ alert: 'loss' })]));
  t.notOk(isSilenced(ALERT, [silence({ labels: { constructor: 'x' } })]));
});

t.test('the back-off grows to its end, keeps its beginning, and heeds the receiver', async (t) => {
  const options = { retry: { ...RECEIVER_RETRY, jitter: false }, leastMs: 0 };
  const delays: number[] = [];
  let state = backedOff(undefined, 'e', 0, options);
  for (let i = 0; i < 120; i++) {
    delays.push(state.nextMs - i);
    state = backedOff(state, 'e', i + 1, options);
  }
  t.strictSame(delays.slice(0, 4), [5000, 10_000, 20_000, 40_000]);
  t.equal(delays.at(-1), 600_000);
  t.match(state, { failures: 121, sinceMs: 0 });
  t.equal(backedOff(undefined, 'e', 0, { ...options, leastMs: 90_000 }).nextMs, 90_000);
});

t.test('secrets come from the environment', async (t) => {
  const declared = {
    ...RECEIVER,
    url: 'https://hooks.example/${A}/${B}',
    routingKey: '${KEY}',
    headers: { authorization: 'Bearer ${TOKEN}' },
  };
  const environment: Record<string, string> = { A: 'a', B: 'b', KEY: 'k', TOKEN: 't' };
  t.match(
    withSecrets(declared, (name) => environment[name]),
    {
      problems: [],
      receiver: {
        url: 'https://hooks.example/a/b',
        routingKey: 'k',
        headers: { authorization: 'Bearer t' },
      },
    },
  );
  try {
    receiversWithSecrets({ receivers: [declared] }, (name) => (name === 'A' ? 's3cr3t' : ''));
    t.fail('no error');
  } catch (error) {
    if (!(error instanceof AlertRulesError)) throw error;
    t.match(error.message, /receiver "hook": url names \$\{B\}, which is not set/);
    t.match(error.message, /header authorization names \$\{TOKEN\}/);
    t.match(error.message, /routingKey names \$\{KEY\}/);
    t.notMatch(error.message, /s3cr3t/);
  }
  const wrong = withSecrets({ ...RECEIVER, url: '${URL}' }, () => 'x0x0-secret');
  t.match(wrong.problems, [/url is no http or https address/]);
  t.notMatch(wrong.problems.join(), /x0x0/);
});

t.test('over HTTP: taken, refused, redirected, gone; no secret in any error', async (t) => {
  const server = await startReceiver(t);
  const receiver: Receiver = { ...RECEIVER, url: `${server.url}/s3cr3t-path?k=q5ery` };
  const [notification] = notificationsFor(receiver, [ALERT], SENDER);
  if (!notification) throw new Error('no notification');
  const post = (signal = new AbortController().signal): Promise<NotificationError | null> =>
    postNotification(receiver, notification, signal).then(
      () => null,
      (error: unknown) => {
        if (!(error instanceof NotificationError)) throw error;
        t.notMatch(JSON.stringify([error.message, error]), /s3cr3t|q5ery|R0UT1NG|t0k3n/);
        return error;
      },
    );
  t.equal(await post(), null);
  t.match(server.taken, [
    {
      path: '/s3cr3t-path?k=q5ery',
      headers: { authorization: 'Bearer t0k3n', 'content-type': /^application\/json/ },
      body: { version: '4' },
    },
  ]);
  const rows: [number, boolean, Record<string, string>?][] = [
    [400, true],
    [401, true],
    [408, false],
    [429, false, { 'retry-after': '7' }],
    [500, false],
    [302, false, { location: `${server.url}/elsewhere` }],
  ];
  for (const [status, refusesThis, headers = {}] of rows) {
    const body = `no: ${receiver.url} R0UT1NG-KEY Bearer t0k3n ${'x'.repeat(100_000)}`;
    server.answer = { status, headers, body };
    t.match(await post(), { status, refusesThis, message: new RegExp(`answered ${status}: no: `) });
  }
  server.answer = { status: 500, body: `${'x'.repeat(193)}R0UT1NG-KEY` };
  t.match(await post(), { status: 500 }, 'no part of a secret at the cut either');
  t.notOk(
    server.taken.some(({ path }) => path === '/elsewhere'),
    'no redirect is followed',
  );
  // The part that is read ends within a secret. The secrets before it take no room.
  server.answer = { status: 500, body: `${`${receiver.url} `.repeat(99)}` };
  t.match(await post(), { message: /answered 500: [… ]+$/ });
  server.answer = { status: 401, body: 'no such token: t0k3n, q5ery, \\u00730\\u0063r3t-path' };
  server.answer.body += ' %73%33cr3t-path';
  t.match(await post(), { status: 401 }, 'no part of a header or address either');
  server.answer = 'never';
  t.match(await post(AbortSignal.timeout(50)), { status: null, refusesThis: false });
  const gone = { ...notification, url: 'http://127.0.0.1:1/s3cr3t-path' };
  await t.rejects(
    postNotification(receiver, gone, new AbortController().signal),
    /receiver "hook" has not taken the notification: .*(ECONNREFUSED|bad port)/,
  );
});

t.test(
  'Retry-After: seconds, or a date by the clock of the receiver; an hour at most',
  async (t) => {
    const server = await startReceiver(t);
    const receiver: Receiver = { ...RECEIVER, url: server.url };
    const [notification] = notificationsFor(receiver, [ALERT], SENDER);
    if (!notification) throw new Error('no notification');
    const date = 'Sun, 06 Nov 1994 08:49:37 GMT';
    const rows: [string, number | null][] = [
      ['7', 7000],
      ['0.5', 500],
      ['86400', 3_600_000],
      ['0', null],
      ['-7', null],
      ['soon', null],
      ['', null],
      ['Sun, 06 Nov 1994 08:50:07 GMT', 30_000],
      ['Sunday, 06-Nov-94 08:50:07 GMT', 30_000],
      ['Sun Nov  6 08:50:07 1994', 30_000],
      ['Sun, 06 Nov 1994 08:49:07 GMT', null],
      ['Mon, 07 Nov 1994 08:49:37 GMT', 3_600_000],
      ['Sun, 99 Nov 1994 08:49:37 GMT', null],
      ['Nov 7', null],
    ];
    for (const [after, wanted] of rows) {
      server.answer = { status: 429, headers: { 'retry-after': after, date } };
      const error = await postNotification(
        receiver,
        notification,
        new AbortController().signal,
      ).then(
        () => null,
        (one: unknown) => one,
      );
      t.match(error, { retryAfterMs: wanted }, `"${after}"`);
    }
  },
);
