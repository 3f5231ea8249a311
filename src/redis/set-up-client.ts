/** Makes a new socket, or the nodes of a Cluster, ready for commands, within a bounded time. */
import { Cluster, Command, type Redis } from 'ioredis';
import { ConnectionSetupError } from '../core/errors/server-errors.ts';
import { settleReply } from './replies.ts';
import { setUp, type SetupOptions } from './setup.ts';

/** Longest set-up of one node of a Cluster, ms. */
const NODE_MS = 1_000;

/**
 * Sets up a socket, or the nodes of a Cluster.
 * @param timeoutMs for a single server
 * @throws ConnectionSetupError where a step is refused; Error where the server does not answer
 */
export async function setUpClient(
  client: Redis | Cluster,
  options: SetupOptions,
  timeoutMs: number,
): Promise<void> {
  if (!(client instanceof Cluster)) return within(timeoutMs, setUpNode(client, options));
  // ioredis opens the connections to a Cluster's nodes when it needs them, and names them. It also
  // waits for nodes that load their data. But it accepts some refusals of a password.
  const { login, display } = options;
  if (login.password === undefined && login.username === undefined) return;
  await Promise.all(
    client.nodes('master').map((node) =>
      // A node that cannot be asked now is no reason to do without the others.
      within(NODE_MS, setUpNode(node, { login, display })).catch((error: unknown) => {
        if (error instanceof ConnectionSetupError) throw error;
      }),
    ),
  );
}

function setUpNode(node: Redis, options: SetupOptions): Promise<void> {
  return setUp((name, args) => {
    const command = new Command(name, [...args], { replyEncoding: 'utf8' });
    void node.sendCommand(command);
    return settleReply(name, command);
  }, options);
}

/** @throws Error when the promise has not settled in time */
async function within<T>(ms: number, promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () =>
        reject(
          new Error(
            `the server has not answered the first commands on a new connection for ${ms} ms`,
          ),
        ),
      ms,
    );
  });
  promise.catch(() => undefined);
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
