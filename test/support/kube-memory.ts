/**
 * Prints how much heap a KubeSource holds of so many pods as a real cluster has them: deployments of ten, labels, ports, addresses, and
 * all that a server adds. The events go nowhere, so that nothing is held but by the source; their pods count, being the source's. Run
 * with --expose-gc: node --expose-gc dist/test/support/kube-memory.js 20000
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { KubeClient } from '../../src/kube/client.js';
import { KubeSource } from '../../src/kube/source.js';
import { type ApiObject, ApiServer } from './api-server.js';
import { plainAccess } from './kube.js';

function realPod(number: number): ApiObject {
  const deployment = Math.floor(number / 10);
  const name = `service-${deployment}-5d4f8c7b9-${number.toString(36).padStart(5, '0')}`;
  const address = `10.${42 + (number >> 16)}.${(number >> 8) & 255}.${number & 255}`;
  return {
    metadata: {
      name,
      generateName: `service-${deployment}-5d4f8c7b9-`,
      namespace: `team-${deployment % 40}`,
      uid: `0f8fad5b-d9cb-469f-a165-${number.toString(16).padStart(12, '0')}`,
      creationTimestamp: new Date(1_760_000_000_000 + number * 37_000).toISOString(),
      labels: {
        'app.kubernetes.io/name': `service-${deployment}`,
        'app.kubernetes.io/instance': `release-${deployment % 100}`,
        'app.kubernetes.io/component': 'backend',
        'pod-template-hash': '5d4f8c7b9',
        tier: deployment % 2 === 0 ? 'front' : 'back',
      },
      annotations: { 'prometheus.io/scrape': 'true', checksum: 'x'.repeat(200) },
      managedFields: [
        { manager: 'kubelet', fieldsV1: { 'f:status': { 'f:conditions': { filler: 'y'.repeat(800) } } } },
      ],
    },
    spec: {
      nodeName: `node-${number % 200}`,
      containers: [
        {
          name: 'main',
          image: `registry.example/service-${deployment}:1.2.3`,
          env: Array.from({ length: 8 }, (_, i) => ({
            name: `VARIABLE_${i}`,
            value: `value ${number} ${i}`,
          })),
          ports: [
            { name: 'http', containerPort: 8080, protocol: 'TCP' },
            { name: 'metrics', containerPort: 9090, protocol: 'TCP' },
          ],
        },
      ],
    },
    status: {
      phase: 'Running',
      podIP: address,
      podIPs: [{ ip: address }, { ip: `fd00:42::${number.toString(16)}` }],
      hostIP: `192.0.2.${number % 200}`,
      conditions: [{ type: 'Ready', status: 'True', lastTransitionTime: '2026-01-01T00:00:00Z' }],
    },
  };
}

/** The server has a process of its own, or its objects would be counted. */
async function serve(count: number): Promise<void> {
  const server = await ApiServer.start();
  for (let number = 0; number < count; number++) server.put('pods', realPod(number));
  process.send?.(server.url);
}

async function measure(count: number): Promise<void> {
  const { gc } = globalThis;
  if (gc === undefined) throw new Error('run with --expose-gc');
  const child = fork(fileURLToPath(import.meta.url), [String(count), 'serve']);
  try {
    const [url] = (await once(child, 'message')) as [string];
    const source = new KubeSource({ client: new KubeClient(plainAccess(url)), log: () => {} });
    gc();
    const before = process.memoryUsage().heapUsed;
    await new Promise<void>((resolve) =>
      source.start({ apply: () => {}, synced: resolve, problems: () => {} }),
    );
    // Twice: what the first collection makes unreachable.
    gc();
    await new Promise((resolve) => setTimeout(resolve, 200));
    gc();
    const megabytes = Number(((process.memoryUsage().heapUsed - before) / 1e6).toFixed(1));
    const { objects: pods } = source.watches.find(({ resource }) => resource === 'pods')!;
    console.log(JSON.stringify({ pods, megabytes }));
    source.stop();
  } finally {
    child.kill();
  }
}

const [, , count = '20000', role] = process.argv;
await (role === 'serve' ? serve(Number(count)) : measure(Number(count)));
