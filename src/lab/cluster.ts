/**
 * What an API server, a scheduler, the controllers and a kubelet's status would have made of the manifests: namespaces that are
 * named but not declared, pods from workloads, one node for all pods, addresses for pods and Services. The result is plain Kubernetes
 * objects, which the agent reads as it would read a cluster's.
 *
 * A value with a history: apply and delete change it, `objects` and `pods` tell what is now. No I/O.
 */
import type { Problem } from '../errors/problem.js';
import { expandWorkload } from '../manifests/expand.js';
import { recognise } from '../manifests/kinds.js';
import type { KubernetesObject, ManifestObject } from '../manifests/object.js';
import { nameOf } from '../manifests/plain.js';
import { type Address, address } from '../net/address.js';
import { type Cidr, cidr } from '../net/cidr.js';
import { dnsObjects } from './dns-objects.js';
import { type LabPod, PodLives, type PodWish } from './pod-lives.js';
import { ServiceAddresses } from './service-addresses.js';

export const nodeName = 'lab';
export const clusterDomain = 'cluster.local';

export interface ClusterOptions {
  readonly podCidrs: readonly Cidr[];
  readonly serviceCidrs: readonly Cidr[];
  readonly nodeAddresses: readonly Address[];
  /** Whether the lab brings a DNS pod and the Service kube-dns. */
  readonly dns: boolean;
}

export const usualCluster: ClusterOptions = {
  podCidrs: [cidr('10.42.0.0/16'), cidr('fd42::/64')],
  serviceCidrs: [cidr('10.43.0.0/16'), cidr('fd43::/112')],
  nodeAddresses: [address('172.31.255.1'), address('fd41::1')],
  dns: true,
};

export interface Change {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly what: 'created' | 'configured' | 'unchanged' | 'deleted' | 'skipped' | 'not found';
}

export interface Changes {
  readonly changes: readonly Change[];
  readonly problems: readonly Problem[];
}

interface Stored {
  readonly object: ManifestObject;
  readonly kind: string;
}

const clusterScoped = new Set(['Namespace', 'Node']);
const alwaysThere = ['default', 'kube-system'];

export class Cluster {
  readonly options: ClusterOptions;
  readonly #stored = new Map<string, Stored>();
  readonly #lives: PodLives;
  readonly #services: ServiceAddresses;
  #objects: KubernetesObject[] = [];

  constructor(options: ClusterOptions = usualCluster) {
    this.options = options;
    this.#lives = new PodLives({ name: nodeName, addresses: options.nodeAddresses }, options.podCidrs);
    this.#services = new ServiceAddresses(options.serviceCidrs);
    if (options.dns) for (const object of dnsObjects()) this.#store(object);
    this.#settle([]);
  }

  /** Namespaces, Node, Pods, Services and policies as the agent is to see them. */
  get objects(): readonly KubernetesObject[] {
    return this.#objects;
  }

  /** Pods that run, sorted by key. */
  get pods(): readonly LabPod[] {
    return this.#lives.running;
  }

