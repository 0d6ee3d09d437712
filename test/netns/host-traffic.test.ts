/**
 * The host around the switch, with real packets: who is masqueraded, who is the node, what kube-proxy's NodePorts and foreign masquerades
 * look like to policy, and hostPort. Agent and switch run in a namespace that plays the host.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { loadAddon } from '../../src/dataplane/addon.js';
import { checksum, ethernet, ip, ipv4, ipv6, protocols } from '../support/frames.js';
import { type Asked, HostNet, type Place, works } from '../support/host-net.js';
import { kubeProxyIptables, kubeProxyNft, type NodePort } from '../support/kube-proxy.js';
import { TestNode } from '../support/node.js';
import { until } from '../support/weft.js';

const net = new HostNet();
let node: TestNode;

const denyAll = policy('deny-all', 'closed', { policyTypes: ['Ingress', 'Egress'] });
const node4 = '192.0.2.1';
const node6 = '2001:db8::1';

function policy(name: string, selected: string, spec: object): object {
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { namespace: 'test', name },
    spec: { podSelector: { matchLabels: { name: selected } }, ...spec },
  };
}

const nodes = [
  { name: 'node', podCIDRs: ['10.99.0.0/24', 'fd99::/112'], addresses: [node4, node6] },
  { name: 'other', podCIDRs: ['10.99.1.0/24'], addresses: ['192.0.2.2', '2001:db8::2'] },
].map(({ name, podCIDRs, addresses }) => ({
  apiVersion: 'v1',
  kind: 'Node',
  metadata: { name },
  spec: { podCIDRs },
  status: { addresses: addresses.map((address) => ({ type: 'InternalIP', address })) },
}));

const base: readonly object[] = [
  ...nodes,
  denyAll,
  policy('anyone', 'anyone', { ingress: [{}], policyTypes: ['Ingress'] }),
  policy('everywhere', 'everywhere', {
    ingress: [
      {
        from: [{ ipBlock: { cidr: '0.0.0.0/0' } }, { ipBlock: { cidr: '::/0' } }, { namespaceSelector: {} }],
      },
    ],
    policyTypes: ['Ingress'],
  }),
  policy('client', 'client', {
    ingress: [{ from: [{ ipBlock: { cidr: '192.0.2.9/32' } }, { ipBlock: { cidr: '2001:db8::9/128' } }] }],
    policyTypes: ['Ingress'],
  }),
];
const all = ['open', 'closed', 'anyone', 'everywhere', 'client'] as const;
type Name = (typeof all)[number];
const pod = (name: Name) => ({ netns: node.pod(name).netns });

const ports = (family: 'v4' | 'v6' = 'v4'): NodePort[] =>
  all.map((name, index) => ({
    nodePort: 30_080 + index,
    clusterIP: family === 'v4' ? `10.43.0.${10 + index}` : `fd43::${10 + index}`,
    port: 80,
    to: node.pod(name)[family],
    toPort: 8080,
  }));

/** The same as objects, for the switch. */
function services(): object[] {
  return ports().flatMap(({ nodePort, clusterIP, port, to, toPort }, index) => {
    const name = all[index]!;
    return [
      {
        apiVersion: 'v1',
        kind: 'Service',
        metadata: { namespace: 'test', name },
        spec: { type: 'NodePort', clusterIP, ports: [{ port, targetPort: toPort, nodePort }] },
      },
      {
        apiVersion: 'discovery.k8s.io/v1',
        kind: 'EndpointSlice',
        metadata: { namespace: 'test', name, labels: { 'kubernetes.io/service-name': name } },
        addressType: 'IPv4',
        ports: [{ name: '', port: toPort, protocol: 'TCP' }],
        endpoints: [{ addresses: [to], conditions: { ready: true }, nodeName: 'node' }],
      },
    ];
  });
}

before(async () => {
  node = await TestNode.start({
    netns: net.netns('host'),
    config: {
      ...net.config,
      policy: { denyAction: { egress: 'reject', ingress: 'reject' } },
    },
  });
  await node.addPods(Object.fromEntries(all.map((name) => [name, {}])));
  await node.apply([...base, ...services()]);
  await Promise.all([
    ...all.map((name) => net.serve(pod(name), 8080, name)),
    net.serve('far', 8080, 'far'),
    net.serve('host', 8080, 'host'),
  ]);
  await tableIs(/masquerade/);
});

