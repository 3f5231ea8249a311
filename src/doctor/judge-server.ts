/** Judges the servers: whether they are fit, and whether they take writes. */
import type { ServerNode } from '../redis/capability.ts';
import { atLeast, MIN_SERVER_VERSION } from '../redis/server-binary.ts';
import { counted, fact, grouping, someOf, type Diagnosis } from './diagnosis.ts';
import type { RedisCli } from './redis-cli.ts';
import type { MasterOfReplica, RefusedTrial } from './server-facts.ts';

export interface ServerFacts {
  readonly mode: string;
  readonly nodes: readonly Pick<
    ServerNode,
    'node' | 'flavor' | 'version' | 'role' | 'replicas' | 'maxmemoryPolicy'
  >[];
  /** REDIS_URL, or the address of the embedded server. */
  readonly url: string;
  /** Masters of those nodes that are replicas. */
  readonly masters: ReadonlyMap<string, MasterOfReplica>;
  /** Reasons for which Millrace refuses to start here, as openDeployment() tells them. */
  readonly refusals: readonly string[];
}

export function judgeServer(facts: ServerFacts, cli: RedisCli): Diagnosis[] {
  const found: Diagnosis[] = [];
  for (const { node, flavor, version, role, replicas, maxmemoryPolicy } of facts.nodes) {
    const with_ = replicas === null ? 'replicas unknown' : counted(replicas, 'replica');
    found.push(fact('server', node, `${flavor} ${version}, ${facts.mode}, ${role}, ${with_}`));
    if (role === 'replica')
      found.push(replicaFinding(node, facts.masters.get(node) ?? null, facts.url, cli));
    if (!atLeast(version, MIN_SERVER_VERSION))
      found.push({
        code: 'server-old',
        severity: 'error',
        about: node,
        problem: `The server is ${flavor} ${version}, and ${MIN_SERVER_VERSION} is needed`,
        evidence: `${flavor}_version:${version}`,
        cure: 'Upgrade the server, or unset REDIS_URL to use the embedded one',
        command: null,
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
      command: null,
    });
  }
  return found;
}

/** @param master null: the server does not tell */
function replicaFinding(
  node: string,
  master: MasterOfReplica | null,
  url: string,
  cli: RedisCli,
): Diagnosis {
  const lead =
    master === null
      ? 'Lead REDIS_URL to the master'
      : `Lead REDIS_URL to the master, ${master.address}`;
  const promote = `Only where that master is gone for good, and no other replica was promoted, make this server the master: ${cli(node, 'REPLICAOF NO ONE')}`;
  return {
    code: 'server-replica',
    severity: 'error',
    about: node,
    problem: 'The server is a replica and takes no writes',
    evidence:
      master === null
        ? 'role:slave; the server does not tell its master'
        : `role:slave, master ${master.address}, master_link_status:${master.linked ? 'up' : 'down'}`,
    // A promotion beside a master that lives makes two of them: writes of one are lost.
    cure: master?.linked === true ? lead : `${lead}. ${promote}`,
    command: master === null ? null : urlCommand(url, node, master.address),
  };
}

/** Returns the command that puts another address into REDIS_URL. Login and database stay. */
function urlCommand(url: string, node: string, address: string): string | null {
  const plain = /^[\w.-]+(?::\d+)?$/;
  const host = node.replace(/^.*[/@]/, '');
  // The address may be written in another way in REDIS_URL: without its port, as a list.
  const written = [host, host.replace(/:\d+$/, '')].find((one) => url.includes(one));
  if (written === undefined || !plain.test(written) || !plain.test(address)) return null;
  return `export REDIS_URL="\${REDIS_URL/${written}/${address}}"`;
}

const REFUSALS: Readonly<Record<string, string>> = {
  READONLY: 'Lead REDIS_URL to the master: the finding server-replica has its address',
  MISCONF:
    'Free space on the disk of the server, and look at its log. It takes writes again by itself once they can be written',
  OOM: 'Raise maxmemory (the finding memory-low has the command), or let functions and retention free memory (millrace limits)',
  NOREPLICAS: 'Connect the replicas again, or lower min-replicas-to-write',
  CLUSTERDOWN: 'Bring back the nodes of the missing slots: CLUSTER NODES lists them',
};

/** Judges the refused trials. NOPERM is a matter of rights, WRONGTYPE of one key. */
export function judgeWrites(trials: readonly RefusedTrial[]): Diagnosis[] {
  const judged = trials.filter(({ reply }) => reply !== 'NOPERM' && reply !== 'WRONGTYPE');
  const alike = grouping(judged, ({ reply, node }) => `${reply} ${node}`);
  return [...alike.values()].flatMap((refused) => {
    const [first] = refused;
    if (first === undefined) return [];
    const { reply, node, message } = first;
    return [
      {
        code: 'writes-refused',
        severity: 'error',
        about: reply,
        problem: 'The server answers, but refuses writes: nothing is published or acknowledged',
        evidence: `${node === null ? '' : `${node}: `}${message}; partitions ${someOf(refused.map(({ partition }) => String(partition)))}`,
        cure: REFUSALS[reply] ?? 'Look at the log of the server',
        command: null,
      } satisfies Diagnosis,
    ];
  });
}
