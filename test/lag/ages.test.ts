/** Ages of the states: as tables, and against a model that looks at every event in Redis. */
import t from 'tap';
import fc from 'fast-check';
import { readLag, type StateLag, type TypeLag } from '../../src/lag/lag.ts';
import { sumRows } from '../../src/lag/lag-counts.ts';
import {
  ageOf,
  countParked,
  oldestOf,
  oldestParked,
  type ParkedUnit,
} from '../../src/lag/oldest.ts';
import { listDeadLetters } from '../../src/pipeline/dead/dead-letters.ts';
import { purgeDeadLetters } from '../../src/pipeline/dead/purge.ts';
import { replayDeadLetter } from '../../src/pipeline/dead/replay.ts';
import { rewindFunction } from '../../src/rewind/rewind.ts';
import { ParkedSweep } from '../../src/upkeep/parked-sweep.ts';
import { decodeParked } from '../../src/wire/parked.ts';
import {
  type BareLane,
  type Bed,
  encodeEvents,
  events,
  makeBed,
  publish,
  specOf,
  startLane,
  type TestEvent,
} from '../pipeline/bare-lane.ts';

t.test('the oldest of several ages, and its bound', (t) => {
  const exact = (ms: number) => ({ ms });
  const least = (ms: number) => ({ ms, bound: 'at-least' as const });
  const most = (ms: number) => ({ ms, bound: 'at-most' as const });
  const table = [
    [[], null],
    [[null], null],
    [[exact(3), null, exact(5)], exact(5)],
    [[exact(3), least(5)], least(5)],
    [[exact(5), least(3)], least(5)],
    [[exact(5), most(3)], exact(5)],
    [[exact(3), most(5)], most(5)],
    [[most(5), most(3)], most(5)],
    [[exact(3), least(4), most(5)], least(4)],
    [[most(5), least(0)], least(0)],
    [[exact(0)], exact(0)],
  ] as const;
  for (const [ages, expected] of table)
    t.strictSame(oldestOf(ages), expected, JSON.stringify(ages));
  t.strictSame(ageOf({ atMs: 40 }, 100), { ms: 60 });
  t.strictSame(ageOf({ atMs: 40, bound: 'at-most' }, 100), { ms: 60, bound: 'at-most' });
  t.strictSame(ageOf({ atMs: 101 }, 100), { ms: 0, bound: 'at-least' }, 'an id of the future');
  t.strictSame(ageOf({ atMs: Infinity, bound: 'at-least' }, 100), { ms: 0, bound: 'at-least' });
  t.end();
});

const unit = (
  fromMs: number | null,
  records: readonly (readonly [string, number] | null)[],
  more: Partial<ParkedUnit> = {},
): ParkedUnit => ({
  fromMs,
  unordered: false,
  length: records.length,
  records: records.map((one) => one && { type: one[0], atMs: one[1] }),
  ...more,
});

t.test('the oldest parked event, and its bound', (t) => {
  const a = unit(10, [['a', 10]]);
  const table: readonly [
    string,
    readonly ParkedUnit[],
    { readonly rest?: number; readonly complete?: boolean; readonly type?: string },
    unknown,
  ][] = [
    ['no unit', [], {}, null],
    ['one record', [a], {}, { atMs: 10 }],
    ['the rest is younger', [a], { rest: 11 }, { atMs: 10 }],
    ['the rest may be older', [a], { rest: 9 }, { atMs: 9, bound: 'at-most' }],
    ['the rest is not known', [a], { complete: false }, { atMs: 10, bound: 'at-least' }],
    ['the head is the oldest', [unit(10, [['a', 10]], { length: 9 })], {}, { atMs: 10 }],
    [
      'older ones may stand behind the head',
      [unit(5, [['a', 10]], { length: 9, unordered: true })],
      {},
      { atMs: 5, bound: 'at-most' },
    ],
    [
      'the whole list was seen',
      [unit(5, [['a', 10], ['a', 5]], { unordered: true })], // prettier-ignore
      {},
      { atMs: 5 },
    ],
    ['no place, seen as a whole', [unit(null, [['a', 10]])], {}, { atMs: 10 }],
    ['no place', [unit(null, [['a', 10]], { length: 2 })], {}, { atMs: 10, bound: 'at-least' }],
    ['an unreadable head', [unit(7, [null])], {}, { atMs: 7, bound: 'at-most' }],
    ['another type', [a], { type: 'b' }, null],
    [
      'the type may come behind what was seen',
      [unit(10, [['a', 10], ['a', 12]], { length: 3 })], // prettier-ignore
      { type: 'b' },
      { atMs: 12, bound: 'at-most' },
    ],
    [
      'the type is in another list',
      [unit(10, [['a', 10]], { length: 3 }), unit(11, [['b', 11]])],
      { type: 'b' },
      { atMs: 10, bound: 'at-most' },
    ],
  ];
  for (const [name, units, { rest = Infinity, complete = true, type }, expected] of table)
    t.strictSame(oldestParked({ units, restFromMs: rest, complete }, type ?? null), expected, name);
  const long = unit(1, [['a', 1], ['b', 2]], { length: 9 }); // prettier-ignore
  t.strictSame(countParked([long, a], null, true), { events: 10 });
  t.strictSame(countParked([long, a], null, false), { events: 10, bound: 'at-least' });
  t.strictSame(countParked([long, a], 'a', true), { events: 2, bound: 'at-least' });
  t.strictSame(countParked([a], 'b', true), { events: 0 });
  t.end();
});

