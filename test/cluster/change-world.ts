/**
 * The world of the changes (changes.ts): six pods in three namespaces, policies, and one change at a time to a policy or to labels. All of it
 * comes from a seed. Who may reach whom in a state is what the reference evaluator says of the same objects with the pods'
 * real addresses.
 */
import fc from 'fast-check';
import { Reference } from '../../src/policy/evaluate.js';
import { type KubeObject, namespaceObject, podObject, policyObject, type RunningPod } from './cluster.js';

type Labels = Readonly<Record<string, string>>;

export const namespaces = ['changes-a', 'changes-b', 'changes-c'];
const podNames = ['one', 'two'];
export const podKeys = namespaces.flatMap((namespace) => podNames.map((name) => `${namespace}/${name}`));

interface ContainerPort {
  readonly name: string;
  readonly containerPort: number;
  readonly protocol: 'TCP' | 'UDP';
}

/** A name is another number in the second pod of each namespace. */
export function portsOf(pod: string): ContainerPort[] {
  const second = pod.endsWith('/two');
  return [
    { name: 'web', containerPort: second ? 81 : 80, protocol: 'TCP' },
    { name: 'admin', containerPort: second ? 80 : 81, protocol: 'TCP' },
    { name: 'dns', containerPort: 80, protocol: 'UDP' },
  ];
}

/** One question of the truth table. */
export interface Cell {
  readonly from: string;
  readonly to: string;
  readonly protocol: 'TCP' | 'UDP';
  readonly port: number;
}

export const cells: readonly Cell[] = podKeys.flatMap((from) =>
  podKeys.flatMap((to) =>
    portsOf(to).map(({ containerPort, protocol }) => ({ from, to, protocol, port: containerPort })),
  ),
);

/** What the API holds; a state is not changed but replaced. */
export interface State {
  readonly namespaceLabels: Readonly<Record<string, Labels>>;
  readonly podLabels: Readonly<Record<string, Labels>>;
  /** `namespace/name` → spec. */
  readonly policies: Readonly<Record<string, object>>;
}

export const firstState: State = {
  namespaceLabels: Object.fromEntries(namespaces.map((name) => [name, {}])),
  podLabels: Object.fromEntries(podKeys.map((key) => [key, { app: key.split('/')[1]! }])),
  policies: {},
};

export type Change =
  | { readonly kind: 'policy'; readonly key: string; readonly spec: object }
  | { readonly kind: 'no-policy'; readonly key: string }
  | { readonly kind: 'pod-labels'; readonly key: string; readonly labels: Labels }
  | { readonly kind: 'namespace-labels'; readonly key: string; readonly labels: Labels };

export function changed(state: State, change: Change): State {
  const { key } = change;
  switch (change.kind) {
    case 'policy':
      return { ...state, policies: { ...state.policies, [key]: change.spec } };
    case 'no-policy': {
      const { [key]: _, ...policies } = state.policies;
      return { ...state, policies };
    }
    case 'pod-labels':
      return { ...state, podLabels: { ...state.podLabels, [key]: change.labels } };
    case 'namespace-labels':
      return { ...state, namespaceLabels: { ...state.namespaceLabels, [key]: change.labels } };
  }
}

function split(key: string): { readonly namespace: string; readonly name: string } {
  const [namespace = '', name = ''] = key.split('/');
  return { namespace, name };
}

export function namespaceOf(state: State, name: string): KubeObject {
  return namespaceObject(name, state.namespaceLabels[name] ?? {});
}

export function podOf(state: State, key: string): KubeObject {
  return podObject({
    ...split(key),
    labels: state.podLabels[key] ?? {},
    serve: portsOf(key).map(({ protocol, containerPort }) => `${protocol.toLowerCase()}/${containerPort}`),
    ports: portsOf(key),
    // Without a request of its own it gets no processor while other pods start, and answers nobody.
    container: { resources: { requests: { cpu: '100m' } } },
  });
}

export function policyOf(state: State, key: string): KubeObject {
  const { namespace, name } = split(key);
  return policyObject(namespace, name, state.policies[key]);
}

/** For each cell, whether it is allowed. */
export function truth(state: State, pods: ReadonlyMap<string, RunningPod>): boolean[] {
  const reference = new Reference([
    ...namespaces.map((name) => namespaceOf(state, name)),
    ...podKeys.map((key) => ({
      ...podOf(state, key),
      status: { phase: 'Running', podIPs: pods.get(key)!.ips.map((ip) => ({ ip })) },
    })),
    ...Object.keys(state.policies).map((key) => policyOf(state, key)),
  ]);
  return cells.map(
    ({ from, to, protocol, port }) =>
      reference.judge({
        source: pods.get(from)!.ips[0]!,
        destination: pods.get(to)!.ips[0]!,
        protocol,
        port,
      }).allowed,
  );
}

