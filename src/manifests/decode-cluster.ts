/** Namespace and Node. */
import { type Namespace, namespaceNameLabel } from '../model/namespace.js';
import type { Node } from '../model/node.js';
import { parseAddress } from '../net/address.js';
import { parseCidr } from '../net/cidr.js';
import type { KubernetesObject, ManifestObject } from './object.js';
import { labelsFrom, nameOf, objectOf, objectsOf, sourceAt, textOf } from './plain.js';

/** A namespace whose labels cannot be read keeps only its name: no rule that asks for a label admits it. (NotIn would: see `losses`.) */
export function decodeNamespace(value: KubernetesObject, origin?: ManifestObject): Namespace | undefined {
  const named = nameOf(value);
  if (named === undefined) return undefined;
  const labels = new Map(labelsFrom(objectOf(value.metadata).labels) ?? []);
  labels.set(namespaceNameLabel, named.name);
  return { name: named.name, labels, ...sourceAt(origin, ['metadata', 'name']) };
}

export function decodeNode(value: KubernetesObject, origin?: ManifestObject): Node | undefined {
  const named = nameOf(value);
  if (named === undefined) return undefined;
  const addresses = objectsOf(objectOf(value.status).addresses)
    .filter((entry) => entry.type === 'InternalIP' || entry.type === 'ExternalIP')
    .map((entry) => parseAddress(textOf(entry.address)))
    .filter((address) => address !== undefined);
  const spec = objectOf(value.spec);
  const blocks = Array.isArray(spec.podCIDRs) ? spec.podCIDRs : [spec.podCIDR];
  const podCidrs = blocks.map((block) => parseCidr(textOf(block))?.cidr).filter((cidr) => cidr !== undefined);
  const zone = textOf(objectOf(objectOf(value.metadata).labels)['topology.kubernetes.io/zone']);
  return {
    name: named.name,
    addresses,
    podCidrs,
    ...(zone === '' ? {} : { zone }),
    ...sourceAt(origin, ['metadata', 'name']),
  };
}
