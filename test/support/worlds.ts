/**
 * Generated worlds for property tests, as plain Kubernetes objects: small pools of names, labels, ports and addresses, so that things meet
 * (a pod in a block, two pods on one address, a named port that is another number elsewhere), and every field that bears on a verdict,
 * a few of them broken. Values shrink towards the empty world.
 */
import fc from 'fast-check';

export interface GeneratedWorld {
  readonly objects: readonly Readonly<Record<string, unknown>>[];
  readonly queries: readonly Readonly<Record<string, unknown>>[];
  readonly options: { readonly ownNodeEgress: 'allow' | 'judge' };
}

const namespaces = ['a', 'b', 'c'];
const nodes = ['n1', 'n2'];
const nodeAddresses: Readonly<Record<string, readonly string[]>> = {
  n1: ['192.168.0.1', 'fd01::1'],
  n2: ['192.168.0.2', 'fd01::2'],
};
/** Pod CIDRs of each node: one is too small for a host's address of its own, and one has another node's address as that. */
const podBlocks: Readonly<Record<string, readonly string[]>> = {
  n1: ['10.0.0.0/29', 'fd00::/126', '10.1.0.0/31'],
  n2: ['10.2.0.0/24', '192.168.0.0/24', 'fd00:1::/64'],
};
const hostOf = (block: string) =>
  block.includes(':') ? block.replace(/\/.*/, '1') : block.replace(/0\/.*/, '1');
const labelKeys = ['app', 'tier', 'x.io/env'];
const labelValues = ['one', 'two', ''];
const portNames = ['http', 'dns', 'm-1'];
const portNumbers = [80, 80, 53, 81, 8080, 65535];
const outside = ['203.0.113.9', '10.0.9.9', '2001:db8::9', 'fd00::99', '::ffff:203.0.113.9'];
const blocks4 = [
  '0.0.0.0/0',
  '10.0.0.0/8',
  '10.0.0.0/30',
  '10.0.0.2/32',
  '10.0.0.3/31',
  '192.168.0.0/24',
  '203.0.113.0/24',
];
const blocks6 = [
  '::/0',
  'fd00::/16',
  'fd00::2/128',
  'fd00::/126',
  '2001:db8::/32',
  '::ffff:10.0.0.0/104',
  'fd01::/64',
];
const blocks = [...blocks4, ...blocks6];

/** Things have to meet, so most of them live in one namespace. */
const mostlyFirst = fc.constantFrom('a', 'a', 'a', 'b', 'c');
const protocol = fc.constantFrom('TCP', 'UDP', 'SCTP');
const labels = fc.oneof(
  fc.constantFrom({ app: 'one' }, { app: 'two' }),
  fc.dictionary(fc.constantFrom(...labelKeys), fc.constantFrom(...labelValues), { maxKeys: 2 }),
);

const expression = fc.oneof(
  fc.record({
    key: fc.constantFrom(...labelKeys),
    operator: fc.constantFrom('In', 'NotIn'),
    values: fc.uniqueArray(fc.constantFrom(...labelValues), { minLength: 1, maxLength: 2 }),
  }),
  fc.record({ key: fc.constantFrom(...labelKeys), operator: fc.constantFrom('Exists', 'DoesNotExist') }),
);

const namespaceExpression = fc.record({
  key: fc.constant('kubernetes.io/metadata.name'),
  operator: fc.constantFrom('In', 'NotIn'),
  values: fc.uniqueArray(fc.constantFrom(...namespaces), { minLength: 1, maxLength: 2 }),
});

const selector = fc.record(
  { matchLabels: labels, matchExpressions: fc.array(expression, { maxLength: 2 }) },
  { requiredKeys: [] },
);
const namespaceSelector = fc.oneof(
  selector,
  fc.record({ matchExpressions: fc.array(namespaceExpression, { maxLength: 1 }) }),
);

/** What an API server refuses, or an author writes by mistake. */
const brokenSelector = fc.constantFrom<unknown>(
  { matchLabel: { app: 'one' } },
  { matchExpressions: [{ key: 'app', operator: 'In', values: [] }] },
  { matchExpressions: [{ key: 'app', operator: 'Equals', values: ['one'] }] },
  { matchExpressions: [{ key: 'app', operator: 'Exists', values: ['one'] }] },
  { matchLabels: { app: 1 } },
  { matchLabels: { 'a b': 'one' } },
  'app=one',
);

