/** Where a service port answers and with which endpoints: compiled, encoded and decoded, asked as a pod of node `one` asks. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Compiler, compile } from '../../../src/image/compile.js';
import { type DecodedImage, decode } from '../../../src/image/decode.js';
import type { Pod } from '../../../src/model/pod.js';
import { protocolNumber } from '../../../src/model/protocol.js';
import type { EndpointSlice, Service } from '../../../src/model/service.js';
import { World } from '../../../src/model/world.js';
import { address } from '../../../src/net/address.js';
import { cidr } from '../../../src/net/cidr.js';
import { gone, makeNode, makePod, makeService, up } from '../../support/policy-world.js';

const web = { app: 'web' };
const client = makePod('x/client', ['10.0.0.9', 'fd00::9'], {});
const here = makePod('x/here', ['10.0.0.1', 'fd00::1'], web);
const there = makePod('x/there', ['10.0.1.1', 'fd00::101'], web, { nodeName: 'two' });
const leaving = makePod('x/leaving', ['10.0.2.1'], web, { nodeName: 'three', terminating: true });
const nodes = [
  makeNode('one', '192.168.0.1', 'fd99::1'),
  makeNode('two', '192.168.0.2', 'fd99::2'),
  makeNode('three', '192.168.0.3'),
];
const port = { name: '', protocol: 'TCP', port: 80, targetPort: 8080 } as const;

function image(services: readonly Service[], pods: readonly Pod[] = [here, there, leaving]): DecodedImage {
  const world = World.of([
    ...nodes.map(up.node),
    ...[client, ...pods].map(up.pod),
    ...services.map(up.service),
  ]);
  const decoded = decode(compile(world, { node: 'one' }).image);
  assert.ok('image' in decoded);
  return decoded.image;
}

/** `10.0.0.1:8080 …`, or what happens instead. */
function asked(of: DecodedImage, place: string, from = '10.0.0.9'): string {
  const [, at, number, protocol = 'TCP'] = /^\[?([^\]]+?)\]?:(\d+)(?:\/(\w+))?$/.exec(place)!;
  const outcome = of.translate(
    address(at!.includes(':') && from === '10.0.0.9' ? 'fd00::9' : from),
    protocolNumber[protocol as 'TCP'] ?? 1,
    address(at!),
    Number(number),
  );
  return typeof outcome === 'string'
    ? outcome
    : outcome.service.backends.map((to) => `${to.address.text}:${to.port}`).join(' ');
}

const service = (more: Partial<Service> = {}) =>
  makeService('x/s', ['10.96.0.1'], web, { ports: [port], ...more });
const exposed: Partial<Service> = {
  type: 'LoadBalancer',
  ports: [{ ...port, nodePort: 30080 }],
  externalIPs: [address('203.0.113.1')],
  loadBalancerIPs: [address('203.0.113.2')],
};
const [near, far] = ['10.0.0.1:8080', '10.0.1.1:8080'];
const both = `${near} ${far}`;

