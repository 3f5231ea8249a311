/** Lanes of one partition read in one call: each its own entries, each entry's bytes once. */
import fc from 'fast-check';
import t from 'tap';
import { PartitionTakes, type TakeAnswer } from '../../../src/pipeline/read/partition-takes.ts';
import { add, keys, openScriptLanes, takeCall, type ScriptLane } from '../script-lane.ts';

const FUNCTIONS = ['f', 'g', 'h'];
const TYPES = ['a', 'b'];

type Ok = Extract<TakeAnswer, { kind: 'ok' }>;

function idsOf(answer: TakeAnswer): readonly (readonly string[])[] {
  if (answer.kind !== 'ok') throw new Error(`the take answered ${answer.kind}`);
  return answer.entries.map((entries) => entries.map(({ id }) => id));
}

t.test('lanes that read the same entries share their bytes', async (t) => {
  const lanes = await openScriptLanes(t, FUNCTIONS);
  const { connection, look } = lanes[0] as ScriptLane;
  for (const id of ['1-0', '2-0', '3-0']) await add(look, 'a', id);
  const takes = new PartitionTakes(connection, 60_000);
  const answers = await Promise.all(lanes.map((lane) => takes.take(takeCall(lane))));
  for (const answer of answers) t.strictSame(idsOf(answer), [['1-0', '2-0', '3-0'], []]);
  const [first, ...others] = answers as Ok[];
  t.equal(String(first?.entries[0]?.[1]?.bytes), 'bytes of 2-0');
  for (const other of others) t.equal(other.entries[0]?.[1]?.bytes, first?.entries[0]?.[1]?.bytes);
});

t.test('a lane that cannot read costs only itself', async (t) => {
  const lanes = await openScriptLanes(t, ['f', 'g', 'h', 'i']);
  const [f, g, h, i] = lanes as [ScriptLane, ScriptLane, ScriptLane, ScriptLane];
  const { connection, look } = f;
  await add(look, 'a', '1-0');
  await look.xgroup('DESTROY', keys.events(0, 'a'), 'g');
  await look.set(keys.due(0, 'h'), 'no sorted set');
  const takes = new PartitionTakes(connection, 60_000);
  const answers = await Promise.all([
    takes.take(takeCall(f, { lease: 'two:9' })),
    takes.take(takeCall(g)),
    takes.take(takeCall(h)),
    takes.take(takeCall(i)),
  ]);
  t.match(answers, [
    { kind: 'stale' },
    { kind: 'nogroup', message: /NOGROUP/ },
    { kind: 'error', error: /WRONGTYPE/ },
    { kind: 'ok' },
  ]);
  t.strictSame(idsOf(answers[3]), [['1-0'], []]);
  for (const fn of ['f', 'h'])
    t.equal(
      ((await look.xpending(keys.events(0, 'a'), fn)) as [number])[0],
      0,
      `${fn} took nothing`,
    );
  await look.set(keys.due(0, 'i'), 'no sorted set');
  const none = [takes.take(takeCall(h)), takes.take(takeCall(i))];
  for (const one of none) await t.rejects(one, /WRONGTYPE/, 'where all fail, the call fails');
});

t.test('fields of a foreign producer come as they are, whatever their length', async (t) => {
  const [lane] = (await openScriptLanes(t, ['f'])) as [ScriptLane];
  const takes = new PartitionTakes(lane.connection, 60_000);
  const bytes = fc.uint8Array({ maxLength: 1200 }).map((array) => Buffer.from(array));
  const field = fc.oneof(
    fc.tuple(fc.constant('b'), bytes),
    fc.tuple(
      fc.constantFrom('n', 'c'),
      fc.nat(70_000).map((n) => Buffer.from(String(n))),
    ),
    fc.tuple(
      fc.constantFrom('n', 'c', 'x'),
      fc.nat(70_000).map((n) => Buffer.alloc(n, '7')),
    ),
  );
  let id = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(field, { minLength: 1, maxLength: 4 }), { minLength: 1 }),
      async (entries) => {
        for (const fields of entries)
          await lane.look.xadd(keys.events(0, 'a'), `${++id}-0`, ...fields.flat());
        const answer = await takes.take(takeCall(lane, { count: 1000 }));
        if (answer.kind !== 'ok') throw new Error(answer.kind);
        const [taken] = answer.entries;
        if (taken?.length !== entries.length) throw new Error(`${taken?.length} entries`);
        entries.forEach((fields, i) => {
          const last = (name: string): Buffer | undefined =>
            fields.findLast(([of]) => of === name)?.[1];
          const one = taken[i];
          if (!one?.bytes.equals(last('b') ?? Buffer.alloc(0))) throw new Error('other bytes');
          const n = Number(last('n')?.toString() ?? 0);
          if (one.n !== (n >= 1 && n <= 65_536 ? n : null)) throw new Error(`n is ${one.n}`);
        });
      },
    ),
    { numRuns: 100 },
  );
});

