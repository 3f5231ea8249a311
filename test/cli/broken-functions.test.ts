/**
 * Functions whose fault shows outside their handler: after it has returned, or before it is called.
 */
import t, { type Test } from 'tap';
import { startRedis } from '../../scripts/lab/redis-server.ts';
import { createProject, NOTES_PROTO } from './run-cli.ts';
import { until } from '../../scripts/lab/until.ts';

interface Explained {
  readonly function: string;
  readonly why: string;
}

interface HealthBody {
  readonly problems: readonly unknown[];
  readonly reasons: readonly { readonly code: string }[];
}

/** Fails after its handler has returned. */
const LATE = `import { defineFunction } from 'millrace/define';
async function goesOn(): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, 300));
  throw new Error('too late', { cause: new Error('ECONNRESET') });
}
export default defineFunction({ name: 'late', on: ['note.added'], handle() { void goesOn(); } });
`;
/** Ends its thread. */
const LEAVER = `import { defineFunction } from 'millrace/define';
export default defineFunction({ name: 'leaver', on: ['note.removed'], retry: { attempts: 1 }, handle() { process.exit(7); } });
`;
/** Fails before its handler is called. */
const MAILER = `import { defineFunction } from 'millrace/define';
export default defineFunction({ name: 'mailer', on: ['note.added'],
  setup: async (): Promise<string> => { throw new Error('db down', { cause: new Error('connect ECONNREFUSED') }); },
  handle() { throw new Error('never called'); } });
`;

/** Starts a service of one partition with the three functions. */
async function startBroken(t: Test) {
  const redis = await startRedis(t);
  const env = { MILLRACE_PARTITIONS: '1' };
  const p = createProject(t, redis.url, {
    'proto/notes.proto': NOTES_PROTO,
    'workers/late.ts': LATE,
    'workers/leaver.ts': LEAVER,
    'workers/mailer.ts': MAILER,
  });
  const running = p.start(['start'], {
    LOG_LEVEL: 'info',
    MILLRACE_PORT: '0',
    MILLRACE_STALL_MS: '5000',
    ...env,
  });
  const [, url = ''] = await running.seen('stderr', /, admin (http:\S+)$/m);
  /** Publishes an event with `millrace publish`, and returns its exit status. */
  const publish = async (type: string, id: string) =>
    (await p.run(['publish', type, '--data', '{"book":"b"}', '--id', id], { env })).status;
  /**
   * Waits until `millrace explain one` tells of the setup, and returns its functions. The
   * dispatcher notes a failure of a setup without waiting for Redis.
   */
  const explainSetup = (): Promise<Explained[]> =>
    until(
      'the failure is noted',
      async () => {
        const { stdout } = await p.run(['explain', 'one', '--json'], { env });
        const [found] = (JSON.parse(stdout) as { events: { functions: Explained[] }[] }).events;
        const noted = found?.functions.some(({ why }) => why.startsWith('setup of function'));
        return noted === true ? found?.functions : null;
      },
      60_000,
    );
  return { running, url, publish, explainSetup };
}

