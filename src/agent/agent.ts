/**
 * The control plane of one node, wired in one place:
 *
 *     sources → NodeState ┐
 *                         ├→ Publication → switch → acknowledgement → those who wait
 *     ADD, DEL → leases   ┘
 *
 * Sources and requests change the state; the publication compiles it and brings the switch there; the requests wait for what it
 * acknowledges. What no event tells is found by upkeep, now and then. The run directory holds what must survive this process: leases
 * with the attachments in them, the image in force, the epoch.
 */
import type { Config } from '../config/options.js';
import { type Problem, WeftError } from '../errors/problem.js';
import type { Leases } from '../ipam/leases.js';
import type { WorldEvent } from '../model/event.js';
import type { Source } from '../model/source.js';
import { type Attached, Attaching } from './attaching.js';
import { type Attachment, type AttachmentDetails, attachOrder } from './attachment.js';
import { Attachments } from './attachments.js';
import type { Compile, CompiledFigures } from './compile.js';
import type { ImageFiles } from './image-files.js';
import { NodeState } from './node-state.js';
import type { AgentObserver } from './observer.js';
import type { PodNetwork } from './pod-network.js';
import type { CompileFigures } from './policy-stage.js';
import type { SourceStatus } from './protocol/answers.js';
import type { AttachRequest, DetachRequest } from './protocol/requests.js';
import { Publication } from './publication.js';
import type { ShadowStage } from './shadow-stage.js';
import { Sources } from './sources.js';
import type { SwitchLink } from './switch-link.js';

export interface AgentOptions {
  readonly config: Config;
  readonly epoch: number;
  readonly sources: readonly Source[];
  readonly leases: Leases<AttachmentDetails>;
  readonly images: ImageFiles;
  readonly compile: Compile;
  readonly openSwitch: () => Promise<SwitchLink>;
  /** The node's share of the pod network, whose pools `leases` are. */
  readonly network: PodNetwork;
  readonly observer: AgentObserver;
  /** What is wrong with the host around the switch. */
  readonly hostProblems: () => readonly Problem[];
  /** Milliseconds of a clock that only goes forward. */
  readonly now: () => number;
  /** Another agent has taken over: this one can only end. */
  readonly fenced: (error: Error) => void;
}

/** How long a DEL waits for the switch, which is told again with the next desired state. Milliseconds. */
const detachPatience = 5000;

export class Agent {
  readonly state: NodeState;
  readonly attachments: Attachments;
  readonly #options: AgentOptions;
  readonly #sources: Sources;
  readonly #publication: Publication;
  readonly #attaching: Attaching;
  #config: Config;

