/**
 * Fragments on real TAPs: whatever the order, the receiving kernel puts the datagram together and nothing else; what could be put
 * together into something that was never judged does not arrive. Sent by a packet socket in the pod, since no kernel sends them so.
 */
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';
import { fromPod, ipv4, ipv6, ipv6Fragment, protocols, tcp, tcpFlags, udp } from '../support/frames.js';
import { TestNode } from '../support/node.js';
import { endTalkers, pause, Talker } from '../support/talk.js';
import { until } from '../support/weft.js';

interface Piece {
  readonly offset: number;
  readonly bytes: Buffer;
  readonly more: boolean;
}

/** Pieces of at most `size` bytes, a multiple of 8. */
function cut(payload: Buffer, size: number): Piece[] {
  const pieces: Piece[] = [];
  for (let offset = 0; offset < payload.length; offset += size) {
    const bytes = payload.subarray(offset, offset + size);
    pieces.push({ offset, bytes, more: offset + size < payload.length });
  }
  return pieces;
}

describe('fragments', () => {
  let node: TestNode;
  let identification = 0x1000;
  before(async () => {
    node = await TestNode.start();
    await node.addPods({ from: {}, to: { ports: ['80/TCP'] }, closed: {} });
    await node.apply([
      {
        apiVersion: 'networking.k8s.io/v1',
        kind: 'NetworkPolicy',
        metadata: { namespace: 'test', name: 'closed' },
        spec: { podSelector: { matchLabels: { name: 'closed' } }, policyTypes: ['Ingress'] },
      },
    ]);
  });
  afterEach(endTalkers);
  after(() => node?.end());

  type Family = 4 | 6;
  const ends = (family: Family, to: string): [string, string] => {
    const [a, b] = [node.pod('from'), node.pod(to)];
    return family === 4 ? [a.v4, b.v4] : [a.v6, b.v6];
  };

  /** A datagram as `count` reads it: a number, then what fills it. */
  function datagram(family: Family, to: string, number: number, length: number): Buffer {
    const payload = Buffer.alloc(length, number);
    payload.writeUInt32BE(number, 0);
    const [a, b] = ends(family, to);
    return udp(a, 4000, b, 5005, payload);
  }

  function frames(
    family: Family,
    to: string,
    pieces: readonly Piece[],
    protocol: number = protocols.udp,
  ): Buffer[] {
    const [a, b] = ends(family, to);
    const id = identification++;
    return pieces.map(({ offset, bytes, more }) =>
      fromPod(
        node.pod('from'),
        family === 4
          ? ipv4(a, b, protocol, bytes, { id, offset, more })
          : ipv6(a, b, 44, ipv6Fragment(protocol, id, offset, more, bytes)),
      ),
    );
  }

  /** Sends frames and says what they were dropped for. */
  async function send(list: readonly Buffer[]) {
    const socket = node.rawSocket('from');
    const drops = await node.dropsDuring('from', () => {
      for (const frame of list) assert.equal(socket.send(frame), frame.length);
    });
    socket.close();
    return drops;
  }

  const orders: readonly (readonly [string, (frames: Buffer[]) => Buffer[]])[] = [
    ['in order', (list) => list],
    ['reversed', (list) => [...list].reverse()],
    ['the first in the middle', (list) => [list[1]!, list[3]!, list[0]!, list[2]!]],
    ['one of them twice', (list) => [list[0]!, list[1]!, list[1]!, list[2]!, list[3]!]],
  ];

  for (const family of [4, 6] as const) {
    test(`of IPv${family} arrive as their datagram in any order`, async () => {
      const count = await Talker.start(node, 'to', 'count', 5005);
      let number = 0;
      for (const [order, arrange] of orders) {
        number++;
        const pieces = cut(datagram(family, 'to', number, 4000), 1024);
        assert.equal(pieces.length, 4);
        const drops = await send(arrange(frames(family, 'to', pieces)));
        assert.deepEqual(drops, order === 'one of them twice' ? { 'fragment-overlap': 1 } : {}, order);
        await until(`the datagram of ${order}`, 2, async () => (await count.report()).received === number);
      }
      // Two datagrams whose fragments alternate.
      const [a, b] = [1, 2].map((n) =>
        frames(family, 'to', cut(datagram(family, 'to', number + n, 4000), 1024)),
      );
      assert.deepEqual(await send([3, 2, 1, 0].flatMap((i) => [a![i]!, b![i]!])), {});
      await until('both datagrams', 2, async () => (await count.report()).received === number + 2);
      const { missing, doubled } = await count.report();
      assert.deepEqual({ missing, doubled }, { missing: 0, doubled: 0 });
    });

    test(`of IPv${family} that overlap are dropped with their datagram`, async () => {
      const count = await Talker.start(node, 'to', 'count', 5005);
      const whole = datagram(family, 'to', 1, 4000);
      const [first, second, third, last] = cut(whole, 1024) as [Piece, Piece, Piece, Piece];
      // Eight bytes earlier than it should be: rewrites the end of the one before.
      const early: Piece = { offset: 1016, bytes: Buffer.alloc(1032, 0xee), more: true };
      const drops = await send(frames(family, 'to', [first, second, early, third, last]));
      assert.deepEqual(drops, { 'fragment-overlap': 3 }, 'the one that overlaps, and all that come after it');
      const held = await send(frames(family, 'to', [second, early, first, third, last]));
      assert.deepEqual(held, { 'fragment-overlap': 5 }, 'those that waited for the first as well');
      assert.equal((await count.report()).received, 0);
    });
  }

  test('that could rewrite ports or flags are refused: a short first, an offset inside of the transport header', async () => {
    const [a, b] = ends(4, 'to');
    const syn = tcp(a, 4000, b, 80, { flags: tcpFlags.syn, payload: Buffer.alloc(100) });
    const listener = node.rawSocket('to');
    const cases = [
      ['a first with 8 bytes of TCP', { 'fragment-first-short': 1 }, cut(syn, 8).slice(0, 1)],
      ['a first with 16 bytes of TCP', { 'fragment-first-short': 1 }, cut(syn, 16).slice(0, 1)],
      ['an offset inside of the TCP header', { 'fragment-overlap': 1 }, cut(syn, 8).slice(1, 2)],
      ['an offset of 16 in TCP', { 'fragment-overlap': 1 }, cut(syn, 16).slice(1, 2)],
      [
        'a length that is no multiple of 8',
        { 'fragment-malformed': 1 },
        [{ offset: 0, bytes: syn.subarray(0, 61), more: true }],
      ],
      [
        'an end beyond 65535',
        { 'fragment-malformed': 1 },
        [{ offset: 65_528, bytes: Buffer.alloc(64), more: false }],
      ],
    ] as const;
    for (const [name, expected, pieces] of cases)
      assert.deepEqual(await send(frames(4, 'to', pieces, protocols.tcp)), expected, name);
    const received: Buffer[] = [];
    for (let got = listener.receive(); got !== null; got = listener.receive())
      received.push(Buffer.from(got));
    listener.close();
    assert.deepEqual(
      received.filter((frame) => frame[23] === protocols.tcp),
      [],
    );
  });

  test('without their first wait a second, bounded, and go nowhere', async () => {
    const count = await Talker.start(node, 'to', 'count', 5005);
    const pieces = cut(datagram(4, 'to', 1, 4000), 1024).slice(1);
    const drops = await node.dropsDuring('from', async () => {
      assert.deepEqual(await send(frames(4, 'to', pieces)), {}, 'they are held');
      await until('their time is over', 5, async () => {
        const { drops } = await node.counters('from');
        return (drops['fragment-no-first'] ?? 0) >= 3;
      });
    });
    assert.deepEqual(drops, { 'fragment-no-first': 3 });
    // More than a port may hold: 128 by default.
    const many = Array.from({ length: 400 }, () => frames(4, 'to', pieces.slice(0, 1))[0]!);
    const limited = await send(many);
    assert.ok((limited['fragment-limit'] ?? 0) >= 400 - 128, JSON.stringify(limited));
    assert.equal((await count.report()).received, 0);
    // Meanwhile others, and honest datagrams of the same pod, are served.
    assert.equal(await node.outcome('closed', 'to', 80), 'answered');
    await pause(1500);
    await send(frames(4, 'to', cut(datagram(4, 'to', 1, 4000), 1024)));
    await until('a datagram afterwards', 2, async () => (await count.report()).received === 1);
  });

  test('share the verdict of their first: denied ones are dropped one and all', async () => {
    const listener = node.rawSocket('closed');
    for (const family of [4, 6] as const) {
      const pieces = cut(datagram(family, 'closed', 1, 4000), 1024);
      for (const [order, arrange] of orders.slice(0, 3))
        assert.deepEqual(
          await send(arrange(frames(family, 'closed', pieces))),
          { 'policy-ingress': 4 },
          order,
        );
    }
    for (let got = listener.receive(); got !== null; got = listener.receive())
      assert.ok(!Buffer.from(got).includes(Buffer.alloc(64, 1)), 'a denied fragment arrived');
    listener.close();
  });
});
