/** The table of a lane's phases and verdicts: each change that is allowed, and each that is not. */
import t from 'tap';
import { LaneState, type LaneEnd, type LanePhase } from '../../../src/pipeline/lane/lane-state.ts';

/** A way to each phase. */
const WAYS: Readonly<Record<LanePhase, readonly LanePhase[]>> = {
  new: [],
  idle: ['idle'],
  'in a turn': ['idle', 'in a turn'],
  failing: ['idle', 'failing'],
  ended: ['ended'],
};
const ALLOWED: Readonly<Record<LanePhase, readonly LanePhase[]>> = {
  new: ['idle', 'ended'],
  idle: ['in a turn', 'failing', 'ended'],
  'in a turn': ['idle', 'failing', 'ended'],
  failing: ['idle', 'ended'],
  ended: [],
};
const PHASES = Object.keys(WAYS) as LanePhase[];
const ENDS: readonly LaneEnd[] = ['stopped', 'lease lost', 'retired'];

function laneIn(phase: LanePhase): LaneState {
  const state = new LaneState();
  for (const step of WAYS[phase]) state.enter(step);
  return state;
}

t.test('phases', (t) => {
  t.equal(new LaneState().phase, 'new');
  for (const from of PHASES) {
    for (const to of PHASES) {
      const state = laneIn(from);
      if (ALLOWED[from].includes(to)) {
        state.enter(to);
        t.equal(state.phase, to, `${from} → ${to}`);
      } else {
        t.throws(() => state.enter(to), { message: `a lane went from "${from}" to "${to}"` });
        t.equal(state.phase, from, `stays ${from}, not ${to}`);
      }
    }
  }
  t.end();
});

t.test('verdicts', (t) => {
  const fresh = new LaneState();
  t.equal(fresh.verdict, null);
  t.equal(fresh.lost, false);
  for (const first of ENDS) {
    for (const second of ENDS) {
      const state = new LaneState();
      state.endAs(first);
      state.endAs(second);
      const verdict = first === 'stopped' ? second : first;
      t.equal(state.verdict, verdict, `${first}, then ${second}`);
      t.equal(state.lost, verdict === 'lease lost');
    }
  }
  t.end();
});

t.test('a verdict leaves the phase as it is, and a phase the verdict', (t) => {
  const state = laneIn('in a turn');
  state.endAs('stopped');
  t.equal(state.phase, 'in a turn');
  state.enter('ended');
  t.equal(state.verdict, 'stopped');
  t.end();
});
