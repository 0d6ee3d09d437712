/**
 * Attaching a pod, from the order to the moment when its port is live at a published state that knows the pod and every policy that
 * was seen by then. Whatever fails, or is not waited for any more, is undone: the address first, the port with the next desired state.
 */
import { WeftError } from '../errors/problem.js';
import type { Wish } from '../ipam/leases.js';
import type { WorldEvent } from '../model/event.js';
import type { LookUp } from '../model/source.js';
import { type Attachment, type AttachOrder, podKey } from './attachment.js';
import type { Attachments } from './attachments.js';
import type { NodeState } from './node-state.js';
import type { Publication } from './publication.js';
import type { Sources } from './sources.js';

export interface Attached {
  readonly attachment: Attachment;
  readonly revision: number;
  /** false: it was attached before, and this was a repetition. */
  readonly created: boolean;
}

/** What the agent has that attaching needs. */
export interface AttachingParts {
  readonly state: NodeState;
  readonly attachments: Attachments;
  readonly sources: Sources;
  readonly publication: Publication;
}

/** What an attach that is under way waits for. */
interface Waiting {
  readonly attachment: Attachment;
  readonly key: string;
  /** The first desired state that has it. */
  readonly from: number;
  /** What came of asking for the pod by name; undefined: it was not necessary yet, `answer` undefined: nothing came yet. */
  asked: { answer: LookUp | null | undefined } | undefined;
  /** How much of the rules was seen when the port had come up: so much has to be in force too. null: it is not up yet. */
  rules: number | null;
  readonly abandoned: AbortSignal | undefined;
}

export class Attaching {
  readonly #parts: AttachingParts;
  /** Attachments whose ADD is under way, with how many. */
  readonly #underWay = new Map<string, number>();
  #rulesSeen = 0;

  constructor(parts: AttachingParts) {
    this.#parts = parts;
  }

  /** Counts events that change how pods are judged: of policies, of namespaces, and of pods that are being attached. */
  get rulesSeen(): number {
    return this.#rulesSeen;
  }

