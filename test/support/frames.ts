/** Frames byte by byte, as an attacker would write them: nothing is derived that a test may want to be wrong. */

import { gatewayMac } from '../../src/dataplane/protocol.js';
import { addressBytes, parseAddress } from '../../src/net/address.js';
import type { TestPod } from './node.js';

export const protocols = { icmp: 1, tcp: 6, udp: 17, icmpv6: 58, sctp: 132 } as const;
export const broadcastMac = 'ff:ff:ff:ff:ff:ff';

export function mac(text: string): Buffer {
  return Buffer.from(text.replaceAll(':', ''), 'hex');
}

/** 4 or 16 bytes. */
export function ip(text: string): Buffer {
  const address = parseAddress(text)!;
  return Buffer.from(addressBytes(address)).subarray(address.family === 4 ? 12 : 0);
}

export function ethernet(from: string, to: string, type: number, payload: Uint8Array): Buffer {
  const header = Buffer.alloc(14);
  mac(to).copy(header, 0);
  mac(from).copy(header, 6);
  header.writeUInt16BE(type, 12);
  return Buffer.concat([header, payload]);
}

/** RFC 1071. */
export function checksum(...parts: readonly Uint8Array[]): number {
  const bytes = Buffer.concat(parts);
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += (bytes[i]! << 8) + (bytes[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 0x10000);
  return ~sum & 0xffff;
}

export interface Ipv4Fields {
  readonly id?: number;
  readonly ttl?: number;
  /** Bytes; a multiple of 8. */
  readonly offset?: number;
  readonly more?: boolean;
  readonly dontFragment?: boolean;
}

export function ipv4(
  from: string,
  to: string,
  protocol: number,
  payload: Uint8Array,
  fields: Ipv4Fields = {},
): Buffer {
  const header = Buffer.alloc(20);
  header[0] = 0x45;
  header.writeUInt16BE(20 + payload.length, 2);
  header.writeUInt16BE(fields.id ?? 1, 4);
  const flags = (fields.dontFragment ? 0x4000 : 0) | (fields.more ? 0x2000 : 0);
  header.writeUInt16BE(flags | ((fields.offset ?? 0) >> 3), 6);
  header[8] = fields.ttl ?? 64;
  header[9] = protocol;
  ip(from).copy(header, 12);
  ip(to).copy(header, 16);
  header.writeUInt16BE(checksum(header), 10);
  return Buffer.concat([header, payload]);
}

export function ipv6(from: string, to: string, next: number, payload: Uint8Array, hops = 64): Buffer {
  const header = Buffer.alloc(8);
  header[0] = 0x60;
  header.writeUInt16BE(payload.length, 4);
  header[6] = next;
  header[7] = hops;
  return Buffer.concat([header, ip(from), ip(to), payload]);
}

/** RFC 8200 section 4.5. */
export function ipv6Fragment(
  next: number,
  id: number,
  offset: number,
  more: boolean,
  payload: Uint8Array,
): Buffer {
  const header = Buffer.alloc(8);
  header[0] = next;
  header.writeUInt16BE((offset & 0xfff8) | (more ? 1 : 0), 2);
  header.writeUInt32BE(id, 4);
  return Buffer.concat([header, payload]);
}

function pseudoHeader(from: string, to: string, protocol: number, length: number): Buffer {
  const tail = Buffer.alloc(4);
  tail.writeUInt16BE(length, 0);
  tail.writeUInt16BE(protocol, 2);
  return Buffer.concat([ip(from), ip(to), tail]);
}

export function udp(from: string, fromPort: number, to: string, toPort: number, payload: Uint8Array): Buffer {
  const header = Buffer.alloc(8);
  header.writeUInt16BE(fromPort, 0);
  header.writeUInt16BE(toPort, 2);
  header.writeUInt16BE(8 + payload.length, 4);
  const sum = checksum(pseudoHeader(from, to, protocols.udp, 8 + payload.length), header, payload);
  header.writeUInt16BE(sum === 0 ? 0xffff : sum, 6);
  return Buffer.concat([header, payload]);
}

export const tcpFlags = { fin: 1, syn: 2, rst: 4, psh: 8, ack: 16 } as const;

export interface TcpFields {
  readonly flags: number;
  readonly sequence?: number;
  readonly acknowledgement?: number;
  readonly payload?: Uint8Array;
}

export function tcp(from: string, fromPort: number, to: string, toPort: number, fields: TcpFields): Buffer {
  const header = Buffer.alloc(20);
  header.writeUInt16BE(fromPort, 0);
  header.writeUInt16BE(toPort, 2);
  header.writeUInt32BE(fields.sequence ?? 1, 4);
  header.writeUInt32BE(fields.acknowledgement ?? 0, 8);
  header[12] = 0x50;
  header[13] = fields.flags;
  header.writeUInt16BE(0xffff, 14);
  const payload = fields.payload ?? Buffer.alloc(0);
  const sum = checksum(pseudoHeader(from, to, protocols.tcp, 20 + payload.length), header, payload);
  header.writeUInt16BE(sum, 16);
  return Buffer.concat([header, payload]);
}

/** ICMP; with addresses ICMPv6, whose checksum counts them. `rest` is the word after the checksum. */
export function icmp(
  type: number,
  code: number,
  rest: number,
  payload: Uint8Array,
  v6?: { readonly from: string; readonly to: string },
): Buffer {
  const header = Buffer.alloc(8);
  header[0] = type;
  header[1] = code;
  header.writeUInt32BE(rest, 4);
  const pseudo = v6 ? pseudoHeader(v6.from, v6.to, protocols.icmpv6, 8 + payload.length) : Buffer.alloc(0);
  header.writeUInt16BE(checksum(pseudo, header, payload), 2);
  return Buffer.concat([header, payload]);
}

export interface ArpFields {
  readonly operation: 1 | 2;
  readonly senderMac: string;
  readonly sender: string;
  readonly targetMac?: string;
  readonly target: string;
}

export function arp(fields: ArpFields): Buffer {
  const head = Buffer.from([0, 1, 8, 0, 6, 4, 0, fields.operation]);
  const target = mac(fields.targetMac ?? '00:00:00:00:00:00');
  return Buffer.concat([head, mac(fields.senderMac), ip(fields.sender), target, ip(fields.target)]);
}

export interface VnetFields {
  readonly flags?: number;
  readonly gsoType?: number;
  readonly headerLength?: number;
  readonly gsoSize?: number;
  readonly checksumStart?: number;
  readonly checksumOffset?: number;
}

/** struct virtio_net_hdr of 10 bytes, in the byte order of this machine (weft's are little-endian ones). */
export function vnet(fields: VnetFields, frame: Uint8Array): Buffer {
  const header = Buffer.alloc(10);
  header[0] = fields.flags ?? 0;
  header[1] = fields.gsoType ?? 0;
  header.writeUInt16LE(fields.headerLength ?? 0, 2);
  header.writeUInt16LE(fields.gsoSize ?? 0, 4);
  header.writeUInt16LE(fields.checksumStart ?? 0, 6);
  header.writeUInt16LE(fields.checksumOffset ?? 0, 8);
  return Buffer.concat([header, frame]);
}

/** An IPv4 or IPv6 packet from a pod, as its own stack would send it. */
export function fromPod(pod: TestPod, packet: Buffer): Buffer {
  return ethernet(pod.mac, gatewayMac, packet[0]! >> 4 === 4 ? 0x0800 : 0x86dd, packet);
}
