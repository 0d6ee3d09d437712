/** Ports in rules that no pod they are about serves. Pods that declare no ports at all may serve any, and keep this check silent. */
import type { Problem } from '../../errors/problem.js';
import { formatPath } from '../../manifests/object.js';
import type { Pod } from '../../model/pod.js';
import type { PolicyPort } from '../../model/policy.js';
import { matches, selector } from '../../model/selector.js';
import { problemAt, type Scene, type ScenePolicy } from './scene.js';

export function lintServedPorts(scene: Scene): Problem[] {
  return scene.policies.flatMap((entry) => {
    const problems: Problem[] = [];
    for (const direction of ['ingress', 'egress'] as const) {
      for (const [index, rule] of (entry.policy[direction] ?? []).entries()) {
        if (rule.ports === null) continue;
        const servers = serversOf(scene, entry, direction, index);
        if (servers.length === 0 || servers.some((pod) => pod.ports.length === 0)) continue;
        for (const [place, port] of rule.ports.entries()) {
          if (port.kind === 'nothing' || servers.some((pod) => serves(pod, port))) continue;
          const path = ['spec', direction, index, 'ports', place];
          problems.push(
            problemAt(entry.origin, [...path, port.kind === 'protocol' ? 'protocol' : 'port'], {
              code: 'port-not-served',
              severity: 'warning',
              message: `${formatPath(path)}: none of the ${direction === 'ingress' ? 'selected' : 'destination'} pods serves ${describePort(port)}.`,
              fix: fixFor(scene, servers, port),
            }),
          );
        }
      }
    }
    return problems;
  });
}

/** Whose ports a rule is about: the policy's own pods for ingress, the peers' for egress (none where a peer is not only pods). */
function serversOf(
  scene: Scene,
  { policy, pods }: ScenePolicy,
  direction: 'ingress' | 'egress',
  index: number,
): readonly Pod[] {
  if (direction === 'ingress') return pods;
  const peers = policy.egress?.[index]?.peers ?? null;
  if (peers === null || !peers.every((peer) => peer.kind === 'pods')) return [];
  // A peer that reaches namespaces whose pods are not given could serve anything there.
  const groups = peers.map((peer) => scene.podsOfPeer(peer, policy.namespace));
  return groups.some((group) => group.length === 0) ? [] : groups.flat();
}

function serves(pod: Pod, port: PolicyPort): boolean {
  return pod.ports.some((open) => {
    if (port.kind === 'nothing' || open.protocol !== port.protocol) return false;
    if (port.kind === 'protocol') return true;
    if (port.kind === 'named') return open.name === port.name;
    return open.port >= port.first && open.port <= port.last;
  });
}

function describePort(port: PolicyPort): string {
  switch (port.kind) {
    case 'protocol':
      return `any ${port.protocol} port`;
    case 'named':
      return `a ${port.protocol} port named "${port.name}"`;
    case 'range':
      return `${port.first === port.last ? port.first : `${port.first}-${port.last}`}/${port.protocol}`;
    case 'nothing':
      return 'it';
  }
}

function fixFor(scene: Scene, servers: readonly Pod[], port: PolicyPort): string {
  const open = [
    ...new Set(
      servers.flatMap((pod) =>
        pod.ports.map(
          (entry) => `${entry.port}/${entry.protocol}${entry.name === undefined ? '' : ` (${entry.name})`}`,
        ),
      ),
    ),
  ];
  const served = `They serve ${open.slice(0, 8).join(', ')}.`;
  if (port.kind !== 'range') return served;
  for (const service of scene.services) {
    const selects = servers.some(
      (pod) =>
        service.selector !== null &&
        pod.namespace === service.namespace &&
        matches(selector(Object.fromEntries(service.selector)), pod.labels),
    );
    const front = service.ports.find(
      (entry) => entry.port === port.first && entry.protocol === port.protocol,
    );
    if (selects && front !== undefined && front.targetPort !== front.port) {
      return `${port.first} is the port of Service ${service.namespace}/${service.name}; policies see the container port, ${front.targetPort}. ${served}`;
    }
  }
  return served;
}
