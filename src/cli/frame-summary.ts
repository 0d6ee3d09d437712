/**
 * One line about a frame, for people at a terminal: `TCP 10.42.0.2:40000 > 10.42.0.3:80 [S]`. Reads captured bytes, which a pod can
 * have made up: anything that does not fit is said as far as it goes. The switch's own parser decides; this only shows.
 */
const protocolNames = new Map([
  [1, 'ICMP'],
  [6, 'TCP'],
  [17, 'UDP'],
  [58, 'ICMPv6'],
  [132, 'SCTP'],
]);

export function summarise(frame: Buffer): string {
  if (frame.length < 14) return `${frame.length} bytes, no Ethernet header`;
  let type = frame.readUInt16BE(12);
  let offset = 14;
  if (type === 0x8100 && frame.length >= 18) {
    type = frame.readUInt16BE(16);
    offset = 18;
  }
  const packet = frame.subarray(offset);
  if (type === 0x0800) return ipv4(packet);
  if (type === 0x86dd) return ipv6(packet);
  if (type === 0x0806) return arp(packet);
  return `EtherType 0x${type.toString(16).padStart(4, '0')}`;
}

function ipv4(packet: Buffer): string {
  if (packet.length < 20) return 'IPv4, truncated';
  const header = (packet[0]! & 15) * 4;
  const fragment = packet.readUInt16BE(6) & 0x1fff;
  const ends = [packet.subarray(12, 16), packet.subarray(16, 20)].map((bytes) => [...bytes].join('.'));
  return transport(packet[9]!, fragment === 0 ? packet.subarray(header) : null, ends[0]!, ends[1]!);
}

function ipv6(packet: Buffer): string {
  if (packet.length < 40) return 'IPv6, truncated';
  const source = `[${groups(packet.subarray(8, 24))}]`;
  const destination = `[${groups(packet.subarray(24, 40))}]`;
  let next = packet[6]!;
  let rest = packet.subarray(40);
  let fragment = false;
  for (let count = 0; count < 8 && [0, 43, 44, 60].includes(next) && rest.length >= 8; count++) {
    if (next === 44 && (rest.readUInt16BE(2) & 0xfff8) !== 0) fragment = true;
    const length = next === 44 ? 8 : 8 + rest[1]! * 8;
    next = rest[0]!;
    rest = rest.subarray(length);
  }
  return transport(next, fragment ? null : rest, source, destination);
}

/** `payload` null: a later fragment, which has no transport header. */
function transport(protocol: number, payload: Buffer | null, source: string, destination: string): string {
  const name = protocolNames.get(protocol) ?? `protocol ${protocol}`;
  if (payload === null) return `${name} ${source} > ${destination} (fragment)`;
  const hasPorts = protocol === 6 || protocol === 17 || protocol === 132;
  if (!hasPorts) {
    const kind = payload.length >= 2 ? ` type ${payload[0]} code ${payload[1]}` : '';
    return `${name} ${source} > ${destination}${protocol === 1 || protocol === 58 ? kind : ''}`;
  }
  if (payload.length < 4) return `${name} ${source} > ${destination}, truncated`;
  const ports = `${source}:${payload.readUInt16BE(0)} > ${destination}:${payload.readUInt16BE(2)}`;
  return `${name} ${ports}${protocol === 6 && payload.length >= 14 ? ` [${tcpFlags(payload[13]!)}]` : ''}`;
}

function tcpFlags(bits: number): string {
  const letters = [...'FSRP.UEW'].filter((_, bit) => (bits & (1 << bit)) !== 0).join('');
  return letters === '' ? 'none' : letters;
}

function arp(packet: Buffer): string {
  if (packet.length < 28) return 'ARP, truncated';
  const address = (start: number) => [...packet.subarray(start, start + 4)].join('.');
  return packet.readUInt16BE(6) === 1
    ? `ARP who has ${address(24)}, tell ${address(14)}`
    : `ARP ${address(14)} is there`;
}

function groups(bytes: Buffer): string {
  const words = Array.from({ length: 8 }, (_, index) => bytes.readUInt16BE(2 * index).toString(16));
  // The longest run of zero groups as `::` (RFC 5952).
  const runs = [...words.join(':').matchAll(/(?:^|:)(0(?::0)+)(?=:|$)/g)].map((match) => match[1]!);
  const longest = runs.sort((a, b) => b.length - a.length)[0];
  if (longest === undefined) return words.join(':');
  return words.join(':').replace(new RegExp(`(^|:)${longest}(:|$)`), '::');
}
