/**
 * The world as this node sees it: what the sources tell, with what only this node knows laid over it. A pod that is attached here has
 * the addresses that IPAM gave it and runs on this node, whatever a source says of it yet; this node has the addresses of the host.
 *
 * A pure value apart from its World: no clock, no input or output. Everything that changes it goes through here, so that the
 * compiler needs to know nothing of attachments.
 */
import { type Kind, keyOf, type Objects, type WorldEvent } from '../model/event.js';
import type { Labels } from '../model/labels.js';
import type { Node } from '../model/node.js';
import type { HostPort, Pod } from '../model/pod.js';
import { World } from '../model/world.js';
import type { Address } from '../net/address.js';
import type { Cidr } from '../net/cidr.js';

/** A pod that is attached to this node's switch. */
export interface AttachedPod {
  readonly namespace: string;
  readonly name: string;
  /** '' where the caller did not know it. */
  readonly uid: string;
  readonly addresses: readonly Address[];
  /** Set for a container that no source has to tell of: it is known by them. */
  readonly labels?: Labels;
  /** Absent: none. */
  readonly hostPorts?: readonly HostPort[];
}

export interface ThisNode {
  readonly name: string;
  readonly addresses: readonly Address[];
  readonly podCidrs: readonly Cidr[];
}

export class NodeState {
  /** What the compiler sees. */
  readonly world = new World();
  #node: ThisNode;
  readonly #attached = new Map<string, AttachedPod>();
  /** Pods and nodes as the source told them, under the overlay. */
  readonly #pods = new Map<string, Pod>();
  #sourceNode: Node | null = null;
  /** Null: to be found anew. */
  #localPods: ReadonlySet<string> | null = null;

  constructor(node: ThisNode) {
    this.#node = node;
    this.#refreshNode();
  }

  get node(): ThisNode {
    return this.#node;
  }

  /** This node as its source tells it; null: no source has told of it. */
  get sourceNode(): Node | null {
    return this.#sourceNode;
  }

  /** Keys (`namespace/name`) of attached pods that a source knows: the pods that get a program. The same set until a pod is another. */
  localPods(): ReadonlySet<string> {
    this.#localPods ??= new Set([...this.#attached.keys()].filter((key) => this.knows(key)));
    return this.#localPods;
  }

  /** Whether a source has told of the attached pod, and not of a predecessor with another uid. */
  knows(key: string): boolean {
    const attached = this.#attached.get(key);
    const pod = this.#pods.get(key);
    if (attached === undefined) return false;
    return pod === undefined ? attached.labels !== undefined : sameLife(attached, pod);
  }

  /** Whether the pod as its source tells it has this uid, as far as both are known; false: no source tells of it. */
  isLife(key: string, uid: string): boolean {
    const pod = this.#pods.get(key);
    return pod !== undefined && sameLife({ uid }, pod);
  }

  /** The pod as its source tells it. */
  sourcePod(key: string): Pod | undefined {
    return this.#pods.get(key);
  }

  /** Events of a source; false: nothing changed. */
  apply(events: readonly WorldEvent[]): boolean {
    const before = this.world.revision;
    for (const event of events) this.#applyOne(event);
    return this.world.revision !== before;
  }

  attach(pod: AttachedPod): void {
    const key = keyOf(pod.namespace, pod.name);
    this.#localPods = null;
    this.#attached.set(key, pod);
    this.#refreshPod(key);
  }

