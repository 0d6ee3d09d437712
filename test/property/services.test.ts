/**
 * Where a pod's packet to a Service goes: the reference over plain objects, the image decoded in TypeScript and the native lookup agree on
 * generated worlds, at every place that could be asked about. WEFT_PROPERTY_SEED and WEFT_PROPERTY_RUNS repeat or prolong a run.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { worldOf } from '../../src/cli/policy/load.js';
import { loadAddon } from '../../src/dataplane/addon.js';
import { collide } from '../../src/host/host-port.js';
import { compile } from '../../src/image/compile.js';
import { decode } from '../../src/image/decode.js';
import { decodeInto, noObjects } from '../../src/manifests/decode.js';
import type { KubernetesObject } from '../../src/manifests/object.js';
import type { Pod } from '../../src/model/pod.js';
import { type Protocol, protocolNumber } from '../../src/model/protocol.js';
import { type Address, address, addressBytes } from '../../src/net/address.js';
import {
  type HostPortAsked,
  type ServiceAnswer,
  ServiceReference,
} from '../../src/policy/evaluate-service.js';

const seed = Number(process.env.WEFT_PROPERTY_SEED ?? 20241101);
const numRuns = Number(process.env.WEFT_PROPERTY_RUNS ?? 300);

type Plain = Record<string, unknown>;
const some = <T>(...values: T[]) => fc.constantFrom(...values);
const maybe = (key: string, value: fc.Arbitrary<unknown>) =>
  fc.option(value, { nil: undefined }).map((found) => (found === undefined ? {} : { [key]: found }));
const merged = (...parts: fc.Arbitrary<Plain>[]) =>
  fc.tuple(...parts).map((all) => Object.assign({}, ...all) as Plain);

const nodes = fc.tuple(some('', 'east', 'west'), some('', 'east', 'west'), some('', 'west')).map((zones) =>
  ['one', 'two', 'three'].map((name, i) => ({
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name, labels: zones[i] === '' ? {} : { 'topology.kubernetes.io/zone': zones[i] } },
    status: {
      addresses: [
        { type: 'InternalIP', address: `192.168.0.${i + 1}` },
        { type: 'InternalIP', address: `fd99::${i + 1}` },
      ],
    },
  })),
);

const pod = (index: number) =>
  fc
    .record({
      node: some('one', 'two', 'three', ''),
      app: some('web', 'web', 'db'),
      ready: some('True', 'True', 'False'),
      phase: some('Running', 'Running', 'Succeeded'),
      leaving: some(false, false, true),
      ports: fc.subarray([
        { name: 'http', containerPort: 8080 },
        { name: 'dns', containerPort: 53, protocol: 'UDP' },
      ]),
      six: fc.boolean(),
    })
    .map(({ node, app, ready, phase, leaving, ports, six }) => ({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: {
        namespace: 'x',
        name: `p${index}`,
        labels: { app },
        ...(leaving ? { deletionTimestamp: '2024-01-01T00:00:00Z' } : {}),
      },
      spec: { nodeName: node, containers: [{ name: 'main', ports }] },
      status: {
        phase,
        podIPs: [{ ip: `10.0.0.${index}` }, ...(six ? [{ ip: `fd00::${index}` }] : [])],
        conditions: [{ type: 'Ready', status: ready }],
      },
    }));

const endpoint = merged(
  fc.integer({ min: 1, max: 6 }).map((last) => ({ addresses: [`10.9.0.${last}`] })),
  maybe('nodeName', some('one', 'two', 'three')),
  maybe(
    'conditions',
    merged(maybe('ready', fc.boolean()), maybe('serving', fc.boolean()), maybe('terminating', fc.boolean())),
  ),
  maybe(
    'hints',
    merged(
      maybe(
        'forZones',
        fc.subarray(['east', 'west'], { minLength: 1 }).map((all) => all.map((name) => ({ name }))),
      ),
      maybe(
        'forNodes',
        fc.subarray(['one', 'two'], { minLength: 1 }).map((all) => all.map((name) => ({ name }))),
      ),
    ),
  ),
);

const slice = (index: number) =>
  fc
    .record({
      service: some('a', 'b'),
      endpoints: fc.array(endpoint, { maxLength: 5 }),
      ports: fc.subarray([
        { name: 'http', port: 9000 },
        { name: 'dns', port: 9053, protocol: 'UDP' },
      ]),
    })
    .map(({ service, endpoints, ports }) => ({
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: { namespace: 'x', name: `s${index}`, labels: { 'kubernetes.io/service-name': service } },
      addressType: 'IPv4',
      endpoints,
      ports,
    }));

const clusterIPs = {
  a: [['10.96.0.1'], ['10.96.0.1', 'fd96::1'], ['fd96::1'], ['None']],
  b: [['10.96.0.2'], ['10.96.0.2', 'fd96::2'], ['10.96.0.1']],
} as const;
const service = (name: 'a' | 'b') =>
  merged(
    some(...clusterIPs[name]).map((ips) => ({ clusterIP: ips[0], clusterIPs: ips })),
    some('ClusterIP', 'NodePort', 'LoadBalancer', 'ExternalName').map((type) => ({ type })),
    maybe('selector', fc.constant({ app: 'web' })),
    maybe('externalIPs', some(['203.0.113.1'], ['192.168.0.1', '2001:db8::1'])),
    maybe('internalTrafficPolicy', some('Cluster', 'Local')),
    maybe('externalTrafficPolicy', some('Cluster', 'Local')),
    maybe('publishNotReadyAddresses', fc.boolean()),
    maybe('sessionAffinity', some('None', 'ClientIP')),
    maybe('trafficDistribution', some('PreferClose', 'PreferSameNode')),
    maybe(
      'loadBalancerSourceRanges',
      some([], ['10.0.0.1/32'], [' 10.0.0.0/8 ', 'fd01::/16'], ['::/0'], ['no']),
    ),
    fc
      .subarray(
        [
          { name: 'http', port: 80, targetPort: 'http', nodePort: 30080 },
          { name: 'dns', port: 53, protocol: 'UDP', targetPort: 5353, nodePort: 30053 },
        ],
        { minLength: 1 },
      )
      .map((ports) => ({ ports })),
  ).chain((spec) =>
    some<Plain>(
      {},
      { loadBalancer: { ingress: [{ ip: '203.0.113.2' }] } },
      {
        loadBalancer: {
          ingress: [
            { ip: '203.0.113.2', ipMode: 'Proxy' },
            { ip: '192.168.0.1', ipMode: 'VIP' },
          ],
        },
      },
    ).chain((status) =>
      fc
        .option(some('service.kubernetes.io/service-proxy-name', 'service.kubernetes.io/headless', 'app'), {
          nil: '',
        })
        .map((label) => ({
          apiVersion: 'v1',
          kind: 'Service',
          metadata: { namespace: 'x', name, ...(label === '' ? {} : { labels: { [label]: '' } }) },
          spec,
          status,
        })),
    ),
  );

const worlds = fc
  .tuple(
    nodes,
    fc.tuple(...[1, 2, 3, 4].map(pod)).chain((all) => fc.subarray(all)),
    fc.tuple(service('a'), service('b')).chain((all) => fc.subarray<Plain>(all, { minLength: 1 })),
    fc.tuple(...[1, 2, 3].map(slice)).chain((all) => fc.subarray(all)),
  )
  .map(([...kinds]) => kinds.flat() as unknown as KubernetesObject[]);

/** What runtimes asked for beside the objects; two pods never ask for the same, which an agent refuses. */
const asked: fc.Arbitrary<readonly HostPortAsked[]> = fc
  .array(
    fc.record({
      pod: some('x/p1', 'x/p2', 'x/p3', 'x/p4'),
      protocol: some('TCP' as const, 'UDP' as const),
      hostPort: some(80, 30080, 30053, 7),
      containerPort: some(8080, 53),
      hostIP: some(
        '',
        '',
        '0.0.0.0',
        '::',
        '192.168.0.1',
        '192.168.0.2',
        'fd99::1',
        '127.0.0.1',
        '::1',
        '203.0.113.1',
        '198.51.100.1',
        'no',
      ),
    }),
    { maxLength: 5 },
  )
  .map((all) => all.filter((one, index) => !all.slice(0, index).some((other) => collide(one, other))));

