/**
 * Tells metrics in Prometheus' text format. The only user of prom-client. The rest of the
 * code counts in plain numbers, because the successor of prom-client needs a newer Node.
 */
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';
import { Distribution } from '../core/distribution.ts';
import { helpOf, type MetricRule } from './catalogue.ts';

export interface Sample<V extends number | Distribution = number | Distribution> {
  readonly labels?: Readonly<Record<string, string>>;
  readonly value: V;
}

/** Returns a metric's samples at a scrape. None: the value is not known. */
export type ReadSamples<V extends number | Distribution = number | Distribution> = () => Iterable<
  Sample<V>
>;

/** The readers of a catalogue's metrics: one for each, so that no declared metric is forgotten. */
export type ReadersOf<C extends Readonly<Record<string, MetricRule>>> = {
  readonly [K in keyof C]: ReadSamples<C[K]['type'] extends 'histogram' ? Distribution : number>;
};

export const CONTENT_TYPE = Registry.PROMETHEUS_CONTENT_TYPE;

export class Exposition {
  readonly #registry = new Registry();

  constructor(
    catalogue: Readonly<Record<string, MetricRule>>,
    readers: Readonly<Record<string, ReadSamples>>,
  ) {
    for (const [name, rule] of Object.entries(catalogue)) {
      const read = readers[name];
      if (read === undefined) throw new TypeError(`the metric ${name} has no reader`);
      this.#tell(name, rule, read);
    }
  }

  /** Adds what prom-client tells of any Node process: CPU, memory, event loop, collections. */
  withDefaults(): this {
    collectDefaultMetrics({ register: this.#registry });
    return this;
  }

  text(): Promise<string> {
    return this.#registry.metrics();
  }

  #tell(name: string, rule: MetricRule, read: ReadSamples): void {
    const form = {
      name,
      help: helpOf(rule),
      labelNames: [...rule.labels],
      registers: [this.#registry],
    };
    switch (rule.type) {
      case 'gauge':
        new Gauge({
          ...form,
          collect() {
            // Labels that are gone, and values that are not known, are left out.
            this.reset();
            if (form.labelNames.length === 0) this.remove();
            for (const { labels = {}, value } of read())
              if (typeof value === 'number') this.set(labels, value);
          },
        });
        return;
      case 'counter':
        new Counter({
          ...form,
          collect() {
            this.reset();
            for (const { labels = {}, value } of read())
              if (typeof value === 'number') this.inc(labels, value);
          },
        });
        return;
      case 'histogram':
        new ToldHistogram(form, read);
    }
  }
}

/** Sample of a histogram, as the registry prints it. */
interface Line {
  readonly metricName: string;
  readonly labels: Readonly<Record<string, string | number>>;
  readonly value: number;
}

/**
 * A histogram that tells distributions which others have counted. prom-client's own takes one value
 * at a time, and an event must cost nothing.
 */
class ToldHistogram extends Histogram {
  readonly #form: { readonly name: string; readonly help: string };
  readonly #read: ReadSamples;

  constructor(
    form: ConstructorParameters<typeof Histogram>[0] & { readonly labelNames: string[] },
    read: ReadSamples,
  ) {
    super(form);
    this.#form = form;
    this.#read = read;
  }

  /** The registry asks for this form; prom-client does not declare it. */
  getForPromString(): Promise<object> {
    const values = [...this.#read()].flatMap(({ labels = {}, value }) =>
      value instanceof Distribution ? linesOf(this.#form.name, labels, value) : [],
    );
    const { name, help } = this.#form;
    return Promise.resolve({ name, help, type: 'histogram', aggregator: 'sum', values });
  }
}

function linesOf(name: string, labels: Line['labels'], told: Distribution): Line[] {
  const upTo = told.upTo();
  return [
    ...told.bounds.map((bound, i) => ({
      metricName: `${name}_bucket`,
      labels: { le: bound, ...labels },
      value: upTo[i] as number,
    })),
    { metricName: `${name}_bucket`, labels: { le: '+Inf', ...labels }, value: told.count },
    { metricName: `${name}_sum`, labels, value: told.sum },
    { metricName: `${name}_count`, labels, value: told.count },
  ];
}
