/**
 * The cluster that every contender enforces: the same pods, policies, peers and ports, whatever it builds from them.
 *
 * The node holds the two pods under test and up to 108 others (110 is kubelet's default for a node); 5,000 pods live on other nodes, in 250
 * peer groups of 20. `policiesUnderTest` policies select the pods under test, half of them each: one that isolates the pod in both directions
 * and allows nothing, one that allows the traffic of the bench, and others that allow other peers on other ports. The one that matters stands in
 * the middle, where it is found after half of a list on average. The rest of the policies are spread evenly over the other pods of
 * the node, so that every policy is in force on this node for every contender: one that builds only what selects local pods (Calico, weft)
 * has as many of them to build as one that builds all (kube-router).
 *
 * Fewer local pods would flatter nobody but a contender that walks a list of them: kube-router's grows by four rules for each. More than 110 would be
 * a node that does not exist.
 */
import { allowedPorts, policiesUnderTest } from './contender.js';
import { addresses } from './site.js';

export type Labels = Readonly<Record<string, string>>;
export type Direction = 'ingress' | 'egress';

export interface WorldPod {
  readonly namespace: string;
  readonly name: string;
  readonly labels: Labels;
  readonly ipv4: string;
  /** Whether it lives on the node under test. */
  readonly local: boolean;
}

export interface WorldPorts {
  readonly protocol: 'TCP' | 'UDP';
  /** First and last port, both allowed; equal for one port. */
  readonly first: number;
  readonly last: number;
}

/** One rule: these peers on any of these ports. */
export interface WorldRule {
  readonly direction: Direction;
  /** A podSelector's matchLabels, in the policy's own namespace, and the pods that it selects. */
  readonly peerLabels: Labels;
  readonly peers: readonly WorldPod[];
  readonly ports: readonly WorldPorts[];
}

export interface WorldPolicy {
  readonly namespace: string;
  readonly name: string;
  /** spec.podSelector.matchLabels, and the pods that it selects: all local. */
  readonly selects: Labels;
  readonly targets: readonly WorldPod[];
  readonly directions: readonly Direction[];
  /** Null: it isolates and allows nothing. */
  readonly rule: WorldRule | null;
}

export interface BenchWorld {
  readonly client: WorldPod;
  readonly server: WorldPod;
  /** All pods: the local ones first, among them client and server at a third and at two thirds. */
  readonly pods: readonly WorldPod[];
  readonly local: readonly WorldPod[];
  /** Policies that select the pods under test are spread evenly over the list. */
  readonly policies: readonly WorldPolicy[];
}

/** Ports of the Service at `addresses.clusterIP`, TCP and UDP, each to the same port of the server pod, its only endpoint. */
export const servicePorts: readonly number[] = Array.from({ length: 16 }, (_, n) => allowedPorts.first + n);

/** Kubelet's default number of pods on a node, less the two under test. */
const otherLocalPods = 108;
const namespaces = 25;
const groupsOfNamespace = 10;
const podsOfGroup = 20;
const podsOfNode = 250;

/** The cluster with that many policies: 0, or `policiesUnderTest` and more. The same number gives the same cluster. */
export function benchWorld(policies: number): BenchWorld {
  if (policies !== 0 && policies < policiesUnderTest)
    throw new Error(`${policies} policies: neither 0 nor at least ${policiesUnderTest}`);
  const groups = remoteGroups();
  const namespace = namespaceName(0);
  const client: WorldPod = {
    namespace,
    name: 'client',
    labels: { app: 'client', group: 'clients' },
    ipv4: addresses.client,
    local: true,
  };
  const server: WorldPod = {
    namespace,
    name: 'server',
    labels: { app: 'server', group: 'servers' },
    ipv4: addresses.server,
    local: true,
  };
  const others = Array.from({ length: otherLocalPods }, (_, index): WorldPod => {
    const app = `app-${index}`;
    const namespace = namespaceName(index % namespaces);
    return { namespace, name: app, labels: { app }, ipv4: `10.42.0.${4 + index}`, local: true };
  });
  const third = Math.floor(others.length / 3);
  const local = [
    ...others.slice(0, third),
    client,
    ...others.slice(third, 2 * third),
    server,
    ...others.slice(2 * third),
  ];
  const clients = [client, ...partners('clients', groups, 0)];
  const servers = [server, ...partners('servers', groups, 1)];
  const remote = [...groups.values()].flat().map((pod) => partner(pod, clients, servers));
  return {
    client,
    server,
    pods: [...local, ...remote],
    local,
    policies:
      policies === 0 ? [] : policiesOf(policies, { server, client, clients, servers, others, groups }),
  };
}

/** The policy as the API has it. */
export function networkPolicy(policy: WorldPolicy): object {
  const { rule } = policy;
  const peers = rule && [{ podSelector: { matchLabels: rule.peerLabels } }];
  const ports = rule?.ports.map(({ protocol, first, last }) =>
    first === last ? { protocol, port: first } : { protocol, port: first, endPort: last },
  );
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { namespace: policy.namespace, name: policy.name },
    spec: {
      podSelector: { matchLabels: policy.selects },
      policyTypes: policy.directions.map((direction) => (direction === 'ingress' ? 'Ingress' : 'Egress')),
      ...(rule?.direction === 'ingress' && { ingress: [{ from: peers, ports }] }),
      ...(rule?.direction === 'egress' && { egress: [{ to: peers, ports }] }),
    },
  };
}

