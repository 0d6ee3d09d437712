/**
 * The lab's pods: each lives from when a manifest (or a workload's) first has it until it is gone or its network is another; for that
 * long it has its uid and its addresses. What a scheduler and a kubelet would write into the object is written here.
 */
import type { Problem } from '../errors/problem.js';
import type { KubernetesObject } from '../manifests/object.js';
import { addressesFrom, nameOf, objectOf, objectsOf, type PlainObject, textOf } from '../manifests/plain.js';
import { isProtocol } from '../model/protocol.js';
import type { Address } from '../net/address.js';
import type { Cidr } from '../net/cidr.js';
import { Pool } from './allot.js';
import type { ServedPort } from './engine.js';

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

/** A pod as a manifest has it, with the workload that it is of. */
export interface PodWish {
  readonly value: KubernetesObject;
  readonly owner?: KubernetesObject;
}

/** The one node of a lab. */
export interface LabNode {
  readonly name: string;
  readonly addresses: readonly Address[];
}

interface Life {
  readonly uid: string;
  readonly addresses: readonly Address[];
  /** Those that came out of a pool and go back to it. */
  readonly pooled: readonly Address[];
  /** What the addresses were decided from; another text means another life. */
  readonly basis: string;
}

export class PodLives {
  readonly #node: LabNode;
  readonly #pools: readonly Pool[];
  readonly #lives = new Map<string, Life>();
  #births = 0;
  #running: LabPod[] = [];

  constructor(node: LabNode, podCidrs: readonly Cidr[]) {
    this.#node = node;
    this.#pools = podCidrs.map((block) => new Pool(block, 2));
  }

  /** Those that run, sorted by key. */
  get running(): readonly LabPod[] {
    return this.#running;
  }

  /** These pods and no others live on. Returns their objects as the API would have them. */
  settle(pods: readonly PodWish[], problems: Problem[]): KubernetesObject[] {
    const wanted = new Map<string, PodWish>();
    for (const pod of pods) {
      const named = nameOf(pod.value);
      if (named !== undefined) wanted.set(`${named.namespace}/${named.name}`, pod);
    }
    for (const [key, life] of this.#lives) {
      const pod = wanted.get(key);
      if (pod !== undefined && basisOf(pod.value) === life.basis) continue;
      for (const pooled of life.pooled) for (const pool of this.#pools) pool.release(pooled);
      this.#lives.delete(key);
    }
    // Addresses that are given come first, so that an allotted one is never one of them.
    const byKey = [...wanted].sort(([a], [b]) => (a < b ? -1 : 1));
    const fixed = byKey.filter(([, { value }]) => givenAddresses(value).length > 0);
    const free = byKey.filter(([, { value }]) => givenAddresses(value).length === 0);
    const settled: KubernetesObject[] = [];
    this.#running = [];
    for (const [key, { value, owner }] of [...fixed, ...free]) {
      const life = this.#lives.get(key) ?? this.#birth(key, value, problems);
      const object = this.#placed(value, owner, life);
      settled.push(object);
      const pod = this.#labPod(key, object, life);
      if (pod !== undefined) this.#running.push(pod);
    }
    this.#running.sort((a, b) => (a.key < b.key ? -1 : 1));
    return settled;
  }

  #birth(key: string, value: KubernetesObject, problems: Problem[]): Life {
    const hostNetwork = objectOf(value.spec).hostNetwork === true;
    const given = givenAddresses(value);
    const pooled: Address[] = [];
    let addresses: readonly Address[] = hostNetwork ? this.#node.addresses : given;
    if (!hostNetwork && given.length > 0) {
      for (const one of given) {
        const owner = [...this.#lives].find(([, life]) =>
          life.addresses.some(({ text }) => text === one.text),
        );
        if (owner !== undefined) problems.push(taken(key, one, owner[0]));
        else if (this.#pools.some((pool) => pool.reserve(one))) pooled.push(one);
      }
    } else if (!hostNetwork) {
      for (const pool of this.#pools) {
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
        nodeName: this.#node.name,
      },
      status: {
        ...status,
        phase: status.phase ?? 'Running',
        podIP: life.addresses[0]?.text,
        podIPs: ips(life.addresses),
        hostIP: this.#node.addresses[0]?.text,
        hostIPs: ips(this.#node.addresses),
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
}

function taken(key: string, address: Address, owner: string): Problem {
  return {
    code: 'lab-address-taken',
    severity: 'error',
    message: `The manifest gives ${key} the address ${address.text}, which ${owner} has already.`,
    fix: 'Give one of the two another status.podIPs, or none.',
  };
}

function givenAddresses(value: KubernetesObject): Address[] {
  if (objectOf(value.spec).hostNetwork === true) return [];
  const status = objectOf(value.status);
  return addressesFrom(status.podIPs, status.podIP);
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
