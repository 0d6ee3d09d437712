/**
 * MurmurHash3 (x86, 32 bits; Austin Appleby, public domain) over 32-bit words, the same here and in `native/policy/hash.h`. It finds
 * buckets and detects damage; it protects against nobody, which is why the loader validates everything besides.
 */
export function mixWord(hash: number, word: number): number {
  let k = Math.imul(word, 0xcc9e2d51);
  k = (k << 15) | (k >>> 17);
  k = Math.imul(k, 0x1b873593);
  const h = hash ^ k;
  return (Math.imul((h << 13) | (h >>> 19), 5) + 0xe6546b64) | 0;
}

/** `words` is how many words were mixed in. Unsigned. */
export function finish(hash: number, words: number): number {
  let h = hash ^ (4 * words);
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

const checksumSeeds = [0x77656674, 0x696d6731] as const;

/**
 * 64-bit checksum as [low, high]: two 32-bit hashes with different seeds over the bytes taken as little-endian words; the last word is
 * filled up with zeros and the length in bytes goes in last.
 */
export function checksum(bytes: Uint8Array): [number, number] {
  const whole = bytes.length >>> 2;
  // Typed arrays have the machine's byte order; every machine that runs weft is little-endian (asserted in C++ too).
  const words =
    bytes.byteOffset % 4 === 0
      ? new Int32Array(bytes.buffer, bytes.byteOffset, whole)
      : new Int32Array(bytes.slice(0, 4 * whole).buffer);
  let low = checksumSeeds[0] as number;
  let high = checksumSeeds[1] as number;
  // Locals and signed words: a variable that a closure holds too, or that leaves 31 bits, is memory.
  for (let i = 0; i < whole; i++) {
    let k = Math.imul(words[i]!, 0xcc9e2d51);
    k = Math.imul((k << 15) | (k >>> 17), 0x1b873593);
    low ^= k;
    low = (Math.imul((low << 13) | (low >>> 19), 5) + 0xe6546b64) | 0;
    high ^= 0x5bd1e995 ^ k;
    high = (Math.imul((high << 13) | (high >>> 19), 5) + 0xe6546b64) | 0;
  }
  let count = whole;
  if (bytes.length % 4 !== 0) {
    let word = 0;
    for (let i = 4 * whole; i < bytes.length; i++) word |= bytes[i]! << (8 * (i % 4));
    low = mixWord(low, word);
    high = mixWord(high ^ 0x5bd1e995, word);
    count++;
  }
  low = mixWord(low, bytes.length);
  high = mixWord(high ^ 0x5bd1e995, bytes.length);
  return [finish(low, count + 1), finish(high, count + 1)];
}
