/**
 * Endpoints of a Service that leave while pods talk to them by way of it, as a cluster's EndpointSlices tell it; and host ports as pods of the
 * node meet them.
 */
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';
import { TestNode } from '../support/node.js';
import { endTalkers, Talker } from '../support/talk.js';
import { until } from '../support/weft.js';

const clusterIPs = ['10.96.0.1', 'fd96::1'] as const;
const clusterService = {
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { namespace: 'test', name: 's' },
  spec: {
    clusterIP: clusterIPs[0],
    clusterIPs,
    ports: [
      { name: 'udp', port: 53, protocol: 'UDP' },
      { name: 'tcp', port: 80 },
    ],
  },
};

type Condition = 'ready' | 'leaving' | 'unready' | 'dead';
const conditions: Readonly<Record<Condition, object>> = {
  ready: { ready: true, serving: true, terminating: false },
  leaving: { ready: false, serving: true, terminating: true },
  unready: { ready: false, serving: false, terminating: false },
  dead: { ready: false, serving: false, terminating: true },
};

describe('endpoints of a Service that leave', () => {
  let node: TestNode;
  before(async () => {
    node = await TestNode.start();
    await node.addPods({ client: {}, one: {}, two: {}, doomed: {}, last: {} });
  });
  afterEach(async () => {
    await endTalkers();
    await node.apply([]);
  });
  after(() => node?.end());

  /** The Service with these endpoints, in both families. */
  async function lead(to: Readonly<Record<string, Condition>>): Promise<void> {
    const slices = (['IPv4', 'IPv6'] as const).map((addressType) => ({
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: {
        namespace: 'test',
        name: `s-${addressType.toLowerCase()}`,
        labels: { 'kubernetes.io/service-name': 's' },
      },
      addressType,
      ports: [
        { name: 'udp', port: 5353, protocol: 'UDP' },
        { name: 'tcp', port: 5006, protocol: 'TCP' },
      ],
      endpoints: Object.entries(to).map(([name, condition]) => ({
        addresses: [addressType === 'IPv4' ? node.pod(name).v4 : node.pod(name).v6],
        conditions: conditions[condition],
        nodeName: 'node',
      })),
    }));
    await node.apply([clusterService, ...slices]);
  }
  const arrives = (at: Talker, what: string) =>
    until(what, 8, async () => {
      const { received } = await at.report();
      return received > 0 && (await at.report()).received > received;
    });

  for (const address of clusterIPs) {
    test(`datagrams to ${address} stay while the endpoint serves, move on when it does not, and recover from none`, async () => {
      await lead({ one: 'ready' });
      const one = await Talker.start(node, 'one', 'count', 5353);
      const two = await Talker.start(node, 'two', 'count', 5353);
      const client = await Talker.start(node, 'client', 'number', address, 53, 1);
      await arrives(one, 'one endpoint has them');

      await lead({ one: 'leaving', two: 'ready' });
      const { received } = await one.report();
      await until('they stay with it', 8, async () => (await one.report()).received > received + 50);
      assert.equal((await two.report()).received, 0);

      await lead({ one: 'dead', two: 'ready' });
      await arrives(two, 'the other endpoint has them');
      // What was under way when the change was acknowledged has arrived by now.
      const settled = (await one.report()).received;
      await arrives(two, 'the other endpoint goes on having them');
      assert.equal((await one.report()).received, settled);

      await lead({});
      await until('the client is refused', 8, async () => {
        const drops = (await node.counters('client')).drops;
        return (drops['service-no-endpoint'] ?? 0) > 0;
      });
      await lead({ one: 'ready' });
      await until('and recovers', 8, async () => (await one.report()).received > settled + 50);
      await client.stop();
    });

    test(`a connection to ${address} outlives its endpoint's readiness, and its place in the slice`, async () => {
      await lead({ one: 'ready' });
      await Talker.start(node, 'one', 'echo', 5006);
      const client = await Talker.start(node, 'client', 'heartbeat', address, 80, 5);
      for (const next of [{ one: 'leaving' }, { one: 'unready', two: 'ready' }, { two: 'ready' }] as const) {
        await lead(next);
        const { heard } = await client.report();
        await until('it goes on', 8, async () => (await client.report()).heard > heard + 20);
      }
      const { wrong, end } = await client.report();
      assert.deepEqual({ wrong, end }, { wrong: 0, end: '' });
    });
  }

  test('a connection ends with its endpoint: at once, whether another endpoint is there or none', async () => {
    for (const [victim, then] of [
      ['doomed', { two: 'ready' }],
      ['last', {}],
    ] as const) {
      await lead({ [victim]: 'ready' });
      await Talker.start(node, victim, 'echo', 5006);
      await Talker.start(node, 'two', 'echo', 5006);
      const clients = await Promise.all(
        clusterIPs.map((address) => Talker.start(node, 'client', 'heartbeat', address, 80, 5)),
      );
      for (const client of clients) await until('it runs', 5, async () => (await client.report()).heard > 10);
      await lead({ ...then });
      await node.removePod(victim);
      for (const client of clients) {
        await until('the client is told', 5, async () => (await client.report()).end !== '');
        assert.equal((await client.report()).end, 'ECONNRESET');
      }
      await endTalkers();
    }
  });

  test('a Service’s address says at once that it has no such port', async () => {
    await lead({ one: 'ready' });
    const drops = async () => (await node.counters('client')).drops['service-port'] ?? 0;
    const before = await drops();
    for (const address of clusterIPs) assert.equal(await node.outcome('client', address, 81), 'refused');
    // The refusal leaves before it is counted.
    await until('both are counted', 5, async () => (await drops()) >= before + 2);
  });
});

describe('host ports', () => {
  let node: TestNode;
  before(async () => {
    node = await TestNode.start();
    await node.addPods({
      client: {},
      server: {
        ports: ['80/TCP', '53/UDP'],
        hostPorts: [
          { protocol: 'TCP', hostPort: 8080, containerPort: 80, hostIP: '' },
          { protocol: 'UDP', hostPort: 8053, containerPort: 53, hostIP: '192.0.2.1' },
        ],
      },
    });
  });
  after(() => node?.end());

  test('lead pods of the node, and the pod itself, to the container’s port', async () => {
    for (const from of ['client', 'server']) {
      for (const address of ['192.0.2.1', '2001:db8::1'])
        assert.equal(await node.outcome(from, address, 8080), 'answered', `${from} to ${address}`);
      assert.equal(await node.outcome(from, '192.0.2.1', 8053, 'UDP'), 'answered');
    }
  });

  test('are judged by policy with the client’s own address, at the container’s port', async () => {
    const policy = (port: number) => ({
      apiVersion: 'networking.k8s.io/v1',
      kind: 'NetworkPolicy',
      metadata: { namespace: 'test', name: 'server' },
      spec: {
        podSelector: { matchLabels: { name: 'server' } },
        policyTypes: ['Ingress'],
        ingress: [{ from: [{ podSelector: { matchLabels: { name: 'client' } } }], ports: [{ port }] }],
      },
    });
    await node.apply([policy(8080)]);
    assert.equal(await node.outcome('client', '192.0.2.1', 8080), 'timeout');
    await node.apply([policy(80)]);
    assert.equal(await node.outcome('client', '192.0.2.1', 8080), 'answered');
  });
});
