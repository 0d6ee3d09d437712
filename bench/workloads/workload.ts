/**
 * A workload: traffic of one shape between two pods, measured for a bounded time. One run gives one sample of each of its measures.
 */
import type { Running } from '../contenders/contender.js';

export interface Measure {
  /** Within its workload: `rate`, `p50`, `cpu`. */
  readonly name: string;
  /** `Gbit/s`, `packets/s`, `us`, `transactions/s`, `connections/s`, `% of a core`, `MB`, `ms`, `instructions`. */
  readonly unit: string;
  /** Which way is better; a ratio is always subject / peer. */
  readonly better: 'higher' | 'lower';
}

export interface Workload {
  /** In tables and on the command line: lower case, `-` between words: `udp-window`. */
  readonly name: string;
  /** One sentence for the README and the report. */
  readonly description: string;
  readonly measures: readonly Measure[];
  /** Why it does not apply to this contender (no ClusterIP), or null. */
  unsuited(running: Running): string | null;
  /**
   * Starts server and client, measures for about `seconds`, ends both; a value for every measure by its name. Throws with what the programs
   * said when the traffic did not flow. A sample of nothing (0 packets) is an error, never a value.
   */
  sample(running: Running, seconds: number): Promise<Readonly<Record<string, number>>>;
}
