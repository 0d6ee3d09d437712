/**
 * The attachments of this node: which there are (kept in the leases), what they mean for the node's state, and what the switch last
 * said of each port. All of it synchronous; who waits for the switch waits elsewhere.
 */
import type { PortStatus } from '../dataplane/protocol/answers.js';
import type { PortSpec } from '../dataplane/protocol/desired-state.js';
import { problemError, WeftError } from '../errors/problem.js';
import { collide } from '../host/host-port.js';
import type { Leases, Wish } from '../ipam/leases.js';
import { labelsOf } from '../model/labels.js';
import {
  type Attachment,
  type AttachmentDetails,
  type AttachOrder,
  isMeant,
  podKey,
  portSpec,
} from './attachment.js';
import type { NodeState } from './node-state.js';
import type { PodNetwork } from './pod-network.js';
import type { DetachRequest, HostPort } from './protocol/requests.js';

export class Attachments {
  readonly #leases: Leases<AttachmentDetails>;
  readonly #state: NodeState;
  readonly #network: PodNetwork;
  /** When an attachment's namespace was first found gone, milliseconds of the caller's clock. */
  readonly #goneSince = new Map<string, number>();
  #statuses = new Map<string, PortStatus>();
  /** What `ports` was made of, and what it was, the last time. Leases are frozen: another attachment is another object. */
  #portsOf: readonly Attachment[] = [];
  #hostPort = '';
  #ports: readonly PortSpec[] = [];

  constructor(leases: Leases<AttachmentDetails>, state: NodeState, network: PodNetwork) {
    this.#leases = leases;
    this.#state = state;
    this.#network = network;
    for (const attachment of leases.list()) this.#lay(attachment);
  }

  list(): readonly Attachment[] {
    return this.#leases.list();
  }

  get(id: string): Attachment | undefined {
    return this.#leases.get(id);
  }

  /** Those that a detach request means. */
  meant(request: Partial<DetachRequest>): readonly Attachment[] {
    return this.list().filter((attachment) => isMeant(attachment, request));
  }

