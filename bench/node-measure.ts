/**
 * A measure of a node instead of traffic between two pods: idle processor time, memory, the time a policy change takes, instructions of a
 * micro-benchmark. It brings its own set-up for each of its subjects; the harness makes all subjects of one measure stand together, takes
 * their samples in turn (A B A B, as for workloads), and ends them. Nothing else of the suite stands meanwhile.
 */
import type { Site } from './contenders/contender.js';
import type { Measure } from './workloads/workload.js';

/** One subject that stands. */
export interface NodeSubject {
  /**
   * A value for every measure by its name; measures for about `seconds` where time is what it takes, and ignores it otherwise. Throws with
   * what was said when it could not be measured. A sample of nothing (0 changes seen) is an error, never a value.
   */
  sample(seconds: number): Promise<Readonly<Record<string, number>>>;
  /** Ends processes, removes namespaces. Safe to call twice. */
  stop(): Promise<void>;
}

export interface NodeMeasure {
  /** In tables and on the command line: lower case, `-` between words: `policy-change`. No workload has the same name. */
  readonly name: string;
  /** One sentence for the README and the report. */
  readonly description: string;
  readonly measures: readonly Measure[];
  /** What it is measured of, as comparisons name it: a contender's name where it is one (`kube-router-1000`), else a word (`weft`). */
  readonly subjects: readonly string[];
  /** Debian packages it needs beside those of the suite itself. */
  readonly packages: readonly string[];
  /** `once` where another sample gives the same number (instructions), else a sample of each subject in every round. */
  readonly repeat: 'rounds' | 'once';
  /** For the time left, per subject: seconds to stand, and of one sample beside the `seconds` it is given. */
  readonly estimate: { readonly start: number; readonly sample: number };
  /** Why this subject cannot run on this machine, or null. Asked after its packages are installed. */
  unavailable(subject: string): Promise<string | null>;
  /** Throws with everything undone when it cannot be made. */
  start(subject: string, site: Site): Promise<NodeSubject>;
}
