/** Actions of operators, and faults of a cluster. */
import { spawn as spawnProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { listDeadLetters } from '../../../src/pipeline/dead/dead-letters.ts';
import { replayDeadLetter } from '../../../src/pipeline/dead/replay.ts';
import type { Fault } from '../fault.ts';
import { until } from '../../lab/until.ts';

const CLI = fileURLToPath(new URL('../../../src/cli/main.js', import.meta.url));

export const operationFaults: readonly Fault[] = [
  {
    name: 'replay-crash',
    about: 'dlq replay killed half-way, again and again, then run to its end',
    load: () => ({ orders: ['broken'], ordersPerThousand: 150 }),
    async inject({ redis, sink, service, random, allowed, pause, note }) {
      const { deployment } = service;
      const broken = async () => {
        const letters = [];
        for await (const letter of listDeadLetters(deployment))
          if (/is broken/.test(letter.error.message)) letters.push(letter);
        return letters;
      };
      await sink.set('broken', true);
      await until('letters gather', async () => (await broken()).length > 60, 20_000);
      await sink.set('broken', false);
      await pause(200, 400);
      // These letters are known before the first slot moves. Later ones are replayed below.
      for (const { function: fn, eventId } of await broken())
        allowed.replayed.add(`${fn} ${eventId}`);
      for (let i = 0; i < 3; i++) {
        await note('kill replay');
        const replay = spawnProcess(process.execPath, [CLI, 'dlq', 'replay', '--all'], {
          stdio: 'ignore',
          env: { PATH: process.env['PATH'], HOME: process.env['HOME'], REDIS_URL: redis?.url },
        });
        const gone = once(replay, 'exit');
        // The time is somewhere between the start and the end of the move.
        await Promise.race([gone, pause(350, 800)]);
        replay.kill('SIGKILL');
        await gone;
      }
      await until(
        'nothing is left to replay',
        async () => {
          const left = await broken();
          for (const letter of left) {
            allowed.replayed.add(`${letter.function} ${letter.eventId}`);
            await replayDeadLetter(deployment, letter);
          }
          return left.length === 0;
        },
        20_000,
      );
      await pause(random.whole(0, 100), 200);
    },
  },
  {
    name: 'failover',
    about:
      'a master of a 3+3 cluster killed, its replica takes over; events published as replicated',
    needs: 'cluster',
    async inject({ cluster, sink, partitions, allowed, pause, note, relayForgets }) {
      if (!cluster) throw new Error('this fault needs a cluster');
      await pause(200, 600);
      const index = await cluster.ownerOf('mr:{0}:counters');
      const victim = cluster.nodes[index];
      const owners = await Promise.all(
        Array.from({ length: partitions }, (_, partition) =>
          cluster.ownerOf(`mr:{${partition}}:counters`),
        ),
      );
      // Longer than the lag of asynchronous replication here, which is milliseconds.
      const fromOp = await sink.length();
      await pause(200, 200);
      // Replication is asynchronous. Outcomes that had not reached the replica are forgotten, and
      // their events run again.
      allowed.stateGoesBack = true;
      await note('kill master');
      await victim?.kill();
      await cluster.succeeded(index);
      relayForgets(
        new Set(owners.flatMap((owner, partition) => (owner === index ? [partition] : []))),
        fromOp,
        await sink.length(),
      );
      await victim?.restart();
      await pause(500, 1000);
    },
  },
];
