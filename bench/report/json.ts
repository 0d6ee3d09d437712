/** The report as data: everything that was measured, and what the other forms are made from. */
import type { Sample } from '../interleave.js';
import type { Machine } from '../machine.js';
import type { Comparison, Scope } from '../plan.js';
import type { Estimate } from '../statistics.js';
import type { Measure } from '../workloads/workload.js';
import { type Absence, judge, type Outcome, Samples, summarize } from './verdict.js';

export interface Settings {
  readonly scope: Scope;
  readonly only: readonly string[];
  readonly rounds: number;
  readonly seconds: number;
  readonly warmUpSeconds: number;
}

/** How a contender came to be timed, or not. */
export interface Attendance {
  readonly name: string;
  readonly description: string;
  readonly policies: number;
  /**
   * `denied`: a port that no policy allows had a listener and did not answer, an allowed one did. `no policies`: everything answers, as
   * the contender says of itself. Null: it did not get that far.
   */
  readonly enforcement: 'denied' | 'no policies' | null;
  /** Seconds until it stood. */
  readonly took: number | null;
  readonly notRun: string | null;
}

/** A workload or a node measure. */
export interface Subject {
  readonly name: string;
  readonly description: string;
  readonly measures: readonly Measure[];
}

export interface Summary {
  readonly of: string;
  readonly workload: string;
  readonly measure: string;
  readonly unit: string;
  readonly estimate: Estimate;
}

export interface Findings {
  readonly started: string;
  readonly ended: string;
  /** A signal that ended the run early, or null. */
  readonly interrupted: string | null;
  readonly machine: Machine;
  readonly settings: Settings;
  readonly contenders: readonly Attendance[];
  readonly subjects: readonly Subject[];
  /** Share of one core, in percent, that the machine used while all contenders stood and nothing was measured. */
  readonly standing: number | null;
  readonly notRun: readonly Absence[];
  readonly samples: readonly Sample[];
}

export interface Report extends Findings {
  readonly format: 'weft bench 1';
  readonly outcomes: readonly Outcome[];
  readonly summaries: readonly Summary[];
}

/** Judges what was found. */
export function reportOf(findings: Findings, comparisons: readonly Comparison[]): Report {
  const samples = new Samples(findings.samples, findings.notRun);
  const pairs = new Map(
    findings.samples.map(({ contender, workload }) => [
      `${contender}/${workload}`,
      { of: contender, workload },
    ]),
  );
  const summaries = [...pairs.values()].flatMap(({ of, workload }) =>
    (findings.subjects.find(({ name }) => name === workload)?.measures ?? []).flatMap(({ name, unit }) => {
      const found = summarize({ of, workload, measure: name }, samples);
      return found === null ? [] : [{ of, workload, measure: name, unit, estimate: found }];
    }),
  );
  return {
    format: 'weft bench 1',
    ...findings,
    outcomes: comparisons.map((comparison) => judge(comparison, samples)),
    summaries,
  };
}
