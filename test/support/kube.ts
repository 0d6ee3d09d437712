/** A KubeSource on an API server double, with the World that comes out of it; everything ends with the test. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import type { Problem } from '../../src/errors/problem.js';
import type { Access } from '../../src/kube/access.js';
import { KubeClient } from '../../src/kube/client.js';
import type { ReflectorSettings } from '../../src/kube/settings.js';
import { KubeSource } from '../../src/kube/source.js';
import { decodeNamespace, decodeNode } from '../../src/manifests/decode-cluster.js';
import { decodePod } from '../../src/manifests/decode-pod.js';
import { decodePolicy } from '../../src/manifests/decode-policy.js';
import { decodeEndpointSlice, decodeService } from '../../src/manifests/decode-service.js';
import type { WorldEvent } from '../../src/model/event.js';
import { World } from '../../src/model/world.js';
import { eventually } from './agent-fixture.js';
import { type ApiObject, ApiServer, type ApiServerOptions } from './api-server.js';

/** So short that nothing in a test has to be waited for; patience is long enough for a machine with other things to do. */
export const quick: Partial<ReflectorSettings> = {
  patience: 5000,
  watchTime: 60_000,
  silence: 60_000,
  firstPause: 2,
  longestPause: 20,
  healthy: 1000,
};

export function plainAccess(server: string, extra: Partial<Access> = {}): Access {
  return {
    server,
    from: 'the test',
    ca: null,
    certificate: null,
    token: null,
    serverName: null,
    insecure: false,
    notes: [],
    ...extra,
  };
}

export interface Watching {
  readonly source: KubeSource;
  readonly world: World;
  readonly events: WorldEvent[];
  readonly logged: string[];
  readonly problems: () => readonly Problem[];
  readonly synced: () => boolean;
  /** Resolves when the World holds what the server does, and every kind is watched. */
  caughtUp(): Promise<void>;
}

export function watching(
  context: Pick<TestContext, 'after'>,
  server: ApiServer,
  settings: Partial<ReflectorSettings> = {},
  access: Partial<Access> = {},
  each: (world: World) => void = () => {},
): Watching {
  const world = new World();
  const events: WorldEvent[] = [];
  const logged: string[] = [];
  let problems: readonly Problem[] = [];
  let synced = false;
  const source = new KubeSource({
    client: new KubeClient(plainAccess(server.url, access)),
    log: (_level, message) => logged.push(message),
    settings: { ...quick, ...settings },
    remindEvery: 20,
  });
  source.start({
    apply: (told) => {
      for (const event of told) {
        events.push(event);
        world.apply(event);
      }
      if (synced) each(world);
    },
    synced: () => {
      synced = true;
      each(world);
    },
    problems: (now) => {
      problems = now;
    },
  });
  context.after(() => source.stop());
  const watched: Watching = {
    source,
    world,
    events,
    logged,
    problems: () => problems,
    synced: () => synced,
    caughtUp: () => eventually('the source caught up', () => isEqual(server, watched), 20_000),
  };
  return watched;
}

export async function apiServer(
  context: Pick<TestContext, 'after'>,
  options: ApiServerOptions = {},
): Promise<ApiServer> {
  const server = await ApiServer.start(options);
  context.after(() => server.down());
  return server;
}

function isEqual(server: ApiServer, { source, world }: Watching): boolean {
  return source.watches.every(({ state }) => state === 'watching') && holds(world) === serverHolds(server);
}

/** Names with what tests change in an object: labels, phase, addresses, the policy's rules. */
export function holds(world: World): string {
  const lines: string[] = [];
  for (const [key, pod] of world.all('pod'))
    lines.push(`pod ${key} ${pod.uid} ${[...pod.labels].join(';')} ${pod.addresses.map(({ text }) => text)}`);
  for (const [key, policy] of world.all('policy'))
    lines.push(`policy ${key} ${policy.uid} ${policy.podSelector.text} ${policy.ingress?.length ?? 'open'}`);
  for (const [key, namespace] of world.all('namespace'))
    lines.push(`namespace ${key} ${[...namespace.labels].sort().join(';')}`);
  for (const key of world.all('service').keys()) lines.push(`service ${key}`);
  for (const key of world.all('slice').keys()) lines.push(`slice ${key}`);
  for (const key of world.all('node').keys()) lines.push(`node ${key}`);
  return lines.sort().join('\n');
}

/** The same, by the decoder of manifests, which has tests of its own. */
export function serverHolds(server: ApiServer): string {
  const world = new World();
  for (const [resource, kind] of decoders) {
    for (const object of server.list(resource)) {
      const event = kind(object);
      if (event !== undefined) world.apply(event);
    }
  }
  return holds(world);
}

function upsert(kind: string, object: unknown): WorldEvent | undefined {
  return object === undefined ? undefined : ({ type: 'upsert', kind, object } as WorldEvent);
}

const decoders: readonly (readonly [string, (object: ApiObject) => WorldEvent | undefined])[] = [
  ['namespaces', (object) => upsert('namespace', decodeNamespace(object))],
  ['nodes', (object) => upsert('node', decodeNode(object))],
  ['pods', (object) => upsert('pod', decodePod(object))],
  ['networkpolicies', (object) => upsert('policy', decodePolicy(object))],
  ['services', (object) => upsert('service', decodeService(object))],
  ['endpointslices', (object) => upsert('slice', decodeEndpointSlice(object))],
];

// ---- objects

export function pod(
  name: string,
  labels: Readonly<Record<string, string>> = {},
  extra: object = {},
): ApiObject {
  return {
    metadata: {
      namespace: 'default',
      name,
      labels,
      managedFields: [{ manager: 'kubelet', operation: 'Update' }],
    },
    spec: { nodeName: 'n1', containers: [{ name: 'c', image: 'i', ports: [{ containerPort: 80 }] }] },
    status: { phase: 'Running', podIP: '10.42.0.9', hostIP: '192.0.2.1' },
    ...extra,
  };
}

export function policy(
  name: string,
  spec: object = { podSelector: {}, policyTypes: ['Ingress'] },
): ApiObject {
  return { metadata: { namespace: 'default', name }, spec };
}

export function namespace(name: string, labels: Readonly<Record<string, string>> = {}): ApiObject {
  return { metadata: { name, labels }, status: { phase: 'Active' } };
}

export function service(name: string): ApiObject {
  return {
    metadata: { namespace: 'default', name },
    spec: {
      clusterIP: '10.43.0.7',
      clusterIPs: ['10.43.0.7'],
      selector: { app: name },
      ports: [{ port: 80 }],
    },
  };
}

/** A kubeconfig file for the server. */
export function kubeconfigOf(t: Pick<TestContext, 'after'>, server: ApiServer): string {
  const folder = mkdtempSync(join(tmpdir(), 'weft-kube-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, 'config');
  const clusters = [{ name: 'c', cluster: { server: server.url } }];
  const contexts = [{ name: 'c', context: { cluster: 'c' } }];
  writeFileSync(path, JSON.stringify({ 'current-context': 'c', clusters, contexts }));
  return path;
}
