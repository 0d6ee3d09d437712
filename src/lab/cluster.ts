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
import { addressesFrom, nameOf, objectOf, objectsOf, type PlainObject, textOf } from '../manifests/plain.js';
import { isProtocol } from '../model/protocol.js';
import { type Address, address } from '../net/address.js';
import { type Cidr, cidr } from '../net/cidr.js';
import { Pool } from './allot.js';
import { dnsObjects } from './dns-objects.js';
import type { ServedPort } from './engine.js';

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

/** A pod that runs: it has a namespace of its own (or the node's) and addresses. */
export interface LabPod {
  readonly key: string;
  readonly namespace: string;
  readonly name: string;
  /** Another life of the same name has another uid. */
  readonly uid: string;
  readonly hostNetwork: boolean;
  readonly addresses: readonly Address[];
  readonly ports: readonly ServedPort[];
}

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

interface Life {
  readonly uid: string;
  readonly addresses: readonly Address[];
  /** Those that came out of a pool and go back to it. */
  readonly pooled: readonly Address[];
  /** What the addresses were decided from; another text means another life. */
  readonly basis: string;
}

const clusterScoped = new Set(['Namespace', 'Node']);
const alwaysThere = ['default', 'kube-system'];

export class Cluster {
  readonly options: ClusterOptions;
  readonly #stored = new Map<string, Stored>();
  readonly #lives = new Map<string, Life>();
  readonly #services = new Map<
    string,
    { readonly addresses: readonly Address[]; readonly pooled: readonly Address[] }
  >();
  readonly #podPools: readonly Pool[];
  readonly #servicePools: readonly Pool[];
  #births = 0;
  #objects: KubernetesObject[] = [];
  #pods: LabPod[] = [];

  constructor(options: ClusterOptions = usualCluster) {
    this.options = options;
    this.#podPools = options.podCidrs.map((block) => new Pool(block, 2));
    this.#servicePools = options.serviceCidrs.map((block) => new Pool(block, 16));
    if (options.dns) for (const object of dnsObjects()) this.#store(object);
    this.#settle([]);
  }

  /** Namespaces, Node, Pods, Services and policies as the agent is to see them. */
  get objects(): readonly KubernetesObject[] {
    return this.#objects;
  }