  /** What was applied, without what the lab made of it. */
  get applied(): readonly KubernetesObject[] {
    return [...this.#stored.values()].map(({ object }) => object.value);
  }

  apply(objects: readonly ManifestObject[]): Changes {
    const problems: Problem[] = [];
    const changes = objects.map((object) => this.#store(object));
    this.#settle(problems);
    return { changes, problems };
  }

  delete(objects: readonly ManifestObject[]): Changes {
    const problems: Problem[] = [];
    const changes = objects.map((object) => this.#remove(object));
    this.#settle(problems);
    return { changes, problems };
  }

  /** These objects and what the lab itself brings, nothing else. What stays the same lives on. */
  replace(objects: readonly ManifestObject[]): Changes {
    const problems: Problem[] = [];
    const before = new Set(this.#stored.keys());
    const own = this.options.dns ? dnsObjects() : [];
    for (const object of own) this.#store(object);
    const changes = objects.map((object) => this.#store(object));
    for (const object of [...own, ...objects]) before.delete(storedKey(object));
    for (const key of before) {
      const { object, kind } = this.#stored.get(key)!;
      this.#stored.delete(key);
      const { namespace, name } = nameOf(object.value)!;
      changes.push({ kind, namespace: clusterScoped.has(kind) ? '' : namespace, name, what: 'deleted' });
    }
    this.#settle(problems);
    return { changes, problems };
  }

  #store(object: ManifestObject): Change {
    const { value } = object;
    const named = nameOf(value);
    const known = recognise(value);
    const kind = String(value.kind ?? '?');
    // All pods of a lab are on its one node; a manifest's nodes have no place in it.
    if (named === undefined || known === undefined || known.name === 'Node') {
      return { kind, namespace: named?.namespace ?? '', name: named?.name ?? '?', what: 'skipped' };
    }
    const namespace = clusterScoped.has(known.name) ? '' : named.namespace;
    const key = storedKey(object);
    const held = this.#stored.get(key);
    const same = held !== undefined && JSON.stringify(held.object.value) === JSON.stringify(value);
    if (!same) this.#stored.set(key, { object, kind: known.name });
    const what = same ? 'unchanged' : held === undefined ? 'created' : 'configured';
    return { kind: known.name, namespace, name: named.name, what };
  }

  #remove(object: ManifestObject): Change {
    const named = nameOf(object.value);
    const kind = recognise(object.value)?.name ?? String(object.value.kind ?? '?');
    const namespace = clusterScoped.has(kind) ? '' : (named?.namespace ?? '');
    const name = named?.name ?? '?';
    const found = this.#stored.delete(storedKey(object));
    // As in a cluster, what is in a namespace goes with it.
    if (kind === 'Namespace') {
      for (const key of [...this.#stored.keys()]) if (key.includes(` ${name}/`)) this.#stored.delete(key);
    }
    return { kind, namespace, name, what: found ? 'deleted' : 'not found' };
  }

  /** Brings `objects` and `pods` up to date with what is stored. Deterministic: in the order of names. */
  #settle(problems: Problem[]): void {
    const stored = [...this.#stored.entries()].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
    const objects: KubernetesObject[] = [this.#node()];
    const pods: PodWish[] = [];
    const services: KubernetesObject[] = [];
    for (const [, { object, kind }] of stored) {
      if (kind === 'Pod') pods.push({ value: object.value });
      else if (kind === 'Service') services.push(object.value);
      else if (recognise(object.value)?.kind.use === 'expand') {
        const expansion = expandWorkload(object, [nodeName]);
        problems.push(...expansion.problems);
        for (const pod of expansion.pods) pods.push({ value: pod.value, owner: object.value });
      } else objects.push(object.value);
    }
    objects.push(...this.#lives.settle(pods, problems));
    objects.push(...this.#services.settle(services, problems));
    this.#objects = [...missingNamespaces(objects), ...objects];
  }

  #node(): KubernetesObject {
    return {
      apiVersion: 'v1',
      kind: 'Node',
      metadata: { name: nodeName, labels: { 'kubernetes.io/hostname': nodeName } },
      spec: { podCIDRs: this.options.podCidrs.map(({ text }) => text) },
      status: {
        addresses: this.options.nodeAddresses.map(({ text }) => ({ type: 'InternalIP', address: text })),
      },
    };
  }
}

function storedKey({ value }: ManifestObject): string {
  const kind = recognise(value)?.name ?? String(value.kind);
  const named = nameOf(value);
  return `${kind} ${clusterScoped.has(kind) ? '' : named?.namespace}/${named?.name}`;
}

/** Namespace objects for those that are used or always there and that nobody declared. */
function missingNamespaces(objects: readonly KubernetesObject[]): KubernetesObject[] {
  const declared = new Set<string>();
  const used = new Set(alwaysThere);
  for (const object of objects) {
    const named = nameOf(object);
    if (named === undefined) continue;
    if (object.kind === 'Namespace') declared.add(named.name);
    else if (!clusterScoped.has(String(object.kind))) used.add(named.namespace);
  }
  return [...used]
    .filter((name) => !declared.has(name))
    .sort()
    .map((name) => ({ apiVersion: 'v1', kind: 'Namespace', metadata: { name } }));
}