after(async () => {
  await node?.end();
  net.end();
});

/** The host follows publication within a moment. */
async function tableIs(holds: RegExp, not?: RegExp): Promise<void> {
  let text = '';
  await until('the nft table is there', 15, async () => {
    try {
      text = net.run('host', 'nft', 'list', 'table', 'inet', 'weft');
    } catch {
      return false;
    }
    if (net.run('host', 'sysctl', '-n', 'net.ipv4.ip_forward', 'net.ipv6.conf.all.forwarding') !== '1\n1\n')
      return false;
    return holds.test(text) && (not === undefined || !not.test(text));
  }).catch((error: Error) => assert.fail(`${error.message}\n${text}\n${node.words('agent')}`));
}

const answers = (rows: readonly Asked[]) => net.answers(rows, () => node.words('agent'));

test('pods leave the node with its address, to other nodes and to the world, and reach each other with their own', async () => {
  const { v4, v6 } = node.pod('open');
  await answers([
    [pod('open'), '203.0.113.1', 8080, `far ${node4}`],
    [pod('open'), '192.0.2.9', 8080, `far ${node4}`, 'UDP'],
    [pod('open'), '192.0.2.2', 8080, `far ${node4}`],
    [pod('open'), '2001:db8:f::1', 8080, `far ${node6}`],
    [pod('open'), '2001:db8::2', 8080, `far ${node6}`],
    [pod('open'), node4, 8080, `host ${v4}`],
    [pod('open'), node6, 8080, `host ${v6}`],
    [pod('open'), node.pod('anyone').v4, 8080, `anyone ${v4}`],
    [pod('open'), node.pod('anyone').v6, 8080, `anyone ${v6}`],
    [pod('closed'), '203.0.113.1', 8080, 'none'],
  ]);
});

test("the node's own sockets reach every pod, under deny-all too, whichever of its addresses they speak from", async () => {
  const { v4, v6 } = node.pod('closed');
  await answers([
    ['host', v4, 8080, `closed ${node4}`],
    ['host', v6, 8080, `closed ${node6}`],
    ['host', v4, 8080, `closed ${node4}`, 'UDP'],
  ]);
  // From weft0's own address, by which strangers are masqueraded: the host's own sockets are told apart before.
  assert.equal(await net.ask('host', v4, 8080, 'TCP', '10.99.0.1'), `closed ${node4}`);
  assert.equal(await net.ask('host', v4, 8080, 'TCP', '172.17.0.1'), 'closed 172.17.0.1');
  // A pod reaches all of its own node.
  await answers([[pod('closed'), '10.99.0.1', 8080, `host ${v4}`]]);
});

test('what is routed to a pod keeps its source and is judged by it', async () => {
  net.run('far', 'ip', 'route', 'replace', '10.99.0.0/24', 'via', node4);
  net.run('far', 'ip', '-6', 'route', 'replace', 'fd99::/112', 'via', node6);
  await answers([
    ['far', node.pod('open').v4, 8080, 'open 192.0.2.9'],
    ['far', node.pod('client').v4, 8080, 'client 192.0.2.9'],
    ['far', node.pod('client').v6, 8080, 'client 2001:db8::9'],
    ['far', node.pod('closed').v4, 8080, 'none'],
    ['box', node.pod('client').v4, 8080, 'none'],
    ['box', node.pod('everywhere').v4, 8080, 'everywhere 172.17.0.2'],
  ]);
});

