/** What the objects of a manifest file define, each with the key that it has among those of all files. */
import type { ModelObjects } from '../manifests/decode.js';
import { type Kind, keyOf, type Objects } from '../model/event.js';

export interface ManifestDefinition {
  /** Kind, namespace and name: the same for what defines the same object. */
  readonly key: string;
  readonly kind: Kind;
  readonly name: string;
  readonly object: Objects[Kind];
}

export function* definitionsOf(objects: ModelObjects): Generator<ManifestDefinition> {
  for (const [kind, list] of objectLists(objects)) {
    for (const object of list) {
      const name = keyOf('namespace' in object ? object.namespace : '', object.name);
      yield { key: `${kind} ${name}`, kind, name, object };
    }
  }
}

function objectLists(objects: ModelObjects): readonly (readonly [Kind, readonly Objects[Kind][]])[] {
  return [
    ['namespace', objects.namespaces],
    ['node', objects.nodes],
    ['pod', objects.pods],
    ['policy', objects.policies],
    ['service', objects.services],
    ['slice', objects.slices],
  ];
}
