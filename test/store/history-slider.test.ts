/** Histories event by event: the state after each event is the fold of the events up to it. */
import fc from 'fast-check';
import t from 'tap';
import { partitionOf } from '../../src/core/partition.ts';
import { defineAggregate } from '../../src/define/define-aggregate.ts';
import { plainShown } from '../../src/payload/plain-shown.ts';
import { WHOLE_LIMITS, type PayloadAccess } from '../../src/payload/shown-payload.ts';
import { DataShapes } from '../../src/registry/data-shapes.ts';
import { aggregateSteps } from '../../src/store/aggregate-steps.ts';
import type { StateSteps } from '../../src/store/history-page.ts';
import { readStoredPage } from '../../src/store/history-page.ts';
import { readSlider, type SliderOptions } from '../../src/store/history-slider.ts';
import { StoreInputError } from '../../src/store/store-errors.ts';
import { startRedis } from '../../scripts/lab/redis-server.ts';
import { failed, numberOf, openShop, reserved } from './open-store.ts';

const redis = await startRedis(t);
const look = redis.client();
const millrace = await openShop(t, redis.url, 4);
const store = millrace.store();
const { deployment } = millrace;
const shapes = new DataShapes(deployment.registry, deployment.catalog);

interface State {
  readonly numbers: readonly number[];
  readonly reasons: Readonly<Record<string, number>>;
}
function aggregate(category: string) {
  return defineAggregate({
    category,
    events: ['stock.reserved', 'payment.failed'],
    initialState: (): State => ({ numbers: [], reasons: {} }),
    evolve(state, event): State {
      if (event.type === 'stock.reserved')
        return { ...state, numbers: [...state.numbers.slice(-3), numberOf(event)] };
      const { reason } = event.data;
      if (reason === 'throw') throw new Error('card 4111 is unknown');
      const reasons = { ...state.reasons, [reason]: (state.reasons[reason] ?? 0) + 1 };
      return { ...state, reasons };
    },
  });
}

const slider = (
  category: string,
  id: string,
  steps: StateSteps | null,
  options: SliderOptions = {},
  access: PayloadAccess = 'full',
) =>
  readSlider(
    { source: deployment, shapeOf: shapes.find, steps, access, limits: WHOLE_LIMITS },
    category,
    id,
    options,
  );

t.test('the state at each revision is the fold of the events up to it', async (t) => {
  const events = fc.array(
    fc.oneof(
      fc.nat(50).map((n) => ({ kind: 'number' as const, n })),
      fc.constantFrom('late', 'lost').map((reason) => ({ kind: 'reason' as const, reason })),
    ),
    { minLength: 1, maxLength: 60 },
  );
  let run = 0;
  await fc.assert(
    fc.asyncProperty(events, fc.integer({ min: 1, max: 20 }), async (given, size) => {
      const id = `p${run++}`;
      await store.append(
        'slide',
        id,
        given.map((one) => (one.kind === 'number' ? reserved(id, one.n) : failed(id, one.reason))),
        { expectedRevision: 0 },
      );
      const folder = aggregate('slide');
      const steps = aggregateSteps(store, folder);
      let seen = 0;
      for (let next: number | null = 1; next !== null;) {
        const page = await slider('slide', id, steps, { first: next, events: size });
        t.equal(page.revision, given.length);
        t.equal(page.folded?.problem, null);
        for (const { revision, stateChanges } of page.steps) {
          t.equal(revision, ++seen);
          t.ok(stateChanges);
          const at = await slider('slide', id, steps, { first: next, events: size, at: revision });
          const { state } = await store.load(folder, id, { at: revision });
          t.strictSame(at.folded?.state && plainShown(at.folded.state).data, state);
        }
        next = page.next;
      }
      t.equal(seen, given.length);
    }),
    { numRuns: 15 },
  );
});

