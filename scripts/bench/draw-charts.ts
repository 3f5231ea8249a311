/** Draws the charts of docs/performance.md from the results of the benchmark. */
import * as Plot from '@observablehq/plot';
import { parseHTML } from 'linkedom';
import type { ScenarioResult } from './result.ts';

/** Colours that keep apart in print and for the colour-blind. */
const OURS = '#0b6e4f';
const THEIRS = '#8a8f98';
const BOUND = '#cfd3d9';
const SECOND = '#c8553d';
const STYLE = { background: 'white', color: '#1f2328', fontSize: '13px' };

/** Names of the peers, as people know them. */
const LABELS: Readonly<Record<string, string>> = {
  'ioredis-loop': 'ioredis loop',
  'node-redis-loop': 'node-redis loop',
  bullmq: 'BullMQ',
  'bullmq-sandbox': 'BullMQ threads',
  jetstream: 'JetStream',
  'bound-redis': 'bound: Redis alone',
  'bound-decode': 'bound: decoding, 1 core',
};

interface Drawn {
  /** Name of the file, without its ending. */
  readonly name: string;
  /** Text for those who do not see the chart. */
  readonly description: string;
  /** Null: the results have nothing for the chart. */
  draw(scenarios: readonly ScenarioResult[]): Plot.PlotOptions | null;
}

const CHARTS: readonly Drawn[] = [
  {
    name: 'throughput',
    description: 'Events a second of Millrace and its peers, published and drained',
    draw: throughput,
  },
  {
    name: 'latency-by-functions',
    description: 'Age of an event at its commit by the number of functions on its type',
    draw: latencyByFunctions,
  },
  {
    name: 'deliveries-by-functions',
    description: 'Deliveries a second by the number of functions on one type',
    draw: deliveriesByFunctions,
  },
  {
    name: 'memory-over-backlog',
    description: 'Resident memory of the dispatcher while it drains a backlog',
    draw: memoryOverBacklog,
  },
];

/** Returns the SVG text of each chart; null: the results have nothing for it. */
export function drawCharts(scenarios: readonly ScenarioResult[]): Map<string, string | null> {
  const usable = scenarios.filter(({ accounted }) => accounted);
  return new Map(
    CHARTS.map(({ name, description, draw }) => {
      const options = draw(usable);
      return [name, options === null ? null : svgOf({ ...options, ariaLabel: description })];
    }),
  );
}

function svgOf(options: Plot.PlotOptions): string {
  const { document } = parseHTML('<!doctype html><html><body></body></html>');
  const svg = Plot.plot({ ...options, document: document as never, style: STYLE });
  svg.setAttribute('xmlns', 'http://www.w3.org/2000/svg');
  return `${svg.outerHTML}\n`;
}

/** Returns the text of a rate: 1.2 M, 850 k, 640. */
function shortRate(value: number): string {
  if (value >= 1e6)
    return `${(value / 1e6).toLocaleString('en-US', { maximumFractionDigits: 2 })} M`;
  const thousands = (value / 1000).toLocaleString('en-US', {
    maximumFractionDigits: value < 1e5 ? 1 : 0,
  });
  return value >= 1000 ? `${thousands} k` : String(Math.round(value));
}

function colourOf(peer: string): string {
  return peer.startsWith('bound') ? BOUND : THEIRS;
}

function throughput(scenarios: readonly ScenarioResult[]): Plot.PlotOptions | null {
  const bars = ['publish', 'drain'].flatMap((role) =>
    scenarios.flatMap(({ name, eventsPerSecond, params }) => {
      if (params['appendfsync'] === 'always') return [];
      if (name === role) return [{ role, label: 'Millrace', eventsPerSecond, colour: OURS }];
      const peer = name === 'bound-decode' ? name : name.replace(new RegExp(`-${role}$`), '');
      const fits = name === `${peer}-${role}` || (name === 'bound-decode' && role === 'drain');
      const label = fits ? LABELS[peer] : undefined;
      return label === undefined ? [] : [{ role, label, eventsPerSecond, colour: colourOf(peer) }];
    }),
  );
  if (bars.length === 0) return null;
  const labels = ['Millrace', ...Object.values(LABELS)];
  return {
    width: 760,
    height: 100 + 26 * bars.length,
    marginLeft: 190,
    marginRight: 80,
    marginBottom: 45,
    x: { label: 'events a second', grid: true, tickFormat: shortRate, ticks: 6 },
    y: { label: null, domain: labels.filter((label) => bars.some((bar) => bar.label === label)) },
    fy: { label: null, domain: ['publish', 'drain'] },
    marks: [
      Plot.barX(bars, { x: 'eventsPerSecond', y: 'label', fy: 'role', fill: 'colour' }),
      Plot.text(bars, {
        x: 'eventsPerSecond',
        y: 'label',
        fy: 'role',
        text: (bar: { eventsPerSecond: number }) => shortRate(bar.eventsPerSecond),
        textAnchor: 'start',
        dx: 5,
      }),
      Plot.ruleX([0]),
    ],
  };
}

