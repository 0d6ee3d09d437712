/** The metrics of the table as prom-client objects. Only names of the table can be written. */
import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import { type MetricDefinition, type MetricName, metrics } from './metrics.js';

export type Labels = Readonly<Record<string, string>>;

export interface Sample {
  readonly labels?: Labels;
  readonly value: number;
}

export class MetricsRegistry {
  readonly #registry = new Registry();
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
          ? new Counter(common)
          : definition.type === 'gauge'
            ? new Gauge(common)
            : new Histogram({ ...common, buckets: [...(definition.buckets ?? [])] }),
      );
    }
  }

  /** Replaces all series of a gauge, or of a counter that is counted elsewhere: series that are gone end. */
  replace(name: MetricName, samples: readonly Sample[]): void {
    const metric = this.#metrics.get(name);
    if (metric instanceof Counter) {
      metric.reset();
      for (const { labels, value } of samples) metric.inc({ ...labels }, value);
    } else if (metric instanceof Gauge) {
      metric.reset();
      for (const { labels, value } of samples) metric.set({ ...labels }, value);
    } else throw new Error(`${name} is a histogram`);
  }

  set(name: MetricName, value: number): void {
    this.replace(name, [{ value }]);
  }

  increment(name: MetricName, labels: Labels = {}, by = 1): void {
    const metric = this.#metrics.get(name);
    if (!(metric instanceof Counter)) throw new Error(`${name} is no counter`);
    metric.inc({ ...labels }, by);
  }

  observe(name: MetricName, value: number): void {
    const metric = this.#metrics.get(name);
    if (!(metric instanceof Histogram)) throw new Error(`${name} is no histogram`);
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
