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
  let low = checksumSeeds[0] as number;
  let high = checksumSeeds[1] as number;
  const whole = bytes.length >>> 2;
  const mix = (word: number) => {
    low = mixWord(low, word);
    high = mixWord(high ^ 0x5bd1e995, word);
  };
  if (bytes.byteOffset % 4 === 0) {
    // Typed arrays have the machine's byte order; every machine that runs weft is little-endian (asserted in C++ too).
    const words = new Uint32Array(bytes.buffer, bytes.byteOffset, whole);
    for (let i = 0; i < whole; i++) {
      const word = words[i]!;
      low = mixWord(low, word);
      high = mixWord(high ^ 0x5bd1e995, word);
    }
  } else {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    for (let i = 0; i < whole; i++) mix(view.getUint32(4 * i, true));
  }
  let count = whole;
  if (bytes.length % 4 !== 0) {
    let word = 0;
    for (let i = 4 * whole; i < bytes.length; i++) word |= bytes[i]! << (8 * (i % 4));
    mix(word);
    count++;
  }
  mix(bytes.length);
  return [finish(low, count + 1), finish(high, count + 1)];
}
