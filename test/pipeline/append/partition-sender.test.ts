/** Gatherings per partition: their order, their numbers, and the end of an epoch by a failure. */
import t from 'tap';
import {
  PartitionSender,
  type Gathering,
  type Sending,
} from '../../../src/pipeline/append/partition-sender.ts';

class Numbers implements Gathering {
  readonly openedMs = 0;
  readonly numbers: number[] = [];
  bytes = 0;
}

/** A sender whose sendings the test answers. */
class Bed {
  readonly sent: (Sending & { readonly numbers: readonly number[] })[] = [];
  readonly failures: unknown[] = [];
  readonly sender: PartitionSender<Numbers>;
  readonly #answers: { yes: (used: boolean) => void; no: (error: Error) => void }[] = [];

  constructor(maxInFlight = 10) {
    this.sender = new PartitionSender<Numbers>({
      partitions: 3,
      idPrefix: 'p',
      bufferBytes: 100,
      maxInFlight,
      lingerMs: 0,
      deadlineMs: 1000,
      signal: new AbortController().signal,
      departures: null,
      verify: undefined,
      gap: () => undefined,
      send: ({ numbers }, sending) => {
        this.sent.push({ ...sending, numbers });
        return new Promise((yes, no) => this.#answers.push({ yes, no }));
      },
      settled: (_, failure) => void this.failures.push(failure),
    });
  }

  add(partition: number, number: number): void {
    let open = this.sender.last(partition);
    if (open === undefined) this.sender.open(partition, (open = new Numbers()));
    open.numbers.push(number);
    open.bytes += 10;
    this.sender.added(partition, 10);
  }

  /** Answers the sending that has waited longest. */
  async answer(outcome: 'used' | 'unused' | Error): Promise<void> {
    const { yes, no } = this.#answers.shift() as {
      yes: (used: boolean) => void;
      no: (error: Error) => void;
    };
    if (outcome instanceof Error) no(outcome);
    else yes(outcome === 'used');
    await turn();
  }
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

t.test('while one is in flight the next gathers, under the next number', async (t) => {
  const bed = new Bed();
  bed.add(1, 1);
  bed.add(1, 2);
  await turn();
  bed.add(1, 3);
  bed.add(1, 4);
  await turn();
  t.strictSame(bed.sent, [{ partition: 1, producer: 'p.1', sequence: 1, numbers: [1, 2] }]);
  t.equal(bed.sender.bytes, 40);
  await bed.answer('used');
  t.strictSame(bed.sent.slice(1), [
    { partition: 1, producer: 'p.1', sequence: 2, numbers: [3, 4] },
  ]);
  const drained = bed.sender.drain();
  await bed.answer('used');
  await drained;
  t.strictSame(bed.failures, [null, null]);
  t.equal(bed.sender.bytes, 0);
});

t.test('a failure ends the producer id; a number that was not used comes again', async (t) => {
  const bed = new Bed();
  const lost = new Error('lost');
  for (const outcome of ['used', 'unused', lost, 'used'] as const) {
    bed.add(0, 1);
    await turn();
    await bed.answer(outcome);
  }
  t.strictSame(
    bed.sent.map(({ producer, sequence }) => [producer, sequence]),
    [
      ['p.1', 1],
      ['p.1', 2],
      ['p.1', 2],
      ['p.2', 1],
    ],
  );
  t.strictSame(bed.failures, [null, null, lost, null]);
});

t.test('partitions wait for their turn where enough is in flight', async (t) => {
  const bed = new Bed(2);
  for (const partition of [2, 0, 1]) bed.add(partition, partition);
  await turn();
  t.strictSame(
    bed.sent.map(({ partition }) => partition),
    [2, 0],
  );
  await bed.answer('used');
  t.strictSame(
    bed.sent.map(({ partition }) => partition),
    [2, 0, 1],
  );
  t.ok(bed.sender.full(81));
  t.notOk(bed.sender.full(80));
  await bed.answer('used');
  await bed.answer('used');
  t.notOk(bed.sender.full(1000), 'what is larger than the buffer goes alone');
});