/** Returns the results of a name with everysec, by their number of functions. */
function byFunctions(scenarios: readonly ScenarioResult[], name: string) {
  return scenarios
    .filter((one) => one.name === name && one.params['appendfsync'] !== 'always')
    .map((one) => ({ ...one, functions: Number(one.params['functions']) }))
    .sort((a, b) => a.functions - b.functions);
}

function latencyByFunctions(scenarios: readonly ScenarioResult[]): Plot.PlotOptions | null {
  const results = byFunctions(scenarios, 'lag');
  const bars = results.flatMap(({ functions, p50Ms, p99Ms }) => [
    { functions, which: 'p50', ms: p50Ms ?? 0, colour: OURS },
    { functions, which: 'p99', ms: p99Ms ?? 0, colour: SECOND },
  ]);
  if (bars.length === 0) return null;
  return {
    width: 640,
    height: 320,
    marginTop: 60,
    marginLeft: 60,
    x: { label: null, domain: ['p50', 'p99'] },
    fx: {
      label: 'functions on the type',
      labelAnchor: 'center',
      domain: [...new Set(bars.map((bar) => bar.functions))],
      tickFormat: (functions: number) =>
        functions === 1 ? '1 function' : `${functions} functions`,
    },
    y: { label: 'age at the commit, ms', grid: true },
    marks: [
      Plot.barY(bars, { fx: 'functions', x: 'which', y: 'ms', fill: 'colour' }),
      Plot.text(bars, { fx: 'functions', x: 'which', y: 'ms', text: 'ms', dy: -8 }),
      Plot.ruleY([0]),
    ],
  };
}

function deliveriesByFunctions(scenarios: readonly ScenarioResult[]): Plot.PlotOptions | null {
  const bars = byFunctions(scenarios, 'fan-out').map(({ functions, params }) => ({
    functions,
    rate: Number(params['deliveriesPerSecond']),
  }));
  if (bars.length === 0) return null;
  return {
    width: 640,
    height: 320,
    marginTop: 40,
    marginBottom: 45,
    marginLeft: 60,
    x: {
      label: 'functions on the type',
      domain: bars.map(({ functions }) => functions),
      type: 'band',
    },
    y: { label: 'deliveries a second', grid: true, tickFormat: shortRate },
    marks: [
      Plot.barY(bars, { x: 'functions', y: 'rate', fill: OURS }),
      Plot.text(bars, {
        x: 'functions',
        y: 'rate',
        text: (bar: { rate: number }) => shortRate(bar.rate),
        dy: -8,
      }),
      Plot.ruleY([0]),
    ],
  };
}

function memoryOverBacklog(scenarios: readonly ScenarioResult[]): Plot.PlotOptions | null {
  const samples = scenarios.find(({ name }) => name === 'backlog')?.rssOverTime ?? [];
  if (samples.length === 0) return null;
  const points = samples.map(([ms, mb]) => ({ seconds: ms / 1000, mb }));
  return {
    width: 640,
    height: 320,
    marginTop: 40,
    marginBottom: 45,
    marginLeft: 60,
    x: { label: 'seconds of the drain' },
    y: { label: 'resident memory, MB', grid: true, zero: true },
    marks: [
      Plot.lineY(points, { x: 'seconds', y: 'mb', stroke: OURS, strokeWidth: 2 }),
      Plot.ruleY([0]),
    ],
  };
}
