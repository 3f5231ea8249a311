/** Effects are written with the commit's acknowledgement, as a whole or not at all. */
import t from 'tap';
import fc from 'fast-check';
import { STEP } from '../../../src/core/effects.ts';
import type { BatchReport } from '../../../src/core/thread-protocol.ts';
import { CELL } from '../../../src/core/progress-cells.ts';
import { createBatch, type PreparedBatch } from '../../../src/pipeline/batch/batch.ts';
import { sendCommit } from '../../../src/pipeline/commit/commit.ts';
import type { CommitPlan } from '../../../src/pipeline/commit/commit-plan.ts';
import { runIsolating } from '../../../src/pipeline/run/run-isolating.ts';
import { PackReader, PackWriter } from '../../../src/wire/message-pack.ts';
import { encodeEvents, events, makeBed, publish, specOf, startLane } from '../bare-lane.ts';

/** steps: name, then operands */
function block(...steps: readonly (readonly [string, ...(string | number)[]])[]): Uint8Array {
  const pack = new PackWriter(64);
  for (const [name, ...operands] of steps) {
    pack.text(name);
    pack.uint(operands.length);
    for (const operand of operands) {
      if (typeof operand === 'number') pack.uint(operand);
      else pack.text(operand);
    }
  }
  return pack.finish();
}

void t.test('effects are written in the step that acknowledges', async (t) => {
  const bed = await makeBed(t, 1);
  const lane = await startLane(bed, specOf('f', ['a.b']), 0);
  const key = (name: string): string => `mr:{0}:view:v:${name}`;
  const call = (...command: [string, ...string[]]) => bed.connection.command(...command);
  const turn = async (keys: readonly string[], ...blocks: Uint8Array[]): Promise<CommitPlan> => {
    await publish(bed, 0, { 'a.b': events(3) });
    return (await lane.turn(() => 'done', 1000, { keys, blocks })) as CommitPlan;
  };

  await t.test('blocks in order; rows, index entries, removals', async (t) => {
    const plan = await turn(
      [key('1'), key('2'), key('ix')],
      block([STEP.SET, 1, 'one', 2, 'two'], [STEP.ADD, 3, 'm1', 'm2']),
      block([STEP.DEL, 2], [STEP.SET, 1, 'ONE'], [STEP.REMOVE, 3, 'm1']),
    );
    t.match(await sendCommit(bed.connection, plan), { kind: 'ok', repeated: false });
    t.strictSame(await call('MGET', key('1'), key('2')), ['ONE', null]);
    t.strictSame(await call('ZRANGE', key('ix'), '0', '-1'), ['m2']);
    await call('SET', key('1'), 'later');
    t.match(await sendCommit(bed.connection, plan), { kind: 'ok', repeated: true });
    t.equal(await call('GET', key('1')), 'later', 'the same turn sent again writes nothing');
  });

  await t.test('a zombie writes nothing', async (t) => {
    const plan = await turn([key('z')], block([STEP.SET, 1, 'zombie']));
    await call('SET', bed.keys.lease(0, 'f'), 'other:99');
    t.strictSame(await sendCommit(bed.connection, plan), { kind: 'stale' });
    t.equal(await call('EXISTS', key('z')), 0);
    await call('DEL', bed.keys.lease(0, 'f'));
    await lane.acquire();
    await lane.drain();
  });

  await t.test('an entry that is no longer pending: nothing at all is written', async (t) => {
    await publish(bed, 0, { 'a.b': events(2) });
    const plan = await turn([key('m')], block([STEP.SET, 1, 'x']));
    const [[id]] = (await call(
      'XPENDING',
      bed.keys.events(0, 'a.b'),
      'f',
      '-',
      '+',
      '1',
    )) as unknown as [[string]];
    await call('XACK', bed.keys.events(0, 'a.b'), 'f', id);
    const before = await call('HGETALL', bed.keys.counters(0));
    t.strictSame(await sendCommit(bed.connection, plan), { kind: 'refused', missing: [id] });
    t.equal(await call('EXISTS', key('m')), 0);
    t.strictSame(await call('HGETALL', bed.keys.counters(0)), before);
    await call('XGROUP', 'DESTROY', bed.keys.events(0, 'a.b'), 'f');
    t.match(await sendCommit(bed.connection, plan), { kind: 'refused' }, 'no group');
  });

  await t.test(
    'an index whose key is of another type costs itself; an unknown effect is refused before anything is written',
    async (t) => {
      const fresh = await startLane(bed, specOf('g', ['c.d']), 0);
      await publish(bed, 0, { 'c.d': events(1) });
      await call('SET', key('no-index'), 'text');
      const wrong = (await fresh.turn(() => 'done', 1000, {
        keys: [key('w'), key('no-index')],
        blocks: [block([STEP.SET, 1, 'x'], [STEP.ADD, 2, 'm'])],
      })) as CommitPlan;
      await t.rejects(
        sendCommit(bed.connection, {
          ...wrong,
          args: [...wrong.args.slice(0, -1), Buffer.from(block(['flushall']))],
        }),
        { message: /unknown effect/ },
      );
      t.equal(await call('EXISTS', key('w')), 0);
      t.equal(((await call('XPENDING', bed.keys.events(0, 'c.d'), 'g')) as unknown[])[0], 1);
      t.match(await sendCommit(bed.connection, wrong), {
        kind: 'ok',
        noIndexes: [key('no-index')],
      });
      t.strictSame(await call('MGET', key('w'), key('no-index')), ['x', 'text']);
    },
  );

  await t.test('a packed list is read by Redis and back', async (t) => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.oneof(
            fc.string({ unit: 'grapheme' }),
            fc.integer({ min: 0, max: 2 ** 32 - 1 }),
            fc.integer({ min: 30, max: 70_000 }).map((n) => 'x'.repeat(n)),
          ),
          { maxLength: 20 },
        ),
        async (items) => {
          const pack = new PackWriter(0);
          for (const item of items) {
            if (typeof item === 'number') pack.uint(item);
            else pack.text(item);
          }
          const bytes = pack.finish();
          const there = (await bed.connection.commandBuffer(
            'EVAL',
            'return cmsgpack.pack(cmsgpack.unpack(ARGV[1]))',
            '0',
            Buffer.from(bytes),
          )) as Buffer;
          for (const list of items.length === 0 ? [bytes] : [bytes, there]) {
            const reader = new PackReader(list);
            t.strictSame(
              items.map((item) => (typeof item === 'number' ? reader.uint() : reader.text())),
              items,
            );
            t.equal(reader.left, 0);
          }
        },
      ),
      { numRuns: 40 },
    );
    t.throws(() => new PackReader(Buffer.from('x')), RangeError);
    t.throws(() => new PackReader(Buffer.from([0x91, 0xa5, 0x61])).text(), RangeError);
  });
});