test("a forged source that is the host's own gets nowhere: only its own sockets have it", async () => {
  const { v6, v4 } = node.pod('open');
  const link = new (loadAddon().RawSocket)({ netns: net.netns('far'), ifname: 'eth0', vnetHeader: false });
  const arriving = node.rawSocket('open');
  const udp = Buffer.from([0, 1, 0, 9, 0, 8, 0, 0]);
  const macs = [macOf('far', 'eth0'), macOf('host', 'up0')] as const;
  const send = (source: string) =>
    link.send(
      source.includes(':')
        ? ethernet(...macs, 0x86dd, ipv6(source, v6, protocols.udp, withChecksum(source, v6, udp)))
        : ethernet(...macs, 0x0800, ipv4(source, v4, protocols.udp, udp)),
    );
  try {
    // The node's address, weft0's, another interface's; and at last, on the same way, a stranger's own.
    for (const source of [node6, 'fd99::1', 'fd17::1', node4, '10.99.0.1', '2001:db8::77'])
      assert.ok(send(source) > 0, source);
    const seen: string[] = [];
    await until('the honest packet arrives', 10, async () => {
      for (let frame = arriving.receive(); frame !== null; frame = arriving.receive()) {
        const type = (frame[12]! << 8) | frame[13]!;
        if (type === 0x0800 && frame[23] === protocols.udp) seen.push('IPv4');
        if (type === 0x86dd && frame[20] === protocols.udp)
          seen.push(Buffer.from(frame.subarray(22, 38)).toString('hex'));
      }
      return seen.length > 0;
    });
    assert.deepEqual(seen, [ip('2001:db8::77').toString('hex')]);
  } finally {
    link.close();
  }
});

function withChecksum(from: string, to: string, udp: Buffer): Buffer {
  const pseudo = Buffer.concat([
    ip(from),
    ip(to),
    Buffer.from([0, 0, 0, udp.length, 0, 0, 0, protocols.udp]),
  ]);
  const whole = Buffer.from(udp);
  whole.writeUInt16BE(checksum(pseudo, udp), 6);
  return whole;
}

function macOf(place: Place, device: string): string {
  return /link\/ether (\S+)/.exec(net.run(place, 'ip', 'link', 'show', device))![1]!;
}

const masqueraded = `
table inet box {
  chain post { type nat hook postrouting priority srcnat; policy accept;
    ip saddr 172.17.0.0/24 oifname != "box0" masquerade
    ip6 saddr fd17::/64 oifname != "box0" masquerade
  }
}
`;

test('what somebody else masquerades on the host is a stranger: only a rule without from admits it', async () => {
  net.feed('host', masqueraded, 'nft', '-f', '-');
  await answers([
    ['box', node.pod('open').v4, 8080, 'open 10.99.0.1'],
    ['box', node.pod('open').v6, 8080, 'open fd99::1'],
    ['box', node.pod('anyone').v4, 8080, 'anyone 10.99.0.1'],
    ['box', node.pod('anyone').v6, 8080, 'anyone fd99::1'],
    ['box', node.pod('anyone').v4, 8080, 'anyone 10.99.0.1', 'UDP'],
    ['box', node.pod('everywhere').v4, 8080, 'none'],
    ['box', node.pod('everywhere').v6, 8080, 'none'],
    ['box', node.pod('closed').v4, 8080, 'none'],
    ['host', node.pod('closed').v4, 8080, `closed ${node4}`],
  ]);
  net.run('host', 'nft', 'delete', 'table', 'inet', 'box');
});

const worksWithMasquerade = (program: string) =>
  works(program, '-t', 'nat', '-A', 'POSTROUTING', '-j', 'MASQUERADE', '--random-fully');
const kubeProxies = [
  ['iptables-nft', worksWithMasquerade('iptables-nft')],
  ['iptables-legacy', worksWithMasquerade('iptables-legacy')],
  ['nftables', true],
] as const;

