/** The dispatcher's lines about failures carry the trace context of the event. No SDK is loaded. */
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { pino } from 'pino';
import t from 'tap';
import { readLag } from '../../src/lag/lag.ts';
import { connect } from '../../src/millrace.ts';
import type { PublishItem } from '../../src/pipeline/append/publish-item.ts';
import { createProject } from '../cli/run-cli.ts';
import { startRedis } from '../../scripts/lab/redis-server.ts';
import { atLeast, is, until } from '../../scripts/lab/until.ts';

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';
const SPAN = '00f067aa0ba902b7';

const FUNCTION = `
import { defineFunction } from 'millrace/define';
export default defineFunction({
  name: 'notes', on: ['note.added'], retry: { attempts: 2, minDelayMs: 1, maxDelayMs: 1 },
  handle(event) {
    if (event.id === 'exits') process.exit(1);
    if (event.id !== 'done') throw new Error('not yet');
  },
});
`;

t.test('an attempt that fails, a thread that dies, and dead letters', async (t) => {
  const redis = await startRedis(t);
  const project = createProject(t, redis.url);
  project.write('workers/notes.mjs', FUNCTION);
  const lines: Record<string, unknown>[] = [];
  const sink = new Writable({
    write(chunk: Buffer, _, done) {
      for (const line of chunk.toString().trim().split('\n'))
        lines.push(JSON.parse(line) as Record<string, unknown>);
      done();
    },
  });
  const millrace = await connect({
    environment: { REDIS_URL: redis.url, MILLRACE_PARTITIONS: 1, WORKERS: 1 },
    protoDir: join(project.dir, 'proto'),
    logger: pino({ level: 'info' }, sink),
  });
  t.teardown(() => millrace.close());
  const event = (id: string, traceparent?: string) => ({
    type: 'note.added',
    id,
    data: { book: id, number: 1, text: '' },
    ...(traceparent === undefined ? {} : { extensions: { traceparent } }),
  });
  const good = `00-${TRACE}-${SPAN}-00`;
  // Two of them stand in one entry: each has its own context.
  await millrace
    .publisher()
    .publishMany([
      event('plain'),
      event('traced', good),
      event('other', good.replace('4bf9', '0000')),
      event('exits', good),
      event('wrong', '00-xyz-01'),
      event('done', good),
    ] as PublishItem[]);
  const dispatcher = millrace.dispatcher({ functionsDir: join(project.dir, 'workers') });
  await dispatcher.start();
  const dead = () => lines.filter(({ msg }) => msg === 'event dead-lettered');
  await until('five are dead', () => atLeast(dead().length, 5));
  const failed = lines.filter(({ msg }) => /^attempt 1 of 2 failed/.test(String(msg)));
  const told = (of: typeof lines) =>
    Object.fromEntries(of.map(({ eventId, trace_id, span_id }) => [eventId, [trace_id, span_id]]));
  const wanted = {
    plain: [undefined, undefined],
    traced: [TRACE, SPAN],
    other: [TRACE.replace('4bf9', '0000'), SPAN],
    exits: [TRACE, SPAN],
    wrong: [undefined, undefined],
  };
  t.strictSame(told(failed), wanted, 'attempts that are tried again');
  t.strictSame(told(dead()), wanted, 'dead letters, from their parked records');
  await until('all is settled', async () =>
    is((await readLag(millrace.deployment)).functions[0]?.done, 1),
  );
  await dispatcher.stop();
  t.notOk(
    lines.some(({ eventId }) => eventId === 'done'),
    'an event that succeeds has no line',
  );
});
