/**
 * The shipped rules and dashboard on a real Prometheus, which scrapes a dispatcher and a service.
 * Each panel of the dashboard has data, and a function that stands still fires its alerts.
 */
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { spawnSync } from 'node:child_process';
import t, { type Test } from 'tap';
import { pino } from 'pino';
import { connect, type Millrace } from '../../src/millrace.ts';
import { createProject, NOTES_PROTO } from '../cli/run-cli.ts';
import {
  findPrometheus,
  startPrometheus,
  type PrometheusServer,
  type PrometheusTools,
} from '../../scripts/lab/prometheus.ts';
import { projectDir, startRedis } from '../../scripts/lab/redis-server.ts';
import { NotYet, until } from '../../scripts/lab/until.ts';
import { registerFunction } from '../../src/pipeline/ownership/register.ts';
import { setTypeLimits } from '../../src/upkeep/type-limits.ts';
import { specOf } from '../pipeline/bare-lane.ts';

const SHIPPED = join(projectDir, 'docs/prometheus');

/**
 * Fails on the text `bad`. On the text `wait`, it runs until the file `go` is there: the function
 * stands still.
 */
const KEEPER = `import { defineFunction } from 'millrace/define';
import { existsSync } from 'node:fs';
export default defineFunction({ name: 'keeper', on: ['note.added'], retry: { attempts: 2, minDelayMs: 1, maxDelayMs: 1 },
  async handle(event) {
    if (event.data.text === 'bad') throw new Error('as ordered');
    while (event.data.text === 'wait' && !existsSync('go')) await new Promise((resolve) => setTimeout(resolve, 5));
  } });
`;

const tools = await findPrometheus();
const skip =
  typeof tools === 'string' ? `the Debian package prometheus cannot be had: ${tools}` : false;
if (skip) t.comment(skip);

/** Runs promtool. */
function promtool(args: readonly string[], stdin = ''): { status: number | null; said: string } {
  const { promtool: path } = tools as PrometheusTools;
  const ran = spawnSync(path, args, { cwd: SHIPPED, input: stdin, encoding: 'utf8' });
  return { status: ran.status, said: ran.stdout + ran.stderr };
}

t.test(
  'promtool: the rules are well formed, and do what their unit tests say',
  { skip },
  async (t) => {
    for (const args of [
      ['check', 'rules', 'millrace.rules.yaml'],
      ['test', 'rules', 'millrace.rules-test.yaml'],
    ]) {
      const { status, said } = promtool(args);
      t.equal(status, 0, `promtool ${args.join(' ')}: ${said}`);
    }
    const alerts = readFileSync(join(SHIPPED, 'millrace.rules.yaml'), 'utf8').split('- alert: ');
    const tested = readFileSync(join(SHIPPED, 'millrace.rules-test.yaml'), 'utf8');
    for (const alert of alerts.slice(1)) {
      const name = alert.split('\n')[0] as string;
      t.ok(tested.includes(`alertname="${name}"`), `${name} has a unit test`);
      for (const field of ['severity', 'summary', 'cure', 'runbook'])
        t.match(alert, new RegExp(`^ +${field}:\\s`, 'm'), `${name}: ${field}`);
    }
  },
);

