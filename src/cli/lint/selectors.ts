/**
 * Selectors that match nothing among the given objects. Silent where the manifests cannot tell: without any pods, and about namespaces
 * that every cluster has and these files do not describe.
 */
import type { Problem } from '../../errors/problem.js';
import type { FieldPath } from '../../manifests/object.js';
import type { Labels } from '../../model/labels.js';
import { namespaceNameLabel } from '../../model/namespace.js';
import type { PolicyPeer } from '../../model/policy.js';
import { describeSelector, matches, type Selector } from '../../model/selector.js';
import { problemAt, type Scene, type ScenePolicy } from './scene.js';

const everyCluster: readonly string[] = ['default', 'kube-system', 'kube-public', 'kube-node-lease'];

export function lintSelectors(scene: Scene): Problem[] {
  return scene.policies.flatMap((entry) => {
    const { policy, origin, pods } = entry;
    const problems: Problem[] = [];
    if (scene.pods.length > 0 && pods.length === 0) {
      problems.push(
        problemAt(origin, ['spec', 'podSelector'], {
          code: 'selects-nothing',
          severity: 'warning',
          message: `The policy selects no pod: none in namespace ${policy.namespace} has ${describeSelector(policy.podSelector)}.${elsewhere(scene, policy.podSelector, policy.namespace)}`,
          fix: nearestLabels(scene, policy.podSelector, policy.namespace),
        }),
      );
    }
    for (const [direction, peers] of [
      ['ingress', 'from'],
      ['egress', 'to'],
    ] as const) {
      for (const [index, rule] of (policy[direction] ?? []).entries()) {
        for (const [place, peer] of (rule.peers ?? []).entries()) {
          const path = ['spec', direction, index, peers, place];
          problems.push(...lintPeer(scene, entry, peer, path));
        }
      }
    }
    return problems;
  });
}

function lintPeer(
  scene: Scene,
  { policy, origin }: ScenePolicy,
  peer: PolicyPeer,
  path: FieldPath,
): Problem[] {
  if (peer.kind !== 'pods') return [];
  const { namespaceSelector, podSelector } = peer;
  const reached = namespacesOf(scene, namespaceSelector, policy.namespace);
  if (namespaceSelector !== undefined && reached.length === 0) {
    if (!scene.declaresNamespaces) return [];
    return [
      problemAt(origin, [...path, 'namespaceSelector'], {
        code: 'no-such-namespace',
        severity: 'warning',
        message: `No namespace has ${describeSelector(namespaceSelector)}, so the entry matches nobody.`,
        fix: namespaceHint(scene, namespaceSelector),
      }),
    ];
  }
  // Only namespaces whose pods are given say anything about their labels.
  const described = reached.filter((name) => scene.podsIn(name).length > 0);
  if (podSelector === undefined || described.length === 0) return [];
  if (reached.some((name) => everyCluster.includes(name) && !described.includes(name))) return [];
  if (scene.podsOfPeer(peer, policy.namespace).length > 0) return [];
  const where = namespaceSelector === undefined ? `namespace ${policy.namespace}` : described.join(', ');
  return [
    problemAt(origin, [...path, 'podSelector'], {
      code: 'matches-nothing',
      severity: 'warning',
      message: `The entry matches no pod: none in ${where} has ${describeSelector(podSelector)}.${
        namespaceSelector === undefined ? elsewhere(scene, podSelector, policy.namespace) : ''
      }`,
      fix:
        namespaceSelector === undefined && elsewhere(scene, podSelector, policy.namespace) !== ''
          ? 'Add a namespaceSelector to the same entry: a podSelector alone means the namespace of the policy.'
          : nearestLabels(scene, podSelector, described[0] ?? policy.namespace),
    }),
  ];
}

/** Names of the namespaces a peer reaches, those that every cluster has included. */
function namespacesOf(scene: Scene, of: Selector | undefined, own: string): readonly string[] {
  if (of === undefined) return [own];
  const known = new Map<string, Labels>(scene.namespaces);
  for (const name of everyCluster) {
    if (!known.has(name)) known.set(name, new Map([[namespaceNameLabel, name]]));
  }
  return [...known].filter(([, labels]) => matches(of, labels)).map(([name]) => name);
}

function elsewhere(scene: Scene, of: Selector, namespace: string): string {
  if (of.requirements.length === 0) return '';
  const others = new Set(
    scene.pods
      .filter((pod) => pod.namespace !== namespace && matches(of, pod.labels))
      .map((pod) => pod.namespace),
  );
  return others.size === 0 ? '' : ` Pods in ${[...others].sort().join(', ')} do.`;
}

/** What the keys that the selector asks for hold on the pods that are there. */
function nearestLabels(scene: Scene, of: Selector, namespace: string): string {
  const pods = scene.podsIn(namespace);
  if (pods.length === 0)
    return `No pod of namespace ${namespace} is among the manifests; check metadata.namespace.`;
  for (const { key } of of.requirements) {
    const values = new Set(pods.map((pod) => pod.labels.get(key)).filter((value) => value !== undefined));
    if (values.size > 0)
      return `Pods of ${namespace} have ${key}=${[...values].sort().slice(0, 5).join(', ')}.`;
  }
  const keys = new Set(pods.flatMap((pod) => [...pod.labels.keys()]));
  return keys.size === 0
    ? `Pods of ${namespace} have no labels.`
    : `Pods of ${namespace} have the labels ${[...keys].sort().slice(0, 5).join(', ')}.`;
}

function namespaceHint(scene: Scene, of: Selector): string {
  const named = of.requirements.find(
    ({ key, values }) => key !== namespaceNameLabel && values.some((value) => scene.namespaces.has(value)),
  );
  if (named !== undefined) {
    const name = named.values.find((value) => scene.namespaces.has(value));
    return `Namespaces are not labelled "${named.key}" by themselves; write ${namespaceNameLabel}: ${name}.`;
  }
  const keys = new Set([...scene.namespaces.values()].flatMap((labels) => [...labels.keys()]));
  return `The given namespaces have the labels ${[...keys].sort().slice(0, 6).join(', ')}.`;
}