  /** To be told of every event that was applied. */
  seen(events: readonly WorldEvent[]): void {
    if (events.some((event) => this.#changesRules(event))) this.#rulesSeen++;
  }

  get underWay(): ReadonlySet<string> {
    return new Set(this.#underWay.keys());
  }

  has(id: string): boolean {
    return this.#underWay.has(id);
  }

  /** Rejects with a WeftError after `patience` milliseconds; `most`: ports of this node. `abandoned`: nobody waits any more. */
  async run(order: AttachOrder, most: number, patience: number, abandoned?: AbortSignal): Promise<Attached> {
    const { state, attachments, sources, publication } = this.#parts;
    const key = podKey(order);
    await this.#refuseFormerLife(order);
    const existed = attachments.get(order.id) !== undefined;
    const assigns = sources.assignsAddresses;
    const assigned = assigns ? (state.sourcePod(key)?.addresses ?? []) : [];
    // What a caller asks for beyond what a manifest assigns has to be this node's to give.
    const byHand = order.addresses.every(({ text }) => assigned.some((address) => address.text === text));
    const wish: Wish = byHand
      ? { addresses: order.addresses.length > 0 ? order.addresses : assigned, by: 'assigned' }
      : { addresses: order.addresses, by: 'requested' };
    const attachment = attachments.add(order, wish, most);
    this.#underWay.set(attachment.id, (this.#underWay.get(attachment.id) ?? 0) + 1);
    const from = publication.changed();
    const waiting: Waiting = {
      attachment,
      key,
      from,
      asked: undefined,
      rules: null,
      abandoned,
    };
    const settle = () => publication.waiters.settle();
    abandoned?.addEventListener('abort', settle);
    try {
      const revision = await publication.waiters.wait(
        patience,
        () => this.#outcome(waiting),
        () => this.#complaint(attachment, key),
      );
      return { attachment, revision, created: !existed };
    } catch (error) {
      // Undo only what this request did: an attachment that was there before stays for its DEL.
      if (!existed) this.#undo(attachment, 1);
      throw error;
    } finally {
      abandoned?.removeEventListener('abort', settle);
      const others = (this.#underWay.get(attachment.id) ?? 1) - 1;
      if (others > 0) this.#underWay.set(attachment.id, others);
      else this.#underWay.delete(attachment.id);
    }
  }

  /** Takes back an attach that its caller has not taken note of. */
  abandon(attachment: Attachment): void {
    this.#undo(attachment, 0);
  }

  /** Not where somebody else is attaching the same (`own` are ours). */
  #undo(attachment: Attachment, own: number): void {
    const { attachments, publication } = this.#parts;
    if (attachments.get(attachment.id) !== attachment) return;
    if ((this.#underWay.get(attachment.id) ?? 0) > own) return;
    attachments.remove(attachment);
    publication.changed();
  }

  /**
   * A sandbox of a former life whose ADD comes late (its kubelet worker was held up) must not take the place of the pod that has the
   * name now. Where the sources still tell of the former life, the other way round, they are asked first.
   */
  async #refuseFormerLife(order: AttachOrder): Promise<void> {
    const { state, attachments, sources } = this.#parts;
    const { namespace, name, uid, ifname } = order.details;
    const key = podKey(order);
    const held = () =>
      attachments
        .list()
        .some(
          ({ id, details }) =>
            id !== order.id &&
            podKey({ details }) === key &&
            details.ifname === ifname &&
            details.uid !== uid &&
            state.isLife(key, details.uid),
        );
    if (!held() || state.isLife(key, uid)) return;
    await sources.lookUp(namespace, name);
    if (held() && !state.isLife(key, uid)) throw this.#unknown(key, uid);
  }

  /**
   * A pod that no source knows is asked for by name, since a watch may lag behind the kubelet that calls us. Throws where there is nothing
   * to wait for, and the caller had better come back:
   *
   * - The server is away.
   * - It answered, and what it told of the pod, if anything, is not this one. Its answer is of now (a GET without a version is no cached
   *   one), so a watch will not say otherwise later. Such a pod was deleted, or it is a static one: the kubelet creates the mirror in
   *   the same worker that then waits for the sandbox, so that while we wait the mirror cannot come. When ADD fails it tries both again.
   */
  #refuseUnknown(waiting: Waiting): void {
    const { state, sources, publication } = this.#parts;
    const { attachment, key } = waiting;
    if (state.knows(key)) return;
    const { namespace, name, uid } = attachment.details;
    if (waiting.asked === undefined) {
      const asked: Waiting['asked'] = { answer: undefined };
      waiting.asked = asked;
      sources.lookUp(namespace, name).then((answer) => {
        asked.answer = answer;
        publication.waiters.settle();
      });
      return;
    }
    const { answer } = waiting.asked;
    if (answer === 'away')
      throw new WeftError(
        'pod-unknown',
        `The pod ${key} is not known yet, and the API server does not answer. Try again later.`,
      );
    if (answer === 'absent' || answer === 'known') throw this.#unknown(key, uid);
  }

  #outcome(waiting: Waiting): { readonly value: number } | null {
    const { attachments, publication } = this.#parts;
    const { inForce } = publication;
    const { attachment, key, from, abandoned } = waiting;
    if (abandoned?.aborted === true)
      throw new WeftError('attach-abandoned', `Nobody waits for ${key} to be attached any more.`);
    if (attachments.get(attachment.id) !== attachment)
      throw new WeftError(
        'attach-replaced',
        `${key} was detached or attached anew while it was being attached.`,
      );
    this.#refuseUnknown(waiting);
    const status = attachments.status(attachment.id);
    if (inForce.revision < from || status === undefined) return null;
    if (status.status === 'failed')
      throw new WeftError(
        status.error?.code ?? 'port-failed',
        status.error?.message ?? `The switch could not bring up the port of ${key}.`,
      );
    if (!publication.policyTaken) return null;
    if (!inForce.pods.has(key)) return null;
    // A policy that came while the port was made has to be in force as well; one round of it, or a stream of them would never end.
    waiting.rules ??= this.#rulesSeen;
    return inForce.rules >= waiting.rules ? { value: inForce.revision } : null;
  }

  #changesRules(event: WorldEvent): boolean {
    if (event.kind === 'policy' || event.kind === 'namespace') return true;
    if (event.kind !== 'pod' || this.#underWay.size === 0) return false;
    const { namespace, name } = event.type === 'upsert' ? event.object : event;
    return [...this.#underWay.keys()].some((id) => {
      const details = this.#parts.attachments.get(id)?.details;
      return details?.namespace === namespace && details.name === name;
    });
  }

  #complaint(attachment: Attachment, key: string): WeftError {
    const { state, publication } = this.#parts;
    const found = publication.trouble();
    if (found !== null) return found;
    if (!state.knows(key)) return this.#unknown(key, attachment.details.uid);
    return new WeftError('port-pending', `The port of ${key} did not come up in time.`);
  }

  #unknown(key: string, uid: string): WeftError {
    const other = this.#parts.state.sourcePod(key);
    return new WeftError(
      'pod-unknown',
      other === undefined
        ? `No source knows the pod ${key}, so its policies are not known either. It was deleted, its manifest is missing, or it is a static pod whose mirror is not there yet; a kubelet tries again by itself.`
        : `The pod ${key} that the sources know has the uid ${other.uid}, not ${uid}: this sandbox is of a pod that was deleted, or of one that the sources do not know yet; a kubelet tries again by itself.`,
    );
  }
}
