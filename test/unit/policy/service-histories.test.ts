/**
 * Services that come, go and change leave no trace: after every event the bytes and the problems are those of the same world compiled from
 * nothing. Places are claimed by several, limits are passed and fallen below, nodes and host ports come and go.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Compiler, compile } from '../../../src/image/compile.js';
import type { WorldEvent } from '../../../src/model/event.js';
import type { PodPhase } from '../../../src/model/pod.js';
import type { Service, SliceEndpoint } from '../../../src/model/service.js';
import { World } from '../../../src/model/world.js';
import { address } from '../../../src/net/address.js';
import { cidr } from '../../../src/net/cidr.js';
import { gone, makeNode, makePod, makeService, up } from '../../support/policy-world.js';

const seed = 20_261_122;
const keys = ['x/a', 'x/b', 'y/a', 'y/hostPort-80'];
const some = <T>(...values: readonly T[]) => fc.constantFrom(...values);

const serviceArb = fc
  .record({
    key: some(...keys),
    clusterIPs: fc.subarray(['10.96.0.1', '10.96.0.2', 'fd96::1']),
    app: some('web', 'db'),
    type: some('ClusterIP', 'NodePort', 'LoadBalancer'),
    ports: fc.subarray(
      [
        { name: 'web', protocol: 'TCP', port: 80, targetPort: 8080, nodePort: 30_080 },
        { name: 'dns', protocol: 'UDP', port: 53, targetPort: 'dns', nodePort: 30_053 },
        { name: 'alt', protocol: 'TCP', port: 80, targetPort: 'http', nodePort: 30_080 },
      ] as const,
      { minLength: 1 },
    ),
    externalIPs: fc.subarray(['203.0.113.1', '192.168.0.1']),
    ranges: some([], ['10.0.0.0/8'], ['10.0.0.1/32', '192.168.0.0/16']),
    local: fc.boolean(),
    affinitySeconds: some(0, 10),
    created: some('2026-01-01T00:00:00Z', '2026-01-02T00:00:00Z'),
    more: some<Partial<Service>>(
      {},
      {},
      {},
      { headless: true },
      { otherProxy: true },
      { publishNotReadyAddresses: true },
      { internalTrafficPolicy: 'Local' },
      { trafficDistribution: 'PreferSameZone' },
      { trafficDistribution: 'PreferSameNode' },
    ),
  })
  .map(({ key, clusterIPs, app, type, ports, externalIPs, ranges, local, affinitySeconds, created, more }) =>
    up.service(
      makeService(key, clusterIPs, { app }, {
        ...more,
        type,
        ports,
        externalIPs: externalIPs.map(address),
        loadBalancerIPs: type === 'LoadBalancer' ? [address('203.0.113.1')] : [],
        loadBalancerSourceRanges: ranges.map(cidr),
        externalTrafficPolicy: local ? 'Local' : 'Cluster',
        affinitySeconds,
        created,
      } as Partial<Service>),
    ),
  );

const podArb = fc
  .record({
    name: fc.integer({ min: 1, max: 4 }),
    app: some('web', 'db'),
    ready: fc.boolean(),
    nodeName: some('one', 'two'),
    terminating: some(false, false, true),
    phase: some<PodPhase>('Running', 'Running', 'Succeeded'),
    hostPorts: fc.subarray([
      { protocol: 'TCP', hostPort: 80, containerPort: 8080, hostIP: '' },
      { protocol: 'TCP', hostPort: 30_080, containerPort: 8080, hostIP: '' },
      { protocol: 'TCP', hostPort: 80, containerPort: 8080, hostIP: '192.168.0.1' },
    ] as const),
  })
  .map(({ name, app, ready, nodeName, terminating, phase, hostPorts }) =>
    up.pod(
      makePod(
        `${name % 2 === 0 ? 'x' : 'y'}/p${name}`,
        [`10.0.0.${name}`, `fd00::${name}`],
        { app },
        {
          ready,
          nodeName,
          terminating,
          phase,
          ports: ['http:80', 'dns:53/UDP'],
          ...(hostPorts.length === 0 ? {} : { hostPorts }),
        },
      ),
    ),
  );

const endpointArb = fc.record({
  addresses: some('10.9.0.1', '10.9.0.2', '10.0.0.1').map((one) => [address(one)]),
  ready: fc.boolean(),
  serving: some(undefined, true, false),
  terminating: some(undefined, true),
  nodeName: some('', 'one', 'two'),
  forZones: some(undefined, ['east'], ['west', 'east']),
  forNodes: some(undefined, undefined, ['one']),
});

/** Slices come to a Service that had none, move from one Service to another, and leave it to its selector again. */
const sliceArb = fc
  .record({
    name: some('1', '2'),
    service: some('a', 'b'),
    endpoints: fc.array(endpointArb, { maxLength: 3 }),
    ports: fc.subarray([
      { name: 'web', protocol: 'TCP', port: 9000 },
      { name: 'dns', protocol: 'UDP', port: 9053 },
    ] as const),
  })
  .map(({ name, service, endpoints, ports }) =>
    up.slice({
      namespace: 'x',
      name,
      service,
      family: 4,
      ports,
      endpoints: endpoints.map(
        (one) =>
          Object.fromEntries(
            Object.entries(one).filter(([, value]) => value !== undefined),
          ) as unknown as SliceEndpoint,
      ),
    }),
  );

