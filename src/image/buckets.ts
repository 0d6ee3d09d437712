/**
 * Hash tables whose layout depends on their contents only: elements stand bucket by bucket, and within a bucket in the order of their keys.
 * The seed is the first of a fixed row that leaves no bucket too long, so that it too follows from the contents.
 */
import { maxBucket } from './layout.js';

export interface Buckets {
  readonly seed: number;
  /** First position of each bucket, and one past the last. */
  readonly starts: Uint32Array;
  /** Which element stands at each position. */
  readonly order: Uint32Array;
}

const seedCount = 16;
/** Well under the longest that the loader takes. */
const goodBucket = maxBucket / 2;

function bucketCount(count: number): number {
  let buckets = 1;
  while (buckets < count) buckets *= 2;
  return buckets;
}

/**
 * `hash` gives an element's unsigned hash under a seed; `before` orders two elements with different keys.
 */
export function makeBuckets(
  count: number,
  hash: (element: number, seed: number) => number,
  before: (a: number, b: number) => boolean,
): Buckets {
  let buckets = bucketCount(count);
  for (let round = 0; ; round++) {
    const seed = round % seedCount;
    // Nobody gets here by accident; somebody who picks addresses to collide under every seed pays with memory, not with our time.
    if (round > 0 && seed === 0) buckets *= 2;
    const chosen = new Uint32Array(count);
    const starts = new Uint32Array(buckets + 1);
    for (let i = 0; i < count; i++) {
      const bucket = hash(i, seed) & (buckets - 1);
      chosen[i] = bucket;
      starts[bucket + 1]!++;
    }
    let longest = 0;
    for (let b = 0; b < buckets; b++) {
      longest = Math.max(longest, starts[b + 1]!);
      starts[b + 1]! += starts[b]!;
    }
    if (longest > goodBucket && round < 4 * seedCount) continue;

    const order = new Uint32Array(count);
    const next = starts.slice(0, buckets);
    for (let i = 0; i < count; i++) {
      // Insertion into place: buckets hold one or two elements.
      const bucket = chosen[i]!;
      let at = next[bucket]!++;
      while (at > starts[bucket]! && before(i, order[at - 1]!)) {
        order[at] = order[at - 1]!;
        at--;
      }
      order[at] = i;
    }
    return { seed, starts, order };
  }
}
