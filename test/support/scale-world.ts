/**
 * A cluster of the size that a node of weft has to stand: 20,000 pods, 10,000 Services with their slices, 2,000 policies, 5,000
 * namespaces on 100 nodes; and what happens to such a cluster at its worst. As a program it serves them by an API server of its own
 * process (control-scale.ts measures a node on it), since the objects as a server has them weigh more than all that is measured.
 */
import { fileURLToPath } from 'node:url';
import { type ApiObject, ApiServer } from './api-server.js';

export const sizes = {
  namespaces: 5000,
  pods: 20_000,
  services: 10_000,
  policies: 2000,
  nodes: 100,
} as const;
/** Pods of the namespace `big`, and of the Deployment `roll` in the namespace `rolling`. */
export const bigPods = 5000;
export const rollingPods = 2000;
/** Pods of the measured node that policies select, by the label `slot`. */
export const localPods = 100;

const addressOf = (number: number): string =>
  `10.${100 + (number >> 16)}.${(number >> 8) & 255}.${number & 255}`;
const namespaceOf = (number: number): string => `ns-${number % (sizes.namespaces - 3)}`;

export function namespaceObject(name: string, number: number, turn = 0): ApiObject {
  return {
    metadata: {
      name,
      labels: { team: `team-${number % 50}`, stage: (number + turn) % 2 === 0 ? 'live' : 'trial' },
    },
  };
}

/** As a server tells of it, with what weft does not use. */
export function podObject(number: number, namespace: string, app: string, turn = 0): ApiObject {
  const hash = turn === 0 ? '5d4f8c7b9' : `7c9d6b${turn}f8`;
  return {
    metadata: {
      namespace,
      name: `${app}-${hash}-${number.toString(36)}`,
      uid: `0f8fad5b-d9cb-469f-a${turn % 10}65-${number.toString(16).padStart(12, '0')}`,
      creationTimestamp: '2026-01-01T00:00:00Z',
      labels: {
        app,
        'app.kubernetes.io/instance': `release-${number % 100}`,
        'pod-template-hash': hash,
        tier: number % 2 === 0 ? 'front' : 'back',
        turn: String(turn),
      },
      annotations: { 'prometheus.io/scrape': 'true', checksum: 'x'.repeat(200) },
      managedFields: [{ manager: 'kubelet', fieldsV1: { 'f:status': { filler: 'y'.repeat(800) } } }],
    },
    spec: {
      nodeName: `node-${number % sizes.nodes}`,
      containers: [
        {
          name: 'main',
          image: `registry.example/${app}:1.2.3`,
          env: Array.from({ length: 8 }, (_, i) => ({ name: `V${i}`, value: `value ${number} ${i}` })),
          ports: [
            { name: 'http', containerPort: 8080, protocol: 'TCP' },
            { name: 'metrics', containerPort: 9090, protocol: 'TCP' },
          ],
        },
      ],
    },
    status: {
      phase: 'Running',
      podIP: addressOf(number),
      podIPs: [{ ip: addressOf(number) }],
      hostIP: `192.0.2.${number % sizes.nodes}`,
      conditions: [{ type: 'Ready', status: 'True' }],
    },
  };
}

export function policyObject(number: number, turn = 0): ApiObject {
  // Half of them are where the measured node has pods, ten for each.
  const local = number % 2 === 0;
  const namespace = local ? 'test' : namespaceOf(number);
  return {
    metadata: { namespace, name: `policy-${number}` },
    spec: {
      podSelector: local ? { matchLabels: { slot: `slot-${(number >> 1) % localPods}` } } : {},
      policyTypes: ['Ingress', 'Egress'],
      ingress: [
        {
          from: [
            { namespaceSelector: { matchLabels: { team: `team-${(number + turn) % 50}` } } },
            { podSelector: { matchLabels: { app: `app-${(number * 7 + turn) % 1000}` } } },
            { ipBlock: { cidr: `10.${100 + (number % 20)}.0.0/16` } },
          ],
          ports: [
            { protocol: 'TCP', port: 'http' },
            { protocol: 'TCP', port: 1000 + ((number + turn) % 5000) },
          ],
        },
      ],
      egress: [
        {
          to: [{ namespaceSelector: { matchLabels: { stage: 'live' } } }],
          ports: [{ protocol: 'TCP', port: 443 }],
        },
      ],
    },
  };
}

function serviceObject(number: number, namespace: string, name: string, app: string): ApiObject {
  return {
    metadata: { namespace, name, creationTimestamp: '2026-01-01T00:00:00Z' },
    spec: {
      type: number % 50 === 0 ? 'NodePort' : 'ClusterIP',
      clusterIP: `10.96.${number >> 8}.${number & 255}`,
      clusterIPs: [`10.96.${number >> 8}.${number & 255}`],
      selector: { app },
      ports: [
        {
          name: 'http',
          protocol: 'TCP',
          port: 80,
          targetPort: 8080,
          ...(number % 50 === 0 ? { nodePort: 30_000 + number / 50 } : {}),
        },
      ],
      ...(number % 5 === 0 ? { trafficDistribution: 'PreferClose' } : {}),
    },
  };
}

function sliceObject(service: ApiObject, index: number, pods: readonly ApiObject[]): ApiObject {
  const { namespace, name } = service.metadata;
  return {
    metadata: {
      namespace: namespace!,
      name: `${name}-${index}`,
      labels: { 'kubernetes.io/service-name': name },
    },
    addressType: 'IPv4',
    ports: [{ name: 'http', protocol: 'TCP', port: 8080 }],
    endpoints: pods.map(({ spec, status }) => ({
      addresses: [(status as { podIP: string }).podIP],
      conditions: { ready: true },
      nodeName: (spec as { nodeName: string }).nodeName,
    })),
  } as ApiObject;
}

