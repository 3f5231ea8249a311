/** `millrace admin`: the admin server without functions, as a process and beside dispatchers. */
import t from 'tap';
import { is, until } from '../../scripts/lab/until.ts';
import { startRedis } from '../../scripts/lab/redis-server.ts';
import { openService } from '../../scripts/lab/dispatcher-process.ts';
import { createProject } from '../cli/run-cli.ts';
import { events, publish, specOf, startLane, type Bed } from '../pipeline/bare-lane.ts';

t.test('serves a deployment without running it, and writes nothing', async (t) => {
  const redis = await startRedis(t, { tcp: true });
  const look = redis.client();
  const p = createProject(t, redis.tcpUrl);
  const running = p.start(['admin'], { MILLRACE_PORT: '0', MILLRACE_PARTITIONS: '' });
  const [, url = ''] = await running.seen(
    'stderr',
    /^millrace: ready: admin (http:\S+), read-only, redis:/m,
  );
  const ask = async (path: string, init: RequestInit = {}) => {
    const response = await fetch(`${url}${path}`, init);
    const text = await response.text();
    return { status: response.status, text };
  };
  await t.test('a deployment that nobody has started is empty, and stays so', async (t) => {
    t.match(await ask('/readyz'), { status: 200 });
    t.match(await ask('/api/lag'), { status: 200, text: '{"functions":[]}' });
    t.match(await ask('/metrics'), { status: 200, text: /^millrace_redis_up 1$/m });
    t.strictSame(await look.keys('*'), []);
  });

  await t.test('it follows the number of partitions that others fix', async (t) => {
    const millrace = await openService(t, redis.url, 20);
    const { connection, keys } = millrace.deployment;
    const bed: Bed = { redis, connection, keys, partitions: 20 };
    const lane = await startLane(bed, specOf('teller', ['note.added']), 19);
    await publish(bed, 19, { 'note.added': events(3) });
    const lag = await until('the last partition is seen', async () => {
      const answer = await ask('/api/lag').catch(() => null);
      return answer !== null && /"lag":3/.test(answer.text) ? answer : null;
    });
    t.match(JSON.parse(lag.text), { functions: [{ name: 'teller', lag: 3, conserved: true }] });
    await until('the metrics have it', async () =>
      /^millrace_lag_events\{function="teller"\} 3$/m.test((await ask('/metrics')).text),
    );
    t.match(JSON.parse((await ask('/api/health')).text), { status: 'ok', lanes: 0, functions: [] });
    t.ok(lane);
  });

  await t.test('the registry may be read; changes are refused', async (t) => {
    t.match(await ask('/subjects'), { status: 200, text: /test\.event/ });
    const put = await ask('/config', { method: 'PUT', body: '{"compatibility":"NONE"}' });
    t.match(put, { status: 403, text: /--allow-changes/ });
    t.match(await ask('/config'), { status: 200, text: /FULL_TRANSITIVE/ });
  });

  await t.test('without Redis it lives and is not ready; SIGTERM ends it', async (t) => {
    await redis.kill();
    await until('not ready', async () => is((await ask('/readyz')).status, 503));
    t.match(await ask('/healthz'), { status: 200 });
    running.child.kill('SIGTERM');
    t.match(await running.ended, { status: 0 });
  });
});
