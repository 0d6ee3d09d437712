/** Which endpoints a question about a Service is about: conditions, traffic policies, hints, source ranges, and places where nobody answers. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { answerWorld } from '../../../src/cli/policy/batch.js';
import { engineNamed } from '../../../src/cli/policy/engines.js';

const meta = (name: string, more: object = {}) => ({ name, namespace: 'a', ...more });
const client = (name: string, ip: string, nodeName: string) => ({
  kind: 'Pod',
  metadata: meta(name),
  spec: { nodeName },
  status: { podIPs: [{ ip }] },
});
const node = (name: string, address: string, zone: string) => ({
  kind: 'Node',
  metadata: { name, labels: { 'topology.kubernetes.io/zone': zone } },
  status: { addresses: [{ type: 'InternalIP', address }] },
});
/** An endpoint by its last number, on a node. */
const at = (last: number, nodeName: string, more: object = {}) => ({
  addresses: [`10.0.1.${last}`],
  nodeName,
  ...more,
});
const conditions = (ready: boolean, serving: boolean, terminating: boolean) => ({
  conditions: { ready, serving, terminating },
});
const hinted = (...zones: readonly string[]) => ({
  hints: { forZones: zones.map((name) => ({ name })) },
});

interface Given {
  readonly spec?: object;
  readonly status?: object;
  readonly endpoints: readonly object[];
}

const clusterIP = '10.43.0.1';
const balancer = '198.51.100.1';
const external = '198.51.100.2';

/** Last numbers of the endpoints that a question is about, or why there are none. */
function endpoints({ spec, status, endpoints: list }: Given, query: object): string {
  const objects = [
    client('one', '10.0.0.1', 'n1'),
    client('two', '10.0.0.2', 'n2'),
    node('n1', '192.168.0.1', 'east'),
    node('n2', '192.168.0.2', 'west'),
    {
      kind: 'Service',
      metadata: meta('web'),
      spec: {
        type: 'LoadBalancer',
        clusterIP,
        externalIPs: [external],
        ports: [{ port: 80, targetPort: 8080, nodePort: 30080 }],
        ...spec,
      },
      status: status ?? { loadBalancer: { ingress: [{ ip: balancer }] } },
    },
    {
      kind: 'EndpointSlice',
      metadata: meta('web-1', { labels: { 'kubernetes.io/service-name': 'web' } }),
      addressType: 'IPv4',
      ports: [{ name: '', port: 8080, protocol: 'TCP' }],
      endpoints: list,
    },
  ];
  const asked = { from: 'a/one', to: 'svc:a/web', port: 80, ...query };
  const world = { objects, queries: [asked], options: { ownNodeEgress: 'allow' as const } };
  const [answer] = answerWorld(world, engineNamed('reference'));
  if (answer?.backends !== undefined)
    return answer.backends.map(({ address }) => address.split('.')[3]).join(' ');
  return `${answer?.allowed} ${answer?.egress?.reason ?? ''} ${JSON.stringify(answer)}`;
}

