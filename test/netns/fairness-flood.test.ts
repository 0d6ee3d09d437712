/**
 * One pod floods the switch as fast as a packet socket goes; two others go on with what they do. Their share is measured against the
 * same work without a flood. Flooder, clients, servers and switch share the cores of this machine, so the bound is a generous one: it is there to
 * tell a share from starvation, which would be zero.
 */
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';
import { TestNode } from '../support/node.js';
import { endTalkers, pause, Talker } from '../support/talk.js';
import { until } from '../support/weft.js';

/** More than the honest client begins in the ten seconds for which a reset connection is remembered, far less than the flooder wants. */
const quota = 16_384;
const leastShare = 0.03;
const measured = 1500; // milliseconds

describe('a pod that floods', () => {
  let node: TestNode;
  before(async () => {
    const connections = { capacity: 65_536, quotaPerPort: quota };
    node = await TestNode.start({ config: { switch: { connections, workers: 1 } } });
    await node.addPods({
      client: {},
      server: { ports: ['80/TCP'] },
      flooder: {},
      // Takes whatever comes: nobody serves these ports, and its kernel has to say so.
      target: {},
    });
  });
  afterEach(endTalkers);
  after(() => node?.end());

  /** What the honest pair gets done while `measured` passes. */
  async function work(): Promise<{
    made: number;
    failed: number;
    slowest: number;
    missing: number;
    sent: number;
  }> {
    const server = node.pod('server');
    const count = await Talker.start(node, 'server', 'count', 5011);
    const connections = await Talker.start(node, 'client', 'connections', server.v4, 80);
    // Fragmented, so that they need the fragment table as well.
    const sender = await Talker.start(node, 'client', 'number', server.v4, 5011, 1, 3000);
    await pause(200);
    const before = await connections.report();
    await pause(measured);
    const { made, failed, slowest } = await connections.report();
    const { sent } = await sender.stop();
    await pause(200);
    const { received } = await count.report();
    for (const talker of [count, connections, sender]) await talker.end();
    return { made: made - before.made, failed, slowest, missing: sent - received, sent };
  }

  for (const [kind, reason] of [
    ['datagrams', null],
    // At its quota a port makes room among its own connections, so that nothing is dropped.
    ['connections', null],
    ['fragments', 'fragment-limit'],
  ] as const) {
    test(`${kind} leaves the others their share`, async (context) => {
      const alone = await work();
      assert.ok(alone.made > 50, `${alone.made} connections without a flood`);
      const before = await node.counters('flooder');
      const [from, to] = ['flooder', 'target'].map((name) => JSON.stringify(node.pod(name)));
      const flood = await Talker.start(node, 'flooder', 'flood', kind, from!, to!);
      const { sent: early } = await flood.report();
      const started = performance.now();
      const beside = await work();
      if (kind === 'connections')
        await until('the flood has begun far more than its quota', 60, async () => {
          const { connections } = await node.counters('flooder');
          return connections - before.connections > 2 * quota;
        });
      const { sent } = await flood.stop();
      const seconds = (performance.now() - started) / 1000;
      const after = await node.counters('flooder');
      const rate = Math.round((sent - early) / seconds);
      context.diagnostic(
        `flood of ${rate} ${kind}/s; connections of the others ${alone.made} alone, ${beside.made} beside it ` +
          `(${Math.round((100 * beside.made) / alone.made)} %), slowest ${beside.slowest.toFixed(0)} ms; ` +
          `${beside.missing} of ${beside.sent} fragmented datagrams lost`,
      );
      // Against the others', not a rate of its own: on a slow machine all of them are slow.
      const honest = (beside.made * 1000) / measured;
      assert.ok(
        rate > 3 * honest,
        `${rate} ${kind} beside ${Math.round(honest)} connections a second are no flood`,
      );
      assert.ok(beside.made > alone.made * leastShare, `${beside.made} of ${alone.made} connections`);
      assert.equal(beside.failed, 0, 'every connection of the others came about');
      assert.ok(beside.slowest < 1000, `a connection took ${beside.slowest} ms`);
      // A datagram may be lost where the cores are short; a table that the flooder fills would lose nearly all.
      assert.ok(
        beside.missing <= beside.sent * 0.02,
        `${beside.missing} of ${beside.sent} fragmented datagrams lost`,
      );
      if (reason !== null) {
        const dropped = (after.drops[reason] ?? 0) - (before.drops[reason] ?? 0);
        assert.ok(dropped > 1000, `${dropped} drops of the flooder for ${reason}`);
      }
      if (kind === 'connections') {
        const { connections } = await node.query('status');
        // The flooder's quota and the client's, at most.
        assert.ok(connections.used <= 2 * quota + 16, `${connections.used} connections are remembered`);
      }
      await until('the flood has drained', 10, async () => {
        const { receivedPackets } = await node.counters('flooder');
        await pause(100);
        return (await node.counters('flooder')).receivedPackets === receivedPackets;
      });
    });
  }

  test('denied packets in a flood make few flow events and cost nobody else theirs', async () => {
    await node.apply([
      {
        apiVersion: 'networking.k8s.io/v1',
        kind: 'NetworkPolicy',
        metadata: { namespace: 'test', name: 'closed' },
        spec: {
          podSelector: { matchExpressions: [{ key: 'name', operator: 'In', values: ['target', 'server'] }] },
          policyTypes: ['Ingress'],
        },
      },
    ]);
    const events = new Map<string, number>();
    const stop = await node.flows(({ verdict, source }) => {
      if (verdict === 'denied') events.set(source.name, (events.get(source.name) ?? 0) + 1);
    });
    const [from, to] = ['flooder', 'target'].map((name) => JSON.stringify(node.pod(name)));
    const started = performance.now();
    const flood = await Talker.start(node, 'flooder', 'flood', 'connections', from!, to!);
    for (let i = 0; i < 4; i++) assert.equal(await node.outcome('client', 'server', 80), 'timeout');
    const { sent } = await flood.stop();
    await until('the events of the client', 2, () => (events.get('test/client') ?? 0) >= 4);
    stop();
    // switch.flows.perPort is 200 a second, with a burst of as many.
    const most = 200 * ((performance.now() - started) / 1000 + 1);
    assert.ok(sent > 2 * most, `${sent} denied packets`);
    assert.ok(
      (events.get('test/flooder') ?? 0) <= most,
      `${events.get('test/flooder')} events of the flooder of at most ${Math.round(most)}`,
    );
    assert.ok((events.get('test/flooder') ?? 0) > 0);
  });
});
