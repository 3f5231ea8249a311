/** The resident memory of a process over time. */
import { readFileSync } from 'node:fs';
import { medianOf } from './median.ts';

const INTERVAL_MS = 250;

/** Pairs of time since the first sample, ms, and resident memory, MB. */
export type RssSamples = readonly (readonly [ms: number, mb: number])[];

/** Returns the resident memory of a process, MB; null where /proc does not tell. */
function rssMb(pid: number): number | null {
  try {
    const kb = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
    return kb === undefined ? null : Math.round(Number(kb) / 1024);
  } catch {
    return null;
  }
}

/** Samples a process until `stop`, which returns the samples. */
export function sampleRss(pid: number | null): { stop(): RssSamples } {
  const samples: (readonly [number, number])[] = [];
  const began = performance.now();
  const look = (): void => {
    const mb = pid === null ? null : rssMb(pid);
    if (mb !== null) samples.push([Math.round(performance.now() - began), mb]);
  };
  look();
  const timer = setInterval(look, INTERVAL_MS);
  return {
    stop() {
      clearInterval(timer);
      return samples;
    },
  };
}

/**
 * Returns the median memory of the last quarter of the samples against that of the second quarter:
 * 1 is flat. The first quarter warms up. Null with fewer than eight samples.
 */
export function rssGrowth(samples: RssSamples): number | null {
  if (samples.length < 8) return null;
  const quarter = Math.floor(samples.length / 4);
  const early = medianOf(samples.slice(quarter, 2 * quarter).map(([, mb]) => mb));
  const late = medianOf(samples.slice(-quarter).map(([, mb]) => mb));
  return Math.round((late / early) * 100) / 100;
}
