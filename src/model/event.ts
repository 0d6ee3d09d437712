/** What sources tell the World. Objects are frozen values: an update is a new object under the same key. */
import type { Namespace } from './namespace.js';
import type { Node } from './node.js';
import type { Pod } from './pod.js';
import type { NetworkPolicy } from './policy.js';
import type { EndpointSlice, Service } from './service.js';

export interface Objects {
  readonly namespace: Namespace;
  readonly pod: Pod;
  readonly policy: NetworkPolicy;
  readonly service: Service;
  readonly slice: EndpointSlice;
  readonly node: Node;
}

export type Kind = keyof Objects;

export const kinds: readonly Kind[] = ['namespace', 'node', 'pod', 'policy', 'service', 'slice'];

export type WorldEvent =
  | { [K in Kind]: { readonly type: 'upsert'; readonly kind: K; readonly object: Objects[K] } }[Kind]
  /**
   * `namespace` is '' for namespaces and nodes. With a uid, only the object with that uid is removed, so that the late deletion of a
   * pod never removes its successor of the same name.
   */
  | {
      readonly type: 'delete';
      readonly kind: Kind;
      readonly namespace: string;
      readonly name: string;
      readonly uid?: string;
    };

/** `namespace/name`; just the name for namespaces and nodes. Kubernetes names hold no slash, so keys cannot collide. */
export function keyOf(namespace: string, name: string): string {
  return namespace === '' ? name : `${namespace}/${name}`;
}
