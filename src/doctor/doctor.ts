/**
 * `millrace doctor`: looks at a deployment and its server, and names causes with their cures. Reads
 * facts, then judges them. The work in Redis is bounded, whatever the number of events. Nothing is
 * written.
 *
 * A check that Redis refuses, or that does not come to an end in time, becomes the finding
 * `unknown`. The other checks go on.
 */
import { parseRedisUrl } from '../redis/redis-url.ts';
import type { Deployment, UnfitProblem } from '../deployment.ts';
import { readOutboxes } from '../outbox/outbox-state.ts';
import { bySeverity, unknown, type Diagnosis } from './diagnosis.ts';
import { readWork } from './function-facts.ts';
import { judgeHistories, readHistories } from './histories.ts';
import { judgeAdmin } from './judge-admin.ts';
import { judgeFunctions } from './judge-functions.ts';
import { judgeRights } from './judge-rights.ts';
import { judgeServer, judgeWrites, type RedisCli } from './judge-server.ts';
import { judgeMemory, judgePersistence } from './judge-storage.ts';
import { judgeTypes } from './judge-types.ts';
import { judgeLosses, judgeOutboxes, readLossFacts } from './ledgers.ts';
import { readRights } from './rights.ts';
import { judgeSchemas, readSchemas } from './schemas.ts';
import { readNodes, tryWrites } from './server-facts.ts';
import { shellWord } from './shell-word.ts';
import { judgeParked, readParked } from './subjects.ts';
import { judgeTimes, readTimes } from './times.ts';

/** A check: its name, as `unknown` has it, and its work. */
type Check = readonly [name: string, check: () => Promise<Diagnosis[]>];

/**
 * Looks at the deployment.
 * @param refusals problems that opening has told of
 * @returns findings, the most severe first
 */
export async function examine(
  deployment: Deployment,
  refusals: readonly UnfitProblem[],
): Promise<Diagnosis[]> {
  const cli = redisCliOf(deployment);
  const found: Diagnosis[] = [
    ...judgeAdmin(deployment),
    ...refusals.flatMap((refusal) => judgeRefusal(refusal, deployment)),
  ];
  const checks: Check[] = [
    ...serverChecks(deployment, refusals, cli),
    ...(deployment.settled ? workChecks(deployment, cli) : []),
    // The last check: a connection that meets a replica by a write leaves it at once.
    ['writes', async () => judgeWrites(await tryWrites(deployment), cli)],
  ];
  if (!deployment.settled) found.push(emptiness(deployment));
  for (const [name, check] of checks) {
    try {
      found.push(...(await check()));
    } catch (error) {
      // One check must not hide the findings of the others, whatever its error is.
      found.push(unknown(name, error instanceof Error ? error.message : String(error)));
    }
  }
  return bySeverity(found);
}

function serverChecks(
  deployment: Deployment,
  refusals: readonly UnfitProblem[],
  cli: RedisCli,
): Check[] {
  const { connection, keys, server, ownsServer, environment } = deployment;
  const local = ownsServer || deployment.url.startsWith('unix:');
  const names = server.nodes.map(({ node }) => node);
  const ofServer = refusals.filter(({ kind }) => kind === 'server').map(({ problem }) => problem);
  return [
    ['server', async () => judgeServer({ ...server, refusals: ofServer }, cli)],
    [
      'persistence, memory',
      async () =>
        (await readNodes(connection, names, local)).flatMap((node) => [
          ...judgePersistence(node, cli),
          ...judgeMemory(node, cli),
        ]),
    ],
    [
      'rights',
      async () =>
        judgeRights(await readRights({ connection, keys }), environment.MILLRACE_NAMESPACE, cli),
    ],
    ['clock, latency', async () => judgeTimes(await readTimes(connection), cli)],
  ];
}

function workChecks(deployment: Deployment, cli: RedisCli): Check[] {
  const { registry, catalog, environment } = deployment;
  return [
    [
      'functions, event types',
      async () => {
        const facts = await readWork(deployment);
        return [...judgeFunctions(facts), ...judgeTypes(facts, cli)];
      },
    ],
    ['parked subjects', async () => judgeParked(await readParked(deployment))],
    ['losses', async () => judgeLosses(await readLossFacts(deployment))],
    ['outboxes', async () => judgeOutboxes(await readOutboxes(deployment))],
    [
      'schemas',
      async () => judgeSchemas(await readSchemas(registry, catalog), environment.MILLRACE_MODE),
    ],
    ['histories', async () => judgeHistories(await readHistories(deployment))],
  ];
}

function emptiness({ environment, connection }: Deployment): Diagnosis {
  return {
    code: 'deployment-empty',
    severity: 'info',
    about: environment.MILLRACE_NAMESPACE,
    problem: 'Nothing was published here yet, and no function started',
    evidence: `no settings in the namespace ${environment.MILLRACE_NAMESPACE} of ${connection.target}`,
    cure: 'If there should be something, check REDIS_URL and MILLRACE_NAMESPACE',
    command: 'millrace start',
  };
}

function judgeRefusal({ kind, problem }: UnfitProblem, deployment: Deployment): Diagnosis[] {
  if (kind === 'server') return [];
  if (kind === 'proto')
    return [
      {
        code: 'proto-invalid',
        severity: 'error',
        about: null,
        problem: 'The event types under proto/ cannot be read: no process starts',
        evidence: problem,
        cure: 'Mend the file',
        command: 'millrace schema check',
      },
    ];
  return [
    {
      code: 'partitions-differ',
      severity: 'error',
      about: null,
      problem: `MILLRACE_PARTITIONS is not the number of the deployment: no process starts`,
      evidence: problem,
      cure: 'Unset the variable, or set it to the number of the deployment',
      command: `export MILLRACE_PARTITIONS=${deployment.partitions}`,
    },
  ];
}

/** Writes commands for redis-cli, without a password. */
function redisCliOf({ url, server, connection }: Deployment): RedisCli {
  return (node, command) => {
    if (connection.isCluster) {
      const at = node ?? server.nodes[0]?.node ?? '';
      const [, host = '<host>', port = '<port>'] = /^(.*):(\d+)$/.exec(at) ?? [];
      return node === null
        ? `redis-cli --cluster call ${host}:${port} ${command}`
        : `redis-cli -h ${host} -p ${port} ${command}`;
    }
    if (url.startsWith('unix:'))
      return `redis-cli -s ${shellWord(parseRedisUrl(url).path ?? '')} ${command}`;
    return `redis-cli -u "$REDIS_URL" ${command}`;
  };
}
