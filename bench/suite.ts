/**
 * One run: contenders stand and show that they enforce, their workloads are sampled in rounds, they end; then each node measure the same
 * way. Everything that the selection names ends up in the findings, as samples or with the reason why not.
 */
import { setTimeout as pause } from 'node:timers/promises';
import type { Contender, Running, Site } from './contenders/contender.js';
import { interleave, type Lane, type Sample } from './interleave.js';
import { busyShare, stolenSeconds } from './machine.js';
import type { NodeMeasure } from './node-measure.js';
import type { Progress } from './progress.js';
import type { Attendance, Settings } from './report/json.js';
import type { Absence } from './report/verdict.js';
import {
  groupsOf,
  overheadOf,
  type Pair,
  pairSeconds,
  type Selection,
  startOf,
  startsAtOnce,
} from './selection.js';
import { Cast, stand, standSubjects } from './stand.js';
import type { Workload } from './workloads/workload.js';

/** Everything that a plan can name. */
export interface Inventory {
  readonly contenders: readonly Contender[];
  readonly workloads: readonly Workload[];
  readonly nodeMeasures: readonly NodeMeasure[];
}

export interface Surroundings {
  readonly makeSite: (say: (text: string) => void) => Site;
  readonly show: Parameters<typeof stand>[2];
  readonly progress: Progress;
  readonly signal: AbortSignal;
}

export interface Measured {
  readonly contenders: readonly Attendance[];
  readonly standing: number | null;
  readonly notRun: readonly Absence[];
  readonly samples: readonly Sample[];
}

/** Beside its own time, what a sample may take before it counts as failed. Milliseconds. */
const patienceOf = (seconds: number): number => seconds * 3000 + 60_000;

export class Suite {
  readonly #inventory: Inventory;
  readonly #settings: Settings;
  readonly #around: Surroundings;
  readonly #cast = new Cast();
  readonly #samples: Sample[] = [];
  readonly #notRun: Absence[] = [];

  constructor(inventory: Inventory, settings: Settings, around: Surroundings) {
    this.#inventory = inventory;
    this.#settings = settings;
    this.#around = around;
  }

