/** Plain objects in few words, and a question about them as `weft policy verdict` takes it. Both engines answer, and alike. */
import assert from 'node:assert/strict';
import type { Answer } from '../../src/cli/policy/answer.js';
import { answerWorld } from '../../src/cli/policy/batch.js';
import { engineNamed, engineNames } from '../../src/cli/policy/engines.js';

export const meta = (name: string, more: object = {}) => ({ name, namespace: 'a', ...more });
export const pod = (
  name: string,
  ips: string[],
  more: { spec?: object; status?: object; meta?: object } = {},
) => ({
  kind: 'Pod',
  metadata: meta(name, { labels: { app: name }, ...more.meta }),
  spec: { nodeName: 'n1', ...more.spec },
  status: { podIPs: ips.map((ip) => ({ ip })), ...more.status },
});
export const denyAll = (name: string, policyTypes = ['Ingress', 'Egress']) => ({
  apiVersion: 'networking.k8s.io/v1',
  kind: 'NetworkPolicy',
  metadata: meta(`deny-${name}`),
  spec: { podSelector: { matchLabels: { app: name } }, policyTypes },
});
export const service = (name: string, spec: object) => ({ kind: 'Service', metadata: meta(name), spec });
export const node = {
  kind: 'Node',
  metadata: { name: 'n1' },
  status: { addresses: [{ type: 'InternalIP', address: '192.168.0.1' }] },
};
export const other = {
  kind: 'Node',
  metadata: { name: 'n2' },
  status: { addresses: [{ type: 'InternalIP', address: '192.168.0.2' }] },
};

/** The answer that every engine gives. */
export function ask(objects: object[], query: object, ownNodeEgress: 'allow' | 'judge' = 'allow'): Answer {
  const world = { objects, queries: [query], options: { ownNodeEgress } };
  const [first, ...rest] = engineNames.map((name) => answerWorld(world, engineNamed(name))[0]!);
  for (const answer of rest) assert.deepEqual(answer, first, 'the engines agree');
  return first!;
}
