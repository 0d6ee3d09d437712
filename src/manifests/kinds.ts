/**
 * Which objects weft reads. A kind is its name and its API group: projectcalico.org has a NetworkPolicy too, and knative a Service.
 */
import { closestName } from '../errors/closest.js';
import type { KubernetesObject } from './object.js';

interface KnownKind {
  /** '' is the core group. */
  readonly groups: readonly string[];
  /** What an author should write. */
  readonly apiVersion: string;
  readonly use: 'decode' | 'expand';
  readonly namespaced: boolean;
}

const decoded = (groups: readonly string[], apiVersion: string, namespaced = true): KnownKind => ({
  groups,
  apiVersion,
  use: 'decode',
  namespaced,
});
const workload = (groups: readonly string[], apiVersion: string): KnownKind => ({
  groups,
  apiVersion,
  use: 'expand',
  namespaced: true,
});

/** `extensions` is the group that these kinds had before Kubernetes 1.16; lint says so, and the object is read all the same. */
export const knownKinds: ReadonlyMap<string, KnownKind> = new Map([
  ['Namespace', decoded([''], 'v1', false)],
  ['Node', decoded([''], 'v1', false)],
  ['Pod', decoded([''], 'v1')],
  ['Service', decoded([''], 'v1')],
  ['Endpoints', decoded([''], 'v1')],
  ['EndpointSlice', decoded(['discovery.k8s.io'], 'discovery.k8s.io/v1')],
  ['NetworkPolicy', decoded(['networking.k8s.io', 'extensions'], 'networking.k8s.io/v1')],
  ['Deployment', workload(['apps', 'extensions'], 'apps/v1')],
  ['StatefulSet', workload(['apps'], 'apps/v1')],
  ['DaemonSet', workload(['apps', 'extensions'], 'apps/v1')],
  ['ReplicaSet', workload(['apps', 'extensions'], 'apps/v1')],
  ['Job', workload(['batch'], 'batch/v1')],
]);

/** The API group; '' for the core group, undefined where there is no readable apiVersion. */
export function groupOf(value: KubernetesObject): string | undefined {
  const { apiVersion } = value;
  if (typeof apiVersion !== 'string' || apiVersion === '') return undefined;
  const slash = apiVersion.indexOf('/');
  return slash < 0 ? '' : apiVersion.slice(0, slash);
}

/** The kind that weft reads this object as; an object without apiVersion is judged by its kind alone. */
export function recognise(value: KubernetesObject): { name: string; kind: KnownKind } | undefined {
  if (typeof value.kind !== 'string') return undefined;
  const kind = knownKinds.get(value.kind);
  if (kind === undefined) return undefined;
  const group = groupOf(value);
  return group === undefined || kind.groups.includes(group) ? { name: value.kind, kind } : undefined;
}

/** API groups that Kubernetes keeps for itself: without a dot, or under k8s.io. A custom kind of theirs cannot be. */
function isBuiltIn(group: string): boolean {
  return !group.includes('.') || group.endsWith('.k8s.io');
}

/** Fields that nothing else of networking.k8s.io has. */
function hasPolicySpec(spec: unknown): boolean {
  return typeof spec === 'object' && spec !== null && ('podSelector' in spec || 'policyTypes' in spec);
}

/**
 * What an object was meant to be that no API server would take for anything: a kind of ours in a group of Kubernetes that has no such
 * kind, or in one that is nearly ours, and what is nearly `NetworkPolicy` where that lives. undefined: nothing that is known here.
 */
export function meantKind(value: KubernetesObject): { name: string; apiVersion: string } | undefined {
  if (typeof value.kind !== 'string' || recognise(value) !== undefined) return undefined;
  const group = groupOf(value);
  const near = (own: readonly string[]) =>
    group === undefined || isBuiltIn(group) || closestName(group, own) !== null;
  const same = knownKinds.get(value.kind);
  if (same !== undefined)
    return near(same.groups) ? { name: value.kind, apiVersion: same.apiVersion } : undefined;
  const policy = knownKinds.get('NetworkPolicy')!;
  const written = value.kind.replace(/[^A-Za-z]/g, '').toLowerCase();
  const isNear =
    /^networkpolic(y|ies)$/.test(written) ||
    (group === 'networking.k8s.io' &&
      !written.endsWith('list') &&
      (hasPolicySpec(value.spec) || closestName(written, ['NetworkPolicy']) !== null));
  return isNear && near(policy.groups) ? { name: 'NetworkPolicy', apiVersion: policy.apiVersion } : undefined;
}
