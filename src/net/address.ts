/**
 * IP addresses as values. Both families have one 16-byte form (IPv4 as ::ffff:a.b.c.d, RFC 4291 section 2.5.5.2), held as four
 * 32-bit words, most significant first, because masks and comparisons on words are what the compiler does all day. `text` is
 * canonical (RFC 5952), so equal addresses have equal text and a Map may be keyed by it.
 *
 * An IPv4-mapped IPv6 literal is normalised to the IPv4 address that it means; the caller learns of it from `mapped`.
 */
export type Family = 4 | 6;

export interface Address {
  readonly family: Family;
  /** Canonical text: `10.0.0.1`, `fd00::1`. */
  readonly text: string;
  /** The 16-byte form as unsigned 32-bit words. */
  readonly words: readonly [number, number, number, number];
}

const mappedWord = 0xffff;

/** Four decimal octets without leading zeros (as Go's net/netip and so the Kubernetes API read them), or undefined. */
function parseIPv4(text: string): number | undefined {
  const parts = text.split('.');
  if (parts.length !== 4) return undefined;
  let value = 0;
  for (const part of parts) {
    if (!/^(0|[1-9][0-9]{0,2})$/.test(part)) return undefined;
    const octet = Number(part);
    if (octet > 255) return undefined;
    value = value * 256 + octet;
  }
  return value;
}

/** The eight groups of an IPv6 literal (RFC 4291 section 2.2), or undefined. Zones are refused: policy has no interfaces. */
function parseGroups(text: string): number[] | undefined {
  let body = text;
  const lastColon = body.lastIndexOf(':');
  if (lastColon < 0) return undefined;
  const tail = body.slice(lastColon + 1);
  if (tail.includes('.')) {
    const v4 = parseIPv4(tail);
    if (v4 === undefined) return undefined;
    body = `${body.slice(0, lastColon + 1)}${Math.floor(v4 / 65536).toString(16)}:${(v4 % 65536).toString(16)}`;
  }
  const halves = body.split('::');
  if (halves.length > 2) return undefined;
  const groups = (half: string): number[] | undefined => {
    if (half === '') return [];
    const values: number[] = [];
    for (const group of half.split(':')) {
      if (!/^[0-9a-fA-F]{1,4}$/.test(group)) return undefined;
      values.push(Number.parseInt(group, 16));
    }
    return values;
  };
  const head = groups(halves[0]!);
  if (head === undefined) return undefined;
  if (halves.length === 1) return head.length === 8 ? head : undefined;
  const rest = groups(halves[1]!);
  if (rest === undefined || head.length + rest.length > 7) return undefined;
  return [...head, ...new Array<number>(8 - head.length - rest.length).fill(0), ...rest];
}

function formatIPv4(value: number): string {
  return `${value >>> 24}.${(value >>> 16) & 255}.${(value >>> 8) & 255}.${value & 255}`;
}

/** RFC 5952 section 4: lower case, no leading zeros, the longest run of two or more zero groups (the first of equals) as `::`. */
function formatIPv6(words: readonly [number, number, number, number]): string {
  const groups: number[] = [];
  for (const word of words) groups.push(word >>> 16, word & 0xffff);
  let best = -1;
  let bestLength = 1;
  for (let i = 0; i < 8; ) {
    let end = i;
    while (end < 8 && groups[end] === 0) end++;
    if (end - i > bestLength) {
      best = i;
      bestLength = end - i;
    }
    i = end + 1;
  }
  const hex = (part: number[]) => part.map((group) => group.toString(16)).join(':');
  if (best < 0) return hex(groups);
  return `${hex(groups.slice(0, best))}::${hex(groups.slice(best + bestLength))}`;
}

/** Whether the words are in the IPv4-mapped range, which is how an IPv4 address is held. */
export function isMapped(words: readonly [number, number, number, number]): boolean {
  return words[0] === 0 && words[1] === 0 && words[2] === mappedWord;
}

/** The address with these words (unsigned 32-bit); mapped words make an IPv4 address. */
export function addressOf(words: readonly [number, number, number, number]): Address {
  const mapped = isMapped(words);
  return Object.freeze({
    family: mapped ? 4 : 6,
    text: mapped ? formatIPv4(words[3]) : formatIPv6(words),
    words: Object.freeze([...words] as [number, number, number, number]),
  });
}

/** The address, or undefined where the text is not one. `::ffff:10.0.0.1` is the IPv4 address 10.0.0.1. */
export function parseAddress(text: string): Address | undefined {
  if (!text.includes(':')) {
    const value = parseIPv4(text);
    return value === undefined ? undefined : addressOf([0, 0, mappedWord, value]);
  }
  const groups = parseGroups(text);
  if (groups === undefined) return undefined;
  const word = (i: number) => groups[2 * i]! * 65536 + groups[2 * i + 1]!;
  return addressOf([word(0), word(1), word(2), word(3)]);
}

/** The address; for literals in code and tests. Throws where the text is not an address. */
export function address(text: string): Address {
  const parsed = parseAddress(text);
  if (parsed === undefined) throw new Error(`"${text}" is not an IP address`);
  return parsed;
}

/** Order by the 16-byte form: IPv4 addresses stand together, inside the mapped range. */
export function compareAddresses(a: Address, b: Address): number {
  for (let i = 0; i < 4; i++) {
    const difference = a.words[i]! - b.words[i]!;
    if (difference !== 0) return difference;
  }
  return 0;
}

/** A word with its bytes in the other order; signed. */
export function swapBytes(word: number): number {
  return (word >>> 24) | ((word >>> 8) & 0xff00) | ((word << 8) & 0xff0000) | (word << 24);
}

/** The 16 bytes in network order, as the image and the switch hold them. */
export function addressBytes(value: Address): Uint8Array {
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < 4; i++) view.setUint32(4 * i, value.words[i]!);
  return bytes;
}