const labels = fc.constantFrom<Labels>(
  { app: 'one' },
  { app: 'two' },
  { app: 'one', tier: 'back' },
  { app: 'two', tier: 'front' },
  { tier: 'back' },
  {},
);
const teams = fc.constantFrom<Labels>({ team: 'red' }, { team: 'blue' }, {});

const podSelector = fc.constantFrom<object>(
  {},
  { matchLabels: { app: 'one' } },
  { matchLabels: { app: 'two' } },
  { matchExpressions: [{ key: 'tier', operator: 'NotIn', values: ['back'] }] },
  { matchExpressions: [{ key: 'tier', operator: 'Exists' }] },
  { matchLabels: { app: 'one' }, matchExpressions: [{ key: 'tier', operator: 'DoesNotExist' }] },
);
const namespaceSelector = fc.constantFrom<object>(
  {},
  { matchLabels: { team: 'red' } },
  { matchExpressions: [{ key: 'team', operator: 'NotIn', values: ['blue'] }] },
  {
    matchExpressions: [
      { key: 'kubernetes.io/metadata.name', operator: 'In', values: ['changes-a', 'changes-c'] },
    ],
  },
);

/** Blocks around the addresses the pods have, and around what they have not. */
function blocks(pods: ReadonlyMap<string, RunningPod>): fc.Arbitrary<object> {
  const addresses = [...pods.values()].map(({ ips }) => ips[0]!);
  const host = fc.constantFrom(...addresses);
  const around = (address: string) => `${address.replace(/\.\d+$/, '.0')}/24`;
  return fc.oneof(
    host.map((address) => ({ cidr: `${address}/32` })),
    fc.tuple(host, fc.uniqueArray(host, { maxLength: 3 })).map(([address, except]) => ({
      cidr: around(address),
      except: except.filter((other) => around(other) === around(address)).map((other) => `${other}/32`),
    })),
    fc.constant({ cidr: '198.51.100.0/24' }),
  );
}

/** An endless supply of changes: the seed's first, its second, and so on. */
export function changes(seed: number, pods: ReadonlyMap<string, RunningPod>): (number: number) => Change[] {
  const peer = fc.oneof(
    fc.record({ podSelector }),
    fc.record({ namespaceSelector }),
    fc.record({ podSelector, namespaceSelector }),
    fc.record({ ipBlock: blocks(pods) }),
  );
  const port = fc.oneof(
    fc.record({
      protocol: fc.constant('TCP'),
      port: fc.constantFrom<number | string>(80, 81, 'web', 'admin'),
    }),
    fc.record({ protocol: fc.constant('UDP'), port: fc.constantFrom<number | string>(80, 'dns', 'web') }),
    fc.record({ protocol: fc.constantFrom('TCP', 'UDP') }),
  );
  const rules = (peers: 'from' | 'to') =>
    fc.array(
      fc
        .tuple(fc.array(peer, { maxLength: 2 }), fc.array(port, { maxLength: 2 }))
        .map(([some, ports]) => ({ [peers]: some, ports })),
      { maxLength: 2 },
    );
  const spec = fc.record({
    podSelector,
    policyTypes: fc.constantFrom(['Ingress'], ['Egress'], ['Ingress', 'Egress']),
    ingress: rules('from'),
    egress: rules('to'),
  });
  const policyKey = fc
    .tuple(fc.constantFrom(...namespaces), fc.constantFrom('first', 'second'))
    .map(([namespace, name]) => `${namespace}/${name}`);
  const change: fc.Arbitrary<Change> = fc.oneof(
    { weight: 6, arbitrary: fc.record({ kind: fc.constant('policy' as const), key: policyKey, spec }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('no-policy' as const), key: policyKey }) },
    {
      weight: 3,
      arbitrary: fc.record({
        kind: fc.constant('pod-labels' as const),
        key: fc.constantFrom(...podKeys),
        labels,
      }),
    },
    {
      weight: 3,
      arbitrary: fc.record({
        kind: fc.constant('namespace-labels' as const),
        key: fc.constantFrom(...namespaces),
        labels: teams,
      }),
    },
  );
  return (number) => fc.sample(change, { seed: seed + number, numRuns: 40 });
}