const block = fc.oneof(
  { weight: 8, arbitrary: fc.record({ cidr: fc.constantFrom(...blocks) }) },
  {
    weight: 8,
    arbitrary: fc.record({
      cidr: fc.constantFrom(...blocks),
      except: fc.array(fc.constantFrom(...blocks), { maxLength: 2 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom<unknown>(
      { cidr: '10.0.0.0/33' },
      { cidr: '10.0.0.0/8', except: ['x'] },
      { cidr: '0.0.0.0/0', exceptions: ['10.0.0.0/8'] },
      {},
    ),
  },
);

const peer = fc.oneof(
  { weight: 6, arbitrary: fc.record({ podSelector: selector }) },
  { weight: 4, arbitrary: fc.record({ namespaceSelector }) },
  { weight: 4, arbitrary: fc.record({ namespaceSelector, podSelector: selector }) },
  { weight: 6, arbitrary: fc.record({ ipBlock: block }) },
  {
    weight: 1,
    arbitrary: fc.oneof(
      fc.record({ podSelector: brokenSelector }),
      fc.record({ namespaceSelector: brokenSelector, podSelector: selector }),
      fc.constantFrom<unknown>(
        {},
        null,
        { podSelector: null },
        { ipBlock: { cidr: '10.0.0.0/8' }, podSelector: {} },
        { podSelectors: {} },
        { podSelector: {}, namespaceSelector: null },
      ),
    ),
  },
);

const port = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ protocol, port: fc.constantFrom(...portNumbers) }, { requiredKeys: ['port'] }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ protocol, port: fc.constantFrom(...portNames) }, { requiredKeys: ['port'] }),
  },
  {
    weight: 4,
    arbitrary: fc.record(
      { protocol, port: fc.constantFrom(1, 53, 80), endPort: fc.constantFrom(80, 81, 8080, 65535) },
      { requiredKeys: ['port', 'endPort'] },
    ),
  },
  { weight: 3, arbitrary: fc.record({ protocol }, { requiredKeys: [] }) },
  {
    weight: 1,
    arbitrary: fc.constantFrom<unknown>(
      { port: 90, endPort: 80 },
      { port: 'http', endPort: 90 },
      { endPort: 90 },
      { protocol: 'ICMP' },
      { protocol: 'tcp', port: 80 },
      { port: '80' },
      { port: 70000 },
      { port: 80, ports: 90 },
      null,
    ),
  },
);

const rule = (peers: 'from' | 'to') =>
  fc.oneof(
    {
      weight: 12,
      arbitrary: fc.record(
        { [peers]: fc.array(peer, { maxLength: 3 }), ports: fc.array(port, { maxLength: 3 }) },
        { requiredKeys: [] },
      ),
    },
    {
      weight: 1,
      arbitrary: fc.constantFrom<unknown>(
        {},
        null,
        { [peers]: null, ports: null },
        { applicationPorts: [] },
        { ports: 80 },
      ),
    },
  );

const policySpec = fc.record(
  {
    podSelector: fc.oneof({ weight: 12, arbitrary: selector }, { weight: 1, arbitrary: brokenSelector }),
    policyTypes: fc.oneof(
      { weight: 12, arbitrary: fc.subarray(['Ingress', 'Egress']) },
      { weight: 1, arbitrary: fc.constantFrom<unknown>(['ingress'], null, 'Egress') },
    ),
    ingress: fc.oneof(fc.array(rule('from'), { maxLength: 3 }), fc.constant(null)),
    egress: fc.oneof(fc.array(rule('to'), { maxLength: 3 }), fc.constant(null)),
  },
  { requiredKeys: [] },
);

const policy = fc
  .record({
    namespace: mostlyFirst,
    name: fc.constantFrom('p', 'q', 'r', 's'),
    spec: policySpec,
    extra: fc.oneof(
      { weight: 30, arbitrary: fc.constant({}) },
      { weight: 1, arbitrary: fc.constant({ egress: [] }) },
    ),
  })
  .map(({ namespace, name, spec, extra }) => ({
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { namespace, name },
    spec,
    ...extra,
  }));

const containerPort = fc.record(
  { name: fc.constantFrom(...portNames), containerPort: fc.constantFrom(...portNumbers), protocol },
  { requiredKeys: ['containerPort'] },
);
const container = fc.record({
  name: fc.constant('c'),
  ports: fc.uniqueArray(containerPort, { maxLength: 3, selector: (entry) => entry.name ?? entry }),
});

