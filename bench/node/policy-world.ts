/**
 * The cluster of the measure policy-change: the reference cluster, in which four pods and ten policies under test take the place of others.
 */
import { labelsOf } from '../../src/model/labels.js';
import type { Pod } from '../../src/model/pod.js';
import type { NetworkPolicy, PolicyPeer, PolicyPort, PolicyRule } from '../../src/model/policy.js';
import { selector } from '../../src/model/selector.js';
import type { World } from '../../src/model/world.js';
import { parseAddress } from '../../src/net/address.js';
import { blockOf } from '../../src/net/cidr.js';
import { localPods, makePod, makeWorld, reference } from '../worlds.js';

/** Policies that select the server; the others select other pods. */
export const policyCount = 10;
export const probePort = 5001;
const namespace = 'bench';
const roles = ['client', 'server', 'bulk-client', 'bulk-server'] as const;

export type Role = (typeof roles)[number];

/** The world before the first change: every policy under test denies. Everybody may reach the pods of the bulk traffic. */
export function worldUnderTest(): { readonly world: World; readonly pods: ReadonlyMap<Role, Pod> } {
  const world = makeWorld(reference);
  const remove = (kind: 'pod' | 'policy', object: { readonly namespace: string; readonly name: string }) =>
    world.apply({ type: 'delete', kind, namespace: object.namespace, name: object.name });
  world.put('namespace', { name: namespace, labels: labelsOf({}) });
  const replaced = localPods(reference).slice(0, roles.length);
  const pods = new Map<Role, Pod>();
  roles.forEach((role, i) => {
    const before = makePod(reference, replaced[i]!);
    remove('pod', before);
    const pod = { ...before, namespace, name: role, uid: '', labels: labelsOf({ role }) };
    world.put('pod', pod);
    pods.set(role, pod);
  });
  [...world.all('policy').values()].slice(0, policyCount).forEach((policy) => {
    remove('policy', policy);
  });
  for (let i = 0; i < policyCount; i++)
    world.put('policy', policyUnderTest(i, 0, false, pods.get('client')!));
  return { world, pods };
}

/**
 * Policy `i` of those that select the server. They allow in five ways: by the port, by the labels of the pod, by its address, by its namespace, by
 * having a rule at all. `turn` makes what stands in a denying one new each time, so that no cache has met it.
 */
export function policyUnderTest(i: number, turn: number, allows: boolean, client: Pod): NetworkPolicy {
  const port = (number: number): PolicyPort[] => [
    { kind: 'range', protocol: 'UDP', first: number, last: number },
  ];
  const ports = port(probePort);
  const pods = (podSelector: Record<string, string>, namespaceName?: string): PolicyPeer => ({
    kind: 'pods',
    podSelector: selector(podSelector),
    ...(namespaceName === undefined
      ? {}
      : { namespaceSelector: selector({ 'kubernetes.io/metadata.name': namespaceName }) }),
  });
  const address = allows ? client.addresses[0]! : parseAddress(`192.0.2.${1 + (turn % 250)}`)!;
  const other = 5100 + (turn % 500);
  const ways: readonly (readonly PolicyRule[])[] = [
    [
      {
        peers: [pods({ role: 'client' })],
        ports: allows ? ports : port(other),
      },
    ],
    [{ peers: [pods({ role: allows ? 'client' : `nobody-${turn}` })], ports }],
    [{ peers: [{ kind: 'block', cidr: blockOf(address, 32), except: [] }], ports }],
    [{ peers: [pods({}, allows ? namespace : `ns-${turn % reference.namespaces}`)], ports }],
    allows ? [{ peers: [pods({ role: 'client' })], ports }] : [],
  ];
  return {
    namespace,
    name: `under-test-${i}`,
    uid: '',
    podSelector: selector({ role: 'server' }),
    ingress: ways[i % ways.length]!,
    egress: null,
  };
}
