/** Checks of address-like option values. Each returns null, or what is wrong as the end of a sentence that names the value. */
import { isIP } from 'node:net';

export function isAddress(value: string): string | null {
  if (value.includes('%')) return 'an address here has no zone';
  return isIP(value) === 0 ? 'it is no IPv4 or IPv6 address' : null;
}

export function isCidr(value: string): string | null {
  const [address, length, rest] = value.split('/');
  const family = isIP(address ?? '');
  if (family === 0 || length === undefined || rest !== undefined || !/^[0-9]{1,3}$/.test(length))
    return 'it is no CIDR such as 10.42.0.0/24 or fd00:42::/64';
  const bits = Number(length);
  const widest = family === 4 ? 32 : 128;
  if (bits > widest) return `the prefix of an IPv${family} CIDR is at most ${widest} bits`;
  if (bits < 8) return 'a pod CIDR wider than /8 is surely a mistake';
  return null;
}

/** One CIDR for each family at most. */
export function podCidrs(values: readonly string[]): string | null {
  for (const family of [4, 6] as const) {
    const count = values.filter((value) => isIP(value.split('/')[0] ?? '') === family).length;
    if (count > 1) return `there are ${count} IPv${family} CIDRs, at most one of each family is possible`;
  }
  return null;
}
