/** Opens the proxy of src/torture for one test. */
import { openProxy, type TcpProxy, type Upstream } from '../../src/torture/tcp-proxy.ts';
import type { TestLike } from './redis-server.ts';

export type { TcpProxy } from '../../src/torture/tcp-proxy.ts';

export async function startProxy(
  t: TestLike,
  upstream: Upstream,
  only?: readonly string[],
): Promise<TcpProxy> {
  const proxy = await openProxy(upstream, only);
  t.teardown(() => proxy.close());
  return proxy;
}
