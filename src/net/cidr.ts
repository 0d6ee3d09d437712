/**
 * CIDR blocks as values. `length` counts in the family's own bits (0–32, 0–128); `depth` counts in the 16-byte form, where an IPv4
 * block starts below the 96 bits of the mapped prefix. Host bits are always zero.
 */
import { type Address, addressOf, compareAddresses, type Family, isMapped, parseAddress } from './address.js';

export interface Cidr {
  readonly family: Family;
  /** Canonical text, `10.0.0.0/8`; equal blocks have equal text. */
  readonly text: string;
  /** First address; every bit below the prefix is zero. */
  readonly base: Address;
  readonly length: number;
  /** Prefix length in the 16-byte form: length + 96 for IPv4. */
  readonly depth: number;
}

/** What was put right while reading: `host-bits` cleared, or an IPv4-mapped block turned into IPv4. */
export type CidrNote = 'host-bits' | 'mapped';

type Words = readonly [number, number, number, number];

function maskWord(word: number, bits: number): number {
  if (bits <= 0) return 0;
  if (bits >= 32) return word;
  return (word & (0xffffffff << (32 - bits))) >>> 0;
}

/** The words with every bit from `depth` (0–128) on cleared. */
export function maskWords(words: Words, depth: number): [number, number, number, number] {
  return [
    maskWord(words[0], depth),
    maskWord(words[1], depth - 32),
    maskWord(words[2], depth - 64),
    maskWord(words[3], depth - 96),
  ];
}

function make(family: Family, base: Address, length: number): Cidr {
  return Object.freeze({
    family,
    base,
    length,
    depth: family === 4 ? length + 96 : length,
    text: `${base.text}/${length}`,
  });
}

/** The block of `length` family bits around an address. */
export function blockOf(of: Address, length: number): Cidr {
  const depth = of.family === 4 ? length + 96 : length;
  return make(of.family, addressOf(maskWords(of.words, depth)), length);
}

/** The block and what had to be normalised in it, or undefined where the text is not CIDR notation. */
export function parseCidr(text: string): { cidr: Cidr; notes: readonly CidrNote[] } | undefined {
  const slash = text.indexOf('/');
  if (slash < 0) return undefined;
  const lengthText = text.slice(slash + 1);
  if (!/^(0|[1-9][0-9]{0,2})$/.test(lengthText)) return undefined;
  const literal = text.slice(0, slash);
  const parsed = parseAddress(literal);
  if (parsed === undefined) return undefined;
  let length = Number(lengthText);
  const writtenAsIPv6 = literal.includes(':');
  if (length > (writtenAsIPv6 ? 128 : 32)) return undefined;

  const notes: CidrNote[] = [];
  let family = parsed.family;
  if (writtenAsIPv6 && family === 4) {
    if (length >= 96) {
      length -= 96;
      notes.push('mapped');
    } else {
      family = 6; // wider than the mapped range: an IPv6 block, which never matches IPv4
    }
  }
  const depth = family === 4 ? length + 96 : length;
  const words = maskWords(parsed.words, depth);
  if (words.some((word, i) => word !== parsed.words[i])) notes.push('host-bits');
  if (family === 6 && isMapped(words)) return undefined; // unreachable for length < 96, kept as the invariant
  return { cidr: make(family, addressOf(words), length), notes };
}

/** The block; for literals in code and tests. Throws where the text is not CIDR notation. */
export function cidr(text: string): Cidr {
  const parsed = parseCidr(text);
  if (parsed === undefined) throw new Error(`"${text}" is not a CIDR block`);
  return parsed.cidr;
}

/** The last word first: it is where addresses of one cluster differ. */
function sharesPrefix(a: Words, b: Words, depth: number): boolean {
  for (let i = (depth - 1) >> 5; i >= 0; i--) {
    const bits = depth - 32 * i;
    if (bits >= 32 ? a[i] !== b[i] : (a[i]! ^ b[i]!) >>> (32 - bits) !== 0) return false;
  }
  return true;
}

/** Whether the address lies in the block. Families never meet: 0.0.0.0/0 and ::/0 hold their own family only. */
export function contains(block: Cidr, value: Address): boolean {
  return block.family === value.family && sharesPrefix(block.base.words, value.words, block.depth);
}

/** Whether `inner` lies wholly in `outer` (equal blocks do). */
export function containsBlock(outer: Cidr, inner: Cidr): boolean {
  return (
    outer.family === inner.family &&
    inner.length >= outer.length &&
    sharesPrefix(outer.base.words, inner.base.words, outer.depth)
  );
}

/** Order in which a block stands before everything it contains: family, first address, shorter prefix first. */
export function compareBlocks(a: Cidr, b: Cidr): number {
  return a.family - b.family || compareAddresses(a.base, b.base) || a.length - b.length;
}
