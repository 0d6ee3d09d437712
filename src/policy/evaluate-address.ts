/**
 * Addresses for the reference evaluator, on purpose not those of `net/`: a mistake there must show as a difference between the
 * evaluator and the compiled image, not be shared by both. One address is its family and its bits as a bigint; slow and plain.
 */
export interface PlainAddress {
  readonly family: 4 | 6;
  readonly bits: bigint;
}

export interface PlainBlock extends PlainAddress {
  readonly length: number;
}

/** Parses either notation; an IPv4-mapped IPv6 address is the IPv4 address. undefined: not an address. */
export function plainAddress(text: unknown): PlainAddress | undefined {
  if (typeof text !== 'string') return undefined;
  const four = fourBytes(text);
  if (four !== undefined) return { family: 4, bits: four };
  const six = sixteenBytes(text);
  if (six === undefined) return undefined;
  return six >> 32n === 0xffffn ? { family: 4, bits: six & 0xffff_ffffn } : { family: 6, bits: six };
}

/** One key per address, equal for all of its notations. */
export function addressKey(address: PlainAddress): string {
  return `${address.family}/${address.bits.toString(16)}`;
}

/** Parses a CIDR; host bits are allowed and dropped, an IPv4-mapped block is the IPv4 block. undefined: not a CIDR. */
export function plainBlock(text: unknown): PlainBlock | undefined {
  if (typeof text !== 'string') return undefined;
  const match = /^([^/]+)\/(0|[1-9][0-9]{0,2})$/.exec(text);
  if (match === null) return undefined;
  const length = Number(match[2]);
  const four = fourBytes(match[1] ?? '');
  if (four !== undefined) {
    return length <= 32 ? { family: 4, bits: masked(four, length, 32), length } : undefined;
  }
  const six = sixteenBytes(match[1] ?? '');
  if (six === undefined || length > 128) return undefined;
  if (length >= 96 && six >> 32n === 0xffffn) {
    return { family: 4, bits: masked(six & 0xffff_ffffn, length - 96, 32), length: length - 96 };
  }
  return { family: 6, bits: masked(six, length, 128), length };
}

export function blockContains(block: PlainBlock, address: PlainAddress): boolean {
  return (
    block.family === address.family &&
    masked(address.bits, block.length, block.family === 4 ? 32 : 128) === block.bits
  );
}

function masked(bits: bigint, length: number, width: number): bigint {
  const host = BigInt(width - length);
  return (bits >> host) << host;
}

function fourBytes(text: string): bigint | undefined {
  const parts = text.split('.');
  if (parts.length !== 4) return undefined;
  let bits = 0n;
  for (const part of parts) {
    if (!/^[0-9]{1,3}$/.test(part) || (part.length > 1 && part.startsWith('0')) || Number(part) > 255) {
      return undefined;
    }
    bits = (bits << 8n) | BigInt(part);
  }
  return bits;
}

function sixteenBytes(text: string): bigint | undefined {
  const halves = text.split('::');
  if (halves.length > 2) return undefined;
  const groups = halves.map((half) => (half === '' ? [] : half.split(':')));
  const tail = groups[groups.length - 1] ?? [];
  const quad = tail[tail.length - 1];
  if (quad?.includes('.')) {
    const four = fourBytes(quad);
    if (four === undefined) return undefined;
    tail.splice(-1, 1, (four >> 16n).toString(16), (four & 0xffffn).toString(16));
  }
  const [head = [], rest] = groups;
  const given = head.length + (rest?.length ?? 0);
  if (rest === undefined ? given !== 8 : given > 7) return undefined;
  let bits = 0n;
  for (const group of [...head, ...Array<string>(8 - given).fill('0'), ...(rest ?? [])]) {
    if (!/^[0-9a-fA-F]{1,4}$/.test(group)) return undefined;
    bits = (bits << 16n) | BigInt(`0x${group}`);
  }
  return bits;
}