const places = [
  '10.96.0.1 10.96.0.2 fd96::1 fd96::2 203.0.113.1 203.0.113.2 2001:db8::1 198.51.100.1',
  '192.168.0.1 192.168.0.2 192.168.0.3 fd99::1 fd99::2',
].flatMap((line) => line.split(' '));
const clients = ['10.0.0.1', '10.0.0.2', 'fd00::1'];
const questions = places
  .flatMap((destination) =>
    clients.flatMap((client) =>
      (['TCP', 'UDP'] as const).flatMap((protocol) =>
        [80, 53, 30080, 30053, 7].map((port) => ({ client, node: 'one', destination, protocol, port })),
      ),
    ),
  )
  .filter(({ client, destination }) => client.includes(':') === destination.includes(':'));

type Question = (typeof questions)[number];
const key = (of: Address) => {
  const bits = of.words.reduce((sum, word) => (sum << 32n) | BigInt(word), 0n);
  return `${of.family}/${(of.family === 4 ? bits & 0xffff_ffffn : bits).toString(16)}`;
};
const serviceOf = (name: string) => name.slice(0, name.indexOf(':'));

function engines(objects: readonly KubernetesObject[], hostPorts: readonly HostPortAsked[]) {
  const model = noObjects();
  for (const object of objects) assert.ok(decodeInto(model, object), JSON.stringify(object));
  const world = worldOf(model);
  for (const [key, found] of [...world.all('pod')]) {
    const own = hostPorts.filter((one) => one.pod === key);
    if (own.length > 0) world.put('pod', { ...found, hostPorts: own as NonNullable<Pod['hostPorts']> });
  }
  const bytes = compile(world, { node: 'one' }).image;
  const decoded = decode(bytes);
  assert.ok('image' in decoded);
  const native = new (loadAddon().Image)(bytes);

  const fromDecoded = ({ client, destination, protocol, port }: Question): ServiceAnswer => {
    const found = decoded.image.translate(
      address(client),
      protocolNumber[protocol],
      address(destination),
      port,
    );
    if (typeof found === 'string') return found;
    const { name, affinitySeconds, backends, kept } = found.service;
    const list = (all: typeof backends) => all.map((one) => `${key(one.address)} ${one.port}`).sort();
    return { service: serviceOf(name), affinitySeconds, backends: list(backends), kept: list(kept) };
  };
  const reasons: Readonly<Record<string, ServiceAnswer>> = {
    'service-port': 'port',
    'service-source-range': 'source',
    'service-no-endpoint': 'refused',
    'service-no-local-endpoint': 'dropped',
  };
  const fromNative = ({ client, destination, protocol, port }: Question): ServiceAnswer => {
    const ends = new Uint8Array(32);
    ends.set(addressBytes(address(client)));
    ends.set(addressBytes(address(destination)), 16);
    const found = native.translate(ends, protocolNumber[protocol as Protocol], port);
    if (found === undefined) return 'none';
    if (typeof found === 'string') return reasons[found] ?? assert.fail(found);
    const six = destination.includes(':');
    const list = (all: Uint8Array) =>
      Array.from({ length: all.length / 18 }, (_, i) => {
        const one = Buffer.from(all.subarray(18 * i, 18 * i + 18));
        const bits = BigInt(`0x${one.subarray(six ? 0 : 12, 16).toString('hex')}`);
        return `${six ? 6 : 4}/${bits.toString(16)} ${one.readUInt16BE(16)}`;
      }).sort();
    const { name, affinitySeconds, backends, kept } = found;
    return { service: serviceOf(name), affinitySeconds, backends: list(backends), kept: list(kept) };
  };
  return { decoded: fromDecoded, native: fromNative };
}

