import t from 'tap';
import { explain } from '../../src/explain/explain.ts';
import { partitionOf } from '../../src/core/partition.ts';
import { openService } from '../../scripts/lab/dispatcher-process.ts';
import { startRedis } from '../../scripts/lab/redis-server.ts';

const PARTITIONS = 4;

void t.test(
  'a scheduled event is explained: by id, by subject, until it is appended or cancelled',
  async (t) => {
    const redis = await startRedis(t);
    const millrace = await openService(t, redis.url, PARTITIONS);
    const publisher = millrace.publisher();
    const data = { key: 'sub', number: 1, order: 'ok', filler: new Uint8Array(0) };
    const deliverAt = Date.now() + 3_600_000;
    await publisher.publish('test.event', data, { id: 'later', deliverAt });
    await publisher.publish(
      'test.event',
      { ...data, key: 'other' },
      { id: 'else', delayMs: 3_600_000 },
    );
    const place = {
      type: 'test.event',
      subject: 'sub',
      partition: partitionOf('sub', PARTITIONS),
      where: 'scheduled',
      dueMs: deliverAt,
    };
    for (const query of [{ eventId: 'later' }, { subject: 'sub' }]) {
      const { events, waiting } = await explain(millrace.deployment, query);
      t.same(events, []);
      t.match(waiting, [
        { id: 'later', ...place, why: new RegExp(new Date(deliverAt).toISOString()) },
      ]);
      t.equal(waiting.length, 1);
    }
    t.same((await explain(millrace.deployment, { eventId: 'nobody' })).waiting, []);
  },
);

void t.test(
  'an emitted event in an outbox is explained; an entry that cannot be read is passed over',
  async (t) => {
    const redis = await startRedis(t);
    const millrace = await openService(t, redis.url, PARTITIONS);
    const look = redis.client();
    const [from, to] = [1, 2];
    // EventBatch { 3: Event { 1: id, 2: subject } }
    const batch = Buffer.concat([
      Buffer.of(0x1a, 8, 0x0a, 2),
      Buffer.from('e1'),
      Buffer.of(0x12, 2),
      Buffer.from('s1'),
    ]);
    await look.xadd(`mr:{${from}}:outbox`, '*', 'to', 'nonsense');
    await look.xadd(
      `mr:{${from}}:outbox`,
      '*',
      'to',
      to,
      'size',
      batch.length,
      'type',
      'test.event',
      'n',
      1,
      'c',
      0,
      'b',
      batch,
    );
    for (const query of [{ eventId: 'e1' }, { subject: 's1' }]) {
      const { waiting } = await explain(millrace.deployment, query);
      t.match(waiting, [
        {
          id: 'e1',
          subject: 's1',
          type: 'test.event',
          partition: to,
          where: 'outbox',
          dueMs: null,
          why: /outbox/,
        },
      ]);
    }
  },
);
