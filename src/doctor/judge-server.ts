/** Judges the servers: whether they are fit, and whether they take writes. */
import type { ServerNode } from '../redis/capability.ts';
import { atLeast, MIN_SERVER_VERSION } from '../redis/server-binary.ts';
import { counted, fact, someOf, type Diagnosis } from './diagnosis.ts';
import type { RefusedTrial } from './server-facts.ts';

/** Writes `redis-cli … <command>` for a server. Null: for every node of a Cluster. */
export type RedisCli = (node: string | null, command: string) => string;

export interface ServerFacts {
  readonly mode: string;
  readonly nodes: readonly Pick<
    ServerNode,
    'node' | 'flavor' | 'version' | 'role' | 'replicas' | 'maxmemoryPolicy'
  >[];
  /** Reasons for which Millrace refuses to start here, as openDeployment() tells them. */
  readonly refusals: readonly string[];
}

export function judgeServer(facts: ServerFacts, cli: RedisCli): Diagnosis[] {
  const found: Diagnosis[] = [];
  for (const { node, flavor, version, role, replicas, maxmemoryPolicy } of facts.nodes) {
    const with_ = replicas === null ? 'replicas unknown' : counted(replicas, 'replica');
    found.push(fact('server', node, `${flavor} ${version}, ${facts.mode}, ${role}, ${with_}`));
    if (role === 'replica')
      found.push({
        code: 'server-replica',
        severity: 'error',
        about: node,
        problem: 'The server is a replica and takes no writes',
        evidence: 'role:slave',
        cure: 'Point REDIS_URL at the master. If there is none any more, promote this server',
        command: cli(node, 'REPLICAOF NO ONE'),
      });
    if (!atLeast(version, MIN_SERVER_VERSION))
      found.push({
        code: 'server-old',
        severity: 'error',
        about: node,
        problem: `The server is ${flavor} ${version}, and ${MIN_SERVER_VERSION} is needed`,
        evidence: `${flavor}_version:${version}`,
        cure: 'Upgrade the server, or unset REDIS_URL to use the embedded one',
        command: cli(node, 'INFO server'),
      });
    if (maxmemoryPolicy !== null && maxmemoryPolicy !== 'noeviction')
      found.push({
        code: 'memory-policy',
        severity: 'error',
        about: node,
        problem: 'Under memory pressure the server deletes events that are not processed yet',
        evidence: `maxmemory-policy ${maxmemoryPolicy}`,
        cure: 'Set the policy to noeviction, in the configuration file, too',
        command: cli(node, 'CONFIG SET maxmemory-policy noeviction'),
      });
  }
  // The refusals above have findings of their own.
  for (const refusal of facts.refusals) {
    if (/takes no writes|is needed: upgrade|maxmemory-policy/.test(refusal)) continue;
    found.push({
      code: 'server-unfit',
      severity: 'error',
      about: null,
      problem: 'Millrace refuses to start on this server',
      evidence: refusal,
      cure: 'Change REDIS_URL as the reason says',
      command: cli(null, 'INFO server'),
    });
  }
  return found;
}

const REFUSALS: Readonly<Record<string, readonly [cure: string, command: string]>> = {
  READONLY: ['Point REDIS_URL at the master', 'ROLE'],
  MISCONF: ['Free space on the disk of the server, and look at its log', 'INFO persistence'],
  OOM: [
    'Raise maxmemory, or let functions and retention free memory (millrace limits)',
    'CONFIG SET maxmemory <bytes>',
  ],
  NOREPLICAS: ['Connect the replicas, or lower min-replicas-to-write', 'INFO replication'],
  CLUSTERDOWN: ['Bring back the nodes of the missing slots', 'CLUSTER INFO'],
};

/** Judges the refused trials. NOPERM is a matter of rights. */
export function judgeWrites(trials: readonly RefusedTrial[], cli: RedisCli): Diagnosis[] {
  const alike = new Map<string, [RefusedTrial, ...RefusedTrial[]]>();
  for (const trial of trials) {
    if (trial.reply === 'NOPERM') continue;
    const known = alike.get(`${trial.reply} ${trial.node}`);
    if (known) known.push(trial);
    else alike.set(`${trial.reply} ${trial.node}`, [trial]);
  }
  return [...alike.values()].map((refused) => {
    const [{ reply, node, message }] = refused;
    const [cure, command] = REFUSALS[reply] ?? ['Look at the log of the server', 'INFO'];
    return {
      code: 'writes-refused',
      severity: 'error',
      about: reply,
      problem: 'The server answers, but refuses writes: nothing is published or acknowledged',
      evidence: `${node === null ? '' : `${node}: `}${message}; partitions ${someOf(refused.map(({ partition }) => String(partition)))}`,
      cure,
      command: cli(node, command),
    } satisfies Diagnosis;
  });
}
