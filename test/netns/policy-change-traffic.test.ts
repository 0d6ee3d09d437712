/**
 * Policy changes while traffic runs: a connection is judged again at its next packet, so a new denial cuts it there and then, and nobody else
 * notices. Also what a denied packet is answered with, and Services, whose real destination is what policy sees.
 */
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';
import type { RawSocketHandle } from '../../src/dataplane/addon.js';
import { gatewayMac } from '../../src/dataplane/protocol.js';
import { ip, mac } from '../support/frames.js';
import { TestNode } from '../support/node.js';
import { endTalkers, pause, Talker } from '../support/talk.js';
import { until } from '../support/weft.js';

type Peers = readonly unknown[];

/** Isolates `pod` in one direction; what it allows are the pods of these names. */
function policy(pod: string, direction: 'Ingress' | 'Egress', names: readonly string[]): unknown {
  const peers: Peers = names.map((name) => ({ podSelector: { matchLabels: { name } } }));
  const rules = peers.length === 0 ? [] : [direction === 'Ingress' ? { from: peers } : { to: peers }];
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { namespace: 'test', name: `${pod}-${direction.toLowerCase()}` },
    spec: {
      podSelector: { matchLabels: { name: pod } },
      policyTypes: [direction],
      [direction.toLowerCase()]: rules,
    },
  };
}

function service(name: string, clusterIP: string, selector: object, ports: readonly object[]): unknown {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { namespace: 'test', name },
    spec: { clusterIP, clusterIPs: [clusterIP], selector, ports },
  };
}

