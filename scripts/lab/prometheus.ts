/**
 * A real Prometheus for one test, and its promtool: from PATH, or from the distribution's package,
 * which is unpacked into the project's .millrace/ once.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { findPackaged, systemName, type Packaged } from '../../src/redis/server-package.ts';
import { output, withLibraries } from '../../src/redis/server-program.ts';
import { freePort, projectDir, type TestLike } from './redis-server.ts';
import { until } from './until.ts';

export interface PrometheusTools {
  readonly prometheus: string;
  readonly promtool: string;
}

const PACKAGE: Packaged = {
  names: ['prometheus'],
  check: async (path, libraryPath) => {
    for (const program of [path, join(dirname(path), 'promtool')])
      await withLibraries(libraryPath, program, ['--version'], 30_000);
    return {};
  },
};

/** Finds the tools. Returns the reason where they cannot be had. */
export async function findPrometheus(): Promise<PrometheusTools | string> {
  const onPath = async (name: string): Promise<string> =>
    (await output('sh', ['-c', 'command -v "$1"', 'sh', name]).catch(() => '')).trim();
  const [prometheus, promtool] = [await onPath('prometheus'), await onPath('promtool')];
  if (prometheus !== '' && promtool !== '') return { prometheus, promtool };
  const folder = join(projectDir, '.millrace', 'prometheus', await systemName());
  const found = await findPackaged(folder, PACKAGE);
  if (typeof found === 'string') return found;
  return { prometheus: found.path, promtool: join(dirname(found.path), 'promtool') };
}

export interface PrometheusServer {
  /** Runs an instant query. Returns the samples. */
  query(expr: string): Promise<readonly PrometheusSample[]>;
  /** Lists the alerts that fire. */
  firing(): Promise<readonly Readonly<Record<string, string>>[]>;
}

export interface PrometheusSample {
  readonly metric: Readonly<Record<string, string>>;
  readonly value: readonly [atSeconds: number, value: string];
}

interface Answer {
  readonly status: string;
  readonly error?: string;
  readonly data: {
    readonly result?: readonly PrometheusSample[];
    readonly alerts?: readonly {
      readonly state: string;
      readonly labels: Readonly<Record<string, string>>;
    }[];
  };
}

/** Starts a server with a configuration. It ends with the test. */
export async function startPrometheus(
  t: TestLike,
  { prometheus }: PrometheusTools,
  config: string,
): Promise<PrometheusServer> {
  const dir = mkdtempSync(join(tmpdir(), 'millrace-prometheus-'));
  const port = await freePort();
  writeFileSync(join(dir, 'prometheus.yml'), config);
  const child = spawn(
    prometheus,
    [
      `--config.file=${join(dir, 'prometheus.yml')}`,
      `--storage.tsdb.path=${join(dir, 'data')}`,
      `--web.listen-address=127.0.0.1:${port}`,
      '--log.level=warn',
    ],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  );
  const gone = once(child, 'close');
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (said += text));
  t.teardown(async () => {
    child.kill('SIGKILL');
    await gone;
    rmSync(dir, { recursive: true, force: true });
  });
  const url = `http://127.0.0.1:${port}`;
  await until('Prometheus is ready', async () => {
    if (child.exitCode !== null) throw new Error(`Prometheus ended: ${said}`);
    return fetch(`${url}/-/ready`).then(
      ({ ok }) => ok,
      () => false,
    );
  });
  const ask = async (path: string): Promise<Answer['data']> => {
    const answer = (await (await fetch(`${url}${path}`)).json()) as Answer;
    if (answer.status !== 'success') throw new Error(`Prometheus: ${answer.error}: ${path}`);
    return answer.data;
  };
  return {
    async query(expr) {
      return (await ask(`/api/v1/query?query=${encodeURIComponent(expr)}`)).result ?? [];
    },
    async firing() {
      const { alerts = [] } = await ask('/api/v1/alerts');
      return alerts.filter(({ state }) => state === 'firing').map(({ labels }) => labels);
    },
  };
}