function disagreements(objects: readonly KubernetesObject[], hostPorts: readonly HostPortAsked[]): string[] {
  const reference = new ServiceReference(objects as unknown as Plain[], hostPorts);
  const { decoded, native } = engines(objects, hostPorts);
  return questions.flatMap((question) => {
    const want = JSON.stringify(reference.ask(question));
    return Object.entries({ decoded, native }).flatMap(([name, engine]) => {
      const got = JSON.stringify(engine(question));
      return got === want ? [] : [`${JSON.stringify(question)}\n  reference ${want}\n  ${name} ${got}`];
    });
  });
}

test(`reference, decoded and native image agree on where Services and host ports lead (seed ${seed})`, () => {
  fc.assert(
    fc.property(worlds, asked, (objects, hostPorts) => {
      const found = disagreements(objects, hostPorts);
      assert.ok(found.length === 0, found.slice(0, 3).join('\n'));
    }),
    { seed, numRuns },
  );
});

test('generated worlds ask for every answer there is', () => {
  const seen = new Map<string, number>();
  for (const [objects, hostPorts] of fc.sample(fc.tuple(worlds, asked), { seed, numRuns: 200 })) {
    const reference = new ServiceReference(objects as unknown as Plain[], hostPorts);
    for (const question of questions) {
      const answer = reference.ask(question);
      const count = (what: string) => seen.set(what, (seen.get(what) ?? 0) + 1);
      if (typeof answer === 'string') count(answer);
      else {
        count(answer.service.startsWith('x/p') ? 'host port' : 'led');
        if (answer.kept.length > 0) count('kept');
        if (answer.backends.length > 1) count('several');
        if (answer.affinitySeconds > 0) count('affinity');
      }
    }
  }
  for (const what of [
    'none',
    'port',
    'source',
    'refused',
    'dropped',
    'led',
    'kept',
    'several',
    'affinity',
    'host port',
  ])
    assert.ok((seen.get(what) ?? 0) >= 10, `${what}: ${seen.get(what) ?? 0}`);
});
