/** A part that is closed twice: the second call waits until the first has ended. */
import t from 'tap';
import { startAdminServer } from '../src/admin/server.ts';
import { openDeployment } from '../src/deployment.ts';
import { readEnvironment } from '../src/config.ts';
import { openConnection } from '../src/redis/connection.ts';
import { openService, testDir } from '../scripts/lab/dispatcher-process.ts';
import { startRedis } from '../scripts/lab/redis-server.ts';

interface Opened {
  readonly close: () => Promise<void>;
  /** Work that the end has to wait for. */
  readonly work?: () => Promise<unknown>;
}

t.test('a second close waits for the first', async (t) => {
  const redis = await startRedis(t);
  const service = () => openService(t, redis.url, 1);
  const data = { key: 's', number: 1, order: 'ok', filler: new Uint8Array(0) };
  const parts: Readonly<Record<string, () => Promise<Opened>>> = {
    async publisher() {
      const publisher = (await service()).publisher();
      return {
        close: () => publisher.close(),
        work: () => publisher.publish('test.event', data),
      };
    },
    async store() {
      const store = (await service()).store();
      return {
        close: () => store.close(),
        work: () =>
          store.append('order', 'A-1', [{ type: 'test.event', data }], {
            expectedRevision: 'any',
          }),
      };
    },
    async dispatcher() {
      const dispatcher = (await service()).dispatcher({ functionsDir: testDir(t) });
      return { close: () => dispatcher.stop() };
    },
    async 'entry of a service'() {
      const millrace = await service();
      const publisher = millrace.publisher();
      return {
        close: () => millrace.close(),
        work: () => publisher.publish('test.event', data),
      };
    },
    async 'service behind its publisher'() {
      const millrace = await service();
      const publisher = millrace.publisher();
      await publisher.publish('test.event', data);
      let closes = 0;
      return { close: () => (closes++ === 0 ? publisher.close() : millrace.close()) };
    },
    deployment: () =>
      openDeployment({
        environment: { ...readEnvironment(), REDIS_URL: redis.url },
        protoDir: null,
        log() {},
        name: 'test',
      }),
    async connection() {
      const connection = openConnection({ url: redis.url });
      await connection.ready();
      return connection;
    },
    'admin server': () =>
      startAdminServer({ host: '127.0.0.1', port: 0, groups: [], readOnly: false, log() {} }),
  };
  for (const [name, open] of Object.entries(parts)) {
    const part = await open();
    const working = part.work?.().catch((error: unknown) => error);
    let ended = false;
    const first = part.close().then(() => (ended = true));
    await part.close();
    t.ok(ended, name);
    await Promise.all([first, working]);
  }
});
