/** The plan of an emitting test function: JSON in the payload's `order`. */
import { setTimeout as delay } from 'node:timers/promises';
import type { TestData } from '../behave.ts';
import '../behave.ts';

export interface PlannedEmit {
  readonly type: string;
  readonly subject: string;
  readonly delayMs?: number;
  readonly id?: string;
  readonly order?: string;
  /** Size of the payload, bytes. */
  readonly size?: number;
}

export interface Plan {
  readonly emits: readonly PlannedEmit[];
  readonly sleepMs?: number;
  /**
   * Failure after all emits: throw, the first time or each time; end the thread, the first time.
   */
  readonly then?: 'throw-once' | 'throw' | 'exit-once';
  /** An emit that ctx.emit must refuse. */
  readonly bad?:
    | 'unknown type'
    | 'wrong data'
    | 'no subject'
    | 'oversize'
    | 'too many'
    | 'too much'
    | 'two times';
}

/** Reads the plan. The order `"loop"` emits another such event, without an end. */
export function planOf(data: unknown): Plan {
  const plan = JSON.parse((data as TestData).order) as Plan | 'loop';
  return plan === 'loop'
    ? { emits: [{ type: 'test.other', subject: (data as TestData).key, order: '"loop"' }] }
    : plan;
}
export const dataFor = (
  subject: string,
  number: number,
  order = '{"emits":[]}',
  size = 0,
): TestData => ({ key: subject, number, order, filler: new Uint8Array(size) });

type Emit = (type: string, data: unknown, options?: Record<string, unknown>) => string;

/** Follows the plan. Awaits only where the plan says so. */
export async function follow(plan: Plan, emit: Emit, attempt: number): Promise<void> {
  plan.emits.forEach(({ type, subject, delayMs, id, order, size }, i) => {
    emit(type, dataFor(subject, i, order, size), {
      ...(delayMs === undefined ? {} : { delayMs }),
      ...(id === undefined ? {} : { id }),
    });
  });
  if (plan.sleepMs) await delay(plan.sleepMs);
  if (plan.bad) misuse(plan.bad, emit);
  if (plan.then === 'throw' || (plan.then === 'throw-once' && attempt === 1))
    throw new Error('thrown as ordered, after emitting');
  if (plan.then === 'exit-once' && attempt === 1) process.exit(3);
}

function misuse(bad: NonNullable<Plan['bad']>, emit: Emit): void {
  switch (bad) {
    case 'unknown type':
      return void emit('no.such', dataFor('s', 0));
    case 'wrong data':
      return void emit('test.other', { ...dataFor('s', 0), number: 'seven' });
    case 'no subject':
      return void emit('test.other', dataFor('', 0));
    case 'oversize':
      return void emit('test.other', dataFor('s', 0, '', 300_000));
    case 'two times':
      return void emit('test.other', dataFor('s', 0), { delayMs: 5, deliverAt: 5 });
    case 'too many':
      for (let i = 0; i <= 1000; i++) emit('test.other', dataFor('s', i));
      return;
    case 'too much':
      for (let i = 0; i <= 5; i++) emit('test.other', dataFor('s', i, '', 250_000));
      return;
  }
}
