/**
 * The contents of the outboxes: the command line and health tell of them, and they go when they can
 * leave.
 */
import { Command } from 'commander';
import t from 'tap';
import { registerOutbox } from '../../src/cli/commands/outbox.ts';
import { connect } from '../../src/millrace.ts';
import { partitionOf } from '../../src/core/partition.ts';
import { readOutboxes, type OutboxState } from '../../src/outbox/outbox-state.ts';
import { eventsIn } from '../../scripts/lab/emits.ts';
import { functionsDirOf, PROTO_DIR } from '../../scripts/lab/dispatcher-process.ts';
import { dataFor } from '../../scripts/lab/misbehaving-functions/emit/_plan.ts';
import { startRedis } from '../../scripts/lab/redis-server.ts';
import { until, untilTold, writesTo, is } from '../../scripts/lab/until.ts';

const PARTITIONS = 3;
const subjectIn = (partition: number): string =>
  Array.from({ length: 100 }, (_, i) => `s${i}`).find(
    (subject) => partitionOf(subject, PARTITIONS) === partition,
  ) as string;

t.test(
  'a target that takes nothing: seen by millrace outbox and by health, until it does',
  async (t) => {
    const redis = await startRedis(t);
    const look = redis.client();
    const millrace = await connect({
      environment: {
        REDIS_URL: redis.url,
        MILLRACE_PARTITIONS: PARTITIONS,
        WORKERS: 1,
        LOG_LEVEL: 'silent',
        MILLRACE_STALL_MS: 1000,
      },
      protoDir: PROTO_DIR,
    });
    t.teardown(() => millrace.close());
    const cli = async (...args: string[]): Promise<{ out: string; err: string }> => {
      const ran = { out: '', err: '' };
      const program = new Command();
      registerOutbox(program, {
        open: () => Promise.resolve(millrace.deployment),
        out: (text) => void (ran.out += `${text}\n`),
        err: (text) => void (ran.err += `${text}\n`),
      });
      await program.parseAsync(['node', 'millrace', 'outbox', ...args]);
      return ran;
    };
    t.strictSame(await cli(), { out: '', err: 'millrace: nothing waits in the outboxes\n' });

    await look.set('mr:{2}:relayed', 'in the way');
    const dispatcher = millrace.dispatcher({ functionsDir: functionsDirOf('emit') });
    await dispatcher.start();
    const plan = {
      emits: [
        { type: 'test.other', subject: subjectIn(2) },
        { type: 'test.other', subject: subjectIn(2), delayMs: 1 },
        { type: 'test.other', subject: subjectIn(1) },
      ],
    };
    await millrace
      .publisher()
      .publish('test.event', dataFor(subjectIn(0), 0, JSON.stringify(plan)), { id: 'cause' });
    const state = await untilTold(
      writesTo(look),
      'only what is for partition 2 waits',
      async () => {
        const states = await readOutboxes(millrace.deployment);
        return states[0]?.entries === 1 &&
          (await eventsIn(look, PARTITIONS, 'test.other')).length === 1
          ? states[0]
          : null;
      },
    );
    t.match(state, {
      partition: 0,
      entries: 1,
      targets: [{ partition: 2, entries: 1, events: 2 }],
    });
    t.ok(state.bytes > 50 && (state.oldestMs ?? -1) >= 0);
    t.match((await cli()).out, /^from +to +flushes +events +oldest\n +0 +2 +1 +2 +[\d.]+ ?m?s\n$/);
    const lines = (await cli('--json')).out
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as OutboxState);
    t.match(lines, [
      { partition: 0, entries: 1 },
      { partition: 1, entries: 0, oldestMs: null, targets: [] },
      { partition: 2, entries: 0 },
    ]);

    const red = await until('it is red', () => {
      const health = dispatcher.health();
      return health.ok ? null : health;
    });
    t.match(red.problems, [
      {
        function: null,
        partition: 0,
        problem: /^emitted events have waited in the outbox for partition 2 for \d s$/,
      },
    ]);
    await look.del('mr:{2}:relayed');
    await until('it is green again', () => dispatcher.health().ok);
    t.ok((await readOutboxes(millrace.deployment)).every(({ entries }) => entries === 0));
    // The second event was for later.
    await untilTold(writesTo(look), 'both are there', async () =>
      is((await eventsIn(look, PARTITIONS, 'test.other')).length, 3),
    );
  },
);

t.test('more entries than are looked into', async (t) => {
  const redis = await startRedis(t);
  const look = redis.client();
  const millrace = await connect({
    environment: { REDIS_URL: redis.url, MILLRACE_PARTITIONS: 1, LOG_LEVEL: 'silent' },
    protoDir: PROTO_DIR,
  });
  t.teardown(() => millrace.close());
  const pipeline = look.pipeline();
  for (let i = 0; i < 1500; i++)
    pipeline.xadd(
      'mr:{0}:outbox',
      '*',
      'to',
      i % 2,
      'size',
      0,
      'type',
      'test.event',
      'n',
      3,
      'c',
      0,
      'b',
      '',
    );
  await pipeline.exec();
  const [state] = await readOutboxes(millrace.deployment);
  t.match(state, {
    entries: 1500,
    targets: [
      { partition: 0, entries: 512, events: 1536 },
      { partition: 1, entries: 512, events: 1536 },
    ],
  });
});
