/**
 * Takes samples in rounds. A lane is what gives one sample at a time (a workload on a contender); lanes in one group are compared with
 * each other and are sampled one after the other in every round, A B C, so that what drifts (heat, a neighbour) meets all of them. The
 * first one changes from round to round, and the direction too, so that neither of a pair is always the one that comes after the
 * other. Round 0 warms up and is not counted.
 */

export interface Lane {
  /** What a comparison names: `weft-1000` × `udp-window`. */
  readonly contender: string;
  readonly workload: string;
  /** Names of the values that a sample must have, and whether 0 or less is a value (a difference of processor times may be). */
  readonly measures: readonly { readonly name: string; readonly unit: string }[];
  /** `once`: sampled in round 1 only. */
  readonly repeat: 'rounds' | 'once';
  sample(seconds: number): Promise<Readonly<Record<string, number>>>;
}

/** Values, or the words of the failure. */
export interface Sample {
  readonly contender: string;
  readonly workload: string;
  /** 0 is the discarded warm-up. */
  readonly round: number;
  /** ISO 8601, when the last attempt began; `took` in seconds. */
  readonly at: string;
  readonly took: number;
  readonly attempts: number;
  /** Percent of one core that the hypervisor took from this machine meanwhile: what a sample of a virtual machine is worth. */
  readonly stolen: number;
  readonly values?: Readonly<Record<string, number>>;
  readonly failed?: string;
}

export interface Rounds {
  /** Lanes that are sampled next to each other; groups follow one another within a round. */
  readonly groups: readonly (readonly Lane[])[];
  /** Counted rounds. */
  readonly rounds: number;
  readonly seconds: number;
  /** Of the warm-up. */
  readonly warmUpSeconds: number;
  /** Milliseconds; a sample that takes longer has failed. */
  readonly patience: number;
  readonly clock: () => Date;
  /** Seconds of all cores that the hypervisor took, ever. */
  readonly stolen: () => number;
  readonly signal: AbortSignal;
  readonly before: (lane: Lane, round: number) => void;
  readonly taken: (sample: Sample) => void;
}

/** The turn of `count` lanes in a round: every other round is the one before it backwards, and every second one begins one lane later. */
export function turn(count: number, round: number): readonly number[] {
  const order = Array.from({ length: count }, (_, i) => (i + Math.floor(round / 2)) % count);
  return round % 2 === 0 ? order : order.reverse();
}

/** Failures in a row after which a lane is not tried in later rounds: the rest of the run matters more. */
const givenUpAfter = 2;

/** Ends early, without error, when the signal is raised. */
export async function interleave(plan: Rounds): Promise<void> {
  const failures = new Map<Lane, number>();
  for (let round = 0; round <= plan.rounds; round++) {
    for (const group of plan.groups) {
      for (const index of turn(group.length, round)) {
        const lane = group[index] as Lane;
        if (plan.signal.aborted) return;
        if (lane.repeat === 'once' && round !== 1) continue;
        if ((failures.get(lane) ?? 0) >= givenUpAfter) {
          plan.taken(nothing(lane, round, plan, `given up after ${givenUpAfter} failed rounds`));
          continue;
        }
        plan.before(lane, round);
        const sample = await take(lane, round, plan);
        if (plan.signal.aborted) return;
        failures.set(lane, sample.failed === undefined ? 0 : (failures.get(lane) ?? 0) + 1);
        plan.taken(sample);
      }
    }
  }
}

function nothing(lane: Lane, round: number, plan: Rounds, failed: string): Sample {
  const { contender, workload } = lane;
  return {
    contender,
    workload,
    round,
    at: plan.clock().toISOString(),
    took: 0,
    attempts: 0,
    stolen: 0,
    failed,
  };
}

/** One sample; what fails is tried once more. */
async function take(lane: Lane, round: number, plan: Rounds): Promise<Sample> {
  const words: string[] = [];
  for (let attempts = 1; ; attempts++) {
    const [begun, stolen] = [plan.clock(), plan.stolen()];
    const result = await attempt(lane, round === 0 ? plan.warmUpSeconds : plan.seconds, plan.patience);
    const took = (plan.clock().getTime() - begun.getTime()) / 1000;
    const sample = {
      contender: lane.contender,
      workload: lane.workload,
      round,
      at: begun.toISOString(),
      took,
      attempts,
      stolen: took > 0 ? Math.round(((plan.stolen() - stolen) / took) * 1000) / 10 : 0,
    };
    if (typeof result !== 'string') return { ...sample, values: result };
    if (!words.includes(result)) words.push(result);
    if (attempts === 2 || plan.signal.aborted) return { ...sample, failed: words.join('; then: ') };
  }
}

async function attempt(
  lane: Lane,
  seconds: number,
  patience: number,
): Promise<Readonly<Record<string, number>> | string> {
  let late: NodeJS.Timeout | undefined;
  const isLate = new Promise<string>((resolve) => {
    late = setTimeout(() => resolve(`no result within ${patience / 1000} s`), patience);
  });
  try {
    const result = await Promise.race([lane.sample(seconds), isLate]);
    return typeof result === 'string' ? result : (wrong(lane, result) ?? result);
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  } finally {
    clearTimeout(late);
  }
}

/** What is wrong with the values, or null. Only a difference of processor times can be 0 or less. */
function wrong(lane: Lane, values: Readonly<Record<string, number>>): string | null {
  for (const { name, unit } of lane.measures) {
    const value = values[name];
    if (value === undefined || !Number.isFinite(value)) return `${name} is ${value}`;
    if (value <= 0 && unit !== '% of a core') return `${name} is ${value} ${unit}`;
  }
  return null;
}