  /** Pods that run, sorted by key. */
  get pods(): readonly LabPod[] {
    return this.#pods;
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
    const pods: { value: KubernetesObject; owner?: KubernetesObject }[] = [];
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
    objects.push(...this.#settlePods(pods, problems));
    objects.push(...this.#settleServices(services, problems));
    this.#objects = [...missingNamespaces(objects), ...objects];
  }

  #settlePods(
    pods: readonly { value: KubernetesObject; owner?: KubernetesObject }[],
    problems: Problem[],
  ): KubernetesObject[] {
    const running = new Map<string, { value: KubernetesObject; owner?: KubernetesObject }>();
    for (const pod of pods) {
      const named = nameOf(pod.value);
      if (named !== undefined) running.set(`${named.namespace}/${named.name}`, pod);
    }
    for (const [key, life] of this.#lives) {
      const pod = running.get(key);
      if (pod !== undefined && basisOf(pod.value) === life.basis) continue;
      for (const pooled of life.pooled) for (const pool of this.#podPools) pool.release(pooled);
      this.#lives.delete(key);
    }
    // Addresses that are given come first, so that an allotted one is never one of them.
    const byKey = [...running].sort(([a], [b]) => (a < b ? -1 : 1));
    const fixed = byKey.filter(([, { value }]) => givenAddresses(value).length > 0);
    const free = byKey.filter(([, { value }]) => givenAddresses(value).length === 0);
    const settled: KubernetesObject[] = [];
    this.#pods = [];
    for (const [key, { value, owner }] of [...fixed, ...free]) {
      const life = this.#lives.get(key) ?? this.#birth(key, value, problems);
      const object = this.#placed(value, owner, life);
      settled.push(object);
      const pod = this.#labPod(key, object, life);
      if (pod !== undefined) this.#pods.push(pod);
    }
    this.#pods.sort((a, b) => (a.key < b.key ? -1 : 1));
    return settled;
  }

  #birth(key: string, value: KubernetesObject, problems: Problem[]): Life {
    const hostNetwork = objectOf(value.spec).hostNetwork === true;
    const given = givenAddresses(value);
    const pooled: Address[] = [];
    let addresses: readonly Address[] = hostNetwork ? this.options.nodeAddresses : given;
    if (!hostNetwork && given.length > 0) {
      for (const one of given) {
        const owner = [...this.#lives].find(([, life]) =>
          life.addresses.some(({ text }) => text === one.text),
        );
        if (owner !== undefined) problems.push(taken(key, one, owner[0]));
        else if (this.#podPools.some((pool) => pool.reserve(one))) pooled.push(one);
      }
    } else if (!hostNetwork) {
      for (const pool of this.#podPools) {
        const one = pool.take();
        if (one !== undefined) pooled.push(one);
      }
      addresses = pooled;
      if (addresses.length === 0) {
        problems.push({
          code: 'lab-addresses-exhausted',
          severity: 'error',
          message: `No address is left for the pod ${key}.`,
          fix: 'Start the lab with a larger --pod-cidr.',
        });
      }
    }
    this.#births++;
    const life = { uid: `lab-${this.#births}`, addresses, pooled, basis: basisOf(value) };
    this.#lives.set(key, life);
    return life;
  }

  /** The pod as a kubelet would report it. */
  #placed(value: KubernetesObject, owner: KubernetesObject | undefined, life: Life): KubernetesObject {
    const metadata = objectOf(value.metadata);
    const spec = objectOf(value.spec);
    const status = objectOf(value.status);
    const ips = (list: readonly Address[]) => list.map(({ text }) => ({ ip: text }));
    // A StatefulSet's pods have names in its headless Service.
    const governed = owner?.kind === 'StatefulSet' ? textOf(objectOf(owner.spec).serviceName) : '';
    return {
      ...value,
      metadata: { ...metadata, uid: life.uid },
      spec: {
        ...(governed === '' ? {} : { hostname: metadata.name, subdomain: governed }),
        ...spec,
        nodeName,
      },
      status: {
        ...status,
        phase: status.phase ?? 'Running',
        podIP: life.addresses[0]?.text,
        podIPs: ips(life.addresses),
        hostIP: this.options.nodeAddresses[0]?.text,
        hostIPs: ips(this.options.nodeAddresses),
      },
    };
  }

  #labPod(key: string, object: KubernetesObject, life: Life): LabPod | undefined {
    const named = nameOf(object);
    const spec = objectOf(object.spec);
    const phase = objectOf(object.status).phase;
    if (named === undefined || phase === 'Succeeded' || phase === 'Failed' || life.addresses.length === 0) {
      return undefined;
    }
    return {
      key,
      namespace: named.namespace,
      name: named.name,
      uid: life.uid,
      hostNetwork: spec.hostNetwork === true,
      addresses: life.addresses,
      ports: servedPorts(spec),
    };
  }

  #settleServices(services: readonly KubernetesObject[], problems: Problem[]): KubernetesObject[] {
    const keys = new Set(services.map((value) => serviceKey(value)));
    for (const [key, held] of this.#services) {
      if (keys.has(key)) continue;
      for (const pooled of held.pooled) for (const pool of this.#servicePools) pool.release(pooled);
      this.#services.delete(key);
    }
    const own = services.map((value) => ({ value, given: givenServiceAddresses(value) }));
    const order = [
      ...own.filter(({ given }) => given.length > 0),
      ...own.filter(({ given }) => given.length === 0),
    ];
    return order.map(({ value, given }) => {
      const spec = objectOf(value.spec);
      if (spec.clusterIP === 'None' || spec.type === 'ExternalName') return value;
      const key = serviceKey(value);
      let held = this.#services.get(key);
      if (
        held === undefined ||
        (given.length > 0 && given.some((one, i) => one.text !== held?.addresses[i]?.text))
      ) {
        held = this.#allotService(key, spec, given, problems);
        this.#services.set(key, held);
      }
      const clusterIPs = held.addresses.map(({ text }) => text);
      return { ...value, spec: { ...spec, clusterIP: clusterIPs[0], clusterIPs } };
    });
  }

