/**
 * Plain objects → the model's typed values, without a word: what is wrong is said by `validate`, here it is only made safe.
 * Every decoder is total. Three rules decide what becomes of what the API server would refuse:
 *
 *   - A policy is never dropped for a fault in it, for a dropped policy would open its pods. It keeps its isolation, and the
 *     part that cannot be read matches nothing: a peer, a port, a whole rule. policyTypes that cannot be read isolate both
 *     directions. A podSelector that cannot be read isolates every pod of the namespace and allows nothing.
 *   - Everything else that cannot be read is absent: a pod without readable labels belongs to no set that a rule could allow.
 *   - A field that nobody knows counts as a restriction that cannot be honoured: a rule, peer, port or selector that has one
 *     matches nothing, and a policy that has one isolates both directions and allows nothing. So does one whose spec slid into its
 *     metadata, and a rule matches nothing whose ports slid among its peers or the other way round. (An API server that prunes unknown fields
 *     would widen it instead; a later API version may have added it to narrow.)
 */
import { type Namespace, namespaceNameLabel } from '../model/namespace.js';
import type { Node } from '../model/node.js';
import type { Pod } from '../model/pod.js';
import type { NetworkPolicy } from '../model/policy.js';
import type { EndpointSlice, Service } from '../model/service.js';
import { decodeNamespace, decodeNode } from './decode-cluster.js';
import { decodePod } from './decode-pod.js';
import { decodePolicy } from './decode-policy.js';
import { decodeEndpointSlice, decodeEndpoints, decodeService } from './decode-service.js';
import { recognise } from './kinds.js';
import type { KubernetesObject, ManifestObject } from './object.js';

/** Typed objects in the order in which they were given; several of one name are all there, and the last one counts. */
export interface ModelObjects {
  readonly namespaces: Namespace[];
  readonly pods: Pod[];
  readonly policies: NetworkPolicy[];
  readonly services: Service[];
  /** Endpoints objects are here too, one slice for each family. */
  readonly slices: EndpointSlice[];
  readonly nodes: Node[];
}

export function noObjects(): ModelObjects {
  return { namespaces: [], pods: [], policies: [], services: [], slices: [], nodes: [] };
}

/**
 * Decodes each object into its list; kinds that have no decoder, and what is absent by the rules above, are left out. Manifests are all
 * there is, so a namespace that they only mention is one without labels of its own, and is added.
 */
export function decodeObjects(
  objects: Iterable<ManifestObject>,
  places: 'places' | 'no places' = 'places',
): ModelObjects {
  const model = noObjects();
  for (const object of objects) decodeInto(model, object.value, places === 'places' ? object : undefined);
  const declared = new Set(model.namespaces.map(({ name }) => name));
  for (const { namespace } of [...model.pods, ...model.policies, ...model.services]) {
    if (declared.has(namespace)) continue;
    declared.add(namespace);
    model.namespaces.push({ name: namespace, labels: new Map([[namespaceNameLabel, namespace]]) });
  }
  return model;
}

/**
 * One object. `origin` gives it its positions and may be left out (the batch reader has none to give). Returns false where the
 * kind has no decoder.
 */
export function decodeInto(model: ModelObjects, value: KubernetesObject, origin?: ManifestObject): boolean {
  switch (recognise(value)?.name) {
    case 'Namespace':
      add(model.namespaces, decodeNamespace(value, origin));
      return true;
    case 'Node':
      add(model.nodes, decodeNode(value, origin));
      return true;
    case 'Pod':
      add(model.pods, decodePod(value, origin));
      return true;
    case 'NetworkPolicy':
      add(model.policies, decodePolicy(value, origin));
      return true;
    case 'Service':
      add(model.services, decodeService(value, origin));
      return true;
    case 'Endpoints':
      for (const slice of decodeEndpoints(value, origin)) model.slices.push(slice);
      return true;
    case 'EndpointSlice':
      add(model.slices, decodeEndpointSlice(value, origin));
      return true;
    default:
      return false;
  }
}

function add<T>(list: T[], item: T | undefined): void {
  if (item !== undefined) list.push(item);
}
