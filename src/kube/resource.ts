/**
 * The six kinds of objects that weft watches: where they are served, what permission each needs, and how one becomes a value of the
 * model. Decoding is total: whatever the server sends, nothing is thrown, and a policy that cannot be read isolates its namespace.
 */
import type { Problem } from '../errors/problem.js';
import { decodeNamespace, decodeNode } from '../manifests/decode-cluster.js';
import { decodePod } from '../manifests/decode-pod.js';
import { decodePolicy } from '../manifests/decode-policy.js';
import { decodeEndpointSlice, decodeService } from '../manifests/decode-service.js';
import type { ManifestObject } from '../manifests/object.js';
import { formatPath } from '../manifests/object.js';
import { isPlainObject, objectOf, objectsOf, type PlainObject, textOf } from '../manifests/plain.js';
import { validateObjects } from '../manifests/validate.js';
import { type Kind, keyOf, type Objects } from '../model/event.js';
import { everything } from '../model/selector.js';
import type { Compactor } from './compact.js';
import { shorten } from './error.js';

export interface Resource<K extends Kind = Kind> {
  readonly kind: K;
  /** Kubernetes' own name of the kind. */
  readonly name: string;
  /** API group; '' is the core group. */
  readonly group: string;
  /** As rules of RBAC and paths call it: `pods`. */
  readonly resource: string;
  /** Versions in the order in which they are tried; the first that the server has is used. */
  readonly versions: readonly string[];
  readonly namespaced: boolean;
  /** Single objects are asked for by name, beside the watch. */
  readonly asked: boolean;
}

const core = { group: '', versions: ['v1'] } as const;

export const resources: readonly Resource[] = [
  { ...core, kind: 'namespace', name: 'Namespace', resource: 'namespaces', namespaced: false, asked: true },
  { ...core, kind: 'node', name: 'Node', resource: 'nodes', namespaced: false, asked: false },
  { ...core, kind: 'pod', name: 'Pod', resource: 'pods', namespaced: true, asked: true },
  {
    kind: 'policy',
    name: 'NetworkPolicy',
    group: 'networking.k8s.io',
    resource: 'networkpolicies',
    versions: ['v1'],
    namespaced: true,
    asked: false,
  },
  { ...core, kind: 'service', name: 'Service', resource: 'services', namespaced: true, asked: false },
  {
    kind: 'slice',
    name: 'EndpointSlice',
    group: 'discovery.k8s.io',
    resource: 'endpointslices',
    // v1 came with Kubernetes 1.21, v1beta1 went with 1.25.
    versions: ['v1', 'v1beta1'],
    namespaced: true,
    asked: false,
  },
];

export function resourceOf(kind: Kind): Resource {
  return resources.find((resource) => resource.kind === kind)!;
}

/** Path of the list of all objects, in every namespace. */
export function listPath({ group, resource }: Resource, version: string): string {
  return group === '' ? `/api/${version}/${resource}` : `/apis/${group}/${version}/${resource}`;
}

/** Path of one object. */
export function objectPath(
  { group, resource }: Resource,
  version: string,
  namespace: string,
  name: string,
): string {
  const root = group === '' ? `/api/${version}` : `/apis/${group}/${version}`;
  const within = namespace === '' ? '' : `/namespaces/${encodeURIComponent(namespace)}`;
  return `${root}${within}/${resource}/${encodeURIComponent(name)}`;
}

/** What weft does with a kind, as RBAC calls it. */
export function verbsFor({ asked }: Resource): readonly string[] {
  return asked ? ['get', 'list', 'watch'] : ['list', 'watch'];
}

/** The rule of a ClusterRole without which weft cannot watch the kind. deploy/rbac.yaml holds them all. */
export function ruleFor(resource: Resource): string {
  const verbs = verbsFor(resource).map((verb) => `"${verb}"`);
  return `apiGroups: ["${resource.group}"], resources: ["${resource.resource}"], verbs: [${verbs.join(', ')}]`;
}

/** What is left of an object of the API. */
export interface Decoded {
  readonly key: string;
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  /** metadata.resourceVersion as a number; NaN where it is none. */
  readonly version: number;
  /** undefined: the object cannot be read and counts as absent. */
  readonly object: Objects[Kind] | undefined;
  readonly problems: readonly Problem[];
}