t.test('pages: the last one first, and the ways to the others', async (t) => {
  const numbers = Array.from({ length: 120 }, (_, n) => reserved('P', n));
  await store.append('pages', 'P', numbers, { expectedRevision: 0 });
  const last = await slider('pages', 'P', null);
  t.match(last, { revision: 120, previous: 21, next: null, folded: null });
  t.strictSame(
    last.steps.map(({ revision }) => revision),
    Array.from({ length: 50 }, (_, i) => 71 + i),
  );
  t.match(await slider('pages', 'P', null, { first: last.previous as number }), {
    previous: 1,
    next: 71,
  });
  t.match(await slider('pages', 'P', null, { first: 1, events: 500 }), {
    previous: null,
    next: null,
    steps: { length: 120 },
  });
  t.match(await slider('pages', 'nothing', null), { revision: 0, steps: [], previous: null });
  t.match(await slider('pages', 'P', null, { first: 1000 }), { steps: [], previous: 71 });
  await t.rejects(slider('Pages', 'P', null), StoreInputError);
});

t.test('what changed: in the state, and in the data of a type', async (t) => {
  await store.append('change', 'C', [reserved('C', 1), failed('C', 'late'), reserved('C', 2)], {
    expectedRevision: 0,
  });
  const steps = aggregateSteps(store, aggregate('change'));
  const { steps: shown } = await slider('change', 'C', steps);
  t.match(shown[1]?.stateChanges, {
    changes: [{ path: ['reasons', 'late'], kind: 'added', before: null, after: { text: '1' } }],
    more: false,
  });
  t.equal(shown[1]?.dataChanges, null, 'no earlier event of its type');
  t.match(shown[2]?.dataChanges, {
    since: 1,
    changes: [{ path: ['lines', 0, 'quantity'], before: { text: '1' }, after: { text: '2' } }],
  });
});

t.test('readers who do not see everything see no states', async (t) => {
  await store.append('roles', 'R', [reserved('R', 1), reserved('R', 2)], { expectedRevision: 0 });
  const steps = aggregateSteps(store, aggregate('roles'));
  const masked = await slider('roles', 'R', steps, {}, 'masked');
  t.match(masked.folded, { at: null, state: { kind: 'masked', why: 'schema' } });
  t.match(masked.steps[1], { stateChanges: null, data: { kind: 'message' } });
  t.equal(masked.steps[1]?.dataChanges?.changes.length, 1);
  const none = await slider('roles', 'R', steps, {}, 'none');
  t.match(none.steps[1], { data: { kind: 'masked', why: 'access' }, dataChanges: null });
});

t.test(
  'an event that cannot be folded ends the states, and its text is not shown to all',
  async (t) => {
    await store.append('broken', 'B', [reserved('B', 1), failed('B', 'throw'), reserved('B', 3)], {
      expectedRevision: 0,
    });
    const steps = aggregateSteps(store, aggregate('broken'));
    const page = await slider('broken', 'B', steps);
    t.match(page.folded, {
      at: 1,
      problem: { revision: 2, error: { name: 'Error', message: 'card 4111 is unknown' } },
    });
    t.equal(page.steps.length, 3, 'the events are shown all the same');
    t.equal(page.steps[1]?.stateChanges, null);
  },
);

t.test('an event that cannot be read is a step with its damage', async (t) => {
  await store.append('damaged', 'D', [reserved('D', 1), reserved('D', 2), reserved('D', 3)], {
    expectedRevision: 0,
  });
  await look.lset(`mr:{${partitionOf('D', 4)}}:history:damaged:D`, 1, 'no event');
  const page = await readStoredPage(deployment, 'damaged', 'D');
  t.match(page.events, [{ id: String }, { revision: 2, problem: /revision 2/ }, { id: String }]);
  const { steps } = await slider('damaged', 'D', null);
  t.match(steps, [{ problem: null }, { event: null, problem: /revision 2/ }, { problem: null }]);
});