describe('where a service answers', () => {
  const cases: readonly (readonly [name: string, more: Partial<Service>, answers: Record<string, string>])[] =
    [
      [
        'a cluster address at its port, and refused at others',
        {},
        {
          '10.96.0.1:80': both,
          '10.96.0.1:81': 'port',
          '10.96.0.1:80/UDP': 'port',
          '10.96.0.1:0/ICMP': 'port',
        },
      ],
      [
        'external and load-balancer addresses are only at its port the service’s: others may be a host’s',
        exposed,
        {
          '203.0.113.1:80': both,
          '203.0.113.2:80': both,
          '203.0.113.1:81': 'none',
          '203.0.113.2:22': 'none',
        },
      ],
      [
        'node ports are at every node’s addresses, and not at others',
        exposed,
        {
          '192.168.0.1:30080': both,
          '192.168.0.2:30080': both,
          '10.96.0.1:30080': 'port',
          '1.1.1.1:30080': 'none',
        },
      ],
      [
        'what a label leaves to another proxy is nobody’s here',
        { ...exposed, otherProxy: true },
        { '10.96.0.1:80': 'none', '203.0.113.1:80': 'none', '192.168.0.1:30080': 'none' },
      ],
      [
        'a service of the type ClusterIP has no node port, whatever its ports say',
        { ports: [{ ...port, nodePort: 30080 }] },
        { '192.168.0.1:30080': 'none', '10.96.0.1:80': both },
      ],
      [
        'internalTrafficPolicy: Local binds the cluster address only',
        { ...exposed, internalTrafficPolicy: 'Local' },
        { '10.96.0.1:80': near, '203.0.113.1:80': both, '203.0.113.2:80': both, '192.168.0.1:30080': both },
      ],
      [
        'externalTrafficPolicy: Local does not bind a pod, but a node port at another node is that node’s',
        { ...exposed, externalTrafficPolicy: 'Local' },
        {
          '10.96.0.1:80': both,
          '203.0.113.1:80': both,
          '203.0.113.2:80': both,
          '192.168.0.1:30080': both,
          '192.168.0.2:30080': far,
          '192.168.0.3:30080': '10.0.2.1:8080',
        },
      ],
      [
        'source ranges bind load-balancer addresses only, an address that is external too',
        {
          ...exposed,
          externalIPs: [address('203.0.113.1'), address('203.0.113.2')],
          loadBalancerSourceRanges: [cidr('10.9.0.0/16'), cidr('fd00::/16')],
        },
        {
          '203.0.113.2:80': 'source',
          '203.0.113.1:80': both,
          '192.168.0.1:30080': both,
          '10.96.0.1:80': both,
        },
      ],
      [
        'source ranges let their own through',
        { ...exposed, loadBalancerSourceRanges: [cidr('10.9.0.0/16'), cidr('10.0.0.8/29')] },
        { '203.0.113.2:80': both },
      ],
      [
        'source ranges of the other family bind nobody',
        { ...exposed, loadBalancerSourceRanges: [cidr('fd00::/16')] },
        { '203.0.113.2:80': both },
      ],
      [
        'both families, each with its own',
        {
          ...exposed,
          clusterIPs: [address('10.96.0.1'), address('fd96::1')],
          loadBalancerSourceRanges: [cidr('0.0.0.0/0'), cidr('fd01::/16')],
          loadBalancerIPs: [address('203.0.113.2'), address('2001:db8::2')],
        },
        {
          '10.96.0.1:80': both,
          '[fd96::1]:80': 'fd00::1:8080 fd00::101:8080',
          '[fd99::2]:30080': 'fd00::1:8080 fd00::101:8080',
          '[2001:db8::2]:80': 'source',
          '203.0.113.2:80': both,
        },
      ],
      [
        'headless and ExternalName services are left alone',
        { ...exposed, headless: true },
        { '10.96.0.1:80': 'none', '203.0.113.1:80': 'none', '192.168.0.1:30080': 'none' },
      ],
    ];
  for (const [name, more, answers] of cases)
    test(name, () => {
      const decoded = image([service(more)]);
      for (const [place, expected] of Object.entries(answers))
        assert.equal(asked(decoded, place), expected, place);
    });
});

describe('without an endpoint for the client', () => {
  const local = service({ ...exposed, internalTrafficPolicy: 'Local', externalTrafficPolicy: 'Local' });
  test('none anywhere is refused at once', () => {
    const unready = { ...here, ready: false };
    for (const decoded of [image([local], []), image([local], [unready])])
      for (const place of ['10.96.0.1:80', '203.0.113.2:80', '192.168.0.1:30080', '192.168.0.2:30080'])
        assert.equal(asked(decoded, place), 'refused', place);
  });
  test('none on the node that the policy means is dropped', () => {
    const decoded = image([local], [there]);
    assert.equal(asked(decoded, '10.96.0.1:80'), 'dropped');
    assert.equal(asked(decoded, '192.168.0.3:30080'), 'dropped');
    assert.equal(asked(decoded, '192.168.0.2:30080'), far);
    assert.equal(asked(decoded, '192.168.0.1:30080'), far);
  });
  test('a client outside of the source ranges is dropped before it is refused', () => {
    const ranged = { ...local, loadBalancerSourceRanges: [cidr('10.9.0.0/16')] };
    assert.equal(asked(image([ranged], []), '203.0.113.2:80'), 'source');
  });
});