type Step =
  | { readonly do: 'append'; readonly type: number }
  | { readonly do: 'ack'; readonly lane: number; readonly type: number }
  | { readonly do: 'delete'; readonly type: number }
  | { readonly do: 'take'; readonly lanes: readonly (readonly [count: number, anew: boolean])[] };

const type = fc.nat(TYPES.length - 1);
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant('append' as const), type }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('ack' as const), lane: fc.nat(2), type }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('delete' as const), type }) },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('take' as const),
      lanes: fc.array(fc.tuple(fc.integer({ min: 0, max: 5 }), fc.boolean()), {
        minLength: 3,
        maxLength: 3,
      }),
    }),
  },
);

/** Entries as each lane should see them. */
class Model {
  readonly #ids: string[][] = [[], []];
  readonly #deleted = new Set<string>();
  /** By lane and type: entries handed out, and those acknowledged. */
  readonly #given = FUNCTIONS.map(() => [0, 0]);
  readonly #acked = FUNCTIONS.map(() => [new Set<string>(), new Set<string>()]);

  append(type: number, id: string): void {
    this.#ids[type]?.push(id);
  }

  /** Deletes the first entry that is left. @returns its id */
  delete(type: number): string | undefined {
    const id = this.#ids[type]?.find((one) => !this.#deleted.has(one));
    if (id !== undefined) this.#deleted.add(id);
    return id;
  }

  /** Acknowledges the first pending entry. @returns its id */
  ack(lane: number, type: number): string | undefined {
    const [id] = this.#pending(lane, type);
    if (id !== undefined) this.#acked[lane]?.[type]?.add(id);
    return id;
  }

  take(lane: number, count: number, anew: boolean): readonly string[][] {
    return TYPES.map((_, type) => {
      if (count === 0) return [];
      if (anew) return this.#pending(lane, type).slice(0, count);
      const given = this.#given[lane] as number[];
      const ids = this.#ids[type] as string[];
      const found: string[] = [];
      let at = given[type] as number;
      for (; at < ids.length && found.length < count; at++)
        if (!this.#deleted.has(ids[at] as string)) found.push(ids[at] as string);
        else this.#acked[lane]?.[type]?.add(ids[at] as string);
      given[type] = at;
      return found;
    });
  }

  #pending(lane: number, type: number): string[] {
    const given = this.#given[lane]?.[type] as number;
    const acked = this.#acked[lane]?.[type] as Set<string>;
    return (this.#ids[type] as string[]).slice(0, given).filter((id) => !acked.has(id));
  }
}

t.test('property: joined reads hand out to each lane exactly its own entries', async (t) => {
  const lanes = await openScriptLanes(t, FUNCTIONS);
  const { connection, look } = lanes[0] as ScriptLane;
  const takes = new PartitionTakes(connection, 60_000);
  let sequence = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
      const model = new Model();
      for (const name of TYPES) {
        await look.del(keys.events(0, name));
        for (const fn of FUNCTIONS)
          await look.xgroup('CREATE', keys.events(0, name), fn, '0', 'MKSTREAM');
      }
      for (const one of steps) {
        if (one.do === 'append') {
          const id = `${++sequence}-0`;
          await add(look, TYPES[one.type] as string, id);
          model.append(one.type, id);
        } else if (one.do === 'delete') {
          const id = model.delete(one.type);
          if (id) await look.xdel(keys.events(0, TYPES[one.type] as string), id);
        } else if (one.do === 'ack') {
          const id = model.ack(one.lane, one.type);
          const key = keys.events(0, TYPES[one.type] as string);
          if (id) await look.xack(key, FUNCTIONS[one.lane] as string, id);
        } else {
          const answers = await Promise.all(
            one.lanes.map(([count, anew], i) => {
              const after = anew ? (['0-0', '0-0'] as const) : (['>', '>'] as const);
              return takes.take(takeCall(lanes[i] as ScriptLane, { count, after }));
            }),
          );
          answers.forEach((answer, i) => {
            const [count, anew] = one.lanes[i] as readonly [number, boolean];
            const expected = JSON.stringify(model.take(i, count, anew));
            const got = JSON.stringify(idsOf(answer));
            if (got !== expected) throw new Error(`lane ${i} got ${got}, not ${expected}`);
          });
        }
      }
    }),
    { numRuns: 100 },
  );
});
