/** Traffic of pods through the switch: streams with segmentation offload kept end to end, datagrams, SCTP, both families, large MTUs. */
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';
import { fromPod, icmp, ipv4, ipv6, protocols, udp } from '../support/frames.js';
import { TestNode } from '../support/node.js';
import { endTalkers, pause, Talker } from '../support/talk.js';
import { until } from '../support/weft.js';

const megabyte = 1 << 20;

describe('traffic between pods', () => {
  let node: TestNode;
  before(async () => {
    node = await TestNode.start({ config: { network: { mtu: 1500 } } });
    await node.addPods({
      a: {},
      b: { ports: ['80/TCP', '53/UDP', '99/SCTP'] },
      jumbo: { mtu: 9000 },
      huge: { mtu: 65521 },
      huge2: { mtu: 65521 },
    });
  });
  afterEach(endTalkers);
  after(() => node?.end());

  /** Sends a stream and holds that every byte came; the average size of the frames that the receiver was given. */
  async function stream(from: string, to: string, family: 4 | 6, bytes: number): Promise<number> {
    const sink = await Talker.start(node, to, 'sink', 5001);
    const before = await node.counters(to);
    const pod = node.pod(to);
    const source = await Talker.start(node, from, 'source', family === 4 ? pod.v4 : pod.v6, 5001, bytes);
    await until(`${bytes} bytes from ${from} to ${to}`, 20, async () => (await sink.report()).ended === 1);
    const { bytes: received, wrong, errors } = await sink.report();
    assert.deepEqual({ received, wrong, errors }, { received: bytes, wrong: 0, errors: [] });
    assert.equal((await source.report()).error, '');
    const after = await node.counters(to);
    await endTalkers();
    return (after.sentBytes - before.sentBytes) / (after.sentPackets - before.sentPackets);
  }

  for (const family of [4, 6] as const) {
    test(`a TCP stream over IPv${family} arrives whole, in frames far larger than the MTU`, async (context) => {
      const average = await stream('a', 'b', family, 64 * megabyte);
      context.diagnostic(`average frame: ${Math.round(average)} bytes`);
      assert.ok(average > 4 * 1500, `frames of ${Math.round(average)} bytes were not kept whole`);
    });
  }

  test('a large MTU talks to a small one, and to another large one', async (context) => {
    await stream('jumbo', 'b', 4, 8 * megabyte);
    await stream('b', 'jumbo', 6, 8 * megabyte);
    const average = await stream('huge', 'huge2', 4, 64 * megabyte);
    context.diagnostic(`average frame at MTU 65521: ${Math.round(average)} bytes`);
    assert.ok(average > 9000);
  });

  for (const family of [4, 6] as const) {
    test(`datagrams of every size come back over IPv${family}, fragmented where they have to be`, async () => {
      const echo = await Talker.start(node, 'b', 'echo', 5002);
      const address = family === 4 ? node.pod('b').v4 : node.pod('b').v6;
      for (const size of [4, 512, 1472, 1473, 8000, 60_000]) {
        const sender = await Talker.start(node, 'a', 'number', address, 5002, 1, size);
        await until(`datagrams of ${size} bytes`, 5, async () => (await echo.report()).largest === size);
        await sender.end();
      }
      assert.equal((await node.counters('b')).drops['fragment-overlap'], undefined);
    });
  }

  test('twenty thousand numbered datagrams arrive, each once', async () => {
    const count = await Talker.start(node, 'b', 'count', 5003);
    const sender = await Talker.start(node, 'a', 'number', node.pod('b').v4, 5003, 10);
    await until('twenty thousand datagrams', 20, async () => (await sender.report()).sent >= 20_000);
    const { sent, failed } = await sender.stop();
    assert.equal(failed, 0);
    await until('all of them', 5, async () => (await count.report()).received >= sent);
    const { missing, doubled } = await count.report();
    assert.deepEqual({ missing, doubled }, { missing: 0, doubled: 0 });
  });

  test('TCP, UDP and SCTP ports answer with the name of their pod; those that nobody serves refuse', async () => {
    for (const [port, protocol, outcome, name] of [
      [80, 'TCP', 'answered', 'b'],
      [53, 'UDP', 'answered', 'b'],
      [99, 'SCTP', 'answered', 'b'],
      [81, 'TCP', 'refused', ''],
      [54, 'UDP', 'refused', ''],
      [98, 'SCTP', 'refused', ''],
    ] as const) {
      for (const address of [node.pod('b').v4, node.pod('b').v6]) {
        const result = await node.probe('a', address, port, protocol);
        const label = `${port}/${protocol} of ${address}`;
        assert.equal(result.outcome, outcome, label);
        assert.equal(result.name, name, label);
      }
    }
  });

  /** Sends one packet from a raw socket and gives the first packet back that `wanted` recognises. */
  async function exchange(
    pod: string,
    packet: Buffer,
    wanted: (packet: Buffer) => boolean,
  ): Promise<Buffer | null> {
    const socket = node.rawSocket(pod);
    try {
      const frame = fromPod(node.pod(pod), packet);
      assert.equal(socket.send(frame), frame.length);
      for (const end = Date.now() + 1000; Date.now() < end; await pause(5)) {
        for (let got = socket.receive(); got !== null; got = socket.receive()) {
          const received = Buffer.from(got);
          // Our own frame comes back to us as well: it is on the interface.
          if (!received.equals(frame) && wanted(received.subarray(14))) return received.subarray(14);
        }
      }
      return null;
    } finally {
      socket.close();
    }
  }

  test('ICMP and ICMPv6 echo is answered by the gateway and by other pods', async () => {
    const payload = Buffer.from('is anybody there?');
    const { v4, v6 } = node.pod('a');
    for (const target of ['169.254.1.1', node.pod('b').v4]) {
      const reply = await exchange(
        'a',
        ipv4(v4, target, protocols.icmp, icmp(8, 0, 0x00070001, payload)),
        (packet) => packet[0] === 0x45 && packet[9] === protocols.icmp && packet[20] === 0,
      );
      assert.ok(reply, `${target} answers`);
      assert.deepEqual(reply.subarray(24), Buffer.concat([Buffer.from([0, 7, 0, 1]), payload]));
    }
    for (const target of ['fe80::1', node.pod('b').v6]) {
      const reply = await exchange(
        'a',
        ipv6(v6, target, protocols.icmpv6, icmp(128, 0, 0x00070001, payload, { from: v6, to: target })),
        (packet) => packet[0] === 0x60 && packet[6] === protocols.icmpv6 && packet[40] === 129,
      );
      assert.ok(reply, `${target} answers`);
      assert.deepEqual(reply.subarray(44), Buffer.concat([Buffer.from([0, 7, 0, 1]), payload]));
    }
  });

  test('a packet that cannot get through is told why: its life is over, nobody has the address, it is too big', async () => {
    const { v4, v6 } = node.pod('a');
    const small = Buffer.alloc(20);
    const b = node.pod('b');
    const icmp4 = (type: number, code: number) => (packet: Buffer) =>
      packet[0] === 0x45 && packet[9] === protocols.icmp && packet[20] === type && packet[21] === code;
    const icmp6 = (type: number, code: number) => (packet: Buffer) =>
      packet[0] === 0x60 && packet[6] === protocols.icmpv6 && packet[40] === type && packet[41] === code;
    const wide = node.pod('jumbo');
    const cases = [
      [
        'a',
        'ttl-exceeded',
        ipv4(v4, b.v4, protocols.udp, udp(v4, 7, b.v4, 8, small), { ttl: 1 }),
        icmp4(11, 0),
      ],
      ['a', 'ttl-exceeded', ipv6(v6, b.v6, protocols.udp, udp(v6, 7, b.v6, 8, small), 1), icmp6(3, 0)],
      [
        'a',
        'no-route',
        ipv4(v4, '198.51.100.7', protocols.udp, udp(v4, 7, '198.51.100.7', 8, small)),
        icmp4(3, 0),
      ],
      [
        'a',
        'no-route',
        ipv6(v6, '2001:db8:7::7', protocols.udp, udp(v6, 7, '2001:db8:7::7', 8, small)),
        icmp6(1, 0),
      ],
      [
        'jumbo',
        'packet-too-big',
        ipv4(wide.v4, b.v4, protocols.udp, udp(wide.v4, 7, b.v4, 8, Buffer.alloc(4000)), {
          dontFragment: true,
        }),
        icmp4(3, 4),
      ],
      [
        'jumbo',
        'packet-too-big',
        ipv6(wide.v6, b.v6, protocols.udp, udp(wide.v6, 7, b.v6, 8, Buffer.alloc(4000))),
        icmp6(2, 0),
      ],
    ] as const;
    for (const [pod, reason, packet, wanted] of cases) {
      let told: Buffer | null = null;
      const drops = await node.dropsDuring(pod, async () => {
        told = await exchange(pod, packet, wanted);
      });
      assert.ok(told, `${reason} is told`);
      assert.deepEqual(drops, { [reason]: 1 });
      const error = told as Buffer;
      if (reason !== 'packet-too-big') continue;
      // RFC 1191 section 4, RFC 4443 section 3.2: the MTU that would fit.
      assert.equal(error[0] === 0x45 ? error.readUInt16BE(26) : error.readUInt32BE(44), 1500);
    }
  });

  test('a kernel that is told of a smaller MTU on the way sends its next datagrams so that they fit', async () => {
    const echo = await Talker.start(node, 'b', 'echo', 5004);
    for (const address of [node.pod('b').v4, node.pod('b').v6]) {
      const before = (await echo.report()).datagrams;
      const sender = await Talker.start(node, 'jumbo', 'number', address, 5004, 1, 6000);
      await until(
        `datagrams of 6000 bytes to ${address}`,
        5,
        async () => (await echo.report()).datagrams > before + 5,
      );
      await sender.end();
    }
  });
});
