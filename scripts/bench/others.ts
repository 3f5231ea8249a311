/**
 * Watches the other processes of the machine during a run. A run that others have disturbed says
 * so: its figures are worth less than those of an undisturbed run.
 */
import { readdirSync, readFileSync } from 'node:fs';

/** CPU time until now, s. */
export interface CpuTimes {
  /** CPU time of all processes and of the kernel. */
  readonly busy: number;
  /** CPU time that the host took. */
  readonly steal: number;
  /** CPU time of this process, its descendants, and the kernel's threads. */
  readonly own: number;
}

/** Busy cores that were not the run's own. */
export interface Others {
  /** Mean of all cores together. */
  readonly mean: number;
  /** Mean of the worst second. */
  readonly worst: number;
  /** Mean of what the host took. */
  readonly steal: number;
  readonly disturbed: boolean;
}

/** Cores that others may use without a mark: mean of the run, and in its worst second. */
export const ALLOWED = { mean: 0.1, worst: 0.5 } as const;
const TICK_MS = 1000;
/** Shortest interval that counts as a second of its own, s. Times in /proc have steps of 10 ms. */
const MIN_SECONDS = 0.5;
const TICKS_PER_SECOND = 100;
/** The parent of the kernel's threads. They write what the run itself has to write. */
const KERNEL_THREADS = 2;

/** One line of /proc/<pid>/stat: the process, its parent and its ticks. */
interface ProcessTicks {
  readonly pid: number;
  readonly parent: number;
  /** Ticks of the process itself and of its dead children. */
  readonly ticks: number;
}

/** Reads a /proc/<pid>/stat. The name in parentheses may hold spaces and parentheses. */
export function readStat(text: string): ProcessTicks {
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  const ticks = fields.slice(11, 15).reduce((sum, field) => sum + Number(field), 0);
  return { pid: Number.parseInt(text, 10), parent: Number(fields[1]), ticks };
}

/** Returns the sum of the ticks of a process and its descendants. */
export function ticksBelow(root: number, processes: readonly ProcessTicks[]): number {
  const children = new Map<number, ProcessTicks[]>();
  for (const one of processes) {
    const siblings = children.get(one.parent);
    if (siblings) siblings.push(one);
    else children.set(one.parent, [one]);
  }
  let sum = 0;
  const next = processes.filter(({ pid }) => pid === root);
  for (let one = next.pop(); one; one = next.pop()) {
    sum += one.ticks;
    next.push(...(children.get(one.pid) ?? []));
  }
  return sum;
}

/** Returns the CPU times; null without /proc. */
export function readCpuTimes(): CpuTimes | null {
  try {
    const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0, steal = 0] = (
      readFileSync('/proc/stat', 'utf8').split('\n')[0] ?? ''
    )
      .split(/\s+/)
      .slice(1)
      .map(Number);
    const processes = readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .flatMap((pid) => {
        try {
          return [readStat(readFileSync(`/proc/${pid}/stat`, 'utf8'))];
        } catch {
          return []; // The process has ended meanwhile.
        }
      });
    const own = ticksBelow(process.pid, processes) + ticksBelow(KERNEL_THREADS, processes);
    return {
      busy: (user + nice + system + irq + softirq) / TICKS_PER_SECOND,
      steal: steal / TICKS_PER_SECOND,
      own: own / TICKS_PER_SECOND,
    };
  } catch {
    return null;
  }
}

/** Tells how busy others were, from CPU times read one after the other. */
export function othersIn(
  samples: readonly { readonly seconds: number; readonly times: CpuTimes }[],
): Others | null {
  const [first, last] = [samples[0], samples.at(-1)];
  if (!first || !last || last.seconds <= first.seconds) return null;
  const between = (from: typeof first, to: typeof first): number =>
    Math.max(0, to.times.busy - from.times.busy - (to.times.own - from.times.own)) /
    (to.seconds - from.seconds);
  let worst = 0;
  for (const [i, to] of samples.entries()) {
    const from = samples[i - 1];
    if (from && to.seconds - from.seconds >= MIN_SECONDS)
      worst = Math.max(worst, between(from, to));
  }
  const steal = (last.times.steal - first.times.steal) / (last.seconds - first.seconds);
  const mean = between(first, last);
  const hundredths = (value: number): number => Math.round(value * 100) / 100;
  return {
    mean: hundredths(mean),
    worst: hundredths(Math.max(worst, mean)),
    steal: hundredths(steal),
    disturbed: mean + steal > ALLOWED.mean || worst > ALLOWED.worst,
  };
}

/**
 * Runs `work`, and looks at the machine once a second meanwhile.
 * @returns the value of `work`, and the others; null without /proc
 */
export async function watchingOthers<T>(
  work: () => Promise<T>,
): Promise<{ readonly value: T; readonly others: Others | null }> {
  const samples: { seconds: number; times: CpuTimes }[] = [];
  const look = (): void => {
    const times = readCpuTimes();
    if (times !== null) samples.push({ seconds: performance.now() / 1000, times });
  };
  look();
  const timer = setInterval(look, TICK_MS);
  try {
    const value = await work();
    look();
    return { value, others: othersIn(samples) };
  } finally {
    clearInterval(timer);
  }
}
