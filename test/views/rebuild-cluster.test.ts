/**
 * A rebuild from histories on a Redis Cluster. The partitions and the sets of histories lie on
 * several nodes.
 */
import { join } from 'node:path';
import { pino } from 'pino';
import t from 'tap';
import { connect } from '../../src/millrace.ts';
import { retain } from '../../src/upkeep/retention.ts';
import { createProject, parseLines } from '../cli/run-cli.ts';
import { startCluster } from '../../scripts/lab/redis-cluster.ts';

const VIEW = `
import { defineView } from 'millrace/define';
export default defineView({
  name: 'books', version: 1, on: ['note.added'],
  evolve: (row, event) => ({ numbers: [...(row?.numbers ?? []), Number(event.data.number)] }),
  indexes: { length: { sort: (row) => row.numbers.length } },
});
`;

t.test(
  'each row from its histories, on whichever node they are',
  { timeout: 90_000 },
  async (t) => {
    const cluster = await startCluster(t, { masters: 3 });
    const project = createProject(t, cluster.url);
    project.write('workers/books.mjs', VIEW);
    const millrace = await connect({
      environment: { REDIS_URL: cluster.url, MILLRACE_PARTITIONS: 4 },
      protoDir: join(project.dir, 'proto'),
      logger: pino({ level: 'silent' }),
    });
    t.teardown(() => millrace.close());
    const store = millrace.store();
    const expected = new Map<string, { numbers: number[] }>();
    for (let number = 0; number < 300; number++) {
      const book = `b${number % 23}`;
      expected.set(book, { numbers: [...(expected.get(book)?.numbers ?? []), number] });
      // Each category has ids that the others lack, and some that they have.
      await store.append(
        ['book', 'shelf', 'attic'][number % 3] as string,
        book,
        [{ type: 'note.added', data: { book, number, text: '' } }] as never,
        { expectedRevision: 'any' },
      );
    }
    const { connection, keys } = millrace.deployment;
    for (let partition = 0; partition < 4; partition++)
      await retain({ connection, keys, partitions: 4 }, partition, 'note.added', { maxEvents: 8 });
    const built = await project.run(['view', 'rebuild', 'books', '--json']);
    t.match(built, { status: 0, stderr: /building books@1 from histories in 4 partitions, / });
    t.match(parseLines(built.stdout).at(-1), { live: 1, rows: 23, events: 300, problems: [] });
    t.ok(Number(parseLines(built.stdout).at(-1)?.['refoldedRows']) > 0);
    const { rows } = await millrace.view('books').list({ limit: 100 });
    t.strictSame(
      new Map(rows.map(({ id, row }) => [id, row])),
      new Map([...expected].sort(([a], [b]) => (a < b ? -1 : 1))),
    );
  },
);
