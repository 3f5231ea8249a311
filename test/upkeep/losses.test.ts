import t from 'tap';
import { connect } from '../../src/millrace.ts';
import { functionsDirOf, PROTO_DIR } from '../../scripts/lab/dispatcher-process.ts';
import { settled } from '../../scripts/lab/counters.ts';
import { startRedis } from '../../scripts/lab/redis-server.ts';
import { encodeEvents } from '../pipeline/bare-lane.ts';
import { adoptForeign } from '../../src/lag/adopt.ts';
import { noteLoss, readLosses } from '../../src/lag/losses.ts';
import { events, foreign, makeBed, publish, specOf, startLane } from '../pipeline/bare-lane.ts';
import { retain } from '../../src/upkeep/retention.ts';
import { until, is } from '../../scripts/lab/until.ts';

t.test('entries that vanished are written down with their range, once', async (t) => {
  const bed = await makeBed(t, 2);
  const ids: string[] = [];
  for (let i = 0; i < 8; i++) ids.push(await publish(bed, 1, { 'a.b': events(2) }));
  await bed.connection.command(
    'XDEL',
    bed.keys.events(1, 'a.b'),
    ids[3] as string,
    ids[4] as string,
  );
  t.match(await adoptForeign(bed.connection, bed.keys, 1, 'a.b'), { lost: 2, even: true });
  t.match(await adoptForeign(bed.connection, bed.keys, 1, 'a.b'), { lost: 0, even: true });
  t.match(await readLosses(bed), [
    { kind: 'entries', partition: 1, type: 'a.b', from: ids[2], to: ids[5], count: 2 },
  ]);

  await bed.connection.command('XTRIM', bed.keys.events(1, 'a.b'), 'MINID', ids[2] as string);
  await adoptForeign(bed.connection, bed.keys, 1, 'a.b');
  t.match(
    (await readLosses(bed))[1],
    { kind: 'entries', from: '0-0', to: ids[2], count: 2 },
    'trimmed by another hand, at the front',
  );
  await bed.connection.command('XDEL', bed.keys.events(1, 'a.b'), ids[7] as string);
  await adoptForeign(bed.connection, bed.keys, 1, 'a.b');
  t.match((await readLosses(bed))[2], { kind: 'entries', count: 1 });
});

t.test('what retention takes is no loss; a loss behind it has its range', async (t) => {
  const bed = await makeBed(t, 1);
  const lane = await startLane(bed, specOf('f', ['a.b']), 0);
  const ids: string[] = [];
  await foreign(bed, 0, 'a.b', events(3));
  for (let i = 0; i < 6; i++) ids.push(await publish(bed, 0, { 'a.b': events(1) }));
  await lane.drain();
  await retain({ ...bed, partitions: 1 }, 0, 'a.b', { maxEvents: 4 });
  await adoptForeign(bed.connection, bed.keys, 0, 'a.b');
  t.strictSame(await readLosses(bed), []);
  await bed.connection.command('XDEL', bed.keys.events(0, 'a.b'), ids[3] as string);
  await adoptForeign(bed.connection, bed.keys, 0, 'a.b');
  t.match(await readLosses(bed), [{ kind: 'entries', count: 1 }]);
});

t.test('bounded, and out of memory it says so', async (t) => {
  const bed = await makeBed(t, 1);
  const loss = {
    kind: 'group',
    function: 'f',
    type: 'a.b',
    from: '',
    to: '',
    count: 0,
    message: 'm'.repeat(5000),
  } as const;
  for (let i = 0; i < 1300; i++) await noteLoss(bed.connection, bed.keys, 0, loss);
  const kept = await readLosses(bed);
  t.ok(kept.length >= 1000 && kept.length < 1200, `${kept.length} are kept`);
  t.equal(kept[0]?.message.length, 500);
  await bed.connection.command('CONFIG', 'SET', 'maxmemory', '1');
  t.equal(await noteLoss(bed.connection, bed.keys, 0, loss), false);
});

t.test(
  'found by publishers and lanes at work: lost flushes, stolen acknowledgements, a flushed server',
  async (t) => {
    const redis = await startRedis(t);
    const look = redis.client();
    const millrace = await connect({
      environment: {
        REDIS_URL: redis.url,
        MILLRACE_PARTITIONS: 1,
        WORKERS: 1,
        LOG_LEVEL: 'silent',
        MILLRACE_LEASE_MS: 1000,
      },
      protoDir: PROTO_DIR,
    });
    t.teardown(() => millrace.close());
    const { deployment } = millrace;
    const publisher = millrace.publisher();
    const send = async (id: string, order = 'ok'): Promise<string> =>
      (
        await publisher.publish(
          'test.event',
          { key: id, number: 0, order, filler: new Uint8Array(0) },
          { id },
        )
      ).position.split('/')[1] as string;
    const kinds = async (): Promise<string[]> =>
      (await readLosses(deployment)).map((loss) => loss.kind);
    const ids = [await send('p1'), await send('p2'), await send('p3')];
    const [producer] = await look.keys('mr:{0}:producer:*');
    await look.set(producer as string, `1:${ids[0]}`, 'PX', 3_600_000);
    await t.rejects(send('p4'), { code: 'PRODUCER_GAP', expected: 2, actual: 4 });
    await until('it is written down', async () => is((await kinds()).length, 1));
    t.match(await readLosses(deployment), [
      { kind: 'sequence', partition: 0, from: ids[0], to: ids[2], count: 2 },
    ]);

    // A new function starts at the end.
    await millrace.dispatcher({ functionsDir: functionsDirOf('late') }).start();
    const slow = await send('slow', 'slow:300');
    await until('it runs', async () =>
      is(Number((await look.xpending('mr:{0}:events:test.event', 'late'))[0]), 1),
    );
    t.equal(
      await look.xack('mr:{0}:events:test.event', 'late', slow),
      1,
      'as a zombie without fences may',
    );
    await until('it is written down', async () => is((await kinds()).length, 2));
    t.match((await readLosses(deployment))[1], {
      kind: 'acknowledgement',
      function: 'late',
      from: slow,
      to: slow,
      count: 1,
    });
    await send('p5');
    await settled(look, 'late', 1, 1);

    // Events that come before anybody has noticed are not skipped, although a new function would
    // start at the end.
    await look
      .multi()
      .flushall()
      .xadd('mr:{0}:events:test.event', '*', 'b', encodeEvents([{ id: 'after', subject: 'after' }]))
      .exec();
    t.match(
      await settled(look, 'late', 1, 1),
      { dead: 1 },
      'it has run (and failed: its payload is no test.event)',
    );
    t.match(await readLosses(deployment), [
      {
        kind: 'group',
        function: 'late',
        type: 'test.event',
        from: '0-0',
        message: /counters are gone too/,
      },
    ]);
    await t.rejects(send('p6'), { code: 'PRODUCER_GAP' });
    await send('p7');
    await settled(look, 'late', 1, 2);
    for (let i = 0; i < 3; i++) {
      const last = await look.hget('mr:{0}:counters', 'at:late:test.event');
      await look.xgroup('DESTROY', 'mr:{0}:events:test.event', 'late');
      await send(`again${i}`);
      await settled(look, 'late', 1, 3 + i);
      t.match(
        (await readLosses(deployment)).at(-1),
        { kind: 'group', from: last },
        'behind the last commit',
      );
    }
  },
);