type Groups = ReadonlyMap<string, readonly WorldPod[]>;

interface Parts {
  readonly client: WorldPod;
  readonly server: WorldPod;
  /** The peer groups that the pods under test belong to. */
  readonly clients: readonly WorldPod[];
  readonly servers: readonly WorldPod[];
  readonly others: readonly WorldPod[];
  readonly groups: Groups;
}

const namespaceName = (index: number): string => `team-${index}`;
const groupKey = (namespace: number, group: number): string => `${namespaceName(namespace)}/g-${group}`;

function remoteGroups(): Groups {
  const groups = new Map<string, readonly WorldPod[]>();
  let index = 0;
  for (let namespace = 0; namespace < namespaces; namespace++) {
    for (let group = 0; group < groupsOfNamespace; group++) {
      const pods: WorldPod[] = [];
      for (let member = 0; member < podsOfGroup; member++, index++) {
        pods.push({
          namespace: namespaceName(namespace),
          name: `remote-${index}`,
          labels: { group: `g-${group}` },
          ipv4: `10.42.${1 + Math.floor(index / podsOfNode)}.${2 + (index % podsOfNode)}`,
          local: false,
        });
      }
      groups.set(groupKey(namespace, group), pods);
    }
  }
  return groups;
}

/** 19 remote pods that share a group with a pod under test, taken from one of the groups of its namespace. */
function partners(group: string, groups: Groups, from: number): readonly WorldPod[] {
  const pods = groups.get(groupKey(0, from)) ?? [];
  return pods.slice(1).map((pod) => ({ ...pod, labels: { group } }));
}

/** A remote pod as the groups of the pods under test relabelled it. */
function partner(pod: WorldPod, clients: readonly WorldPod[], servers: readonly WorldPod[]): WorldPod {
  return [...clients, ...servers].find(({ name }) => name === pod.name) ?? pod;
}

function policiesOf(count: number, parts: Parts): readonly WorldPolicy[] {
  const tested = [
    ...testedPolicies(parts.server, 'ingress', { group: 'clients' }, parts.clients, parts.groups),
    ...testedPolicies(parts.client, 'egress', { group: 'servers' }, parts.servers, parts.groups),
  ];
  const every = count / tested.length;
  const turns = new Map(tested.map((policy, turn) => [Math.floor((turn + 0.5) * every), policy]));
  let others = 0;
  return Array.from({ length: count }, (_, index) => turns.get(index) ?? otherPolicy(others++, parts));
}

/** What selects a pod under test: one that isolates, one that allows the bench's traffic, in the middle, and others that never match it. */
function testedPolicies(
  pod: WorldPod,
  direction: Direction,
  peerLabels: Labels,
  peers: readonly WorldPod[],
  groups: Groups,
): readonly WorldPolicy[] {
  const half = policiesUnderTest / 2;
  return Array.from({ length: half }, (_, index): WorldPolicy => {
    const selects = { app: pod.labels.app ?? '' };
    const common = { namespace: pod.namespace, selects, targets: [pod] };
    if (index === 0)
      return {
        ...common,
        name: `${pod.name}-deny-all`,
        directions: ['ingress', 'egress'],
        rule: null,
      };
    const name = `${pod.name}-${direction}-${index}`;
    if (index === Math.floor(half / 2)) {
      const range = { first: allowedPorts.first, last: allowedPorts.last };
      const ports: WorldPorts[] = [
        { protocol: 'TCP', ...range },
        { protocol: 'UDP', ...range },
      ];
      return { ...common, name, directions: [direction], rule: { direction, peerLabels, peers, ports } };
    }
    return {
      ...common,
      name,
      directions: [direction],
      rule: groupRule(groups, 0, 2 + index, direction, 8000 + index),
    };
  });
}

/** Policies of the other pods, in turn; half of them ingress. */
function otherPolicy(index: number, { others, groups }: Parts): WorldPolicy {
  const pod = others[index % others.length]!;
  const round = Math.floor(index / others.length);
  const direction: Direction = round % 2 === 0 ? 'ingress' : 'egress';
  const namespace = (index % others.length) % namespaces;
  // Groups 0 and 1 of the first namespace have given 19 pods each to the groups of the pods under test.
  const group = 2 + ((index + round) % (groupsOfNamespace - 2));
  return {
    namespace: pod.namespace,
    name: `policy-${index}`,
    selects: pod.labels,
    targets: [pod],
    directions: [direction],
    rule: groupRule(groups, namespace, group, direction, 1024 + (index % 3000)),
  };
}

function groupRule(
  groups: Groups,
  namespace: number,
  group: number,
  direction: Direction,
  port: number,
): WorldRule {
  return {
    direction,
    peerLabels: { group: `g-${group}` },
    peers: groups.get(groupKey(namespace, group)) ?? [],
    ports: [
      { protocol: 'TCP', first: port, last: port },
      { protocol: 'UDP', first: port, last: port },
    ],
  };
}
