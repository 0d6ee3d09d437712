/** Pods of containerd and runc with weft as their network: they talk, policies hold from the first packet, host ports, bandwidth. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { podImage } from '../support/container-image.js';
import { cniBin, cniConf, containerdLacks } from '../support/containerd.js';
import { CriNode } from '../support/cri-node.js';
import { nodeAddress, outsideAddress } from '../support/machine.js';
import { until } from '../support/weft.js';

const lacks = containerdLacks();
const denyAll = { podSelector: {}, policyTypes: ['Ingress'] };

describe('pods of containerd', { skip: lacks === '' ? false : lacks }, () => {
  let node: CriNode;
  before(async () => {
    node = await CriNode.start();
  });
  after(() => node?.end());

  test('The runtime finds nothing but what weft installed, and the image', async () => {
    assert.deepEqual(node.machine.list(cniBin), ['loopback', 'weft-cni']);
    assert.equal(node.machine.list(cniConf).length, 1);
    assert.ok(await node.cri.hasImage(podImage));
    assert.equal((await node.cri.condition('NetworkReady')).status, true);
  });

  test('Two pods have the addresses that the agent leased, and talk over both families', async () => {
    const [a, b] = await Promise.all([node.addPod('a'), node.addPod('b')]);
    try {
      const leased = (await node.weft.ports()).filter(({ kind }) => kind === 'pod');
      for (const pod of [a, b])
        assert.deepEqual(
          leased.find(({ name }) => name === pod.wish.name)?.addresses,
          [pod.v4, pod.v6],
          'the runtime reports what the agent gave',
        );
      assert.deepEqual(
        await node.probe(a, [`tcp/${b.v4}/80`, `udp/${b.v4}/80`, `tcp/${b.v6}/80`, `udp/${b.v6}/80`]),
        [...Array<string>(2).fill(`ok b ${a.v4}`), ...Array<string>(2).fill(`ok b ${a.v6}`)],
      );
      assert.deepEqual(await node.probe(b, [`tcp/${a.v4}/80`, `tcp/${a.v4}/81`]), [
        `ok a ${b.v4}`,
        'refused',
      ]);
      const [node4, node6] = await node.probeFromNode([`tcp/${a.v4}/80`, `tcp/${a.v6}/80`]);
      assert.match(node4 ?? '', /^ok a /);
      assert.match(node6 ?? '', /^ok a /);
    } finally {
      await node.removePod(a);
      await node.removePod(b);
    }
  });

  test('A policy that is there before the pod holds from its first packet; without it the pod is open', async () => {
    node.policy('deny', denyAll);
    const other = await node.addPod('other');
    const guess = Number(other.v4.split('.')[3]);
    // Every address that the pod can get, all the while: who gets in for a moment is seen.
    const targets = Array.from(
      { length: 24 },
      (_, index) => `tcp/10.42.0.${((guess - 1 + index) % 252) + 2}/80`,
    );
    const answers: string[] = [];
    let over = false;
    const watched = (async () => {
      while (!over) answers.push(...(await node.probe(other, targets, 250)));
    })();
    const closed = await node.addPod('closed');
    try {
      await node.probe(other, [`tcp/${closed.v4}/80`], 500);
      over = true;
      await watched;
      assert.ok(targets.includes(`tcp/${closed.v4}/80`), `${closed.v4} was watched`);
      assert.deepEqual(
        answers.filter((answer) => answer.startsWith('ok')),
        [],
      );
      assert.match((await node.probeFromNode([`tcp/${closed.v4}/80`]))[0] ?? '', /^ok closed /);
      node.policy('other', {
        podSelector: { matchLabels: { name: 'closed' } },
        ingress: [{ from: [{ podSelector: { matchLabels: { role: 'friend' } } }] }],
      });
      node.label(other, { role: 'friend' });
      await until(
        'the label lets it in',
        10,
        async () => (await node.probe(other, [`tcp/${closed.v4}/80`]))[0] === `ok closed ${other.v4}`,
      );
      node.label(other, {});
      await until(
        'without it, it is out',
        10,
        async () => (await node.probe(other, [`tcp/${closed.v4}/80`]))[0] === 'timeout',
      );
    } finally {
      over = true;
      node.api.delete('networkpolicies', 'deny', 'test');
      node.api.delete('networkpolicies', 'other', 'test');
      await node.removePod(other);
      await node.removePod(closed);
    }
  });

  test('An egress policy holds for what the container does first', async () => {
    node.policy('no-egress', { podSelector: { matchLabels: { role: 'silent' } }, policyTypes: ['Egress'] });
    const target = await node.addPod('target');
    try {
      for (let turn = 0; turn < 3; turn++) {
        const wish = node.putPod(`silent-${turn}`, { labels: { role: 'silent' } });
        const sandbox = await node.cri.runSandbox(wish);
        const command = ['/pod', 'probe', '400', `tcp/${target.v4}/80`, `udp/${target.v4}/80`];
        const container = await node.cri.startContainer(sandbox, wish, 'hasty', podImage, ['/pod', 'pause']);
        const { stdout } = await node.cri.exec(container, command);
        assert.equal(stdout, 'timeout\ntimeout\n');
        await node.cri.stopSandbox(sandbox);
        await node.cri.removeSandbox(sandbox);
        node.api.delete('pods', wish.name, 'test');
      }
    } finally {
      node.api.delete('networkpolicies', 'no-egress', 'test');
      await node.removePod(target);
    }
  });

  test('Host ports of the sandbox are served from outside, the node and pods, obey policy and go with the pod', async () => {
    const hosted = await node.addPod('hosted', {
      portMappings: [
        { protocol: 'TCP', containerPort: 80, hostPort: 8088 },
        { protocol: 'UDP', containerPort: 80, hostPort: 8088 },
      ],
    });
    const client = await node.addPod('client');
    const target = `tcp/${nodeAddress}/8088`;
    try {
      assert.deepEqual(await node.probeFromOutside([target, `udp/${nodeAddress}/8088`]), [
        `ok hosted ${outsideAddress}`,
        `ok hosted ${outsideAddress}`,
      ]);
      assert.match((await node.probeFromNode([target]))[0] ?? '', /^ok hosted /);
      assert.deepEqual(await node.probe(client, [target]), [`ok hosted ${client.v4}`]);
      assert.match((await node.probe(hosted, [target]))[0] ?? '', /^ok hosted /);
      node.policy('deny', denyAll);
      await until(
        'outside is denied',
        10,
        async () => (await node.probeFromOutside([target]))[0] === 'timeout',
      );
      await until('the pod is denied', 10, async () => (await node.probe(client, [target]))[0] === 'timeout');
    } finally {
      node.api.delete('networkpolicies', 'deny', 'test');
      await node.removePod(hosted);
      await until('the host port is gone', 10, async () => {
        const answers = [...(await node.probeFromOutside([target])), ...(await node.probe(client, [target]))];
        return answers.every((answer) => !answer.startsWith('ok'));
      });
      await node.removePod(client);
    }
  });

  test('Bandwidth annotations of a pod reach the switch', async () => {
    const limited = await node.addPod('limited', {
      annotations: { 'kubernetes.io/ingress-bandwidth': '1M', 'kubernetes.io/egress-bandwidth': '2M' },
    });
    try {
      const leases = node.machine.read('/run/weft/leases.jsonl').trim().split('\n');
      const lease = leases.map((line) => JSON.parse(line)).find((line) => line.owner === 'test/limited');
      assert.deepEqual(
        [lease.details.bandwidth.ingressRate, lease.details.bandwidth.egressRate],
        [1_000_000, 2_000_000],
      );
      assert.match((await node.probeFromNode([`tcp/${limited.v4}/80`]))[0] ?? '', /^ok limited /);
    } finally {
      await node.removePod(limited);
    }
  });
});