for (const [mode, there] of kubeProxies) {
  test(`kube-proxy beside it (${mode}): a NodePort's client keeps its address and is judged by it`, {
    skip: !there,
  }, async () => {
    const portOf = (name: Name) => 30_080 + all.indexOf(name);
    const ipOf = (name: Name) => `10.43.0.${10 + all.indexOf(name)}`;
    if (mode === 'nftables') net.feed('host', kubeProxyNft(ports(), '10.99.0.0/16'), 'nft', '-f', '-');
    else net.restore(mode, kubeProxyIptables(ports(), '10.99.0.0/16'));
    try {
      await answers([
        ['far', node4, portOf('open'), 'open 192.0.2.9'],
        ['far', node4, portOf('client'), 'client 192.0.2.9'],
        ['far', node4, portOf('closed'), 'none'],
        ['box', '172.17.0.1', portOf('client'), 'none'],
        ['box', '172.17.0.1', portOf('everywhere'), 'everywhere 172.17.0.2'],
        // Pods go by the switch: their egress, the other's ingress, with their own address.
        [pod('open'), node4, portOf('everywhere'), `everywhere ${node.pod('open').v4}`],
        [pod('open'), '172.17.0.1', portOf('everywhere'), `everywhere ${node.pod('open').v4}`],
        [pod('open'), '10.99.0.1', portOf('everywhere'), `everywhere ${node.pod('open').v4}`],
        [pod('open'), node4, portOf('client'), 'none'],
        [pod('open'), node4, portOf('closed'), 'none'],
        [pod('open'), '10.99.0.1', portOf('closed'), 'none'],
        [pod('open'), ipOf('closed'), 80, 'none'],
        [pod('closed'), node4, portOf('open'), 'none'],
        // The host itself, by its own address and by the Service's.
        ['host', node4, portOf('closed'), `closed ${node4}`],
        ['host', ipOf('closed'), 80, `closed ${node4}`],
      ]);
      // Masquerade by somebody who does not ask us is still a stranger's.
      net.feed('host', masqueraded, 'nft', '-f', '-');
      await answers([['box', node.pod('everywhere').v4, 8080, 'none']]);
      net.run('host', 'nft', 'delete', 'table', 'inet', 'box');
      // The host's loopback address, which kube-proxy lets its iptables rules have.
      if (mode !== 'nftables') {
        net.run('host', 'sysctl', '-qw', 'net.ipv4.conf.all.route_localnet=1');
        await answers([['host', '127.0.0.1', portOf('closed'), `closed ${node4}`]]);
        net.run('host', 'sysctl', '-qw', 'net.ipv4.conf.all.route_localnet=0');
      }
      if (mode !== 'nftables' && !worksWithMasquerade(mode.replace('ip', 'ip6'))) return;
      if (mode === 'nftables') net.feed('host', kubeProxyNft(ports('v6'), 'fd99::/64'), 'nft', '-f', '-');
      else net.restore(mode.replace('ip', 'ip6'), kubeProxyIptables(ports('v6'), 'fd99::/64'));
      await answers([
        ['far', node6, portOf('open'), 'open 2001:db8::9'],
        ['far', node6, portOf('client'), 'client 2001:db8::9'],
        ['far', node6, portOf('closed'), 'none'],
        ['box', 'fd17::1', portOf('client'), 'none'],
        ['host', node6, portOf('closed'), `closed ${node6}`],
        ['host', `fd43::${10 + all.indexOf('closed')}`, 80, `closed ${node6}`],
      ]);
    } finally {
      if (mode === 'nftables') {
        for (const family of ['ip', 'ip6'])
          net.run('host', 'sh', '-c', `nft delete table ${family} kube-proxy || true`);
      } else
        for (const program of [mode, mode.replace('ip', 'ip6')])
          for (const table of ['nat', 'filter'])
            net.run('host', 'sh', '-c', `${program} -t ${table} -F; ${program} -t ${table} -X; true`);
    }
  });
}

test('a FORWARD chain that drops lets pods through in both families, once the host was looked at', {
  skip: !kubeProxies[0][1],
}, async () => {
  for (const program of ['iptables-nft', 'ip6tables-nft']) net.run('host', program, '-P', 'FORWARD', 'DROP');
  await answers([[pod('open'), '203.0.113.1', 8080, 'none']]);
  // Another pod is another state of the host.
  await node.addPods({
    late: { hostPorts: [{ protocol: 'TCP', hostPort: 8099, containerPort: 8080, hostIP: '' }] },
  });
  await net.serve({ netns: node.pod('late').netns }, 8080, 'late');
  await tableIs(/8099/);
  await until('FORWARD accepts', 15, async () =>
    /weft0/.test(net.run('host', 'ip6tables-nft', '-S', 'FORWARD')),
  );
  await answers([
    [pod('open'), '203.0.113.1', 8080, `far ${node4}`],
    [pod('open'), '2001:db8:f::1', 8080, `far ${node6}`],
    ['far', node4, 8099, 'late 192.0.2.9'],
    ['far', node6, 8099, 'late 2001:db8::9'],
    // What is forwarded for others is still their firewall's business.
    ['box', '203.0.113.1', 8080, 'none'],
  ]);
});
