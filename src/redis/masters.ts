/** Commands that every master of the server has to answer. A single server is its only master. */
import { Cluster, Command, type Redis } from 'ioredis';
import type { RedisArg } from './contract.ts';

export interface MasterReply {
  /** Address of the master: host:port. */
  readonly node: string;
  readonly reply: unknown;
}

/** Settles with the reply to a command that was sent: see settleReply. */
type Settle = (label: string, command: Command) => Promise<unknown>;

/** Sends the command once to every master of the Cluster. */
export function askMasters(
  cluster: Cluster,
  name: string,
  args: readonly RedisArg[],
  settle: Settle,
): Promise<readonly MasterReply[]> {
  return Promise.all(
    cluster.nodes('master').map(async (redis) => {
      const command = new Command(name, [...args], { replyEncoding: 'utf8' });
      redis.sendCommand(command);
      const reply = await settle(name, command);
      return { node: `${redis.options.host}:${redis.options.port}`, reply };
    }),
  );
}

/** Finds matching keys of every master, page by page: see RedisConnection.scan. */
export async function* scanMasters(
  client: Redis | Cluster,
  pattern: string,
  settle: Settle,
): AsyncIterable<readonly string[]> {
  for (const node of client instanceof Cluster ? client.nodes('master') : [client]) {
    let cursor = '0';
    do {
      const command = new Command('SCAN', [cursor, 'MATCH', pattern, 'COUNT', 1000], {
        replyEncoding: 'utf8',
      });
      node.sendCommand(command);
      const [next, keys] = (await settle('SCAN', command)) as [string, string[]];
      cursor = next;
      if (keys.length > 0) yield keys;
    } while (cursor !== '0');
  }
}