const podNames = ['p0', 'p1', 'p2', 'p3', 'p4'];
const podAddress4 = ['10.0.0.1', '10.0.0.2', '10.0.0.3', '10.0.0.4', '10.0.1.5', '10.0.1.6'];
const podAddress6 = ['fd00::1', 'fd00::2', 'fd00::3', 'fd00::1:5'];

const pod = fc
  .record({
    namespace: mostlyFirst,
    name: fc.constantFrom(...podNames),
    labels,
    containers: fc.array(container, { maxLength: 2 }),
    initContainers: fc.array(
      fc.record({
        ports: fc.array(containerPort, { maxLength: 1 }),
        restartPolicy: fc.constantFrom('Always', undefined),
      }),
      { maxLength: 1 },
    ),
    hostNetwork: fc.oneof(
      { weight: 6, arbitrary: fc.constant(false) },
      { weight: 1, arbitrary: fc.constant(true) },
    ),
    node: fc.constantFrom(...nodes, undefined),
    hostIP: fc.boolean(),
    phase: fc.oneof(
      { weight: 14, arbitrary: fc.constantFrom('Running', 'Running', undefined, 'Pending') },
      { weight: 1, arbitrary: fc.constantFrom('Succeeded', 'Failed') },
    ),
    // Mostly an address of its own; now and then another pod's, a node's, or none.
    ipv4: fc.oneof(
      { weight: 8, arbitrary: fc.constant('own') },
      { weight: 1, arbitrary: fc.constantFrom(...podAddress4, '192.168.0.1', undefined) },
    ),
    ipv6: fc.oneof(
      { weight: 8, arbitrary: fc.constant('own') },
      { weight: 1, arbitrary: fc.constantFrom(...podAddress6, undefined) },
    ),
    firstIPv6: fc.boolean(),
    single: fc.boolean(),
    terminating: fc.oneof(
      { weight: 8, arbitrary: fc.constant(false) },
      { weight: 1, arbitrary: fc.constant(true) },
    ),
    created: fc.constantFrom('2024-01-01T00:00:00Z', '2024-01-02T00:00:00Z', undefined),
  })
  .map((made) => {
    const place = namespaces.indexOf(made.namespace) * podNames.length + podNames.indexOf(made.name) + 1;
    const own = [
      made.ipv4 === 'own' ? `10.0.${place > 4 ? 1 : 0}.${place}` : made.ipv4,
      made.ipv6 === 'own' ? `fd00::${place > 4 ? '1:' : ''}${place}` : made.ipv6,
    ].filter((address) => address !== undefined);
    const addresses = made.hostNetwork ? [...(nodeAddresses[made.node ?? ''] ?? [])] : own;
    if (made.firstIPv6) addresses.reverse();
    const host = made.hostIP ? nodeAddresses[made.node ?? '']?.[0] : undefined;
    return {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: {
        namespace: made.namespace,
        name: made.name,
        labels: made.labels,
        ...(made.created === undefined ? {} : { creationTimestamp: made.created }),
        ...(made.terminating ? { deletionTimestamp: '2024-02-01T00:00:00Z' } : {}),
      },
      spec: {
        containers: made.containers,
        initContainers: made.initContainers,
        ...(made.hostNetwork ? { hostNetwork: true } : {}),
        ...(made.node === undefined ? {} : { nodeName: made.node }),
      },
      status: {
        ...(made.phase === undefined ? {} : { phase: made.phase }),
        ...(made.single && addresses.length > 0
          ? { podIP: addresses[0] }
          : { podIPs: addresses.map((ip) => ({ ip })) }),
        ...(host === undefined ? {} : { hostIP: host }),
      },
    };
  });

const namespace = fc
  .record({ name: fc.constantFrom(...namespaces), labels })
  .map((metadata) => ({ apiVersion: 'v1', kind: 'Namespace', metadata }));

const node = fc
  .record({ name: fc.constantFrom(...nodes), blocks: fc.nat({ max: 3 }) })
  .map(({ name, blocks }) => ({
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name },
    // Among the pods' own addresses: pods then claim what is the host's.
    spec: { podCIDRs: podBlocks[name]!.slice(0, blocks) },
    status: {
      addresses: [
        ...(nodeAddresses[name] ?? []).map((address) => ({ type: 'InternalIP', address })),
        { type: 'Hostname', address: name },
      ],
    },
  }));

