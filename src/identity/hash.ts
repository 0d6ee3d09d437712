/**
 * 64-bit hash of text as two unsigned 32-bit halves (FNV-1a with two offsets, each half finished as MurmurHash3 does). It finds and
 * orders; where two hashes are equal the text decides, so a collision costs a comparison and never merges anything.
 */
export interface Hash {
  readonly high: number;
  readonly low: number;
}

function finish(value: number): number {
  let h = value;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

export function hashText(text: string): Hash {
  let high = 0x811c9dc5;
  let low = 0x050c5d1f;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    high = Math.imul(high ^ unit, 0x01000193);
    low = Math.imul(low ^ unit, 0x0100a753);
  }
  return { high: finish(high ^ Math.imul(low, 0x9e3779b1)), low: finish(low) };
}

/** Hash of a set, from the hashes of its members; the order of addition does not show. */
export function hashSet(members: readonly { readonly hash: Hash }[]): Hash {
  let high = members.length;
  let low = 0x9e3779b1;
  for (const { hash } of members) {
    high = (high + hash.high) | 0;
    low = (low + hash.low) | 0;
  }
  return { high: finish(high ^ Math.imul(low, 0x85ebca6b)), low: finish(low) };
}

export function compareHashes(a: Hash, b: Hash): number {
  return a.high - b.high || a.low - b.low;
}
