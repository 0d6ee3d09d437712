/** Settings that a client can see: what a denied packet is answered with, and whether a pod's way to its own node is judged. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseManifests } from '../../src/manifests/parse.js';
import { startTestLab } from '../support/lab.js';

const manifests = `
apiVersion: v1
kind: Pod
metadata: {name: server, namespace: x, labels: {app: server}}
spec:
  containers:
    - {name: c, image: c, ports: [{containerPort: 80}, {containerPort: 80, protocol: UDP}, {containerPort: 80, protocol: SCTP}]}
---
apiVersion: v1
kind: Pod
metadata: {name: client, namespace: x, labels: {app: client}}
spec: {containers: [{name: c, image: c, ports: [{containerPort: 81}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: host, namespace: x}
spec: {hostNetwork: true, containers: [{name: c, image: c, ports: [{containerPort: 9100}]}]}
`;
const closed = (direction: 'Ingress' | 'Egress', app: string) => `
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: closed, namespace: x}
spec: {podSelector: {matchLabels: {app: ${app}}}, policyTypes: [${direction}]}
`;
const objects = (text: string) => parseManifests(text, 'test').objects.map(({ value }) => value);

/** What the client sees of the server, by protocol and family. */
async function seen(config: Record<string, unknown>, policy: string): Promise<Record<string, string>> {
  const lab = await startTestLab({ config });
  try {
    await lab.replace(objects(manifests + policy));
    const { cells } = await lab.client.request('probe', {
      selection: { from: ['x/client'], to: ['x/server'] },
    });
    for (const cell of cells) assert.equal(cell.denial?.told, 'switch', JSON.stringify(cell));
    return Object.fromEntries(cells.map((cell) => [`${cell.protocol} ${cell.family}`, cell.observation]));
  } finally {
    await lab.end();
  }
}

describe('what a denied packet is answered with', () => {
  for (const [direction, app] of [
    ['Ingress', 'server'],
    ['Egress', 'client'],
  ] as const) {
    const name = direction.toLowerCase();
    test(`${name}: drop answers nothing`, async () => {
      const silence = 'no answer in 2 tries';
      assert.deepEqual(await seen({}, closed(direction, app)), {
        'TCP 4': silence,
        'UDP 4': silence,
        'SCTP 4': silence,
        'TCP 6': silence,
        'UDP 6': silence,
        'SCTP 6': silence,
      });
    });

    test(`${name}: reject answers at once, TCP by a reset, the others by ICMP administratively prohibited`, async () => {
      const config = { policy: { denyAction: { [name]: 'reject' } } };
      assert.deepEqual(await seen(config, closed(direction, app)), {
        'TCP 4': 'refused',
        'UDP 4': 'unreachable (ICMP 3/13)',
        'SCTP 4': 'unreachable (ICMP 3/13)',
        'TCP 6': 'refused',
        'UDP 6': 'unreachable (ICMP 1/1)',
        'SCTP 6': 'unreachable (ICMP 1/1)',
      });
    });
  }
});

describe("a pod's way to its own node", () => {
  for (const [ownNodeEgress, measured] of [
    ['allow', 'allowed'],
    ['judge', 'denied'],
  ] as const) {
    test(`${ownNodeEgress}: an isolated pod is ${measured}`, async () => {
      const lab = await startTestLab({ config: { policy: { ownNodeEgress } } });
      try {
        await lab.replace(objects(manifests + closed('Egress', 'client')));
        const ask = async (from: string, to: string, port: number) => {
          const { cells } = await lab.client.request('ask', {
            questions: [{ from, to, port, protocol: 'TCP' }],
          });
          assert.equal(cells.length, 2);
          for (const cell of cells) assert.ok(cell.agrees, JSON.stringify(cell));
          return new Set(cells.map((cell) => cell.measured));
        };
        assert.deepEqual(await ask('x/client', 'x/host', 9100), new Set([measured]));
        assert.deepEqual(await ask('x/server', 'x/host', 9100), new Set(['allowed']));
        // The other way, the node (kubelet's probes) always gets in.
        assert.deepEqual(await ask('node/lab', 'x/client', 81), new Set(['allowed']));
        assert.deepEqual(await ask('x/host', 'x/client', 81), new Set(['allowed']));
      } finally {
        await lab.end();
      }
    });
  }
});