/** Reads the time of the server, ms. */
async function serverMs(bed: Bed): Promise<number> {
  const [seconds, micros] = await bed.redis.client().time();
  return Number(seconds) * 1000 + Math.floor(Number(micros) / 1000);
}

/** Appends with a chosen time of arrival, as a producer in another language may. */
async function appendAt(
  bed: Bed,
  type: string,
  atMs: number,
  what: readonly TestEvent[],
): Promise<void> {
  await bed.connection.command(
    'XADD',
    bed.keys.events(0, type),
    `${atMs}-0`,
    'b',
    encodeEvents(what),
    'n',
    what.length,
  );
}

const STATES = ['lag', 'pending', 'parked', 'held'] as const;
type State = (typeof STATES)[number];
/** Arrivals of the events of a type, by state. */
type Model = Record<State, number[]>;

interface Truth {
  readonly types: ReadonlyMap<string, Model>;
  /** Arrivals of the parked lists, in their order. */
  readonly lists: readonly (readonly number[])[];
}

/** Looks at every event in Redis, without the counters and without `arrived`. */
async function truthOf(bed: Bed, fn: string, types: readonly string[]): Promise<Truth> {
  const client = bed.redis.client();
  const found = new Map<string, Model>(
    types.map((type) => [type, { lag: [], pending: [], parked: [], held: [] }]),
  );
  const lists: number[][] = [];
  for (const [type, model] of found) {
    const key = bed.keys.events(0, type);
    const [group] = (await client.xinfo('GROUPS', key)) as [unknown[]];
    const delivered = group?.[group.indexOf('last-delivered-id') + 1] as string;
    const entries = async (from: string, to: string): Promise<[number, number][]> =>
      (await client.xrange(key, from, to)).map(([id, fields]) => [
        Number(id.split('-')[0]),
        Number(fields[fields.indexOf('n') + 1]),
      ]);
    const put = (into: number[], some: [number, number][]): void => {
      for (const [atMs, count] of some) for (let i = 0; i < count; i++) into.push(atMs);
    };
    put(model.lag, await entries(`(${delivered}`, '+'));
    for (const [id] of (await client.xpending(key, fn, '-', '+', 10_000)) as [string][])
      put(model.pending, await entries(id, id));
  }
  const prefix = bed.keys.parked(0, fn, '');
  const held = await client.hgetall(bed.keys.held(0, fn));
  for (const key of await client.keys(`${prefix}*`)) {
    const list: number[] = [];
    for (const bytes of await client.lrangeBuffer(key, 0, -1)) {
      const { type, entryId } = decodeParked(bytes);
      const atMs = Number(entryId.split('-')[0]);
      list.push(atMs);
      found.get(type)?.[key.slice(prefix.length) in held ? 'held' : 'parked'].push(atMs);
    }
    lists.push(list);
  }
  return { types: found, lists };
}

/** Tells what is wrong with a state; '' if nothing. */
function wrongIn(
  said: StateLag,
  arrivals: readonly number[],
  [beforeMs, afterMs]: readonly [number, number],
): string {
  const { events, eventsBound, oldestMs, oldestBound } = said;
  const truth = `${JSON.stringify(said)}, but there are ${arrivals.length}`;
  if (eventsBound === undefined && events !== arrivals.length) return truth;
  if (eventsBound === 'at-least' && events > arrivals.length) return truth;
  if (eventsBound === 'at-most' && events < arrivals.length) return truth;
  if (oldestMs === null) return arrivals.length === 0 ? '' : truth;
  if (arrivals.length === 0) return eventsBound === undefined ? truth : '';
  const oldest = Math.min(...arrivals);
  const [least, most] = [beforeMs - oldest, afterMs - oldest];
  const age = `${JSON.stringify(said)}, but the oldest has ${least} to ${most}`;
  if (oldestBound !== 'at-most' && oldestMs > most) return age;
  if (oldestBound !== 'at-least' && oldestMs < least) return age;
  return '';
}