/** What happens to the cluster; changes are made by the server's process. */
export const storms = ['policies', 'namespaces', 'relabel', 'roll', 'idle'] as const;
export type Storm = (typeof storms)[number];

export class ScaleWorld {
  readonly #api: ApiServer;
  #turn = 0;
  #rolled: ApiObject[] = [];
  readonly #rollService = serviceObject(9999, 'rolling', 'roll', 'roll');

  constructor(api: ApiServer) {
    this.#api = api;
  }

  /** Everything but what the measured node's test puts. */
  fill(): void {
    const api = this.#api;
    for (let i = 0; i < sizes.nodes; i++)
      api.put('nodes', {
        metadata: { name: `node-${i}`, labels: { 'topology.kubernetes.io/zone': `zone-${i % 3}` } },
        spec: { podCIDRs: [`10.${200 + (i >> 8)}.${i & 255}.0/24`] },
        status: { addresses: [{ type: 'InternalIP', address: `192.0.2.${i}` }] },
      });
    for (let i = 0; i < sizes.namespaces - 3; i++) api.put('namespaces', namespaceObject(`ns-${i}`, i));
    for (const name of ['big', 'rolling']) api.put('namespaces', namespaceObject(name, 0));
    const pods = new Map<string, ApiObject[]>();
    const spread = sizes.pods - bigPods - rollingPods;
    for (let i = 0; i < sizes.pods; i++) {
      if (i >= spread + bigPods) {
        this.#rolled.push(api.put('pods', podObject(i, 'rolling', 'roll')));
        continue;
      }
      const group = Math.floor(i / 10);
      const [namespace, app] = i < spread ? [namespaceOf(group), `app-${group}`] : ['big', `big-${group}`];
      const pod = api.put('pods', podObject(i, namespace, app));
      const key = `${namespace}/${app}`;
      pods.set(key, [...(pods.get(key) ?? []), pod]);
    }
    const groups = [...pods];
    for (let i = 0; i < sizes.services - 1; i++) {
      const [key, own] = groups[i % groups.length]!;
      const [namespace = '', app = ''] = key.split('/');
      const service = serviceObject(i, namespace, `service-${i}`, app);
      api.put('services', service);
      api.put('endpointslices', sliceObject(service, 0, own));
    }
    api.put('services', this.#rollService);
    this.#putSlices(0, this.#rolled.length);
    for (let i = 0; i < sizes.policies; i++) api.put('networkpolicies', policyObject(i));
  }

  #putSlices(first: number, last: number): void {
    for (let index = Math.floor(first / 100); index * 100 < last; index++)
      this.#api.put(
        'endpointslices',
        sliceObject(this.#rollService, index, this.#rolled.slice(index * 100, index * 100 + 100)),
      );
  }

  /** The changes of a storm, one after the other. */
  *storm(kind: Storm): Generator<void> {
    const turn = ++this.#turn;
    switch (kind) {
      case 'policies':
        for (let i = 0; i < 1000; i++) yield void this.#api.put('networkpolicies', policyObject(2 * i, turn));
        return;
      case 'namespaces':
        for (let i = 0; i < 1000; i++)
          yield void this.#api.put('namespaces', namespaceObject(`ns-${i}`, i, turn));
        return;
      case 'relabel': {
        const first = sizes.pods - bigPods - rollingPods;
        for (let i = first; i < first + bigPods; i++) {
          const pod = podObject(i, 'big', `big-${Math.floor(i / 10)}`);
          const labels = {
            ...(pod.metadata.labels as object),
            turn: String(turn),
            app: `app-${(i + turn) % 1000}`,
          };
          yield void this.#api.put('pods', { ...pod, metadata: { ...pod.metadata, labels } });
        }
        return;
      }
      case 'roll':
        // 20 at a time: the new ones are there and ready, then the old ones go.
        for (let i = 0; i < rollingPods; i += 20) {
          for (let each = i; each < i + 20; each++) {
            const number = sizes.pods - rollingPods + each;
            const fresh = podObject(number + (turn % 2) * 32_768, 'rolling', 'roll', turn);
            const old = this.#rolled[each]!;
            this.#rolled[each] = this.#api.put('pods', fresh);
            this.#putSlices(each, each + 1);
            this.#api.delete('pods', old.metadata.name, 'rolling');
            yield;
          }
        }
        return;
      case 'idle':
        for (let i = 0; i < 1000; i++) yield;
    }
  }
}

export type ScaleRequest =
  | { readonly put: string; readonly objects: readonly ApiObject[] }
  | { readonly storm: Storm; readonly perSecond: number };

async function serve(): Promise<void> {
  const api = await ApiServer.start();
  const world = new ScaleWorld(api);
  world.fill();
  process.on('message', async (request: ScaleRequest) => {
    if ('put' in request) {
      for (const object of request.objects) api.put(request.put, object);
      process.send?.({ done: true });
      return;
    }
    const steps = world.storm(request.storm);
    const began = performance.now();
    for (let made = 0, over = false; !over; ) {
      const due = Math.min(made + 500, Math.ceil(((performance.now() - began) / 1000) * request.perSecond));
      for (; made < due && !over; made++) over = steps.next().done === true;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    process.send?.({ done: true, seconds: (performance.now() - began) / 1000 });
  });
  process.on('disconnect', () => process.exit());
  process.send?.({ url: api.url });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await serve();
