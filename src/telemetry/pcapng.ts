/**
 * pcapng, the capture file format of Wireshark and tcpdump (draft-ietf-opsawg-pcapng): section header, one interface description, one
 * enhanced packet block a packet, whose comment says what the switch decided. Little-endian; nanosecond timestamps.
 */
const blockSection = 0x0a0d0d0a;
const blockInterface = 1;
const blockPacket = 6;
const optionEnd = 0;
const optionComment = 1;
const sectionUserApplication = 4;
const interfaceName = 2;
const interfaceResolution = 9;
const packetFlags = 2;
const linkEthernet = 1;
const nanoseconds = 9;

export interface CapturedPacket {
  /** Nanoseconds since 1970. */
  readonly time: bigint;
  readonly data: Uint8Array;
  /** Length of the whole frame; the data may be shorter. */
  readonly length: number;
  /** Seen from the pod: ingress is inbound. */
  readonly direction: 'egress' | 'ingress';
  /** '' for none. */
  readonly comment: string;
}

/** What a file starts with. */
export function pcapngHeader(application: string, ifname: string, snapLength: number): Uint8Array {
  const section = Buffer.alloc(16);
  section.writeUInt32LE(0x1a2b3c4d, 0);
  section.writeUInt16LE(1, 4);
  section.writeUInt16LE(0, 6);
  section.writeBigInt64LE(-1n, 8);
  const described = Buffer.alloc(8);
  described.writeUInt16LE(linkEthernet, 0);
  described.writeUInt32LE(snapLength, 4);
  return Buffer.concat([
    block(blockSection, section, options([[sectionUserApplication, Buffer.from(application)]])),
    block(
      blockInterface,
      described,
      options([
        [interfaceName, Buffer.from(ifname)],
        [interfaceResolution, Buffer.from([nanoseconds])],
      ]),
    ),
  ]);
}

export function pcapngPacket(packet: CapturedPacket): Uint8Array {
  const head = Buffer.alloc(20);
  head.writeUInt32LE(0, 0);
  head.writeUInt32LE(Number((packet.time >> 32n) & 0xffffffffn), 4);
  head.writeUInt32LE(Number(packet.time & 0xffffffffn), 8);
  head.writeUInt32LE(packet.data.length, 12);
  head.writeUInt32LE(packet.length, 16);
  const flags = Buffer.alloc(4);
  flags.writeUInt32LE(packet.direction === 'ingress' ? 1 : 2, 0);
  const list: [number, Uint8Array][] = [[packetFlags, flags]];
  // An option's length is 16 bits; UTF-8 is cut between characters.
  if (packet.comment !== '') list.unshift([optionComment, Buffer.from(packet.comment.slice(0, 16_000))]);
  return block(blockPacket, Buffer.concat([head, padded(packet.data)]), options(list));
}

function block(type: number, body: Uint8Array, trailer: Uint8Array): Buffer {
  const length = 12 + body.length + trailer.length;
  const start = Buffer.alloc(8);
  start.writeUInt32LE(type, 0);
  start.writeUInt32LE(length, 4);
  const end = Buffer.alloc(4);
  end.writeUInt32LE(length, 0);
  return Buffer.concat([start, body, trailer, end]);
}

function options(list: readonly (readonly [code: number, value: Uint8Array])[]): Buffer {
  const parts: Uint8Array[] = [];
  for (const [code, value] of list) {
    const head = Buffer.alloc(4);
    head.writeUInt16LE(code, 0);
    head.writeUInt16LE(value.length, 2);
    parts.push(head, padded(value));
  }
  const end = Buffer.alloc(4);
  end.writeUInt16LE(optionEnd, 0);
  return Buffer.concat([...parts, end]);
}

function padded(bytes: Uint8Array): Uint8Array {
  const missing = (4 - (bytes.length % 4)) % 4;
  return missing === 0 ? bytes : Buffer.concat([bytes, Buffer.alloc(missing)]);
}
