/**
 * `millrace doctor`: looks at a deployment and its server, and names causes with their cures. Reads
 * facts, then judges them. The work in Redis is bounded, whatever the number of events. Nothing is
 * written.
 *
 * A check that Redis refuses, or that does not come to an end in time, becomes the finding
 * `unknown`. The other checks go on.
 */
import type { Deployment, UnfitProblem } from '../deployment.ts';
import { readOutboxes } from '../outbox/outbox-state.ts';
import { wallClockMs } from '../core/clock.ts';
import type { RedisSource } from '../redis/source.ts';
import { judgeKeys, readKeys } from './damaged-keys.ts';
import { bySeverity, unknown, type Diagnosis } from './diagnosis.ts';
import { readWork } from './function-facts.ts';
import { judgeHistories, readHistories } from './histories.ts';
import { judgeAdmin } from './judge-admin.ts';
import { judgeFunctions } from './judge-functions.ts';
import { judgeEmptiness, judgeRefusal } from './judge-opening.ts';
import { judgeRights } from './judge-rights.ts';
import { judgeServer, judgeWrites } from './judge-server.ts';
import { judgeMemory, judgePersistence } from './judge-storage.ts';
import { judgeTypes } from './judge-types.ts';
import { judgeLosses, judgeOutboxes, readLossFacts } from './ledgers.ts';
import { explainAdmin, readAsker, redisCliOf, type Asker, type RedisCli } from './redis-cli.ts';
import { readRights } from './rights.ts';
import { judgeSchemas, readSchemas } from './schemas.ts';
import { readMasters, readNodes, tryWrites } from './server-facts.ts';
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
  const { connection, keys } = deployment;
  const asker = await readAsker(deployment).catch(() => null);
  const cli = redisCliOf(deployment, asker);
  const found: Diagnosis[] = [
    ...judgeAdmin(deployment),
    ...refusals.flatMap((refusal) => judgeRefusal(refusal, deployment.partitions)),
  ];
  const leftOut = await lookAtKeys(deployment, found, cli);
  const source = { ...deployment, leftOut };
  const checks: Check[] = [
    ...serverChecks(deployment, refusals, asker, cli),
    ...(deployment.settled ? workChecks(source, cli) : []),
    // The last check: a connection that meets a replica by a write leaves it at once.
    ['writes', async () => judgeWrites(await tryWrites(source))],
  ];
  if (!deployment.settled) found.push(judgeEmptiness(keys.namespace, connection.target));
  for (const [name, check] of checks) {
    try {
      found.push(...(await check()));
    } catch (error) {
      // One check must not hide the findings of the others, whatever its error is.
      found.push(unknown(name, error instanceof Error ? error.message : String(error)));
    }
  }
  return bySeverity(found.map(explainAdmin));
}

/**
 * Looks for damaged keys, and adds the findings.
 * @returns partitions that no other check can read
 */
async function lookAtKeys(
  deployment: Deployment,
  found: Diagnosis[],
  cli: RedisCli,
): Promise<ReadonlySet<number>> {
  if (!deployment.settled) return new Set();
  try {
    const facts = await readKeys(deployment);
    found.push(...judgeKeys(facts, wallClockMs(), cli));
    return facts.leftOut;
  } catch (error) {
    found.push(unknown('keys', error instanceof Error ? error.message : String(error)));
    return new Set();
  }
}

function serverChecks(
  deployment: Deployment,
  refusals: readonly UnfitProblem[],
  asker: Asker | null,
  cli: RedisCli,
): Check[] {
  const { connection, keys, server, ownsServer, environment, url } = deployment;
  const user = asker?.user ?? 'default';
  const local = ownsServer || url.startsWith('unix:');
  const names = server.nodes.map(({ node }) => node);
  const ofServer = refusals.filter(({ kind }) => kind === 'server').map(({ problem }) => problem);
  return [
    [
      'server',
      async () => {
        const isReplica = server.nodes.some(({ role }) => role === 'replica');
        const masters = isReplica ? await readMasters(connection) : new Map<string, never>();
        return judgeServer({ ...server, url, masters, refusals: ofServer }, cli);
      },
    ],
    [
      'persistence, memory',
      async () =>
        (await readNodes(connection, names, local)).flatMap((node) => [
          ...judgePersistence(node, user, cli),
          ...judgeMemory(node, user, cli),
        ]),
    ],
    [
      'rights',
      async () =>
        judgeRights(
          await readRights({ connection, keys }),
          { namespace: keys.namespace, user, mode: environment.MILLRACE_MODE },
          cli,
        ),
    ],
    ['clock, latency', async () => judgeTimes(await readTimes(connection), user, cli)],
  ];
}

function workChecks(source: Deployment & RedisSource, cli: RedisCli): Check[] {
  const { registry, catalog, environment } = source;
  return [
    [
      'functions, event types',
      async () => {
        const facts = await readWork(source);
        return [...judgeFunctions(facts), ...judgeTypes(facts, cli)];
      },
    ],
    ['parked subjects', async () => judgeParked(await readParked(source))],
    ['losses', async () => judgeLosses(await readLossFacts(source))],
    ['outboxes', async () => judgeOutboxes(await readOutboxes(source))],
    [
      'schemas',
      async () => judgeSchemas(await readSchemas(registry, catalog), environment.MILLRACE_MODE),
    ],
    ['histories', async () => judgeHistories(await readHistories(source))],
  ];
}