  /** Every port that is desired, the node's own first. The same list as long as none is another. */
  get ports(): readonly PortSpec[] {
    const list = this.list();
    const { hostPort } = this.#network;
    const host = JSON.stringify(hostPort);
    const before = this.#portsOf;
    if (host === this.#hostPort && list.length === before.length && list.every((one, i) => one === before[i]))
      return this.#ports;
    const pods = list.map(portSpec);
    this.#portsOf = list;
    this.#hostPort = host;
    this.#ports = hostPort === null ? pods : [hostPort, ...pods];
    return this.#ports;
  }

  /** How many of `limits.ports` are used: the pods, and the node's own port where it has one. */
  get count(): number {
    return this.list().length + (this.#network.hostPort === null ? 0 : 1);
  }

  /**
   * Adds an attachment, or gives an existing one its new details. A new sandbox of the same pod takes the place of the old one, whose
   * DEL may come late or never. `wish`: addresses that the pod has to get. Throws what is in the way.
   */
  add(order: AttachOrder, wish: Wish, most: number): Attachment {
    const { id, details } = order;
    const key = podKey(order);
    const known = this.get(id);
    // Asked for twice at once, it is one attachment; who waits for it goes on waiting.
    if (
      known !== undefined &&
      JSON.stringify(known.details) === JSON.stringify(details) &&
      meets(known, wish)
    )
      return known;
    for (const other of this.list()) {
      if (podKey(other) === key && other.details.ifname === details.ifname && other.id !== id)
        this.remove(other);
    }
    for (const wish of details.hostPorts ?? []) this.#refuseTaken(id, key, wish);
    if (known === undefined && this.count >= most)
      throw new WeftError(
        'ports-exhausted',
        `This node carries ${this.count} ports already and limits.ports is ${most}, ${key} cannot be added. Raise limits.ports, or place the pod elsewhere.`,
      );
    const { missing } = this.#network;
    if (missing !== null && wish.addresses.length === 0) throw problemError(missing);
    const { lease, problem } = this.#leases.allocate(id, key, details, wish);
    if (lease === undefined) throw problemError(problem);
    this.#statuses.delete(id);
    this.#lay(lease);
    return lease;
  }

  /** Gives the addresses back; the port goes with the next desired state. */
  remove(attachment: Attachment): void {
    this.#leases.release(attachment.id);
    this.#statuses.delete(attachment.id);
    this.#goneSince.delete(attachment.id);
    const key = podKey(attachment);
    const other = this.list().findLast((lease) => podKey(lease) === key);
    if (other === undefined) this.#state.detach(key);
    else this.#lay(other);
  }

  /** What the switch said last; undefined: nothing since it was connected, or since the attachment was made. */
  status(id: string): PortStatus | undefined {
    return this.#statuses.get(id);
  }

  get failed(): readonly PortStatus[] {
    return [...this.#statuses.values()].filter(({ status }) => status === 'failed');
  }

  /** The statuses of an acknowledgement, or of none: another switch knows nothing of what its predecessor said. */
  acknowledged(ports: readonly PortStatus[]): void {
    this.#statuses = new Map(ports.map((port) => [port.id, port]));
  }

  /** A later word on ports that were acknowledged. */
  observed(ports: readonly PortStatus[]): void {
    for (const { id, status, error } of ports) {
      if (this.#statuses.has(id))
        this.#statuses.set(id, { id, status, ...(error === undefined ? {} : { error }) });
    }
  }

  /**
   * Removes pods that went away without a DEL: `gone` are the attachments whose namespace is not there any more. Those whose port has
   * failed go at once, the others when they have been gone for `grace` milliseconds. `busy`: those that are being attached.
   */
  removeGone(
    gone: ReadonlySet<string>,
    busy: ReadonlySet<string>,
    now: number,
    grace: number,
  ): readonly Attachment[] {
    for (const id of [...this.#goneSince.keys()]) if (!gone.has(id)) this.#goneSince.delete(id);
    const over = this.list().filter(({ id }) => {
      if (!gone.has(id) || busy.has(id)) return false;
      const since = this.#goneSince.get(id) ?? now;
      this.#goneSince.set(id, since);
      return now - since >= grace || this.#statuses.get(id)?.status === 'failed';
    });
    for (const attachment of over) this.remove(attachment);
    return over;
  }

  /** Two pods cannot have one port of the host; the scheduler sees to that, and who goes round it is told. */
  #refuseTaken(id: string, key: string, wish: HostPort): void {
    const holder = this.list().find(
      (other) => other.id !== id && other.details.hostPorts?.some((held) => collide(held, wish)),
    );
    if (holder === undefined) return;
    const at = wish.hostIP === '' ? '' : ` at ${wish.hostIP}`;
    throw new WeftError(
      'host-port-taken',
      `The host port ${wish.hostPort}/${wish.protocol}${at} that ${key} asks for leads to the pod ${podKey(holder)}. Give one of them another hostPort, or have them on different nodes.`,
    );
  }

  /** A pod with several interfaces has the addresses of all of them. */
  #lay(attachment: Attachment): void {
    const { namespace, name, uid, labels } = attachment.details;
    const key = podKey(attachment);
    const all = this.list().filter((other) => podKey(other) === key);
    const addresses = all.flatMap((other) => other.addresses);
    const hostPorts = all.flatMap(({ details }) => details.hostPorts ?? []);
    this.#state.attach({
      namespace,
      name,
      uid,
      addresses,
      ...(labels === undefined ? {} : { labels: labelsOf(labels) }),
      ...(hostPorts.length === 0 ? {} : { hostPorts }),
    });
  }
}

function meets({ addresses }: Attachment, wish: Wish): boolean {
  return (
    wish.addresses.length === 0 ||
    (wish.addresses.length === addresses.length &&
      wish.addresses.every(({ text }) => addresses.some((held) => held.text === text)))
  );
}
