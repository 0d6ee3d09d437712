/** Reads pcapng back, by the draft and not by our writer: block lengths at both ends, options, timestamps. */
import assert from 'node:assert/strict';

export interface ReadPacket {
  readonly time: bigint;
  readonly data: Buffer;
  readonly length: number;
  readonly comment: string;
  readonly flags: number;
}

export interface ReadFile {
  readonly interfaces: readonly {
    readonly linkType: number;
    readonly snapLength: number;
    readonly name: string;
    readonly resolution: number;
  }[];
  readonly packets: readonly ReadPacket[];
}

export function readPcapng(bytes: Buffer): ReadFile {
  const interfaces: ReadFile['interfaces'][number][] = [];
  const packets: ReadPacket[] = [];
  let first = true;
  for (let offset = 0; offset < bytes.length; ) {
    const type = bytes.readUInt32LE(offset);
    const length = bytes.readUInt32LE(offset + 4);
    assert.equal(length % 4, 0, 'a block is a multiple of four bytes');
    assert.equal(bytes.readUInt32LE(offset + length - 4), length, 'both lengths of a block are equal');
    const body = bytes.subarray(offset + 8, offset + length - 4);
    if (first) {
      assert.equal(type, 0x0a0d0d0a, 'a section header comes first');
      assert.equal(body.readUInt32LE(0), 0x1a2b3c4d);
      assert.deepEqual([body.readUInt16LE(4), body.readUInt16LE(6)], [1, 0]);
    } else if (type === 1) {
      const options = readOptions(body.subarray(8));
      interfaces.push({
        linkType: body.readUInt16LE(0),
        snapLength: body.readUInt32LE(4),
        name: options.get(2)?.toString() ?? '',
        resolution: options.get(9)?.[0] ?? 6,
      });
    } else if (type === 6) {
      const captured = body.readUInt32LE(12);
      const options = readOptions(body.subarray(20 + Math.ceil(captured / 4) * 4));
      packets.push({
        time: (BigInt(body.readUInt32LE(4)) << 32n) | BigInt(body.readUInt32LE(8)),
        data: body.subarray(20, 20 + captured),
        length: body.readUInt32LE(16),
        comment: options.get(1)?.toString() ?? '',
        flags: options.get(2)?.readUInt32LE(0) ?? 0,
      });
    } else assert.fail(`a block of type ${type}`);
    first = false;
    offset += length;
  }
  return { interfaces, packets };
}

function readOptions(bytes: Buffer): Map<number, Buffer> {
  const options = new Map<number, Buffer>();
  for (let offset = 0; offset < bytes.length; ) {
    const code = bytes.readUInt16LE(offset);
    const length = bytes.readUInt16LE(offset + 2);
    if (code === 0) {
      assert.equal(offset + 4, bytes.length, 'nothing follows the end of options');
      return options;
    }
    options.set(code, bytes.subarray(offset + 4, offset + 4 + length));
    offset += 4 + Math.ceil(length / 4) * 4;
  }
  return options;
}