  constructor(options: AgentOptions) {
    const { network, observer } = options;
    this.#options = options;
    this.#config = options.config;
    this.state = new NodeState(network.node);
    this.attachments = new Attachments(options.leases, this.state, network);
    this.#sources = new Sources(options.sources, {
      apply: (events) => this.#apply(events),
      synced: () => this.#publication.changed(),
      log: observer.log,
    });
    this.#publication = new Publication({
      ...options,
      state: this.state,
      attachments: this.attachments,
      sources: this.#sources,
      config: () => this.#config,
      rulesSeen: () => this.#attaching.rulesSeen,
    });
    this.#attaching = new Attaching({
      state: this.state,
      attachments: this.attachments,
      sources: this.#sources,
      publication: this.#publication,
    });
  }

  start(): void {
    this.#publication.start();
    this.#sources.start();
  }

  stop(): void {
    this.#sources.stop();
    this.#publication.stop();
  }

  // ---- what the sources tell

  #apply(events: readonly WorldEvent[]): void {
    if (!this.state.apply(events)) return;
    this.#attaching.seen(events);
    if (this.#options.network.follow(this.state)) this.#repooled();
    this.#publication.changed();
  }

  /** The node's pod CIDRs have come, or are others. */
  #repooled(): void {
    const { network, observer } = this.#options;
    this.state.setNode(network.node);
    observer.log('info', 'pod CIDRs of this node', {
      podCIDRs: network.node.podCidrs.map(({ text }) => text),
    });
    for (const { code, message } of network.problems) observer.log('warn', message, { code });
  }

  // ---- what clients ask

  /**
   * Resolves once the pod's port is live at a published state that knows the pod and every policy that was seen by then; rejects with
   * a WeftError otherwise, undone. `abandoned`: nobody waits for the answer any more, which is undone too.
   */
  async attach(request: AttachRequest, abandoned?: AbortSignal): Promise<Attached> {
    const started = this.#options.now();
    const order = attachOrder(request, this.#config.network.mtu);
    const patience = request.timeoutMilliseconds ?? this.#config.agent.attachTimeout / 1000;
    const attached = await this.#attaching.run(order, this.#config.limits.ports, patience, abandoned);
    this.#options.observer.attached(this.#options.now() - started);
    return attached;
  }

  isAttaching(id: string): boolean {
    return this.#attaching.has(id);
  }

  /** Takes back an attach that its caller has not taken note of. */
  abandon(attachment: Attachment): void {
    this.#attaching.abandon(attachment);
  }

  /** Idempotent. Resolves when the switch has let the port go, or after a while when it does not answer: desired state does the rest. */
  async detach(request: Partial<DetachRequest>): Promise<boolean> {
    const meant = this.attachments.meant(request);
    if (meant.length === 0) return false;
    for (const attachment of meant) this.attachments.remove(attachment);
    const { connected, inForce, waiters } = this.#publication;
    const from = this.#publication.changed();
    await waiters
      .wait(
        // Before the sources have synced nothing is published, and the port goes with the first desired state.
        connected && this.#sources.synced ? detachPatience : 0,
        () => (inForce.revision >= from ? { value: undefined } : null),
        () => new WeftError('switch-away', 'The switch has not confirmed the removal yet.'),
      )
      .catch(() => {});
    return true;
  }

  /** Resolves when the port is live by the switch's own word of now; with what is wrong after `patience` milliseconds, or at once. */
  async portTrouble(id: string, patience: number): Promise<string | null> {
    const link = this.#publication.idleLink;
    if (link !== null) this.attachments.observed(await link.query('ports'));
    return this.#publication.waiters
      .wait(
        patience,
        () => {
          const status = this.attachments.status(id);
          if (status === undefined) return null;
          return {
            value: status.status === 'live' ? null : (status.error?.message ?? 'The port has failed.'),
          };
        },
        () => this.#publication.complaint(),
      )
      .catch((error: Error) => error.message);
  }

  /** Resolves when all that is in the sources now is in force, with the revision. */
  async sync(timeoutMilliseconds = 30_000): Promise<number> {
    await this.#sources.refresh();
    return this.#publication.latest(timeoutMilliseconds);
  }

  /** Resolves once it is ready, or after `patience` milliseconds. */
  settled(patience: number): Promise<void> {
    return this.#publication.settled(patience);
  }

  /** Begins a trial, or ends it (null); see `Publication`. */
  setShadow(stage: ShadowStage | null, failed?: (error: WeftError) => void): Promise<void> {
    return this.#publication.setShadow(stage, failed);
  }

  // ---- what it knows

  get config(): Config {
    return this.#config;
  }
  get link(): SwitchLink | null {
    return this.#publication.link;
  }
  get figures(): CompiledFigures {
    return this.#publication.figures;
  }
  get compiles(): CompileFigures {
    return this.#publication.compiles;
  }
  get progress(): Publication['progress'] {
    return this.#publication.progress;
  }
  /** Whether something has changed that no desired state carries yet. */
  get pending(): boolean {
    return this.#publication.pending;
  }
  get imageError(): string | null {
    return this.#publication.imageError;
  }
  get sources(): readonly SourceStatus[] {
    return this.#sources.status;
  }
  get problems(): readonly Problem[] {
    return [
      ...this.#sources.problems,
      ...(this.#sources.synced ? this.#options.network.problems : []),
      ...this.#options.hostProblems(),
      ...this.#publication.problems,
    ];
  }
  /** Whether the switch enforces what the sources say: every source has synced, and the latest image is in force. */
  get ready(): boolean {
    return this.#publication.ready;
  }
  /** Why it is not ready; for people. */
  get unreadyReason(): string {
    return this.#publication.complaint().message;
  }
  /** Whether its pods are those of a cluster's API, which a kubelet runs. */
  get followsApi(): boolean {
    return this.#sources.followsApi;
  }

  // ---- upkeep

  /**
   * What no event tells: ports that broke after they were acknowledged, pods that went away without a DEL (their runtime died, the
   * agent was away). An attachment whose namespace is gone, by the word of the switch, which opens them, gives its addresses back:
   * at once where its port has failed, else after `grace` milliseconds. Other failed ports and images are tried again by publishing
   * anew. Resolves with the attachments that were removed. To be called now and then.
   */
  async reconcile(grace: number): Promise<readonly Attachment[]> {
    const link = this.#publication.idleLink;
    if (link === null) return [];
    const reports = await link.query('ports');
    this.attachments.observed(reports);
    const failed = this.attachments.failed.length > 0;
    const lost = reports.filter(({ id, spec, namespace }) => {
      // Of a former life of this attachment where the paths differ.
      const netns = this.attachments.get(id)?.details.netns;
      return namespace === 'gone' && netns === spec.netns;
    });
    const gone = this.attachments.removeGone(
      new Set(lost.map(({ id }) => id)),
      this.#attaching.underWay,
      this.#options.now(),
      grace,
    );
    for (const { details, addresses } of gone)
      this.#options.observer.log('warn', 'a pod is gone without having been detached', {
        ...details,
        addresses: addresses.map(({ text }) => text),
      });
    if (gone.length > 0) this.#options.observer.leaked(gone.length);
    if (gone.length > 0 || failed || !this.#publication.policyTaken) this.#publication.changed();
    return gone;
  }

  /** Makes the image anew, and publishes it, where somebody has removed its file; true: it was so. */
  keepImage(): boolean {
    return this.#publication.keepImage();
  }

  /** The host's own addresses may be others since. */
  refreshNode(): void {
    const { network } = this.#options;
    if (!network.refresh()) return;
    this.state.setNode(network.node);
    this.#publication.changed();
  }

  /** Takes over the live options of a new configuration. */
  configure(config: Config): void {
    const { network } = this.#options;
    this.#config = config;
    network.configure(config);
    this.state.setNode(network.node);
    this.#publication.changed();
  }
}