/** Serves the metrics of a service, as docs/metrics.md says. Returns the address. */
async function serveMetrics(t: Test, millrace: Millrace): Promise<string> {
  const server = createServer((_, response) => {
    void millrace.metrics().then((text) => response.end(text));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** The shipped rules with short intervals, so that a test can wait for them. */
function shortRules(): string {
  return readFileSync(join(SHIPPED, 'millrace.rules.yaml'), 'utf8')
    .replaceAll(/\[\d+m\]/g, '[10s]')
    .replaceAll(/for: \d+m/g, 'for: 1s')
    .replace('(millrace_oldest_event_seconds) > 60', '(millrace_oldest_event_seconds) > 2');
}

function configFor(dispatcher: string, service: string, rules: string): string {
  return `
global: { scrape_interval: 1s, evaluation_interval: 1s }
rule_files: ['${rules}']
scrape_configs:
  - job_name: millrace
    static_configs: [{ targets: ['${dispatcher}', '${service}'] }]
  - job_name: millrace-deployment
    metrics_path: /metrics/deployment
    static_configs: [{ targets: ['${dispatcher}'] }]
`;
}

/** The queries of the shipped dashboard, as Grafana sends them for all functions. */
function panelQueries(): { readonly title: string; readonly expr: string }[] {
  const { panels, templating } = JSON.parse(
    readFileSync(join(SHIPPED, 'millrace-dashboard.json'), 'utf8'),
  ) as {
    readonly panels: readonly {
      readonly title: string;
      readonly datasource?: { readonly uid: string };
      readonly targets?: readonly { readonly expr: string }[];
    }[];
    readonly templating: {
      readonly list: readonly { readonly name: string; readonly type: string }[];
    };
  };
  t.match(templating.list[0], { name: 'datasource', type: 'datasource' });
  return panels.flatMap(({ title, datasource, targets = [] }) => {
    if (targets.length > 0) t.equal(datasource?.uid, '${datasource}', title);
    return targets.map(({ expr }) => ({
      title,
      expr: expr.replaceAll('$function', '.*').replaceAll('$__rate_interval', '10s'),
    }));
  });
}

/** Starts a service with a dispatcher and a publisher, and a Prometheus that scrapes them. */
async function startScraped(t: Test) {
  const redis = await startRedis(t);
  const p = createProject(t, redis.url, {
    'proto/notes.proto': NOTES_PROTO,
    'workers/keeper.ts': KEEPER,
  });
  const running = p.start(['start'], {
    MILLRACE_PORT: '0',
    MILLRACE_METRICS_DEPLOYMENT: 'apart',
    MILLRACE_METRICS_PARTITION: 'on',
  });
  const [, url = ''] = await running.seen('stderr', /, admin (http:\S+)$/m);
  const millrace = await connect({
    environment: { REDIS_URL: redis.url },
    protoDir: join(p.dir, 'proto'),
    logger: pino({ level: 'silent' }),
  });
  t.teardown(() => millrace.close());
  await registerIdle(millrace);
  const publisher = millrace.publisher();
  const service = await serveMetrics(t, millrace);
  const rules = p.write('rules.yaml', shortRules());
  const config = configFor(new URL(url).host, service, rules);
  const prometheus = await startPrometheus(t, tools as PrometheusTools, config);
  const publish = (...texts: string[]): Promise<unknown> =>
    publisher.publishMany(
      texts.map((text, i) => ({
        type: 'note.added' as string,
        data: { book: `${text}${i}`, number: i, text },
      })),
    );
  return { p, url, service, prometheus, publish };
}

/** Registers a function that nobody runs, so that its backlog grows. The type has limits. */
async function registerIdle({ deployment }: Millrace): Promise<void> {
  const { connection, keys, partitions } = deployment;
  const spec = specOf('idle', ['note.added']);
  for (let partition = 0; partition < partitions; partition++)
    await registerFunction(connection, keys, partition, spec);
  await setTypeLimits(deployment, 'note.added', { maxBacklog: 1e6, maxAgeMs: 1000 });
}

async function alertsOf(prometheus: PrometheusServer): Promise<string[]> {
  return (await prometheus.firing()).map(
    ({ alertname, function: fn = '' }) => `${alertname} ${fn}`,
  );
}

t.test('a real Prometheus', { skip }, async (t) => {
  const { p, url, service, prometheus, publish } = await startScraped(t);

  await t.test('each panel of the dashboard has data', async (t) => {
    await publish('a', 'b', 'c', 'bad');
    for (const { title, expr } of panelQueries())
      await until(`"${title}" has data: ${expr}`, async () => {
        // A rate needs two scrapes with events between them.
        await publish('more', 'more');
        const samples = await prometheus.query(expr);
        const numbers = samples.filter(({ value }) => value[1] !== 'NaN');
        return numbers.length > 0 || new NotYet(samples);
      });
    t.pass();
  });

  await t.test('a function that nobody runs holds retention', async (t) => {
    await until('the alert fires', async () => {
      const firing = await alertsOf(prometheus);
      return firing.includes('MillraceRetentionHeld idle') || new NotYet(firing);
    });
    t.notOk((await alertsOf(prometheus)).includes('MillraceRetentionHeld keeper'));
  });

  await t.test('promtool finds nothing wrong with the text', async (t) => {
    for (const [address, path] of [
      [url, '/metrics'],
      [url, '/metrics/deployment'],
      [`http://${service}`, '/'],
    ] as const) {
      const text = await (await fetch(`${address}${path}`)).text();
      const { status, said } = promtool(['check', 'metrics'], text);
      // Names of prom-client's own metrics of Node do not keep to the conventions.
      const ours = said.split('\n').filter((line) => line !== '' && !/^nodejs_/.test(line));
      t.strictSame(ours, [], `${path} ${status}`);
    }
  });

  await t.test('a function that stands still fires its alerts, and they end', async (t) => {
    t.notOk((await alertsOf(prometheus)).includes('MillraceEventTooOld keeper'));
    await publish('wait');
    const wanted = ['MillraceEventTooOld keeper', 'MillraceFunctionStandsStill keeper'];
    await until(
      'the alerts fire',
      async () => {
        const firing = await alertsOf(prometheus);
        return wanted.every((alert) => firing.includes(alert)) || new NotYet(firing);
      },
      60_000,
    );
    p.write('go', '');
    await until(
      'the alerts have ended',
      async () => {
        const firing = await alertsOf(prometheus);
        return !wanted.some((alert) => firing.includes(alert)) || new NotYet(firing);
      },
      60_000,
    );
    t.pass();
  });
});
