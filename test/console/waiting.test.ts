/** The console that is started while Redis is away: a page says so, until Redis answers. */
import t from 'tap';
import { startRedis } from '../../scripts/lab/redis-server.ts';
import { startProxy } from '../../scripts/lab/tcp-proxy.ts';
import { until } from '../../scripts/lab/until.ts';
import { createProject } from '../cli/run-cli.ts';

t.test('a console without Redis serves the reason, and the pages once Redis is back', async (t) => {
  const redis = await startRedis(t, { tcp: true });
  const proxy = await startProxy(t, { port: redis.port });
  proxy.refuse(true);
  const p = createProject(t, proxy.url);
  const running = p.start(['console'], { MILLRACE_PORT: '0' });
  const [, url = ''] = await running.seen(
    'stderr',
    /Redis does not answer yet: console at (http:\S+)\/ says why/,
  );
  const ask = (path: string) => fetch(url + path, { headers: { accept: 'text/html' } });
  await until('the page tells the failure', async () => {
    const answer = await ask('/console/dead');
    const page = await answer.text();
    t.equal(answer.status, 503);
    return /redis connection: [^<]+/.test(page) && page.includes('millrace doctor');
  });
  await until('the first attempt is given up, and the page still answers', async () =>
    (await (await ask('/')).text()).includes('cannot be reached'),
  );
  t.equal((await ask('/console/assets/console.css')).status, 200);
  t.equal((await ask('/readyz')).status, 503);
  proxy.refuse(false);
  await running.seen('stderr', /ready: console at http:\S+, read-only/);
  t.equal((await ask('/')).status, 200);
});