test('all records of a port have one key, for affinity, and lists that are the same are stored once', () => {
  const decoded = image([
    service({
      ...exposed,
      affinitySeconds: 60,
      externalTrafficPolicy: 'Local',
      internalTrafficPolicy: 'Local',
      loadBalancerSourceRanges: [cidr('10.0.0.0/8')],
    }),
  ]);
  const at = (place: string, number: number) => decoded.service(6, address(place), number)!;
  const records = [
    at('10.96.0.1', 80),
    at('203.0.113.1', 80),
    at('203.0.113.2', 80),
    at('192.168.0.1', 30080),
    at('192.168.0.2', 30080),
  ];
  assert.equal(new Set(records.map(({ key }) => key)).size, 1);
  assert.ok(records.every(({ affinitySeconds }) => affinitySeconds === 60));
  assert.equal(new Set(records.map(({ id }) => id)).size, 4);
});

test('slices tell conditions, hints and endpoints outside of the cluster', () => {
  const slice: EndpointSlice = {
    namespace: 'x',
    name: 's-1',
    service: 's',
    family: 4,
    ports: [{ name: '', protocol: 'TCP', port: 9000 }],
    endpoints: [
      { addresses: [address('198.51.100.1')], ready: true, nodeName: '', forZones: ['east'] },
      { addresses: [address('198.51.100.2')], ready: true, nodeName: 'two', forZones: ['west'] },
      {
        addresses: [address('198.51.100.3')],
        ready: false,
        serving: true,
        terminating: true,
        nodeName: 'one',
      },
      { addresses: [address('198.51.100.4')], ready: false, serving: false, nodeName: 'one' },
    ],
  };
  const world = World.of([...nodes.map(up.node), up.pod(client), up.service(service({ selector: null }))]);
  world.put('slice', slice);
  const found = () => {
    const decoded = decode(compile(world, { node: 'one' }).image);
    assert.ok('image' in decoded);
    const { backends, kept } = decoded.image.service(6, address('10.96.0.1'), 80)!;
    const last = (list: typeof backends) => list.map((to) => to.address.text.split('.')[3]).join('');
    return `${last(backends)} ${last(kept)}`;
  };
  assert.equal(found(), '12 34');
  world.put('node', { ...nodes[0]!, zone: 'west' });
  assert.equal(found(), '2 134');
});

