/** A policy that tests of a node share. */
import type { ApiObject } from './api-server.js';

/** The policy of many tests: of the pods of namespace `test`, only `name` gets to `server`. */
export function onlyFrom(name: string): ApiObject {
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { namespace: 'test', name: 'only' },
    spec: {
      podSelector: { matchLabels: { name: 'server' } },
      policyTypes: ['Ingress'],
      ingress: [{ from: [{ podSelector: { matchLabels: { name } } }] }],
    },
  };
}
