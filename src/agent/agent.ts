/**
 * The control plane of one node, as plain synchronous steps wired in one place:
 *
 *     sources → NodeState → tick → compile → image file → Publisher → acknowledgement → those who wait
 *
 * Changes only mark the state dirty. The first one after a quiet tick is taken up at once, with whatever came in the same turn; those that
 * follow are gathered for a tick (many events, one compile). Then policy is compiled if it could be different, and the publisher is
 * handed the new desired state. While a publication is under way further changes wait for its acknowledgement, which bounds the
 * work whatever the rate of events.
 *
 * Everything that asks for more than "some time" (CNI ADD, CNI DEL, sync) waits for a revision: each desired state has one, and an
 * acknowledgement says what has become of each port at that revision. The run directory holds what must survive this process: leases
 * with the attachments in them, the image in force, the epoch.
 */
import type { Config } from '../config/options.js';
import type { Acknowledge, Welcome } from '../dataplane/protocol/answers.js';
import { type Problem, problemError, WeftError } from '../errors/problem.js';
import type { Leases } from '../ipam/leases.js';
import type { WorldEvent } from '../model/event.js';
import type { Source } from '../model/source.js';
import { type Attached, Attaching } from './attaching.js';
import { type Attachment, type AttachmentDetails, attachOrder } from './attachment.js';
import { Attachments } from './attachments.js';
import type { Compile, CompiledFigures } from './compile.js';
import type { ImageFiles } from './image-files.js';
import { InForce } from './in-force.js';
import { NodeState } from './node-state.js';
import type { PodNetwork } from './pod-network.js';
import { type CompileFigures, PolicyStage } from './policy-stage.js';
import type { SourceStatus } from './protocol/answers.js';
import type { AttachRequest, DetachRequest } from './protocol/requests.js';
import { type Desired, Publisher } from './publisher.js';
import { Shadow } from './shadow.js';
import type { ShadowStage } from './shadow-stage.js';
import { Sources } from './sources.js';
import type { SwitchLink } from './switch-link.js';
import { switchSettings } from './switch-settings.js';
import { Tick } from './tick.js';
import { Waiters } from './waiters.js';

/** What the agent tells about itself; `log` lines and metrics hang on these. */
export interface AgentObserver {
  log(
    level: 'debug' | 'info' | 'warn' | 'error',
    message: string,
    fields?: Readonly<Record<string, unknown>>,
  ): void;
  compiled(figures: CompileFigures): void;
  /** Called when the switch is there (again), with the link for flows and queries. */
  connected(link: SwitchLink): void;
  attached(milliseconds: number): void;
  /** The switch has the latest desired state in force, or has said what of it is not. */
  acknowledged(): void;
  /** So many attachments were removed whose pod went without a DEL. */
  leaked(count: number): void;
}

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

const detachPatience = 5000;

export class Agent {
  readonly state: NodeState;
  readonly attachments: Attachments;
  readonly #options: AgentOptions;
  readonly #publisher: Publisher;
  readonly #sources: Sources;
  readonly #inForce = new InForce();
  readonly #attaching: Attaching;
  readonly #waiters = new Waiters();
  readonly #policy: PolicyStage;
  #config: Config;
  readonly #tick: Tick;
  /** Something changed that the next desired state has to carry. */
  #dirty = true;
  #revision = 0;
  #generation = '';
  /** Image file that the switch has acknowledged last. */
  #imageInForce: string | null = null;
  #imageError: string | null = null;
  readonly #shadow = new Shadow();
  #stopped = false;