async function compare(
  bed: Bed,
  types: readonly string[],
  mustBeExact: (truth: Truth) => boolean,
): Promise<void> {
  const truth = await truthOf(bed, 'f', types);
  const beforeMs = await serverMs(bed);
  const { functions } = await readLag(bed);
  const window = [beforeMs, await serverMs(bed)] as const;
  const [fn] = functions;
  if (!fn) throw new Error('no function');
  for (const row of fn.types) {
    const model = truth.types.get(row.type) as Model;
    for (const state of STATES) {
      const wrong = wrongIn(row.states[state], model[state], window);
      if (wrong) throw new Error(`${row.type} ${state}: ${wrong}`);
    }
    const willRun = [...model.lag, ...model.pending, ...model.parked];
    const { oldestMs, oldestBound } = row;
    const sum = { events: willRun.length, oldestMs, ...(oldestBound && { oldestBound }) };
    const wrong = wrongIn(sum, willRun, window);
    if (wrong) throw new Error(`${row.type}: ${wrong}`);
    const bounds = STATES.map((state) => row.states[state]).filter(
      (of) => of.eventsBound ?? of.oldestBound,
    );
    if (bounds.length > 0 && mustBeExact(truth))
      throw new Error(`a bound, although all can be known: ${JSON.stringify(row.states)}`);
  }
  const { name: _name, letters: _letters, conserved, types: rows, ...sums } = fn;
  if (!conserved) throw new Error('not conserved');
  if (JSON.stringify(sumRows(rows)) !== JSON.stringify(sums)) throw new Error('the sums differ');
}

type Step =
  | { readonly kind: 'append'; readonly type: 0 | 1; readonly subjects: readonly number[] }
  | { readonly kind: 'work'; readonly ends: readonly number[]; readonly send: boolean }
  | { readonly kind: 'replay' | 'purge' | 'restart' | 'rewind' | 'upgrade' | 'sweep' };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('append'),
      type: fc.constantFrom(0, 1),
      subjects: fc.array(fc.nat(3), { minLength: 1, maxLength: 4 }),
    }),
  },
  {
    weight: 7,
    arbitrary: fc.record({
      kind: fc.constant('work'),
      ends: fc.array(fc.nat(2), { minLength: 1, maxLength: 5 }),
      send: fc.constantFrom(true, true, true, false),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constantFrom('replay', 'purge', 'sweep') }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom('restart', 'rewind', 'upgrade') }) },
) as fc.Arbitrary<Step>;

/** A lane that goes through random steps, each of which is compared with the model. */
class Walk {
  readonly #bed: Bed;
  readonly #types: readonly string[];
  readonly #sweep: ParkedSweep;
  #lane: BareLane | null = null;
  #clockMs = 0;
  /** Whether older events may stand behind younger ones. */
  #disordered = false;
  /** Whether there are lists that `arrived` does not know. */
  #unplaced = false;

  constructor(bed: Bed, types: readonly string[]) {
    this.#bed = bed;
    this.#types = types;
    this.#sweep = new ParkedSweep(bed.connection, bed.keys);
  }

  async run(steps: readonly Step[], onDead: 'hold' | 'continue'): Promise<void> {
    await this.#bed.redis.client().flushall();
    const spec = specOf('f', this.#types, { onDead });
    this.#lane = await startLane(this.#bed, spec, 0);
    this.#clockMs = (await serverMs(this.#bed)) - 10_000_000;
    for (const [i, one] of steps.entries()) {
      if (one.kind === 'restart') this.#lane = await startLane(this.#bed, spec, 0);
      else await this.#step(this.#lane, one);
      try {
        await compare(this.#bed, this.#types, (truth) => this.#exact(truth));
      } catch (error) {
        throw new Error(`step ${i}: ${error instanceof Error ? error.message : ''}`, {
          cause: error,
        });
      }
    }
  }

  async #step(lane: BareLane, one: Step): Promise<void> {
    const bed = this.#bed;
    if (one.kind === 'append') {
      this.#clockMs += 1000;
      const what = one.subjects.map((n) => ({ id: `${this.#clockMs}-${n}`, subject: `s${n}` }));
      const type = this.#types[one.type % this.#types.length] as string;
      await appendAt(bed, type, this.#clockMs, what);
    } else if (one.kind === 'work') {
      let at = 0;
      const plan = await lane.turn(
        () => (['done', 'retry', 'dead'] as const)[one.ends[at++ % one.ends.length] as 0 | 1 | 2],
        4,
      );
      if (plan === 'stale' || (plan !== null && !one.send)) await lane.acquire();
      else if (plan !== null) await lane.send(plan);
    } else if (one.kind === 'rewind') {
      this.#disordered = true;
      await rewindFunction(bed, 'f', { kind: 'start' });
    } else if (one.kind === 'upgrade') {
      this.#unplaced = true;
      await bed.connection.command('DEL', bed.keys.arrived(0, 'f'));
    } else if (one.kind === 'sweep') {
      const { wedged } = await this.#sweep.sweep({
        fn: 'f',
        partition: 0,
        types: this.#types,
        maxDelayMs: 60_000,
      });
      if (wedged.length > 0) throw new Error(JSON.stringify(wedged));
      const { lists } = await truthOf(bed, 'f', this.#types);
      if (lists.every((list) => list.length <= 8)) this.#unplaced = false;
    } else await this.#letter(one.kind);
  }

  async #letter(kind: Step['kind']): Promise<void> {
    for await (const letter of listDeadLetters(this.#bed, { limit: 1 })) {
      if (kind === 'purge') await purgeDeadLetters(this.#bed, [letter]);
      else {
        this.#disordered = true;
        await replayDeadLetter(this.#bed, letter);
      }
    }
  }

  #exact({ lists }: Truth): boolean {
    if (lists.length === 0) [this.#disordered, this.#unplaced] = [false, false];
    const whole = this.#types.length === 1 || lists.every((list) => list.length <= 8);
    return whole && !this.#disordered && !this.#unplaced;
  }
}

t.test('states of a lane, under any steps, are those of a look at every event', async (t) => {
  const bed = await makeBed(t, 1);
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { maxLength: 25 }),
      fc.constantFrom('hold', 'continue'),
      fc.constantFrom(['a.b'], ['a.b', 'a.c']),
      async (steps, onDead, types) => {
        await new Walk(bed, types).run(steps, onDead);
      },
    ),
    { numRuns: 40 },
  );
  t.pass('hold');
});

