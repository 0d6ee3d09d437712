import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import fc from 'fast-check';
import { pcapngHeader, pcapngPacket } from '../../../src/telemetry/pcapng.js';
import { readPcapng } from '../../support/pcapng.js';

test('what is written is what a reader of the draft reads, whatever the packet and its comment', () => {
  const packet = fc.record({
    time: fc.bigInt({ min: 0n, max: 2n ** 63n }),
    data: fc.uint8Array({ maxLength: 100 }),
    length: fc.integer({ min: 0, max: 65_535 }),
    direction: fc.constantFrom('egress' as const, 'ingress' as const),
    comment: fc.string({ unit: 'binary', maxLength: 40 }),
  });
  fc.assert(
    fc.property(fc.array(packet, { maxLength: 5 }), fc.string({ maxLength: 30 }), (packets, ifname) => {
      const file = Buffer.concat([pcapngHeader('weft', ifname, 96), ...packets.map(pcapngPacket)]);
      const read = readPcapng(file);
      assert.deepEqual(read.interfaces, [
        { linkType: 1, snapLength: 96, name: Buffer.from(ifname).toString(), resolution: 9 },
      ]);
      assert.deepEqual(
        read.packets.map(({ time, data, length, comment, flags }) => ({
          time,
          data: [...data],
          length,
          comment,
          flags,
        })),
        packets.map(({ time, data, length, direction, comment }) => ({
          time,
          data: [...data],
          length,
          comment: Buffer.from(comment).toString(),
          flags: direction === 'ingress' ? 1 : 2,
        })),
      );
    }),
    { numRuns: 200, seed: 4 },
  );
});

const tcpdump = spawnSync('tcpdump', ['--version']).error === undefined;

test('tcpdump reads the file', { skip: tcpdump ? false : 'there is no tcpdump here' }, () => {
  // Ethernet, IPv4 10.0.0.1 → 10.0.0.2, UDP 1000 → 53, two bytes.
  const frame = Buffer.from(
    '020000000002020000000001' +
      '0800' +
      '4500001e000000004011000000000000'.replace(/0{8}$/, '0a000001') +
      '0a000002' +
      '03e80035000a0000' +
      '4142',
    'hex',
  );
  const file = Buffer.concat([
    pcapngHeader('weft', 'shop/web', 65_535),
    pcapngPacket({
      time: 1_700_000_000_123_456_789n,
      data: frame,
      length: frame.length,
      direction: 'egress',
      comment: 'denied: policy-egress',
    }),
  ]);
  const { stdout, stderr, status } = spawnSync('tcpdump', ['-nn', '-tt', '-r', '-'], {
    input: file,
    encoding: 'utf8',
  });
  assert.equal(status, 0, stderr);
  assert.match(stdout, /^1700000000\.123456(789)? IP 10\.0\.0\.1\.1000 > 10\.0\.0\.2\.53/);
});
