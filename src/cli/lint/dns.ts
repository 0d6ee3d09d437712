/** Name resolution under egress policy, the first thing that breaks; and port 53 opened in the wrong direction. */
import type { Problem } from '../../errors/problem.js';
import { namespaceNameLabel } from '../../model/namespace.js';
import type { Pod } from '../../model/pod.js';
import type { PolicyPeer, PolicyPort, PolicyRule } from '../../model/policy.js';
import { matches, type Selector } from '../../model/selector.js';
import { problemAt, type Scene, type ScenePolicy } from './scene.js';

export function lintDns(scene: Scene): Problem[] {
  return [...withoutDns(scene), ...inboundDns(scene)];
}

/** Reported once for each set of pods, at the policy that has egress rules, else at the first that isolates. */
function withoutDns(scene: Scene): Problem[] {
  const guilty = new Map<ScenePolicy, Pod[]>();
  const isolatingOf = new Map<Pod, ScenePolicy[]>();
  for (const entry of scene.policies) {
    if (entry.policy.egress === null) continue;
    for (const pod of entry.pods) isolatingOf.set(pod, [...(isolatingOf.get(pod) ?? []), entry]);
  }
  for (const [pod, isolating] of isolatingOf) {
    if (isolating.some(allowsDns)) continue;
    const entry = isolating.find(({ policy }) => (policy.egress ?? []).length > 0) ?? isolating[0]!;
    guilty.set(entry, [...(guilty.get(entry) ?? []), pod]);
  }
  // A policy that selects no given pod is judged with those of its namespace that select at least the same.
  for (const entry of scene.policies) {
    if (entry.policy.egress === null || entry.pods.length > 0 || scene.pods.length > 0) continue;
    const together = scene.policies.filter(
      ({ policy }) =>
        policy.namespace === entry.policy.namespace &&
        policy.egress !== null &&
        isWider(policy.podSelector, entry.policy.podSelector),
    );
    if (!together.some(allowsDns)) guilty.set(entry, []);
  }
  return [...guilty].map(([entry, pods]) =>
    problemAt(
      entry.origin,
      (entry.policy.egress ?? []).length > 0 ? ['spec', 'egress'] : ['spec', 'policyTypes'],
      {
        code: 'egress-without-dns',
        severity: 'warning',
        message: `Egress is isolated and nothing allows DNS${pods.length === 0 ? '' : ` for ${podNames(pods)}`}, so names cannot be resolved.`,
        fix:
          'Add an egress rule: to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: kube-system}}, ' +
          'podSelector: {matchLabels: {k8s-app: kube-dns}}}], ports: [{protocol: UDP, port: 53}, {protocol: TCP, port: 53}].',
      },
      'key',
    ),
  );
}

function podNames(pods: readonly Pod[]): string {
  const names = pods.map((pod) => `${pod.namespace}/${pod.name}`);
  return names.length <= 3
    ? names.join(', ')
    : `${names.slice(0, 3).join(', ')} and ${names.length - 3} more`;
}

/** Every requirement of the wider selector is one of the narrower. */
function isWider(wider: Selector, narrower: Selector): boolean {
  const have = new Set(narrower.requirements.map((requirement) => JSON.stringify(requirement)));
  return wider.requirements.every((requirement) => have.has(JSON.stringify(requirement)));
}

const allowsDns = ({ policy }: ScenePolicy) => (policy.egress ?? []).some(ruleAllowsDns);

/** A rule that names port 53 is meant for DNS whomever it is to; one without ports must be to where DNS servers are. */
function ruleAllowsDns(rule: PolicyRule): boolean {
  const peers = rule.peers ?? null;
  if (peers?.every((peer) => peer.kind === 'nothing')) return false;
  if (rule.ports?.some(isPort53)) return true;
  const open =
    rule.ports === null || rule.ports.some((port) => port.kind === 'protocol' && port.protocol === 'UDP');
  return open && (peers === null || peers.some(reachesDns));
}

function isPort53(port: PolicyPort): boolean {
  if (port.kind === 'named') return /dns|domain/.test(port.name);
  return port.kind === 'range' && port.protocol !== 'SCTP' && port.first <= 53 && port.last >= 53;
}

function reachesDns(peer: PolicyPeer): boolean {
  if (peer.kind === 'block') return peer.cidr.length === 0;
  if (peer.kind === 'nothing' || peer.namespaceSelector === undefined) return false;
  const system = new Map([[namespaceNameLabel, 'kube-system']]);
  return (
    matches(peer.namespaceSelector, system) &&
    (peer.podSelector === undefined || matches(peer.podSelector, new Map([['k8s-app', 'kube-dns']])))
  );
}

function inboundDns(scene: Scene): Problem[] {
  return scene.policies.flatMap(({ policy, origin, pods }) => {
    if (pods.some((pod) => pod.ports.some((port) => port.port === 53))) return [];
    if (matches(policy.podSelector, new Map([['k8s-app', 'kube-dns']])) && policy.podSelector.text !== '')
      return [];
    return (policy.ingress ?? []).flatMap((rule, index) =>
      (rule.ports ?? []).flatMap((port, place) => {
        if (port.kind !== 'range' || port.first !== 53 || port.last !== 53) return [];
        return problemAt(origin, ['spec', 'ingress', index, 'ports', place, 'port'], {
          code: 'dns-inbound',
          severity: 'warning',
          message:
            'Port 53 is opened inbound, but no selected pod serves DNS; asking a DNS server is egress.',
          fix: 'Move the rule to spec.egress (with to: instead of from:) and name Egress in policyTypes.',
        });
      }),
    );
  });
}