describe('policy under running traffic', () => {
  let node: TestNode;
  before(async () => {
    node = await TestNode.start();
    await node.addPods({
      server: { ports: ['80/TCP', '53/UDP', '99/SCTP'], labels: { app: 'web' } },
      good: {},
      bad: {},
    });
  });
  afterEach(async () => {
    await endTalkers();
    await node.apply([]);
  });
  after(() => node?.end());

  /** Of what a listener has heard since it was opened: frames from the gateway with this pod's address as their source. */
  function framesFrom(listener: RawSocketHandle, pod: string): Buffer[] {
    const { v4, v6 } = node.pod(pod);
    const found: Buffer[] = [];
    for (let got = listener.receive(); got !== null; got = listener.receive()) {
      const frame = Buffer.from(got);
      const incoming = frame.subarray(6, 12).equals(mac(gatewayMac));
      const source = frame.readUInt16BE(12) === 0x0800 ? frame.subarray(26, 30) : frame.subarray(22, 38);
      if (incoming && (source.equals(ip(v4)) || source.equals(ip(v6)))) found.push(frame);
    }
    listener.close();
    return found;
  }

  test('a new denial cuts the streams it forbids at once, and the others go on as if nothing had been', async () => {
    const server = node.pod('server');
    await Talker.start(node, 'server', 'echo', 5006);
    const good = await Talker.start(node, 'good', 'heartbeat', server.v4, 5006, 5);
    const good6 = await Talker.start(node, 'good', 'heartbeat', server.v6, 5006, 5);
    const bad = await Talker.start(node, 'bad', 'heartbeat', server.v4, 5006, 5);
    await Talker.start(node, 'server', 'sink', 5007);
    const stream = await Talker.start(node, 'bad', 'source', server.v6, 5007, 0);
    await until('all of them run', 5, async () => (await bad.report()).heard > 50);
    await Promise.all([good.report(), good6.report()]);
    for (const [direction, of] of [
      ['Ingress', 'server'],
      ['Egress', 'bad'],
    ] as const) {
      await node.apply([policy(of, direction, direction === 'Ingress' ? ['good'] : [])]);
      // From the acknowledgement on not one packet more: what the server has been given is what it keeps.
      const { heard } = await bad.report();
      const arriving = node.rawSocket('server');
      const { bytes } = await stream.report();
      assert.ok(bytes > 0);
      await pause(400);
      const later = await bad.report();
      // What was on its way back when the acknowledgement came may still be read by the client.
      assert.ok(later.heard - heard <= 3, `${later.heard - heard} more echoes came back`);
      assert.equal(later.end, '', 'denied silently: the client is told nothing');
      assert.deepEqual(framesFrom(arriving, 'bad'), [], 'a packet arrived after the denial was in force');
      const reasons = (await node.counters('bad')).drops;
      assert.ok(
        (reasons[direction === 'Ingress' ? 'policy-ingress' : 'policy-egress'] ?? 0) > 0,
        JSON.stringify(reasons),
      );
      await node.apply([]);
      await until(
        'and it goes on once it is allowed again',
        8,
        async () => (await bad.report()).heard > later.heard + 20,
      );
    }
    for (const steady of [good, good6]) {
      const { sent, heard, wrong, slowest, end } = await steady.report();
      assert.ok(sent - heard < 10 && heard > 200, `${heard} of ${sent}`);
      assert.deepEqual({ wrong, end }, { wrong: 0, end: '' });
      // A lost packet would have come again after 200 ms at the earliest.
      assert.ok(slowest < 200, `an echo took ${slowest} ms`);
    }
  });

  test('a hundred changes lose no packet of the flows they do not forbid, and let none of the others through', async () => {
    const server = node.pod('server');
    const allowed = [policy('server', 'Ingress', ['good'])];
    await node.apply(allowed);
    const count = await Talker.start(node, 'server', 'count', 5008);
    const sender = await Talker.start(node, 'good', 'number', server.v4, 5008, 2);
    const knocks = [
      await Talker.start(node, 'bad', 'knock', server.v4, 80, 1),
      await Talker.start(node, 'bad', 'knock', server.v6, 53, 1),
    ];
    for (let i = 0; i < 100; i++) {
      const other = policy('good', 'Ingress', i % 2 === 0 ? ['server'] : ['server', 'bad']);
      await node.apply(i % 3 === 0 ? allowed : [...allowed, other]);
    }
    const { sent, failed } = await sender.stop();
    assert.equal(failed, 0);
    await until('all that was sent', 3, async () => (await count.report()).received >= sent);
    assert.equal((await count.report()).missing, 0);
    for (const knock of knocks) {
      const { tries, inside } = await knock.stop();
      assert.ok(tries > 100, `${tries} tries`);
      assert.equal(inside, 0);
    }
  });

  test('SCTP, TCP and UDP are judged each by their own rules', async () => {
    const rule = (ports: readonly object[]) => ({
      ...(policy('server', 'Ingress', []) as object),
      spec: {
        podSelector: { matchLabels: { name: 'server' } },
        policyTypes: ['Ingress'],
        ingress: [{ ports }],
      },
    });
    const wanted = [
      [80, 'TCP'],
      [53, 'UDP'],
      [99, 'SCTP'],
    ] as const;
    for (const [port, protocol] of wanted) {
      await node.apply([rule([{ port, protocol }])]);
      for (const [other, otherProtocol] of wanted)
        assert.equal(
          await node.outcome('good', 'server', other, otherProtocol),
          other === port ? 'answered' : 'timeout',
          `${other}/${otherProtocol} while only ${port}/${protocol} is open`,
        );
    }
  });

  test('a Service is translated before policy looks: its backends are what is allowed or not', async () => {
    const ports = [
      { name: 'tcp', port: 8080, targetPort: 80, protocol: 'TCP' },
      { name: 'udp', port: 8053, targetPort: 53, protocol: 'UDP' },
      { name: 'sctp', port: 8099, targetPort: 99, protocol: 'SCTP' },
    ];
    const web = service('web', '10.96.0.10', { app: 'web' }, ports);
    const web6 = service('web6', 'fd96::10', { app: 'web' }, ports);
    const nobody = service('nobody', '10.96.0.11', { app: 'nobody' }, [{ port: 8080, targetPort: 80 }]);
    await node.apply([web, web6, nobody]);
    const wanted = [
      [8080, 'TCP'],
      [8053, 'UDP'],
      [8099, 'SCTP'],
    ] as const;
    for (const address of ['10.96.0.10', 'fd96::10'])
      for (const [port, protocol] of wanted) {
        const { outcome, name } = await node.probe('good', address, port, protocol);
        assert.deepEqual(
          { outcome, name },
          { outcome: 'answered', name: 'server' },
          `${address} ${port}/${protocol}`,
        );
        // The only backend calls its own Service.
        const own = await node.probe('server', address, port, protocol);
        assert.equal(own.outcome, 'answered', `hairpin of ${address} ${port}/${protocol}: ${own.message}`);
      }
    const drops = await node.dropsDuring('good', async () => {
      const refused = await node.probe('good', '10.96.0.11', 8080);
      assert.equal(refused.outcome, 'refused', 'no endpoint: a reset');
      assert.ok(refused.microseconds < 100_000, `at once, not after ${refused.microseconds} µs`);
    });
    assert.deepEqual(drops, { 'service-no-endpoint': 1 });
    // Allowed is the pod, on the pod's own port; the Service's address appears in no policy.
    await node.apply([web, web6, policy('good', 'Egress', ['server']), policy('bad', 'Egress', ['good'])]);
    assert.equal(await node.outcome('good', '10.96.0.10', 8080), 'answered');
    assert.equal(await node.outcome('bad', '10.96.0.10', 8080), 'timeout');
    assert.equal(await node.outcome('bad', 'fd96::10', 8053, 'UDP'), 'timeout');
  });

  test('a pod reaches itself through its own Service where its server listens on any address', async () => {
    const ports = [{ name: 'echo', port: 8006, targetPort: 5006, protocol: 'UDP' }];
    await node.apply([
      service('web', '10.96.0.10', { app: 'web' }, ports),
      service('web6', 'fd96::10', { app: 'web' }, ports),
    ]);
    await Talker.start(node, 'server', 'echo', 5006);
    for (const address of ['10.96.0.10', 'fd96::10']) {
      const client = await Talker.start(node, 'server', 'number', address, 8006, 1);
      await until(`an answer of ${address}`, 15, async () => (await client.report()).heard > 0);
    }
  });

  test('a stream through a Service arrives whole, and stays with its backend when another one comes', async () => {
    const ports = [{ name: 'sink', port: 9000, targetPort: 5009, protocol: 'TCP' }];
    await node.apply([service('web', '10.96.0.10', { app: 'web' }, ports)]);
    const sink = await Talker.start(node, 'server', 'sink', 5009);
    const bytes = 48 << 20;
    const source = await Talker.start(node, 'good', 'source', '10.96.0.10', 9000, bytes);
    await node.apply([service('web', '10.96.0.10', { name: 'bad' }, ports)]);
    await until('the stream', 15, async () => (await sink.report()).ended === 1);
    const report = await sink.report();
    assert.deepEqual([report.bytes, report.wrong, report.connections], [bytes, 0, 1]);
    assert.equal((await source.report()).error, '');
  });
});

