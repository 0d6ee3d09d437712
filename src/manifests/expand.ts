/**
 * Workloads → the pods that their controllers would make, with names that stay the same from one reading to the next:
 * `NAME-0`, `NAME-1` … for a StatefulSet, `NAME-<five letters derived from kind, namespace, name and number>` for the others. The letters
 * are those that Kubernetes uses, so that a Deployment and a StatefulSet of one name do not collide.
 */
import type { Problem } from '../errors/problem.js';
import type { FieldPath, KubernetesObject, ManifestObject } from './object.js';
import { isAbsent, isPlainObject, nameOf, objectOf, type PlainObject } from './plain.js';

/** More pods of one workload than anybody means; the rest is left out and said. */
const maximumReplicas = 10_000;

export interface Expansion {
  readonly pods: readonly ManifestObject[];
  readonly problems: readonly Problem[];
}

/** `nodes`: names of the Node objects, of which a DaemonSet gets one pod each; one pod where there are none. */
export function expandWorkload(workload: ManifestObject, nodes: readonly string[] = []): Expansion {
  const { value } = workload;
  const named = nameOf(value);
  const spec = objectOf(value.spec);
  if (named === undefined || !isPlainObject(spec.template)) return { pods: [], problems: [] };
  const problems: Problem[] = [];
  const kind = String(value.kind);
  const count = replicas(kind, spec, nodes.length, workload, problems);
  const pods: ManifestObject[] = [];
  for (let index = 0; index < count; index++) {
    const suffix =
      kind === 'StatefulSet'
        ? String(index + firstOrdinal(spec))
        : stableSuffix(`${kind}/${named.namespace}/${named.name}/${index}`);
    const node = kind === 'DaemonSet' ? nodes[index] : undefined;
    pods.push({
      value: podOf(value, named, spec.template, suffix, node),
      file: workload.file,
      locate: (path, what) => workload.locate(workloadPath(path), what),
    });
  }
  return { pods, problems };
}

function podOf(
  value: KubernetesObject,
  named: { namespace: string; name: string },
  template: PlainObject,
  suffix: string,
  node: string | undefined,
): KubernetesObject {
  const metadata = objectOf(template.metadata);
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: `${named.name}-${suffix}`,
      namespace: named.namespace,
      ...(isAbsent(metadata.labels) ? {} : { labels: metadata.labels }),
      ...(isAbsent(metadata.annotations) ? {} : { annotations: metadata.annotations }),
      ownerReferences: [
        { apiVersion: value.apiVersion, kind: value.kind, name: named.name, controller: true },
      ],
    },
    spec: node === undefined ? template.spec : { ...objectOf(template.spec), nodeName: node },
  };
}

/** Where a pod's field stands in its workload. */
function workloadPath(path: FieldPath): FieldPath {
  if (path[0] === 'metadata' && (path[1] === 'name' || path[1] === 'namespace')) return path;
  return path.length === 0 ? [] : ['spec', 'template', ...path];
}

function replicas(
  kind: string,
  spec: PlainObject,
  nodes: number,
  workload: ManifestObject,
  problems: Problem[],
): number {
  if (kind === 'DaemonSet') return Math.max(nodes, 1);
  const field = kind === 'Job' ? 'parallelism' : 'replicas';
  const wanted = wholeNumber(spec[field]);
  const count =
    kind === 'Job' && !isAbsent(spec.completions) ? Math.min(wanted, wholeNumber(spec.completions)) : wanted;
  if (count <= maximumReplicas) return count;
  problems.push({
    code: 'too-many-replicas',
    severity: 'error',
    message: `${kind} asks for ${count} pods; only the first ${maximumReplicas} are made.`,
    fix: `Ask for at most ${maximumReplicas}.`,
    source: workload.locate(['spec', field]),
  });
  return maximumReplicas;
}

/** Kubernetes' default is 1; what is no count at all is reported by validation and taken as the default. */
function wholeNumber(value: unknown): number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 ? value : 1;
}

function firstOrdinal(spec: PlainObject): number {
  const start = objectOf(spec.ordinals).start;
  return typeof start === 'number' && Number.isInteger(start) && start >= 0 ? start : 0;
}

/** Kubernetes' alphabet for generated names: no vowels, so that no words come out. */
const alphabet = 'bcdfghjklmnpqrstvwxz2456789';

/** FNV-1a over the text, 32 bits; only to look random and stay the same. */
function stableSuffix(text: string): string {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193) >>> 0;
  let suffix = '';
  for (let i = 0; i < 5; i++) {
    suffix += alphabet[hash % alphabet.length];
    hash = Math.floor(hash / alphabet.length);
  }
  return suffix;
}