  /** Ends early, with what there is, when the signal is raised. Nothing stands afterwards. */
  async run(selection: Selection): Promise<Measured> {
    try {
      const { attendances, standing } = await this.#runWorkloads(selection.pairs);
      for (const { name } of this.#inventory.nodeMeasures) {
        const pairs = selection.nodePairs.filter(({ workload }) => workload === name);
        if (pairs.length > 0 && !this.#around.signal.aborted) await this.#runNodeMeasure(name, pairs);
      }
      this.#missing(selection);
      return { contenders: attendances, standing, notRun: this.#notRun, samples: this.#samples };
    } finally {
      await this.stop();
    }
  }

  /** Ends what stands. Safe to call at any time. */
  stop(): Promise<void> {
    return this.#cast.stop((text) => this.#around.progress.note(text));
  }

  async #runWorkloads(pairs: readonly Pair[]) {
    const { progress, signal, makeSite, show } = this.#around;
    const names = [...new Set(pairs.map(({ of }) => of))];
    const contenders = this.#inventory.contenders.filter(({ name }) => names.includes(name));
    for (const name of names) {
      if (contenders.some((contender) => contender.name === name)) continue;
      this.#notRun.push({ what: name, why: 'there is no contender of this name' });
      progress.advance(startOf(name) / startsAtOnce);
    }
    const { attendances, running } = await stand(
      contenders,
      {
        cast: this.#cast,
        signal,
        makeSite,
        say: (text) => progress.step(text),
        note: (text) => progress.note(text),
        over: (name) => progress.advance(startOf(name) / startsAtOnce),
      },
      show,
    );
    for (const { name, notRun } of attendances)
      if (notRun !== null) this.#notRun.push({ what: name, why: notRun });
    if (running.size === 0 || signal.aborted) return { attendances, standing: null };
    // What starts leaves work behind: the kernel frees rules, the switch its old image.
    progress.step('lets the machine settle');
    await pause(1000);
    const standing = await busyShare(1000);
    const groups = groupsOf(pairs).map((group) =>
      group.flatMap(({ of, workload }) => this.#lane(running, of, workload)),
    );
    await this.#interleave(groups, overheadOf);
    progress.step('ends the contenders');
    await this.stop();
    return { attendances, standing };
  }

  /** None when the contender does not run or the workload does not apply to it, which is said then. */
  #lane(running: ReadonlyMap<string, Running>, of: string, name: string): readonly Lane[] {
    const stands = running.get(of);
    const skipped = () => this.#around.progress.advance(pairSeconds(name, this.#settings));
    if (stands === undefined) {
      skipped();
      return [];
    }
    const workload = this.#inventory.workloads.find((other) => other.name === name);
    const why =
      workload === undefined ? 'there is no workload of this name' : (workload.unsuited(stands) ?? null);
    if (workload === undefined || why !== null) {
      this.#notRun.push({ what: `${of}/${name}`, why: why ?? '' });
      skipped();
      return [];
    }
    return [
      {
        contender: of,
        workload: name,
        measures: workload.measures,
        repeat: 'rounds',
        sample: (seconds) => workload.sample(stands, seconds),
      },
    ];
  }

  async #runNodeMeasure(name: string, pairs: readonly Pair[]): Promise<void> {
    const { progress, signal, makeSite } = this.#around;
    const measure = this.#inventory.nodeMeasures.find((other) => other.name === name) as NodeMeasure;
    const { standing, absent } = await standSubjects(
      measure,
      pairs.map(({ of }) => of),
      {
        cast: this.#cast,
        signal,
        makeSite,
        say: (text) => progress.step(text),
        note: (text) => progress.note(text),
        over: () => progress.advance(measure.estimate.start),
      },
    );
    for (const [subject, why] of absent) this.#notRun.push({ what: `${subject}/${name}`, why });
    const lanes = [...standing].map(
      ([of, subject]): Lane => ({
        contender: of,
        workload: name,
        measures: measure.measures,
        repeat: measure.repeat,
        sample: (seconds) => subject.sample(seconds),
      }),
    );
    await this.#interleave([lanes], () => measure.estimate.sample);
    await this.stop();
  }

  async #interleave(
    groups: readonly (readonly Lane[])[],
    overhead: (workload: string) => number,
  ): Promise<void> {
    const { progress, signal } = this.#around;
    const { rounds, seconds, warmUpSeconds } = this.#settings;
    await interleave({
      groups,
      rounds,
      seconds,
      warmUpSeconds,
      patience: patienceOf(seconds + Math.max(0, ...groups.flat().map((lane) => overhead(lane.workload)))),
      clock: () => new Date(),
      stolen: stolenSeconds,
      signal,
      before: ({ contender, workload }, round) =>
        progress.step(
          `${round === 0 ? 'warm-up' : `round ${round} of ${rounds}`}: ${workload} on ${contender}`,
        ),
      taken: (sample) => {
        this.#samples.push(sample);
        const { round, workload, contender, failed } = sample;
        progress.advance((round === 0 ? warmUpSeconds : seconds) + overhead(workload));
        if (failed !== undefined) progress.note(`${contender}/${workload}, round ${round}: ${failed}`);
      },
    });
  }

  /** What the selection named and nothing above accounted for. */
  #missing({ pairs, nodePairs }: Selection): void {
    const accounted = new Set(this.#notRun.map(({ what }) => what));
    const measured = new Set<string>();
    const words = new Map<string, string>();
    for (const { contender, workload, round, values, failed } of this.#samples) {
      if (values !== undefined && round > 0) measured.add(`${contender}/${workload}`);
      if (failed !== undefined) words.set(`${contender}/${workload}`, failed);
    }
    const provided = new Set(this.#inventory.nodeMeasures.map(({ name }) => name));
    for (const { of, workload } of [...pairs, ...nodePairs]) {
      const what = `${of}/${workload}`;
      if (measured.has(what) || accounted.has(what) || accounted.has(of)) continue;
      const unknown = nodePairs.some((pair) => pair.workload === workload) && !provided.has(workload);
      const why = unknown ? 'there is no node measure of this name' : words.get(what);
      this.#notRun.push({ what, why: why ?? 'the run ended before' });
    }
  }
}