const eventArb: fc.Arbitrary<WorldEvent> = fc.oneof(
  { weight: 5, arbitrary: serviceArb },
  { weight: 2, arbitrary: some(...keys).map((key) => gone('service', key)) },
  { weight: 4, arbitrary: podArb },
  {
    weight: 1,
    arbitrary: fc.integer({ min: 1, max: 4 }).map((i) => gone('pod', `${i % 2 === 0 ? 'x' : 'y'}/p${i}`)),
  },
  { weight: 3, arbitrary: sliceArb },
  { weight: 1, arbitrary: some('1', '2').map((name) => gone('slice', `x/${name}`)) },
  {
    weight: 1,
    arbitrary: fc
      .tuple(
        some('one', 'two'),
        fc.subarray(['192.168.0.1', '192.168.0.2', 'fd99::1']),
        fc.subarray(['10.0.0.0/24', '192.168.0.0/30']),
        some({}, { zone: 'east' }, { zone: 'west' }),
      )
      .map(([name, own, blocks, zone]) =>
        up.node({ ...makeNode(name, ...own), podCidrs: blocks.map(cidr), ...zone }),
      ),
  },
  { weight: 1, arbitrary: some('one', 'two').map((name) => gone('node', name)) },
);

const optionsArb = some(
  { node: 'one' },
  {},
  { node: 'one', mostServices: 3 },
  { node: 'one', mostServices: 0 },
);

test('after every event services are those of the same world compiled from nothing', () => {
  fc.assert(
    fc.property(
      fc.array(eventArb, { minLength: 5, maxLength: 60, size: 'max' }),
      optionsArb,
      fc.integer({ min: 1, max: 4 }),
      (history, options, every) => {
        const world = new World();
        const compiler = new Compiler(world, options);
        history.forEach((event, i) => {
          world.apply(event);
          if (i % every !== 0) return;
          const [followed, fresh] = [compiler.update(), compile(world.copy(), options)];
          assert.equal(Buffer.compare(followed.image, fresh.image), 0, `image after event ${i}`);
          assert.deepEqual(followed.problems, fresh.problems, `problems after event ${i}`);
          assert.equal(followed.stats.services, fresh.stats.services, `count after event ${i}`);
        });
      },
    ),
    { seed, numRuns: 200 },
  );
});

test('a Service made anew is young at the limit, however like the one before it is', () => {
  const options = { node: 'one', mostServices: 1 };
  const made = (name: string, created: string) =>
    up.service(makeService(`x/${name}`, [`10.96.0.${name.charCodeAt(0)}`], {}, { created, uid: created }));
  const world = World.of([made('a', '2026-01-01T00:00:00Z'), made('b', '2026-01-02T00:00:00Z')]);
  const compiler = new Compiler(world, options);
  compiler.update();
  world.apply(gone('service', 'x/a'));
  world.apply(made('a', '2026-01-03T00:00:00Z'));
  const [followed, fresh] = [compiler.update(), compile(world.copy(), options)];
  assert.match(followed.problems[0]!.message, /x\/a got none/);
  assert.equal(Buffer.compare(followed.image, fresh.image), 0);
});