  constructor(options: AgentOptions) {
    this.#options = options;
    this.#config = options.config;
    this.state = new NodeState(options.network.node);
    this.attachments = new Attachments(options.leases, this.state, options.network);
    this.#policy = new PolicyStage(options.compile, options.images, options.now);
    this.#tick = new Tick(
      () => this.#flush(),
      () => this.#config.agent.tick / 1000,
      options.now,
    );
    this.#sources = new Sources(options.sources, {
      apply: (events) => this.#apply(events),
      synced: () => this.#changed(),
      log: options.observer.log,
    });
    this.#attaching = new Attaching({
      state: this.state,
      attachments: this.attachments,
      sources: this.#sources,
      inForce: this.#inForce,
      waiters: this.#waiters,
      changed: () => {
        this.#changed();
        return this.#revision + 1;
      },
      trouble: () => this.#trouble(),
      policyInForce: () => this.#imageError === null && this.#policy.error === null,
    });
    this.#publisher = new Publisher({
      epoch: options.epoch,
      open: options.openSwitch,
      longestPause: () => this.#config.agent.reconnect / 1000,
      handlers: {
        connected: (link, welcome) => this.#connected(link, welcome),
        disconnected: (reason) => this.#disconnected(reason),
        acknowledged: (desired, acknowledge) => this.#acknowledge(desired, acknowledge),
        refused: (desired, error) => this.#refused(desired, error),
        fenced: (error) => options.fenced(error),
      },
    });
  }

  start(): void {
    this.#publisher.start();
    this.#sources.start();
  }

  stop(): void {
    this.#stopped = true;
    this.#sources.stop();
    this.#tick.stop();
    this.#publisher.stop();
    this.#waiters.stop();
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

  /** Resolves when the port is live by the switch's own word of now; with what is wrong after `patience` milliseconds, or at once. */
  async portTrouble(id: string, patience: number): Promise<string | null> {
    if (this.link !== null && !this.#publisher.busy)
      this.attachments.observed(await this.link.query('ports'));
    return this.#waiters
      .wait(
        patience,
        () => {
          const status = this.attachments.status(id);
          if (status === undefined) return null;
          return {
            value: status.status === 'live' ? null : (status.error?.message ?? 'The port has failed.'),
          };
        },
        () => this.#syncComplaint(),
      )
      .catch((error: Error) => error.message);
  }

  /** Idempotent. Resolves when the switch has let the port go, or after a while when it does not answer: desired state does the rest. */
  async detach(request: Partial<DetachRequest>): Promise<boolean> {
    const meant = this.attachments.meant(request);
    if (meant.length === 0) return false;
    for (const attachment of meant) this.attachments.remove(attachment);
    this.#changed();
    const from = this.#revision + 1;
    await this.#waiters
      .wait(
        // Before the sources have synced nothing is published, and the port goes with the first desired state.
        this.#publisher.state === 'connected' && this.#sources.synced ? detachPatience : 0,
        () => (this.#inForce.revision >= from ? { value: undefined } : null),
        () => new WeftError('switch-away', 'The switch has not confirmed the removal yet.'),
      )
      .catch(() => {});
    return true;
  }

  /** Resolves when all that is in the sources now is in force, with the revision. */
  async sync(timeoutMilliseconds = 30_000): Promise<number> {
    await this.#sources.refresh();
    this.#flush();
    // Without a change the revision that is there already is the one to wait for.
    const from = this.#dirty ? this.#revision + 1 : this.#revision;
    return this.#waiters.wait(
      timeoutMilliseconds,
      () => {
        if (this.#policy.error !== null) throw problemError(this.#policy.error);
        if (this.#inForce.revision < from || !this.#sources.synced) return null;
        if (this.#imageError !== null) throw new WeftError('image-refused', this.#imageError);
        return { value: this.#inForce.revision };
      },
      () => this.#syncComplaint(),
    );
  }

  /**
   * A trial: from the next publication on the stage's image judges beside the real one; null ends it. Resolves once the switch has taken it
   * up. `failed` is told when there is no image any more, and then the trial is over.
   */
  async setShadow(stage: ShadowStage | null, failed: (error: WeftError) => void = () => {}): Promise<void> {
    if (stage === null && !this.#shadow.runs) return;
    let refused: WeftError | null = null;
    if (stage === null) this.#shadow.end();
    else
      this.#shadow.begin(stage, (error) => {
        refused = error;
        failed(error);
        this.#waiters.settle();
      });
    this.#changed();
    if (stage === null) return;
    const from = this.#revision + 1;
    await this.#waiters.wait(
      this.#config.agent.attachTimeout / 1000,
      () => {
        if (refused !== null) throw refused;
        return this.#inForce.revision >= from && this.#shadow.published ? { value: null } : null;
      },
      () => this.#syncComplaint(),
    );
  }

  // ---- what it knows

  get config(): Config {
    return this.#config;
  }
  get link(): SwitchLink | null {
    return this.#publisher.link;
  }
  get figures(): CompiledFigures {
    return this.#policy.figures;
  }
  get compiles(): CompileFigures {
    return this.#policy.compiles;
  }
  get progress(): { readonly revision: number; readonly acknowledged: number; readonly generation: string } {
    return { revision: this.#revision, acknowledged: this.#inForce.revision, generation: this.#generation };
  }
  /** Whether something has changed that no desired state carries yet. */
  get pending(): boolean {
    return this.#dirty;
  }
  get imageError(): string | null {
    return this.#imageError;
  }
  get sources(): readonly SourceStatus[] {
    return this.#sources.status;
  }
  get problems(): readonly Problem[] {
    return [
      ...this.#sources.problems,
      ...(this.#sources.synced ? this.#options.network.problems : []),
      ...this.#options.hostProblems(),
      ...this.#policy.problems,
    ];
  }

  /** Whether the switch enforces what the sources say: every source has synced, and the latest image is in force. */
  get ready(): boolean {
    return (
      this.#publisher.state === 'connected' &&
      this.#sources.synced &&
      this.#inForce.revision > 0 &&
      this.#imageError === null &&
      this.#policy.error === null
    );
  }

  /** Resolves once it is ready, or after `patience` milliseconds. */
  async settled(patience: number): Promise<void> {
    await this.#waiters
      .wait(
        patience,
        () => (this.ready ? { value: undefined } : null),
        () => this.#syncComplaint(),
      )
      .catch(() => {});
  }

  /** Whether its pods are those of a cluster's API, which a kubelet runs. */
  get followsApi(): boolean {
    return this.#sources.followsApi;
  }

  /** Why it is not ready; for people. */
  get unreadyReason(): string {
    return this.#syncComplaint().message;
  }

  /**
   * What no event tells: ports that broke after they were acknowledged, pods that went away without a DEL (their runtime died, the
   * agent was away). An attachment whose namespace is gone, by the word of the switch, which opens them, gives its addresses back:
   * at once where its port has failed, else after `grace` milliseconds. Other failed ports and images are tried again by publishing
   * anew. Resolves with the attachments that were removed. To be called now and then.
   */
  async reconcile(grace: number): Promise<readonly Attachment[]> {
    const link = this.link;
    if (link === null || this.#publisher.busy) return [];
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
    if (gone.length > 0 || failed || this.#imageError !== null || this.#policy.error !== null)
      this.#changed();
    return gone;
  }

  /** Makes the image anew, and publishes it, where somebody has removed its file; true: it was so. */
  keepImage(): boolean {
    // One that cannot be written is tried again by `reconcile`.
    if (!this.#policy.lost || this.#policy.error !== null) return false;
    this.#changed();
    return true;
  }

  /** The host's own addresses may be others since. */
  refreshNode(): void {
    if (!this.#options.network.refresh()) return;
    this.state.setNode(this.#options.network.node);
    this.#changed();
  }

  // ---- configuration

  /** Takes over the live options of a new configuration. */
  configure(config: Config): void {
    this.#config = config;
    this.#options.network.configure(config);
    this.state.setNode(this.#options.network.node);
    this.#changed();
  }

  // ---- change → publication

  #apply(events: readonly WorldEvent[]): void {
    if (!this.state.apply(events)) return;
    this.#attaching.seen(events);
    if (this.#options.network.follow(this.state)) this.#repooled();
    this.#changed();
  }

  #changed(): void {
    this.#dirty = true;
    this.#tick.ask();
  }

  /** Makes the next desired state now, if there is something new and the switch has dealt with the last one. */
  #flush(): void {
    if (!this.#dirty || this.#stopped || !this.#sources.synced || this.#publisher.busy) return;
    this.#dirty = false;
    if (this.#policy.update(this.state, this.#config)) this.#options.observer.compiled(this.compiles);
    else if (this.#policy.error !== null)
      this.#options.observer.log('error', 'no new policy image', { error: this.#policy.error });
    // Without any image there is nothing to publish: ports would only take what is then dropped.
    if (this.#policy.image === null) return;
    this.#revision++;
    this.#inForce.published(this.#revision, {
      pods: this.state.localPods(),
      rules: this.#attaching.rulesSeen,
    });
    const shadow = this.#shadow.next(this.state, this.#config);
    this.#publisher.want({
      revision: this.#revision,
      image: this.#policy.image,
      ports: this.attachments.ports,
      settings: switchSettings(this.#config),
      ...(shadow === null ? {} : { shadow }),
    });
    this.#options.observer.log('debug', 'state published', { revision: this.#revision });
    this.#tick.passed();
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

  // ---- switch → agent

  #connected(link: SwitchLink, welcome: Welcome): void {
    this.#generation = welcome.generation;
    this.#inForce.reset();
    this.attachments.acknowledged([]);
    this.#options.observer.log('info', 'connected to the switch', {
      generation: welcome.generation,
      revision: welcome.revision,
    });
    this.#options.observer.connected(link);
  }

  #disconnected(reason: Error): void {
    this.#options.observer.log('debug', 'no connection to the switch', { reason: reason.message });
  }

  #acknowledge(desired: Desired, acknowledge: Acknowledge): void {
    const { revision } = acknowledge;
    this.#generation = acknowledge.generation;
    this.#options.observer.log('debug', 'state acknowledged', { revision });
    this.attachments.acknowledged(acknowledge.ports);
    const { image } = acknowledge;
    const refused = image.status === 'refused' || image.status === 'none';
    this.#imageError = refused
      ? (image.error?.message ?? 'The switch has no policy image; nothing passes.')
      : null;
    if (refused)
      this.#options.observer.log('error', 'the switch refused the policy image', { error: image.error });
    else this.#imageInForce = desired.image;
    this.#options.images.keepOnly([this.#imageInForce, this.#policy.image, this.#shadow.image]);
    this.#shadow.acknowledged(acknowledge.shadow);
    for (const port of acknowledge.ports) {
      if (port.status === 'failed')
        this.#options.observer.log('warn', 'a port is not up', { port: port.id, error: port.error });
    }
    this.#inForce.acknowledged(revision);
    this.#waiters.settle();
    if (this.#dirty) this.#changed();
    this.#options.observer.acknowledged();
  }

  #refused(desired: Desired, error: Error): void {
    this.#options.observer.log('error', 'the switch refused the desired state', {
      revision: desired.revision,
      error: error.message,
    });
    this.#imageError = error.message;
    if (this.#dirty) this.#changed();
  }

  // ---- complaints

  #syncComplaint(): WeftError {
    return (
      this.#trouble() ??
      new WeftError('switch-slow', 'The switch has not acknowledged the latest state in time.')
    );
  }

  /** What keeps anything from coming into force; null: nothing that is known. */
  #trouble(): WeftError | null {
    const { complaint } = this.#sources;
    if (complaint !== null) return complaint;
    if (this.#publisher.state !== 'connected')
      return new WeftError(
        'switch-away',
        'There is no connection to the switch. Start it with `weft switch`, or look into its log.',
      );
    if (this.#policy.error !== null) return problemError(this.#policy.error);
    return this.#imageError === null ? null : new WeftError('image-refused', this.#imageError);
  }
}
