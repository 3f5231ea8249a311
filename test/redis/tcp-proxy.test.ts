/** Other tests break connections with the proxy, so the proxy is tested itself. */
import { connect, type Socket } from 'node:net';
import { once } from 'node:events';
import t from 'tap';
import { startRedis } from '../../scripts/lab/redis-server.ts';
import { startProxy } from '../../scripts/lab/tcp-proxy.ts';

async function dial(port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => {});
  await once(socket, 'connect');
  return socket;
}

/** Waits for the close. events.once would reject on a reset, which is expected. */
function closed(socket: Socket): Promise<void> {
  return new Promise((resolve) => void socket.on('error', () => {}).once('close', () => resolve()));
}

async function ask(socket: Socket, command: string): Promise<string> {
  const reply = once(socket, 'data');
  socket.write(`${command}\r\n`);
  return String((await reply)[0]).trim();
}

t.test('proxy', async (t) => {
  const redis = await startRedis(t, { tcp: true });
  const look = redis.client();
  for (const upstream of [{ port: redis.port }, { socket: redis.socket }]) {
    const proxy = await startProxy(t, upstream);
    let socket = await dial(proxy.port);
    t.equal(await ask(socket, 'PING'), '+PONG');

    proxy.delay(50);
    const start = performance.now();
    await ask(socket, 'PING');
    t.ok(performance.now() - start >= 95, 'delayed both ways');
    proxy.delay(0);

    const gone = closed(socket);
    proxy.cutNow();
    await gone;

    proxy.refuse(true);
    await closed(connect(proxy.port, '127.0.0.1'));
    proxy.refuse(false);

    await look.del('n');
    socket = await dial(proxy.port);
    const cut = proxy.dropRepliesThenCut(2);
    let heard = '';
    socket.on('data', (bytes) => (heard += String(bytes)));
    const end = closed(socket);
    socket.write('INCR n\r\n');
    await t.resolves(look.ping());
    while ((await look.get('n')) !== '1') await look.ping();
    socket.write('INCR n\r\n');
    await Promise.all([cut, end]);
    t.equal(heard, '');
    t.equal(await look.get('n'), '2', 'executed, not answered');

    socket = await dial(proxy.port);
    await ask(socket, 'PING');
    proxy.halfOpen(true);
    socket.write('INCR n\r\n');
    await new Promise((resolve) => setTimeout(resolve, 50));
    t.equal(await look.get('n'), '2');
    t.notOk(socket.destroyed);
    await proxy.close();
  }
});
