import { readFileSync } from 'node:fs';
import t from 'tap';
import { startRedis } from '../../scripts/lab/redis-server.ts';
import { counter, createProject } from './run-cli.ts';
import { untilTold, countersOf, is } from '../../scripts/lab/until.ts';

t.test(
  '200,000 lines through stdin in bounded memory; a pipe that pauses holds nothing back',
  async (t) => {
    const redis = await startRedis(t);
    const client = redis.client();
    const project = createProject(t, redis.url);
    const total = 200_000;
    const text = 'x'.repeat(700);
    const { child, ended } = project.start(['publish', '-', '--json'], {
      NODE_OPTIONS: '--max-old-space-size=96',
    });
    for (let i = 0; i < total;) {
      let block = '';
      for (const end = Math.min(total, i + 1000); i < end; i++)
        block += `{"type":"note.added","data":{"book":"b${i % 997}","number":${i},"text":"${text}"}}\n`;
      if (!child.stdin.write(block))
        await new Promise((resolve) => child.stdin.once('drain', resolve));
    }
    // stdin is still open. Everything that was written must arrive anyway.
    await untilTold(
      countersOf(client),
      'all are appended',
      async () => is(await counter(client, 'appended:note.added'), total),
      90_000,
    );
    const peakKb = Number(
      /^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'))?.[1],
    );
    child.stdin.end();
    const result = await ended;
    t.equal(result.status, 0, result.stderr);
    t.match(JSON.parse(result.stdout), { published: total, skipped: 0 });
    t.comment(
      `peak ${Math.round(peakKb / 1024)} MiB for ${Math.round((total * 760) / 1048576)} MiB of input`,
    );
    t.ok(peakKb < 220 * 1024, `peak of ${Math.round(peakKb / 1024)} MiB`);
  },
);