const service = fc
  .record({
    namespace: mostlyFirst,
    name: fc.constantFrom('s0', 's1'),
    selector: fc.constantFrom({ app: 'one' }, { app: 'one' }, { app: 'two' }, undefined),
    ports: fc.array(
      fc.record({
        port: fc.constantFrom(80, 53),
        protocol,
        targetPort: fc.constantFrom<string | number>(80, 80, 8080, 'http'),
      }),
      { minLength: 1, maxLength: 2 },
    ),
    clusterIP: fc.constantFrom('10.43.0.1', 'None', undefined),
  })
  .map(({ namespace, name, selector, ports, clusterIP }) => ({
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { namespace, name },
    spec: {
      ...(selector === undefined ? {} : { selector }),
      ...(clusterIP === undefined ? {} : { clusterIP }),
      ports: ports.map((entry, index) => ({ name: `p${index}`, ...entry })),
    },
  }));

/** The n-th pod of the world, whichever that is. */
const podEnd = fc.nat({ max: 1000 });
const addressEnd = fc.constantFrom(
  ...outside,
  ...podAddress4,
  ...podAddress6,
  ...nodes.flatMap((name) => nodeAddresses[name]!),
);
const forwardedEnd = fc.constantFrom(...Object.values(podBlocks).flat().map(hostOf));
const nodeEnd = fc.constantFrom(...nodes.map((name) => `node:${name}`));
/** The n-th Service of the world, or one that is not there. */
const serviceEnd = fc.nat({ max: 2 }).map((service) => ({ service }));

const query = fc.record(
  {
    from: fc.oneof(
      { weight: 5, arbitrary: podEnd },
      { weight: 2, arbitrary: addressEnd },
      { weight: 1, arbitrary: nodeEnd },
      { weight: 1, arbitrary: forwardedEnd },
    ),
    to: fc.oneof(
      { weight: 5, arbitrary: podEnd },
      { weight: 2, arbitrary: addressEnd },
      { weight: 1, arbitrary: nodeEnd },
      { weight: 1, arbitrary: forwardedEnd },
      { weight: 2, arbitrary: serviceEnd },
    ),
    port: fc.constantFrom(...portNumbers, 1, 82),
    protocol: fc.constantFrom('TCP', 'TCP', 'UDP', 'SCTP', 'ICMP'),
    family: fc.constantFrom(undefined, undefined, undefined, 4, 6),
  },
  { requiredKeys: ['from', 'to', 'port', 'protocol'] },
);

const many = (maxLength: number) => ({ maxLength, size: 'max' }) as const;

/** Without fast-check's bias to small values: two thirds of the questions would be a pod's to itself. */
export const worlds: fc.Arbitrary<GeneratedWorld> = fc.noBias(
  fc
    .record({
      namespaces: fc.array(namespace, many(3)),
      nodes: fc.array(node, many(2)),
      pods: fc.uniqueArray(pod, {
        ...many(12),
        minLength: 1,
        selector: ({ metadata }) => `${metadata.namespace}/${metadata.name}`,
      }),
      policies: fc.array(policy, many(9)),
      services: fc.array(service, many(3)),
      queries: fc.array(query, { ...many(40), minLength: 1 }),
      ownNodeEgress: fc.constantFrom<'allow' | 'judge'>('allow', 'judge'),
    })
    .map(({ namespaces, nodes, pods, policies, services, queries, ownNodeEgress }) => {
      const named = (end: string | number | { service: number }) => {
        if (typeof end === 'string') return end;
        if (typeof end === 'object') {
          const { namespace, name } = services[end.service]?.metadata ?? { namespace: 'a', name: 'none' };
          return `svc:${namespace}/${name}`;
        }
        const { metadata } = pods[end % pods.length]!;
        return `${metadata.namespace}/${metadata.name}`;
      };
      // A port that the Service has, unless the question is about one that nobody has.
      const portOf = ({ to, port, protocol }: { to: unknown; port: number; protocol: string }) => {
        const service =
          typeof to === 'object' && to !== null ? services[(to as { service: number }).service] : undefined;
        const front = service?.spec.ports[0];
        return front === undefined || port === 82
          ? { port, protocol }
          : { port: front.port, protocol: front.protocol };
      };
      return {
        objects: [...namespaces, ...nodes, ...pods, ...policies, ...services],
        queries: queries.map((asked) => ({
          ...asked,
          ...portOf(asked),
          from: named(asked.from),
          to: named(asked.to),
        })),
        options: { ownNodeEgress },
      };
    }),
);