t.test('the oldest of many parked subjects, however late it is due', async (t) => {
  const bed = await makeBed(t, 1);
  const client = bed.redis.client();
  const lane = await startLane(bed, specOf('f', ['a.b'], { onDead: 'hold' }), 0);
  const atMs = (await serverMs(bed)) - 5_000_000;
  await appendAt(bed, 'a.b', atMs, [{ id: 'first', subject: 'oldest' }]);
  await lane.work(() => 'retry');
  const many = Array.from({ length: 600 }, (_, i) => ({ id: `m${i}`, subject: `m${i}` }));
  await appendAt(bed, 'a.b', atMs + 1000, many);
  // The first subject waits for its retry, and is due after all others.
  await client.zadd('mr:{0}:due:f', atMs + 1e9, 'oldest');
  await lane.work(() => 'retry');
  await compare(bed, ['a.b'], () => true);
  await client.del('mr:{0}:arrived:f');
  const [row] = (await readLag(bed)).functions[0]?.types as [TypeLag];
  t.match(row.states.parked, { events: 601, oldestBound: 'at-least' }, 'left by an older version');
  await compare(bed, ['a.b'], () => false);
  t.equal(row.oldestBound, 'at-least');
});

t.test('held events have an age of their own, and a bound where they are many', async (t) => {
  const bed = await makeBed(t, 1);
  const lane = await startLane(bed, specOf('f', ['a.b'], { onDead: 'hold' }), 0);
  const subjects = (name: string, count: number): TestEvent[] =>
    Array.from({ length: count }, (_, i) => ({ id: `${name}${i}`, subject: `s${i}` }));
  const atMs = (await serverMs(bed)) - 5_000_000;
  await appendAt(bed, 'a.b', atMs, subjects('dead', 3));
  await lane.work(() => 'dead');
  await appendAt(bed, 'a.b', atMs + 1000, subjects('held', 2));
  await lane.work(() => 'done');
  const report = await readLag(bed);
  const [fn] = report.functions;
  t.match(fn, { parked: 2, oldestMs: null, states: { parked: { events: 0, oldestMs: null } } });
  t.equal(fn?.states.held.events, 2, 'a held subject without events counts none');
  await compare(bed, ['a.b'], () => true);
  for (const name of ['dead', 'held']) {
    await publish(bed, 0, { 'a.b': subjects(name, 1100) });
    await lane.drain(() => 'dead');
  }
  await compare(bed, ['a.b'], () => false);
  const all = (await readLag(bed)).functions[0]?.states;
  t.strictSame(all?.parked, { events: 0, oldestMs: null });
  t.match(all?.held, { events: 1105, oldestBound: 'at-least' });
  t.equal(all?.held.eventsBound, undefined, 'nothing waits, so all are held');
  await publish(bed, 0, { 'a.b': events(1, 'free') });
  await lane.work(() => 'retry');
  await compare(bed, ['a.b'], () => false);
  const many = (await readLag(bed)).functions[0]?.states;
  t.match(many?.held, { eventsBound: 'at-least', oldestBound: 'at-least' });
  t.match(many?.parked, { eventsBound: 'at-most' });
});