  detach(key: string): void {
    this.#localPods = null;
    if (this.#attached.delete(key)) this.#refreshPod(key);
  }

  setNode(node: ThisNode): void {
    this.#node = node;
    this.#refreshNode();
    for (const key of this.#attached.keys()) this.#refreshPod(key);
  }

  #applyOne(event: WorldEvent): void {
    if (event.kind === 'pod') {
      const key = keyOf(
        event.type === 'upsert' ? event.object.namespace : event.namespace,
        event.type === 'upsert' ? event.object.name : event.name,
      );
      this.#localPods = null;
      if (event.type === 'upsert') this.#pods.set(key, event.object);
      else if (event.uid === undefined || this.#pods.get(key)?.uid === event.uid) this.#pods.delete(key);
      this.#refreshPod(key);
      return;
    }
    const ownNode = event.kind === 'node' && (event.type === 'upsert' ? event.object.name : event.name);
    if (event.kind === 'node' && ownNode === this.#node.name) {
      this.#sourceNode = event.type === 'upsert' ? event.object : null;
      this.#refreshNode();
      return;
    }
    if (event.type === 'upsert') this.#put(event.kind, event.object);
    else this.world.apply(event);
  }

  #refreshPod(key: string): void {
    const attached = this.#attached.get(key);
    const pod =
      this.#pods.get(key) ??
      (attached?.labels === undefined ? undefined : plainPod(attached, attached.labels));
    const held = this.world.get('pod', key);
    if (pod === undefined) {
      if (held !== undefined)
        this.world.apply({ type: 'delete', kind: 'pod', namespace: held.namespace, name: held.name });
      return;
    }
    const effective = attached !== undefined && sameLife(attached, pod) ? this.#overlay(pod, attached) : pod;
    if (held === undefined || !samePod(held, effective)) this.#put('pod', effective);
  }

  #overlay(pod: Pod, attached: AttachedPod): Pod {
    return {
      ...pod,
      addresses: attached.addresses,
      hostAddresses: this.#node.addresses,
      nodeName: this.#node.name,
      // The sandbox runs, or nobody would have attached it; a source that says otherwise is late. Finished stays finished.
      phase: pod.phase === 'Pending' || pod.phase === 'Unknown' ? 'Running' : pod.phase,
      ...(attached.hostPorts === undefined ? {} : { hostPorts: attached.hostPorts }),
    };
  }

  /**
   * The World keeps the life of a name that was created later, by clocks that may differ. Here the source has decided already, so a
   * former life is removed first.
   */
  #put<K extends Kind>(kind: K, object: Objects[K]): void {
    const namespace = 'namespace' in object ? object.namespace : '';
    const { name } = object;
    const held = this.world.get(kind, keyOf(namespace, name));
    if (held !== undefined && 'uid' in held && 'uid' in object && held.uid !== object.uid)
      this.world.apply({ type: 'delete', kind, namespace, name });
    this.world.put(kind, object);
  }

  #refreshNode(): void {
    const source = this.#sourceNode;
    const addresses = new Map<string, Address>();
    for (const address of [...this.#node.addresses, ...(source?.addresses ?? [])])
      addresses.set(address.text, address);
    this.world.put('node', {
      name: this.#node.name,
      addresses: [...addresses.values()],
      podCidrs: this.#node.podCidrs.length > 0 ? this.#node.podCidrs : (source?.podCidrs ?? []),
      ...(source?.zone === undefined ? {} : { zone: source.zone }),
      ...(source?.source === undefined ? {} : { source: source.source }),
    });
  }
}

/** A container without Kubernetes: nothing of it is known but what its runtime said. */
function plainPod({ namespace, name, uid }: AttachedPod, labels: Labels): Pod {
  return {
    namespace,
    name,
    uid,
    labels,
    addresses: [],
    hostAddresses: [],
    hostNetwork: false,
    nodeName: '',
    phase: 'Running',
    terminating: false,
    ready: true,
    created: '',
    ports: [],
  };
}

/** The kubelet and its runtime know a static pod by the hash of its manifest, not by its mirror's uid. */
function sameLife(attached: Pick<AttachedPod, 'uid'>, pod: Pod): boolean {
  return attached.uid === '' || pod.uid === '' || attached.uid === pod.uid || attached.uid === pod.configHash;
}

/** Shallow: members of pods are shared, frozen values. */
function samePod(one: Pod, other: Pod): boolean {
  const keys = new Set([...Object.keys(one), ...Object.keys(other)]) as Set<keyof Pod>;
  for (const key of keys) if (one[key] !== other[key]) return false;
  return true;
}