describe('host ports', () => {
  const hostPort = (number: number, hostIP = '', protocol: 'TCP' | 'UDP' = 'TCP') =>
    ({ protocol, hostPort: number, containerPort: 8080, hostIP }) as const;
  const exposing = (...hostPorts: ReturnType<typeof hostPort>[]) => ({ ...here, hostPorts });
  test('lead to the pod from this node’s addresses only, in each family that it has', () => {
    const decoded = image([], [exposing(hostPort(8000), hostPort(8001, '', 'UDP'))]);
    assert.equal(asked(decoded, '192.168.0.1:8000'), near);
    assert.equal(asked(decoded, '[fd99::1]:8000'), 'fd00::1:8080');
    assert.equal(asked(decoded, '192.168.0.1:8001/UDP'), near);
    assert.equal(asked(decoded, '192.168.0.1:8001'), 'none');
    assert.equal(asked(decoded, '192.168.0.2:8000'), 'none');
  });
  test('of another node’s pod, a finished one, and one at a loopback address lead nowhere', () => {
    for (const pod of [
      { ...exposing(hostPort(8000)), nodeName: 'two' },
      { ...exposing(hostPort(8000)), phase: 'Succeeded' as const },
      exposing(hostPort(8000, '127.0.0.1')),
      exposing(hostPort(8000, '::1')),
      exposing(hostPort(8000, '192.168.0.7')),
    ])
      assert.equal(asked(image([], [pod]), '192.168.0.1:8000'), 'none');
  });
  test('at one address are there and not at others; 0.0.0.0 is all of its family', () => {
    const one = image([], [exposing(hostPort(8000, '192.168.0.1'))]);
    assert.equal(asked(one, '192.168.0.1:8000'), near);
    assert.equal(asked(one, '[fd99::1]:8000'), 'none');
    const four = image([], [exposing(hostPort(8000, '0.0.0.0'))]);
    assert.equal(asked(four, '192.168.0.1:8000'), near);
    assert.equal(asked(four, '[fd99::1]:8000'), 'none');
  });
  test('take nobody’s traffic to addresses that are not this node’s, whatever hostIP a pod asks for', () => {
    for (const hostIP of ['192.168.0.2', '198.51.100.9', '10.0.0.7', '10.96.0.1']) {
      const decoded = image([], [exposing(hostPort(8000, hostIP))]);
      assert.equal(asked(decoded, `${hostIP}:8000`), 'none', hostIP);
    }
    // An address that the node gets later, and loses again.
    const [own] = nodes;
    const pod = exposing(hostPort(8000, '192.168.0.7'));
    const world = World.of([...nodes.map(up.node), up.pod(client), up.pod(pod)]);
    const compiler = new Compiler(world, { node: 'one' });
    const at = () => {
      const decoded = decode(compiler.update().image);
      assert.ok('image' in decoded);
      return asked(decoded.image, '192.168.0.7:8000');
    };
    assert.equal(at(), 'none');
    world.put('node', { ...own!, addresses: [...own!.addresses, address('192.168.0.7')] });
    assert.equal(at(), near);
    world.put('node', own!);
    assert.equal(at(), 'none');
  });
  test('give way to a node port and to a load balancer at the same place, without a problem', () => {
    const other = makePod('x/other', '10.0.0.7', { app: 'other' }, {});
    const pods = [there, { ...other, hostPorts: [hostPort(30080), hostPort(80)] }];
    const onNode = service({ ...exposed, loadBalancerIPs: [address('192.168.0.1')] });
    const decoded = image([onNode], pods);
    assert.equal(asked(decoded, '192.168.0.1:30080'), far);
    assert.equal(asked(decoded, '192.168.0.1:80'), far);
  });
  test('one that names the address goes before one that names none', () => {
    const other = makePod('x/a-first', '10.0.0.7', {}, {});
    const pods = [{ ...other, hostPorts: [hostPort(8000)] }, exposing(hostPort(8000, '192.168.0.1'))];
    assert.equal(asked(image([], pods), '192.168.0.1:8000'), near);
  });
  test('come and go with their pod', () => {
    const world = World.of([...nodes.map(up.node), up.pod(client), up.pod(exposing(hostPort(8000)))]);
    const at = () => {
      const decoded = decode(compile(world, { node: 'one' }).image);
      assert.ok('image' in decoded);
      return asked(decoded.image, '192.168.0.1:8000');
    };
    assert.equal(at(), near);
    world.apply(gone('pod', 'x/here'));
    assert.equal(at(), 'none');
  });
});

describe('over limits.services', () => {
  const made = (name: string, created: string, last: number) =>
    makeService(`x/${name}`, [`10.96.0.${last}`], web, {
      ports: [port],
      ...(created === '' ? {} : { created }),
    });
  const compiled = (services: readonly Service[], mostServices: number) => {
    const world = World.of([
      ...nodes.map(up.node),
      up.pod(client),
      up.pod(here),
      ...services.map(up.service),
    ]);
    const { image: bytes, problems, stats } = compile(world, { node: 'one', mostServices });
    const decoded = decode(bytes);
    assert.ok('image' in decoded);
    return { image: decoded.image, problems, stats };
  };
  const old = made('z-old', '2024-01-01T00:00:00Z', 1);
  const young = made('a-young', '2024-02-01T00:00:00Z', 2);
  test('the youngest has no room, says so and is refused; the old one goes on', () => {
    for (const services of [
      [old, young],
      [young, old],
    ]) {
      const { image: decoded, problems, stats } = compiled(services, 1);
      assert.equal(asked(decoded, '10.96.0.1:80'), near);
      assert.equal(asked(decoded, '10.96.0.2:80'), 'port');
      assert.equal(stats.services, 1);
      assert.deepEqual(
        problems.map(({ code, severity }) => [code, severity]),
        [['service-limit', 'error']],
      );
      assert.match(problems[0]!.message, /x\/a-young/);
    }
  });
  test('with room for all there is no problem', () => {
    const { image: decoded, problems } = compiled([old, young], 2);
    assert.equal(asked(decoded, '10.96.0.2:80'), near);
    assert.deepEqual(problems, []);
  });
});