describe('policy.denyAction: reject', () => {
  let node: TestNode;
  before(async () => {
    node = await TestNode.start({
      config: { policy: { denyAction: { egress: 'reject', ingress: 'reject' } } },
    });
    await node.addPods({ server: { ports: ['80/TCP', '53/UDP', '99/SCTP'] }, client: {} });
  });
  afterEach(endTalkers);
  after(() => node?.end());

  for (const [direction, of] of [
    ['Ingress', 'server'],
    ['Egress', 'client'],
  ] as const) {
    test(`${direction.toLowerCase()}: a reset for TCP, administratively prohibited for the rest, at once`, async () => {
      await node.apply([policy(of, direction, [])]);
      for (const address of [node.pod('server').v4, node.pod('server').v6]) {
        const tcp = await node.probe('client', address, 80);
        assert.equal(tcp.outcome, 'refused');
        for (const [port, protocol] of [
          [53, 'UDP'],
          [99, 'SCTP'],
        ] as const) {
          const result = await node.probe('client', address, port, protocol);
          assert.equal(result.outcome, 'unreachable', `${port}/${protocol} to ${address}`);
          // RFC 1812 section 5.2.7.1 code 13, RFC 4443 section 3.1 code 1.
          const expected = address.includes(':') ? [1, 1] : [3, 13];
          assert.deepEqual([result.icmpType, result.icmpCode], expected);
          assert.ok(result.microseconds < 100_000);
        }
      }
      await node.apply([]);
    });
  }

  test('a running stream that a new policy forbids is reset', async () => {
    await Talker.start(node, 'server', 'echo', 5010);
    const beat = await Talker.start(node, 'client', 'heartbeat', node.pod('server').v4, 5010, 5);
    await until('it runs', 5, async () => (await beat.report()).heard > 20);
    await node.apply([policy('server', 'Ingress', [])]);
    await until('it is reset', 3, async () => (await beat.report()).end !== '');
    assert.equal((await beat.report()).end, 'ECONNRESET');
  });
});