t.test(
  'an error after the handler returned leaves a trace; a setup that throws is what explain says',
  async (t) => {
    const { running, url, publish, explainSetup } = await startBroken(t);
    t.equal(await publish('note.added', 'one'), 0);

    await t.test(
      'an error after the handler returned is logged with its trace, and counted',
      async (t) => {
        const late = JSON.parse(
          (await running.seen('stdout', /^.*a thread was ended by a rejection.*$/m))[0],
        ) as Record<string, unknown>;
        t.match(late, {
          level: 50,
          msg: /of function "late"\. Await every promise before the handler returns/,
          functions: ['late'],
          error: 'too late',
          cause: /ECONNRESET/,
          stack: /late\.ts:4/,
        });
        t.ok(
          (late['lastEvents'] as { function: string; eventId: string }[]).some(
            (event) => event.function === 'late' && event.eventId === 'one',
          ),
        );
        await until('it is counted', async () =>
          /^millrace_uncaught_errors_total [1-9]/m.test(
            await (await fetch(`${url}/metrics`)).text(),
          ),
        );
      },
    );

    await t.test('a setup that throws is logged, and explain tells it', async (t) => {
      await running.seen('stdout', /db down/);
      const failed = JSON.parse(
        (await running.seen('stdout', /^.*db down.*turn failed.*$/m))[0],
      ) as {
        err: unknown;
      };
      t.match(failed.err, {
        type: 'SetupError',
        code: 'SETUP',
        message:
          /setup of function "mailer" failed: Error: db down; caused by Error: connect ECONNREFUSED/,
        stack: /at .*mailer\.ts:3/,
      });
      t.notMatch((failed.err as { stack: string }).stack, /lane\.js/);
      const states = await explainSetup();
      t.match(
        states.find((state) => state.function === 'mailer'),
        {
          state: 'pending',
          setup: { error: /db down/, stack: /mailer\.ts:3/ },
          why: /^setup of function "mailer" failed: Error: db down; caused by .*ECONNREFUSED .*\. It fails since \d{4}-.*Z, last at .*Z; the next try is due at .*Z; the event was not tried/,
        },
      );
      t.match(
        states.find((state) => state.function === 'mailer')?.why,
        /ECONNREFUSED \(at \/\S+mailer\.ts:3:\d+\)/,
        'with the place in the code of the user',
      );
      t.match(
        states.find((state) => state.function === 'late'),
        { state: 'done' },
      );
    });

    await t.test('health and metrics tell of the setup, with its place', async (t) => {
      const { setups } = (await (await fetch(`${url}/healthz`)).json()) as { setups: unknown };
      const place = /^\/\S+mailer\.ts:3:\d+$/;
      t.match(setups, [{ function: 'mailer', lanes: 1, error: /db down/, at: place }]);
      t.match(
        await (await fetch(`${url}/metrics`)).text(),
        /^millrace_setup_failing_lanes\{function="mailer",at="\/\S+mailer\.ts:3:\d+"\} 1$/m,
      );
      t.match(
        await (await fetch(`${url}/metrics`)).text(),
        /^millrace_setup_failing_lanes\{function="late",at=""\} 0$/m,
      );
    });

    await t.test(
      'a setup that fails for long is red, with its name, and no restart is asked for',
      async (t) => {
        const ask = async (path: string) => {
          const response = await fetch(`${url}${path}`);
          return { status: response.status, body: (await response.json()) as HealthBody };
        };
        const red = await until('it is red', async () => {
          const answer = await ask('/healthz');
          return answer.status === 503 ? answer : null;
        });
        t.match(red.body.problems, [
          {
            function: 'mailer',
            partition: null,
            code: 'setup-failing',
            problem:
              /failed: Error: db down; .*\(at \/\S+mailer\.ts:3:\d+\); in 1 lanes, for \d+ s$/,
          },
        ]);
        for (let look = 0; look < 50; look++) {
          const [live, health] = await Promise.all([ask('/livez'), ask('/healthz')]);
          t.match([live.status, health.status], [200, 503]);
          t.strictSame(
            health.body.reasons.map(({ code }) => code),
            ['setup-failing'],
          );
        }
        t.equal((await ask('/readyz')).status, 200, 'other functions work');
      },
    );

    await t.test('process.exit in a handler is logged with its place', async (t) => {
      t.equal(await publish('note.removed', 'two'), 0);
      const left = JSON.parse(
        (await running.seen('stdout', /^.*a thread was ended by process\.exit.*$/m))[0],
      ) as unknown;
      t.match(left, {
        functions: ['leaver'],
        error: 'process.exit(7) was called',
        stack: /leaver\.ts:2/,
        msg: /Throw instead/,
      });
    });
  },
);
