import t from 'tap';
import { LoopLoad } from '../../../src/core/loop-load.ts';
import { Departures } from '../../../src/pipeline/append/departures.ts';

const PARTITIONS = 16;

/** Publishers and their clock. Their thread works for the share `busy` of its time. */
class Run {
  nowMs = 1000;
  departed = 0;
  readonly departures: Departures;

  constructor(busy = 1) {
    const load = new LoopLoad(() => this.nowMs * busy, this.nowMs);
    this.departures = new Departures(PARTITIONS, load);
  }

  add(events: number): void {
    for (let i = 0; i < events; i++) this.departures.added();
  }
  depart(): void {
    this.nowMs += this.departures.waitMs(this.nowMs);
    this.departures.departed(this.nowMs);
    this.departed++;
  }
}

/** `rate` events come each ms, whatever becomes of them. @returns departures */
function open(run: Run, rate: number, ms: number): number {
  const before = run.departed;
  for (const endMs = run.nowMs + ms; run.nowMs < endMs;) {
    const startMs = run.nowMs;
    run.add(rate);
    run.depart();
    // The events that came while it waited, and at least a ms to the next call.
    run.nowMs = Math.max(run.nowMs, startMs + 1);
    run.add(Math.floor((run.nowMs - startMs - 1) * rate));
  }
  return run.departed - before;
}

/**
 * One caller publishes `chunk`, waits for the answer, which takes `answerMs`, publishes again.
 * @returns events
 */
function closed(run: Run, chunk: number, answerMs: number, ms: number): number {
  let events = 0;
  for (const endMs = run.nowMs + ms; run.nowMs < endMs; events += chunk) {
    run.add(chunk);
    run.depart();
    run.nowMs += answerMs;
  }
  return events;
}

t.test('departures are at once while little is published', (t) => {
  const run = new Run();
  t.equal(open(run, 5, 1000), 1000);
  t.end();
});

t.test('departures are spaced when much comes by itself, and at once again afterwards', (t) => {
  const run = new Run();
  open(run, 33, 100);
  const spaced = open(run, 33, 1000);
  t.ok(spaced <= 210, `${spaced} departures a second`);
  open(run, 2, 100);
  t.ok(open(run, 2, 1000) >= 990, 'not spaced');
  t.end();
});

t.test('an idle thread spaces no departures, a busier one spaces them more', (t) => {
  const departures = [0, 0.25, 0.4, 0.5, 1].map((busy) => {
    const run = new Run(busy);
    open(run, 33, 200);
    return open(run, 33, 1000);
  });
  t.same(departures.slice(0, 2), [1000, 1000], 'not spaced');
  for (let i = 2; i < departures.length; i++)
    t.ok((departures[i] as number) < (departures[i - 1] as number), departures.join(' '));
  t.end();
});

t.test('enough for every partition leaves without waiting', (t) => {
  const run = new Run();
  open(run, 33, 100);
  run.depart();
  run.add(64 * PARTITIONS - 1);
  t.equal(run.departures.waitMs(run.nowMs), 5, 'not yet');
  run.add(1);
  t.equal(run.departures.waitMs(run.nowMs), 0);
  t.end();
});

t.test('a caller that waits for its answers is not slowed down by spacing', (t) => {
  for (const chunk of [20, 100, 500]) {
    const run = new Run();
    closed(run, chunk, 0.5, 100);
    const events = closed(run, chunk, 0.5, 10_000);
    const most = (chunk * 10_000) / 0.5;
    t.ok(events >= 0.85 * most, `calls of ${chunk}: ${events} of ${most}`);
  }
  t.end();
});
