/**
 * A node that lacks an address of a family that its pods have. Its own sockets and what somebody masquerades on it would then both speak
 * to pods from weft0's address; they must be told apart, or probes fail under deny-all, or strangers are the node.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { HostNet } from '../support/host-net.js';
import { TestNode } from '../support/node.js';
import { until } from '../support/weft.js';

const isolated = (name: string, ingress: readonly object[]) => ({
  apiVersion: 'networking.k8s.io/v1',
  kind: 'NetworkPolicy',
  metadata: { namespace: 'test', name },
  spec: { podSelector: { matchLabels: { name } }, policyTypes: ['Ingress', 'Egress'], ingress },
});

const masqueraded = `
table inet box {
  chain post { type nat hook postrouting priority srcnat; policy accept;
    ip saddr 172.17.0.0/24 oifname != "box0" masquerade
    ip6 saddr fd17::/64 oifname != "box0" masquerade
  }
}
`;

/** `standIn` and `second`: the first two addresses of the pod CIDR of the family that the node lacks. */
const lacking = [
  { family: 'v6', node: '192.0.2.1', standIn: 'fd99::', second: 'fd99::1', far: '2001:db8::9' },
  { family: 'v4', node: '2001:db8::1', standIn: '10.99.0.0', second: '10.99.0.1', far: '192.0.2.9' },
] as const;

for (const { family, node: nodeAddress, standIn, second, far } of lacking) {
  describe(`pods with ${family} addresses on a node without one`, () => {
    const net = new HostNet();
    let node: TestNode;
    const pod = (name: string) => ({ netns: node.pod(name).netns });

    before(async () => {
      node = await TestNode.start({
        netns: net.netns('host'),
        config: {
          ...net.config,
          node: { addresses: [nodeAddress] },
          policy: { denyAction: { egress: 'reject', ingress: 'reject' } },
        },
      });
      await node.addPods({ closed: {}, anyone: {}, everywhere: {} });
      await node.apply([
        {
          apiVersion: 'v1',
          kind: 'Node',
          metadata: { name: 'node' },
          spec: { podCIDRs: ['10.99.0.0/24', 'fd99::/112'] },
          status: { addresses: [{ type: 'InternalIP', address: nodeAddress }] },
        },
        isolated('closed', []),
        isolated('anyone', [{}]),
        isolated('everywhere', [
          { from: [{ ipBlock: { cidr: '0.0.0.0/0' } }, { ipBlock: { cidr: '::/0' } }] },
        ]),
      ]);
      await Promise.all([
        ...['closed', 'anyone', 'everywhere'].map((name) => net.serve(pod(name), 8080, name)),
        net.serve('host', 8080, 'host'),
      ]);
      await until('the host is set up', 15, () => {
        const tables = net.run('host', 'nft', 'list', 'tables');
        return tables.includes('weft') && net.run('host', 'sysctl', '-n', 'net.ipv4.ip_forward') === '1\n';
      });
    });

    after(async () => {
      await node?.end();
      net.end();
    });

    test('its own sockets reach pods under deny-all, from whichever address they speak', async () => {
      const to = node.pod('closed')[family];
      assert.equal(await net.ask('host', to, 8080), `closed ${standIn}`);
      assert.equal(await net.ask('host', to, 8080, 'UDP'), `closed ${standIn}`);
      assert.equal(await net.ask('host', to, 8080, 'TCP', second), `closed ${standIn}`);
      assert.equal(await net.ask('host', to, 8080, 'TCP', standIn), `closed ${standIn}`);
    });

    test('what is masqueraded towards pods is not the node, and what is routed is judged as itself', async () => {
      net.feed('host', masqueraded, 'nft', '-f', '-');
      assert.equal(await net.ask('box', node.pod('anyone')[family], 8080), `anyone ${second}`);
      assert.equal(await net.ask('box', node.pod('everywhere')[family], 8080), 'none');
      assert.equal(await net.ask('box', node.pod('closed')[family], 8080), 'none');
      net.run('far', 'ip', 'route', 'replace', '10.99.0.0/24', 'via', '192.0.2.1');
      net.run('far', 'ip', '-6', 'route', 'replace', 'fd99::/112', 'via', '2001:db8::1');
      assert.equal(await net.ask('far', node.pod('everywhere')[family], 8080), `everywhere ${far}`);
      assert.equal(await net.ask('far', node.pod('closed')[family], 8080), 'none');
    });

    test('a forged packet with that address gets nowhere, and a pod reaches the node there', async () => {
      const device = ['dev', 'lo'];
      net.run('far', 'ip', 'addr', 'add', `${standIn}/${family === 'v4' ? 32 : 128}`, ...device);
      for (const name of ['closed', 'anyone'])
        assert.equal(await net.ask('far', node.pod(name)[family], 8080, 'TCP', standIn), 'none', name);
      assert.equal(await net.ask(pod('closed'), standIn, 8080), `host ${node.pod('closed')[family]}`);
    });
  });
}
