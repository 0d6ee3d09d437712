/**
 * The attachments of this node: which there are (kept in the leases), what they mean for the node's state, and what the switch last
 * said of each port. All of it synchronous; who waits for the switch waits elsewhere.
 */
import type { PortSpec, PortStatus } from '../dataplane/protocol.js';
import { problemError, WeftError } from '../errors/problem.js';
import type { Leases } from '../ipam/leases.js';
import type { Address } from '../net/address.js';
import {
  type Attachment,
  type AttachmentDetails,
  type AttachOrder,
  isMeant,
  podKey,
  portSpec,
} from './attachment.js';
import type { NodeState } from './node-state.js';
import type { DetachRequest } from './protocol.js';

export class Attachments {
  readonly #leases: Leases<AttachmentDetails>;
  readonly #state: NodeState;
  readonly #hostPort: PortSpec | null;
  #statuses = new Map<string, PortStatus>();

  constructor(leases: Leases<AttachmentDetails>, state: NodeState, hostPort: PortSpec | null) {
    this.#leases = leases;
    this.#state = state;
    this.#hostPort = hostPort;
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

  /** Every port that is desired, the node's own first. */
  get ports(): readonly PortSpec[] {
    const pods = this.list().map(portSpec);
    return this.#hostPort === null ? pods : [this.#hostPort, ...pods];
  }

  /** How many of `limits.ports` are used: the pods, and the node's own port where it has one. */
  get count(): number {
    return this.list().length + (this.#hostPort === null ? 0 : 1);
  }

  /**
   * Adds an attachment, or gives an existing one its new details. A new sandbox of the same pod takes the place of the old one, whose
   * DEL may come late or never. `assigned`: addresses that a source gives the pod, where the order has none. Throws what is in the way.
   */
  add(order: AttachOrder, assigned: readonly Address[], most: number): Attachment {
    const { id, details } = order;
    const key = podKey(order);
    for (const other of this.list()) {
      if (podKey(other) === key && other.details.ifname === details.ifname && other.id !== id)
        this.remove(other);
    }
    if (this.get(id) === undefined && this.count >= most)
      throw new WeftError(
        'ports-exhausted',
        `This node carries ${this.count} ports already and limits.ports is ${most}, ${key} cannot be added. Raise limits.ports, or place the pod elsewhere.`,
      );
    const fixed = order.addresses.length > 0 ? order.addresses : assigned;
    const { lease, problem } = this.#leases.allocate(id, key, details, fixed);
    if (lease === undefined) throw problemError(problem);
    this.#statuses.delete(id);
    this.#lay(lease);
    return lease;
  }

  /** Gives the addresses back; the port goes with the next desired state. */
  remove(attachment: Attachment): void {
    this.#leases.release(attachment.id);
    this.#statuses.delete(attachment.id);
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

  /** Removes attachments whose port has failed and whose namespace is gone: pods that went away without a DEL. */
  removeGone(namespaceExists: (path: string) => boolean): readonly Attachment[] {
    const failed = new Set(this.failed.map(({ id }) => id));
    const gone = this.list().filter(({ id, details }) => failed.has(id) && !namespaceExists(details.netns));
    for (const attachment of gone) this.remove(attachment);
    return gone;
  }

  #lay(attachment: Attachment): void {
    const { namespace, name, uid } = attachment.details;
    this.#state.attach({ namespace, name, uid, addresses: attachment.addresses });
  }
}