const both = [at(1, 'n1'), at(2, 'n2')];
const rows: readonly (readonly [says: string, given: Given, query: object, expected: string | RegExp])[] = [
  ['ready endpoints', { endpoints: both }, {}, '1 2'],
  [
    'those that serve while they terminate, where none is ready',
    { endpoints: [at(1, 'n1', conditions(false, true, true)), at(2, 'n2', conditions(false, false, true))] },
    {},
    '1',
  ],
  [
    'not those while one is ready',
    { endpoints: [at(1, 'n1', conditions(false, true, true)), at(2, 'n2')] },
    {},
    '2',
  ],
  [
    'none that is not ready and stays',
    {
      endpoints: [at(1, 'n1', conditions(false, true, false)), at(2, 'n2', conditions(false, false, false))],
    },
    {},
    /^false .*no ready endpoint\./,
  ],
  [
    "with internalTrafficPolicy Local those of the client's node",
    { spec: { internalTrafficPolicy: 'Local' }, endpoints: both },
    {},
    '1',
  ],
  [
    'for a client elsewhere the others',
    { spec: { internalTrafficPolicy: 'Local' }, endpoints: both },
    { from: 'a/two' },
    '2',
  ],
  [
    'by the cluster address too',
    { spec: { internalTrafficPolicy: 'Local' }, endpoints: both },
    { to: clusterIP },
    '1',
  ],
  [
    'none where the node has none, with a word about Local',
    { spec: { internalTrafficPolicy: 'Local' }, endpoints: [at(2, 'n2')] },
    {},
    /^false .*no ready endpoint on node n1, and its traffic policy is Local/,
  ],
  [
    'external addresses do not follow internalTrafficPolicy',
    { spec: { internalTrafficPolicy: 'Local' }, endpoints: both },
    { to: external },
    '1 2',
  ],
  [
    "nor does a load balancer's",
    { spec: { internalTrafficPolicy: 'Local', externalTrafficPolicy: 'Local' }, endpoints: both },
    { to: balancer },
    '1 2',
  ],
  [
    "this node's node port does not follow externalTrafficPolicy",
    { spec: { externalTrafficPolicy: 'Local' }, endpoints: both },
    { to: 'node:n1', port: 30080 },
    '1 2',
  ],
  [
    "another node's does",
    { spec: { externalTrafficPolicy: 'Local' }, endpoints: both },
    { to: 'node:n2', port: 30080 },
    '2',
  ],
  ['with Cluster it has all', { endpoints: both }, { to: 'node:n2', port: 30080 }, '1 2'],
  [
    'another node without an endpoint drops',
    { spec: { externalTrafficPolicy: 'Local' }, endpoints: [at(1, 'n1')] },
    { to: 'node:n2', port: 30080 },
    /^false .*on node n2/,
  ],
  [
    "hints for the client's zone",
    { endpoints: [at(1, 'n1', hinted('east')), at(2, 'n2', hinted('west'))] },
    {},
    '1',
  ],
  [
    'hints count where every endpoint has one',
    { endpoints: [at(1, 'n1', hinted('east')), at(2, 'n2')] },
    {},
    '1 2',
  ],
  [
    "and one is for the client's zone",
    { endpoints: [at(1, 'n1', hinted('north')), at(2, 'n2', hinted('north'))] },
    {},
    '1 2',
  ],
  [
    'a hint for the node goes before one for its zone',
    {
      spec: { trafficDistribution: 'PreferSameNode' },
      endpoints: [
        at(1, 'n1', { hints: { forNodes: [{ name: 'n1' }], forZones: [{ name: 'east' }] } }),
        at(2, 'n2', { hints: { forNodes: [{ name: 'n2' }], forZones: [{ name: 'east' }] } }),
      ],
    },
    {},
    '1',
  ],
  [
    'source ranges admit whom they hold',
    { spec: { loadBalancerSourceRanges: ['10.0.0.1/32'] }, endpoints: both },
    { to: balancer },
    '1 2',
  ],
  [
    "source ranges bind pods at the load balancer's address",
    { spec: { loadBalancerSourceRanges: ['10.0.0.1/32'] }, endpoints: both },
    { from: 'a/two', to: balancer },
    /^false .*loadBalancerSourceRanges/,
  ],
  [
    'and nowhere else',
    { spec: { loadBalancerSourceRanges: ['10.0.0.1/32'] }, endpoints: both },
    { from: 'a/two', to: external },
    '1 2',
  ],
  [
    'ranges that cannot be read admit nobody',
    { spec: { loadBalancerSourceRanges: ['10.0.0'] }, endpoints: both },
    { to: balancer },
    /^false .*loadBalancerSourceRanges/,
  ],
  [
    "an address of ipMode Proxy is not the Service's",
    { status: { loadBalancer: { ingress: [{ ip: balancer, ipMode: 'Proxy' }] } }, endpoints: both },
    { to: balancer },
    /^true /,
  ],
  [
    'a cluster address at another port is refused',
    { endpoints: both },
    { to: clusterIP, port: 81 },
    /^false .*has no port 81\/TCP/,
  ],
  [
    'by another protocol too',
    { endpoints: both },
    { to: clusterIP, protocol: 'UDP' },
    /^false .*has no port 80\/UDP/,
  ],
  [
    "an external address at another port is not the Service's",
    { endpoints: both },
    { to: external, port: 81 },
    /^true /,
  ],
];
for (const [says, given, query, expected] of rows)
  test(says, () => {
    const found = endpoints(given, query);
    if (typeof expected === 'string') assert.equal(found, expected);
    else assert.match(found, expected);
  });
