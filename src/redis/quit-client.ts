import { setTimeout as delay } from 'node:timers/promises';
import type { Cluster, Redis } from 'ioredis';

/** Longest wait for the replies still to come, ms. */
const QUIT_MS = 2_000;

/** Waits for the replies still to come and for the end of the connection, at most QUIT_MS. */
export async function quitClient(client: Redis | Cluster): Promise<void> {
  const ended =
    client.status === 'end'
      ? Promise.resolve()
      : new Promise<void>((resolve) => void (client as Redis).once('end', () => resolve()));
  const giveUp = new AbortController();
  // QUIT is answered after all commands sent before it. The race only bounds the time for that.
  await Promise.race([
    client.quit().then(
      () => ended,
      () => {},
    ),
    delay(QUIT_MS, undefined, { signal: giveUp.signal }).catch(() => {}),
  ]);
  giveUp.abort();
}
