/** The producers of the README, unchanged, against a real server. */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import t from 'tap';
import { createCatalog } from '../../src/wire/catalog.ts';
import { loadProtoFolder } from '../../src/wire/proto-folder.ts';
import { walkBatch } from '../../src/wire/batch-reader.ts';
import { projectDir, startRedis, testServerBinary } from '../../scripts/lab/redis-server.ts';

const README = readFileSync(join(projectDir, 'README.md'), 'utf8');
const KEY = 'mr:{5}:events:order.created';

function block(language: string, part: string): string {
  const found = [...README.matchAll(/^```(\w+)\n([^]*?)^```/gm)].find(
    ([, name, text]) => name === language && text?.includes(part),
  );
  if (!found) throw new Error(`README.md has no ${language} block with ${part}`);
  return found[2] as string;
}

t.test(
  'an event of redis-cli, and one of Python, are in the stream as the README says',
  async (t) => {
    const redis = await startRedis(t);
    const { path, libraryPath } = await testServerBinary();
    const env = {
      ...process.env,
      PATH: [dirname(path), process.env['PATH']].join(delimiter),
      ...(libraryPath === '' ? {} : { LD_LIBRARY_PATH: libraryPath }),
    };
    const run = (program: string, args: readonly string[]): void => {
      const { status, stderr } = spawnSync(program, args, { encoding: 'utf8', env });
      t.equal(status, 0, stderr);
    };
    const expected = ['e1'];
    run('sh', ['-c', block('sh', 'redis-cli -s').replace('.millrace/redis.sock', redis.socket)]);
    if (spawnSync('python3', ['--version']).status === 0) {
      t.ok(existsSync(redis.socket));
      run('python3', ['-c', block('python', '# publish.py'), redis.socket]);
      expected.push('py-1');
    } else t.comment('no python3 here');

    const type = createCatalog(loadProtoFolder(join(projectDir, 'proto'))).get('order.created');
    const events: { id: string; subject: string; data: unknown }[] = [];
    for (const [, fields] of await redis.client().xrangeBuffer(KEY, '-', '+')) {
      const bytes = fields[1] as Buffer;
      walkBatch(
        bytes,
        ({ id, subject, dataOffset, dataLength }) =>
          void events.push({
            id,
            subject,
            data: type.decode(bytes.subarray(dataOffset, dataOffset + dataLength)),
          }),
      );
    }
    t.strictSame(
      events.map(({ id }) => id),
      expected,
    );
    for (const { subject } of events) t.equal(subject, 'A-1');
    if (events[1]) t.match(events[1].data, { orderId: 'A-1', userId: 'user-7', country: 'Norway' });
  },
);