void t.test(
  'events whose effects died with their thread run again, before what was running does',
  async (t) => {
    const batch = createBatch(
      'f',
      0,
      ['a.b'],
      [],
      [
        {
          id: '1-0',
          type: 0,
          bytes: encodeEvents(events(4, 's')),
          n: 4,
          crc: null,
          count: 4,
          gone: false,
        },
      ],
    );
    const ran: number[][] = [];
    const given: number[] = [];
    const result = await runIsolating({
      pool: {
        run: ({ run: { caused }, cells }: PreparedBatch) => {
          given.push(caused.length);
          const mine = [0, 1, 2, 3].filter((i) => cells.states[i] === CELL.TODO);
          ran.push(mine);
          // The third event kills its thread each time it runs.
          for (const i of mine) {
            cells.states[i] = i === 2 ? CELL.RUNNING : CELL.CAUSED;
            if (i === 2)
              return Promise.resolve({
                kind: 'death' as const,
                cause: 'gone',
                timeout: false,
                alive: false,
                stoodStillMs: 0,
              });
          }
          return Promise.resolve({
            kind: 'report',
            failures: [],
            blocked: [],
            deadEntries: [],
            effects: Uint8Array.of(ran.length),
            ages: [],
            busyMs: 1,
          } satisfies BatchReport);
        },
      },
      batch,
      spec: specOf('f', ['a.b'], { ordering: 'none' }),
      cancel: new AbortController().signal,
    });
    t.strictSame(ran, [[0, 1, 2, 3], [0, 1], [3]]);
    t.strictSame(given, [0, 0, 1]);
    t.match(result, {
      kind: 'result',
      states: [CELL.DONE, CELL.DONE, CELL.FAILED, CELL.DONE],
      effects: [Uint8Array.of(2), Uint8Array.of(3)],
    });
  },
);
