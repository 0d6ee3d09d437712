/** The metrics of the table as prom-client objects. Only names of the table can be written. */
import { createRequire } from 'node:module';
import type { Counter, Gauge, Histogram, Registry } from 'prom-client';
import { type MetricDefinition, type MetricName, metrics } from './metrics.js';

/**
 * Its four classes by themselves, 8 files of 83: the rest of the package (default metrics, push gateway, tracing) is not used, and every
 * file costs the start of the agent, for which new policies wait, a part of a millisecond.
 */
const load = createRequire(import.meta.url);
const classes = {
  Registry: load('prom-client/lib/registry.js') as typeof Registry,
  Counter: load('prom-client/lib/counter.js') as typeof Counter,
  Gauge: load('prom-client/lib/gauge.js') as typeof Gauge,
  Histogram: load('prom-client/lib/histogram.js') as typeof Histogram,
};

export type Labels = Readonly<Record<string, string>>;

export interface Sample {
  readonly labels?: Labels;
  readonly value: number;
}

export class MetricsRegistry {
  readonly #registry = new classes.Registry();
  readonly #metrics = new Map<string, Counter | Gauge | Histogram>();

  constructor() {
    for (const [name, definition] of Object.entries(metrics as Readonly<Record<string, MetricDefinition>>)) {
      const common = {
        name,
        help: definition.help,
        labelNames: [...definition.labels],
        registers: [this.#registry],
      };
      this.#metrics.set(
        name,
        definition.type === 'counter'
          ? new classes.Counter(common)
          : definition.type === 'gauge'
            ? new classes.Gauge(common)
            : new classes.Histogram({ ...common, buckets: [...(definition.buckets ?? [])] }),
      );
    }
  }

  /** Replaces all series of a gauge, or of a counter that is counted elsewhere: series that are gone end. */
  replace(name: MetricName, samples: readonly Sample[]): void {
    const metric = this.#metrics.get(name);
    if (metric instanceof classes.Counter) {
      metric.reset();
      for (const { labels, value } of samples) metric.inc({ ...labels }, value);
    } else if (metric instanceof classes.Gauge) {
      metric.reset();
      for (const { labels, value } of samples) metric.set({ ...labels }, value);
    } else throw new Error(`${name} is a histogram`);
  }

  set(name: MetricName, value: number): void {
    this.replace(name, [{ value }]);
  }

  increment(name: MetricName, labels: Labels = {}, by = 1): void {
    const metric = this.#metrics.get(name);
    if (!(metric instanceof classes.Counter)) throw new Error(`${name} is no counter`);
    metric.inc({ ...labels }, by);
  }

  observe(name: MetricName, value: number): void {
    const metric = this.#metrics.get(name);
    if (!(metric instanceof classes.Histogram)) throw new Error(`${name} is no histogram`);
    metric.observe(value);
  }

  /** The Prometheus text format. */
  text(): Promise<string> {
    return this.#registry.metrics();
  }

  get contentType(): string {
    return this.#registry.contentType;
  }
}