/** undefined: it has no name, so nobody can say what it is. */
export function decode(resource: Resource, value: unknown, compactor: Compactor): Decoded | undefined {
  if (!isPlainObject(value)) return undefined;
  const metadata = objectOf(value.metadata);
  const name = textOf(metadata.name);
  const namespace = resource.namespaced ? textOf(metadata.namespace) : '';
  if (name === '' || (resource.namespaced && namespace === '')) return undefined;
  const common = {
    key: keyOf(namespace, name),
    namespace,
    name,
    uid: textOf(metadata.uid),
    version: versionNumber(metadata.resourceVersion),
  };
  try {
    const object = model(resource.kind, value, compactor);
    const problems =
      resource.kind === 'policy'
        ? policyProblems(value, common.key)
        : object === undefined
          ? [unreadable(resource, common.key)]
          : [];
    return { ...common, object, problems };
  } catch {
    // A decoder has a bug. Its object is absent; but for a policy, whose absence would open its pods.
    const object: Objects[Kind] | undefined =
      resource.kind === 'policy'
        ? { namespace, name, uid: common.uid, podSelector: everything, ingress: [], egress: [] }
        : undefined;
    return { ...common, object, problems: [unreadable(resource, common.key)] };
  }
}

/** Versions that are decimal numbers can be compared: the API says so since 1.35, and its servers did so before. */
export function versionNumber(text: unknown): number {
  return typeof text === 'string' && /^[0-9]{1,15}$/.test(text) ? Number(text) : Number.NaN;
}

function model(kind: Kind, value: PlainObject, compactor: Compactor): Objects[Kind] | undefined {
  switch (kind) {
    case 'namespace': {
      const namespace = decodeNamespace(value);
      return namespace && { ...namespace, labels: compactor.labels(namespace.labels) };
    }
    case 'node':
      return decodeNode(value);
    case 'pod': {
      const pod = decodePod(value);
      return pod && compactor.pod(pod);
    }
    case 'policy':
      return decodePolicy(value);
    case 'service':
      return decodeService(value);
    case 'slice': {
      const slice = decodeEndpointSlice(olderSlice(value));
      return slice && compactor.slice(slice);
    }
  }
}

/** v1beta1 has node and zone of an endpoint in its `topology`. */
function olderSlice(value: PlainObject): PlainObject {
  const endpoints = objectsOf(value.endpoints);
  if (!endpoints.some((endpoint) => isPlainObject(endpoint.topology))) return value;
  return {
    ...value,
    endpoints: endpoints.map((endpoint) => {
      const topology = objectOf(endpoint.topology);
      return {
        ...endpoint,
        nodeName: endpoint.nodeName ?? topology['kubernetes.io/hostname'],
        zone: endpoint.zone ?? topology['topology.kubernetes.io/zone'],
      };
    }),
  };
}

function unreadable({ name, resource }: Resource, key: string): Problem {
  return {
    code: 'kube-object',
    severity: 'warning',
    message: `The ${name} ${key} of the API cannot be read; it counts as absent, or as closed where it is a policy.`,
    source: { file: `${resource}/${key}` },
  };
}

/** What a policy holds that is not honoured: the server has checked it, but perhaps a newer one than weft knows. */
function policyProblems(value: PlainObject, key: string): readonly Problem[] {
  const file = `networkpolicies/${key}`;
  const { name, namespace, labels } = objectOf(value.metadata);
  const object: ManifestObject = {
    // What the server adds to the metadata is no part of what is checked.
    value: {
      ...value,
      apiVersion: 'networking.k8s.io/v1',
      kind: 'NetworkPolicy',
      metadata: { name, namespace, ...(labels === undefined ? {} : { labels }) },
    },
    file,
    locate: (path) => ({ file, path: formatPath(path) }),
  };
  return validateObjects([object])
    .slice(0, 10)
    .map((problem) => ({
      ...problem,
      message: shorten(problem.message),
      ...(problem.fix === undefined ? {} : { fix: shorten(problem.fix) }),
    }));
}
