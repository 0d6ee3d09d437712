/**
 * Point and interval of a few samples.
 *
 * A comparison is the median of the ratios of same-round pairs, with a percentile bootstrap interval of that median (Efron & Tibshirani, An
 * Introduction to the Bootstrap, 1993, ch. 13; pairing to remove what drifts: Kalibera & Jones, Rigorous Benchmarking in Reasonable Time,
 * ISMM 2013). The alternative is the geometric mean of the ratios (Fleming & Wallace, CACM 29:3, 1986), which treats subject and peer alike.
 * The median is taken because a neighbour on a shared machine spoils single rounds, not all of them, and because the bootstrap of a mean of
 * five values is too narrow: it covers about 83 %, while that of the median of five runs from the lowest to the highest ratio and covers
 * 93.75 %, as the sign test's interval does. Both are computed on logarithms, so that exchanging subject and peer gives exactly the reciprocal
 * for an even number of rounds too.
 *
 * Coverage of the median's interval is not the same for every count: 93.75 % at 5, 87.5 % at 7, 96 % at 9 rounds.
 */

export interface Estimate {
  readonly value: number;
  /** Bounds of the 95 % interval; both equal `value` where there is one sample only. */
  readonly low: number;
  readonly high: number;
  /** Samples, or pairs of them. */
  readonly count: number;
}

/** Linear between order statistics: type 7 of Hyndman & Fan 1996, what most tools mean. `sorted` ascends and is not empty. */
export function quantile(sorted: readonly number[], q: number): number {
  const at = (sorted.length - 1) * q;
  const below = Math.floor(at);
  const low = sorted[below];
  const high = sorted[Math.min(below + 1, sorted.length - 1)];
  if (low === undefined || high === undefined) throw new RangeError('a quantile of nothing');
  return low + (high - low) * (at - below);
}

export function median(values: readonly number[]): number {
  return quantile(
    [...values].sort((a, b) => a - b),
    0.5,
  );
}

/** A generator of numbers in [0, 1), the same for the same words: xorshift128 (Marsaglia 2003) seeded by FNV-1a. */
export function randomness(words: string): () => number {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(words)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  let [x, y, z, w] = [hash | 1, 362436069, 521288629, 88675123];
  const next = () => {
    const t = x ^ (x << 11);
    [x, y, z] = [y, z, w];
    w = (w ^ (w >>> 19) ^ t ^ (t >>> 8)) | 0;
    return (w >>> 0) / 2 ** 32;
  };
  // The first numbers still show how few bits the seed has.
  for (let i = 0; i < 16; i++) next();
  return next;
}

const resamples = 10_000;

/** Median of `values` and its 95 % interval. `seed`: words that name what is estimated, so that a report can be computed again. */
export function estimate(values: readonly number[], seed: string): Estimate {
  const value = median(values);
  if (values.length === 1) return { value, low: value, high: value, count: 1 };
  const random = randomness(seed);
  const ascending = Float64Array.from(values).sort();
  const medians = new Float64Array(resamples);
  const drawn = new Float64Array(values.length);
  const middle = (values.length - 1) / 2;
  for (let i = 0; i < resamples; i++) {
    // Positions in order are values in order. Sorted as they come: there are a handful.
    for (let j = 0; j < drawn.length; j++) {
      const position = Math.floor(random() * drawn.length);
      let k = j;
      for (; k > 0 && (drawn[k - 1] as number) > position; k--) drawn[k] = drawn[k - 1] as number;
      drawn[k] = position;
    }
    const low = ascending[drawn[Math.floor(middle)] as number] as number;
    const high = ascending[drawn[Math.ceil(middle)] as number] as number;
    medians[i] = (low + high) / 2;
  }
  const sorted = [...medians.sort()];
  return { value, low: quantile(sorted, 0.025), high: quantile(sorted, 0.975), count: values.length };
}

/** Subject over peer: pairs of the same round, each above 0. */
export function estimateRatio(
  pairs: readonly { readonly subject: number; readonly peer: number }[],
  seed: string,
): Estimate {
  const { value, low, high, count } = estimate(
    pairs.map(({ subject, peer }) => Math.log(subject / peer)),
    seed,
  );
  return { value: Math.exp(value), low: Math.exp(low), high: Math.exp(high), count };
}
