/** What work in this process costs, for the benches of the compiler. */

/**
 * Milliseconds of processor time, all threads of the process counted (so the collector and the optimiser are in it). On an idle machine that is
 * the time on the clock or more; on a busy one the clock would measure the neighbours.
 */
export function clocked(work: () => void): number {
  const before = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
}

export interface Spread {
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

/** Of at least one sample; each figure is one of them. */
export function spread(samples: readonly number[]): Spread {
  const sorted = [...samples].sort((a, b) => a - b);
  const at = (q: number) => sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))]!;
  return { p50: at(0.5), p99: at(0.99), max: sorted[sorted.length - 1]! };
}