  #allotService(key: string, spec: PlainObject, given: readonly Address[], problems: Problem[]) {
    const pooled: Address[] = [];
    if (given.length > 0) {
      for (const one of given) if (this.#servicePools.some((pool) => pool.reserve(one))) pooled.push(one);
      return { addresses: given, pooled };
    }
    const families = Array.isArray(spec.ipFamilies)
      ? spec.ipFamilies.map((name) => (name === 'IPv6' ? 6 : 4))
      : spec.ipFamilyPolicy === 'SingleStack'
        ? [this.#servicePools[0]?.family ?? 4]
        : this.#servicePools.map((pool) => pool.family);
    for (const family of families) {
      const one = this.#servicePools.find((pool) => pool.family === family)?.take();
      if (one !== undefined) pooled.push(one);
    }
    if (pooled.length === 0) {
      problems.push({
        code: 'lab-addresses-exhausted',
        severity: 'error',
        message: `No cluster address is left for the Service ${key}.`,
      });
    }
    return { addresses: pooled, pooled };
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

function taken(key: string, address: Address, owner: string): Problem {
  return {
    code: 'lab-address-taken',
    severity: 'error',
    message: `The manifest gives ${key} the address ${address.text}, which ${owner} has already.`,
    fix: 'Give one of the two another status.podIPs, or none.',
  };
}

function storedKey({ value }: ManifestObject): string {
  const kind = recognise(value)?.name ?? String(value.kind);
  const named = nameOf(value);
  return `${kind} ${clusterScoped.has(kind) ? '' : named?.namespace}/${named?.name}`;
}

function serviceKey(value: KubernetesObject): string {
  const named = nameOf(value);
  return `${named?.namespace}/${named?.name}`;
}

function givenAddresses(value: KubernetesObject): Address[] {
  if (objectOf(value.spec).hostNetwork === true) return [];
  const status = objectOf(value.status);
  return addressesFrom(status.podIPs, status.podIP);
}

function givenServiceAddresses(value: KubernetesObject): Address[] {
  const spec = objectOf(value.spec);
  return addressesFrom(spec.clusterIPs, spec.clusterIP);
}

/** A pod whose network changes is another pod; labels and ports may change during its life. */
function basisOf(value: KubernetesObject): string {
  const host = objectOf(value.spec).hostNetwork === true;
  const phase = objectOf(value.status).phase;
  const ended = phase === 'Succeeded' || phase === 'Failed';
  return JSON.stringify([host, ended, givenAddresses(value).map(({ text }) => text)]);
}

function servedPorts(spec: PlainObject): ServedPort[] {
  const sidecars = objectsOf(spec.initContainers).filter((container) => container.restartPolicy === 'Always');
  const ports = new Map<string, ServedPort>();
  for (const container of [...objectsOf(spec.containers), ...sidecars]) {
    for (const { containerPort, protocol = 'TCP' } of objectsOf(container.ports)) {
      if (typeof containerPort !== 'number' || !Number.isInteger(containerPort)) continue;
      if (containerPort < 1 || containerPort > 65535) continue;
      if (typeof protocol !== 'string' || !isProtocol(protocol)) continue;
      ports.set(`${protocol}/${containerPort}`, { protocol, port: containerPort });
    }
  }
  return [...ports.values()];
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
