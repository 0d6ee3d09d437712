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
import type { Acknowledge, ImageStatus, ShadowSpec, Welcome } from '../dataplane/protocol.js';
import { type Problem, problemError, WeftError } from '../errors/problem.js';
import type { Leases, Wish } from '../ipam/leases.js';
import type { WorldEvent } from '../model/event.js';
import type { Source } from '../model/source.js';
import { type Attachment, type AttachmentDetails, attachOrder, podKey } from './attachment.js';
import { Attachments } from './attachments.js';
import type { Compile, CompiledFigures } from './compile.js';
import type { ImageFiles } from './image-files.js';
import { NodeState } from './node-state.js';
import type { PodNetwork } from './pod-network.js';
import { type CompileFigures, PolicyStage } from './policy-stage.js';
import type { AttachRequest, DetachRequest, SourceStatus } from './protocol.js';
import { type Desired, Publisher } from './publisher.js';
import type { ShadowStage } from './shadow-stage.js';
import type { SwitchLink } from './switch-link.js';
import { switchSettings } from './switch-settings.js';
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

export interface Attached {
  readonly attachment: Attachment;
  readonly revision: number;
  /** false: it was attached before, and this was a repetition. */
  readonly created: boolean;
}

/** What an attach that is under way waits for. */
interface Attaching {
  readonly attachment: Attachment;
  readonly key: string;
  /** The first desired state that has it. */
  readonly from: number;
  /** Whether the server that was asked for the pod did not answer. */
  readonly asked: { readonly away: boolean };
  /** How much of the rules was seen when the port had come up: so much has to be in force too. null: it is not up yet. */
  rules: number | null;
  readonly abandoned: AbortSignal | undefined;
}

interface SourceState {
  readonly source: Source;
  synced: boolean;
  problems: readonly Problem[];
}

const detachPatience = 5000;

export class Agent {
  readonly state: NodeState;
  readonly attachments: Attachments;
  readonly #options: AgentOptions;
  readonly #publisher: Publisher;
  readonly #sources: readonly SourceState[];
  readonly #waiters = new Waiters();
  readonly #policy: PolicyStage;
  #config: Config;
  /** What will take up the changes. */
  #tick: { cancel(): void } | null = null;
  /** When the last desired state was made, by the options' clock; a tick later the next change is taken up at once. */
  #flushed = Number.NEGATIVE_INFINITY;
  /** Something changed that the next desired state has to carry. */
  #dirty = true;
  #revision = 0;
  #acknowledged = 0;
  #generation = '';
  /** Image file that the switch has acknowledged last. */
  #inForce: string | null = null;
  #imageError: string | null = null;
  /** Counts events that change how pods are judged: of policies, of namespaces, and of pods that are being attached. */
  #rulesSeen = 0;
  /** What each desired state knew that no acknowledgement has come for. */
  readonly #knownAt = new Map<number, { readonly pods: ReadonlySet<string>; readonly rules: number }>();
  #shadow: { readonly stage: ShadowStage; failed(error: WeftError): void } | null = null;
  /** What the switch said of the trial's image at the revision acknowledged. */
  #shadowStatus: ImageStatus | undefined;
  #acknowledgedPods: ReadonlySet<string> = new Set();
  #acknowledgedRules = 0;
  /** Attachments whose ADD is under way, with how many. */
  readonly #attaching = new Map<string, number>();
  #stopped = false;

  constructor(options: AgentOptions) {
    this.#options = options;
    this.#config = options.config;
    this.state = new NodeState(options.network.node);
    this.attachments = new Attachments(options.leases, this.state, options.network);
    this.#policy = new PolicyStage(options.compile, options.images, options.now);
    this.#sources = options.sources.map((source) => ({ source, synced: false, problems: [] }));
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
    for (const state of this.#sources) {
      state.source.start({
        apply: (events) => {
          if (!this.state.apply(events)) return;
          if (events.some((event) => this.#changesRules(event))) this.#rulesSeen++;
          if (this.#options.network.follow(this.state)) this.#repooled();
          this.#changed();
        },
        synced: () => {
          if (state.synced) return;
          state.synced = true;
          this.#options.observer.log('info', 'source has synced', {
            source: state.source.name,
            objects: state.source.size,
          });
          this.#changed();
        },
        problems: (problems) => this.#newProblems(state, problems),
      });
    }
  }

  stop(): void {
    this.#stopped = true;
    for (const { source } of this.#sources) source.stop();
    this.#tick?.cancel();
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
    const key = podKey(order);
    const existed = this.attachments.get(order.id) !== undefined;
    const assigns = this.#sources.some(({ source }) => source.assignsAddresses);
    const assigned = assigns ? (this.state.sourcePod(key)?.addresses ?? []) : [];
    const wish: Wish = {
      addresses: order.addresses.length > 0 ? order.addresses : assigned,
      by: assigns ? 'assigned' : 'requested',
    };
    const attachment = this.attachments.add(order, wish, this.#config.limits.ports);
    this.#attaching.set(attachment.id, (this.#attaching.get(attachment.id) ?? 0) + 1);
    this.#changed();
    const from = this.#revision + 1;
    const asked = this.#lookUp(attachment, key);
    const waiting: Attaching = { attachment, key, from, asked, rules: null, abandoned };
    const patience = request.timeoutMilliseconds ?? this.#config.agent.attachTimeout / 1000;
    const settle = () => this.#waiters.settle();
    abandoned?.addEventListener('abort', settle);
    try {
      const revision = await this.#waiters.wait(
        patience,
        () => this.#attachOutcome(waiting),
        () => this.#attachComplaint(attachment, key),
      );
      this.#options.observer.attached(this.#options.now() - started);
      return { attachment, revision, created: !existed };
    } catch (error) {
      // Undo only what this request did: an attachment that was there before stays for its DEL.
      if (!existed) this.#undo(attachment, 1);
      throw error;
    } finally {
      abandoned?.removeEventListener('abort', settle);
      const others = (this.#attaching.get(attachment.id) ?? 1) - 1;
      if (others > 0) this.#attaching.set(attachment.id, others);
      else this.#attaching.delete(attachment.id);
    }
  }

  isAttaching(id: string): boolean {
    return this.#attaching.has(id);
  }

  /** Takes back an attach that its caller has not taken note of. */
  abandon(attachment: Attachment): void {
    this.#undo(attachment, 0);
  }

  /** The address first; the port goes with the next desired state. Not where somebody else is attaching the same (`own` are ours). */
  #undo(attachment: Attachment, own: number): void {
    if (this.attachments.get(attachment.id) !== attachment) return;
    if ((this.#attaching.get(attachment.id) ?? 0) > own) return;
    this.attachments.remove(attachment);
    this.#changed();
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
        this.#publisher.state === 'connected' && this.#synced ? detachPatience : 0,
        () => (this.#acknowledged >= from ? { value: undefined } : null),
        () => new WeftError('switch-away', 'The switch has not confirmed the removal yet.'),
      )
      .catch(() => {});
    return true;
  }

  /** Resolves when all that is in the sources now is in force, with the revision. */
  async sync(timeoutMilliseconds = 30_000): Promise<number> {
    for (const { source } of this.#sources) await source.refresh();
    this.#flush();
    // Without a change the revision that is there already is the one to wait for.
    const from = this.#dirty ? this.#revision + 1 : this.#revision;
    return this.#waiters.wait(
      timeoutMilliseconds,
      () => {
        if (this.#policy.error !== null) throw problemError(this.#policy.error);
        if (this.#acknowledged < from || !this.#synced) return null;
        if (this.#imageError !== null) throw new WeftError('image-refused', this.#imageError);
        return { value: this.#acknowledged };
      },
      () => this.#syncComplaint(),
    );
  }

  /**
   * A trial: from the next publication on the stage's image judges beside the real one; null ends it. Resolves once the switch has taken it
   * up. `failed` is told when there is no image any more, and then the trial is over.
   */
  async setShadow(stage: ShadowStage | null, failed: (error: WeftError) => void = () => {}): Promise<void> {
    if (stage === null && this.#shadow === null) return;
    let refused: WeftError | null = null;
    this.#shadow =
      stage === null
        ? null
        : {
            stage,
            failed: (error) => {
              refused = error;
              failed(error);
            },
          };
    this.#changed();
    if (stage === null) return;
    const from = this.#revision + 1;
    await this.#waiters.wait(
      this.#config.agent.attachTimeout / 1000,
      () => {
        if (refused !== null) throw refused;
        return this.#acknowledged >= from && this.#shadowStatus !== undefined ? { value: null } : null;
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
    return { revision: this.#revision, acknowledged: this.#acknowledged, generation: this.#generation };
  }
  /** Whether something has changed that no desired state carries yet. */
  get pending(): boolean {
    return this.#dirty;
  }
  get imageError(): string | null {
    return this.#imageError;
  }
  get sources(): readonly SourceStatus[] {
    return this.#sources.map(({ source, synced, problems }) => ({
      name: source.name,
      synced,
      objects: source.size,
      problems: problems.length,
      ...(source.watches === undefined ? {} : { watches: source.watches }),
    }));
  }
  get problems(): readonly Problem[] {
    return [
      ...this.#sources.flatMap(({ problems }) => problems),
      ...(this.#synced ? this.#options.network.problems : []),
      ...this.#options.hostProblems(),
      ...this.#policy.problems,
    ];
  }

  /** Whether the switch enforces what the sources say: every source has synced, and the latest image is in force. */
  get ready(): boolean {
    return (
      this.#publisher.state === 'connected' &&
      this.#synced &&
      this.#acknowledged > 0 &&
      this.#imageError === null &&
      this.#policy.error === null
    );
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
      new Set(this.#attaching.keys()),
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

  get #synced(): boolean {
    return this.#sources.every(({ synced }) => synced);
  }

  #changed(): void {
    this.#dirty = true;
    if (this.#tick !== null || this.#stopped) return;
    const act = () => {
      this.#tick = null;
      this.#flush();
    };
    const wait = this.#flushed + this.#config.agent.tick / 1000 - this.#options.now();
    if (wait > 0) {
      const timer = setTimeout(act, wait);
      this.#tick = { cancel: () => clearTimeout(timer) };
    } else {
      // Not from within: a source may have more to tell in this turn.
      const turn = setImmediate(act);
      this.#tick = { cancel: () => clearImmediate(turn) };
    }
  }

  /** Makes the next desired state now, if there is something new and the switch has dealt with the last one. */
  #flush(): void {
    if (!this.#dirty || this.#stopped || !this.#synced || this.#publisher.busy) return;
    this.#dirty = false;
    if (this.#policy.update(this.state, this.#config)) this.#options.observer.compiled(this.compiles);
    else if (this.#policy.error !== null)
      this.#options.observer.log('error', 'no new policy image', { error: this.#policy.error });
    // Without any image there is nothing to publish: ports would only take what is then dropped.
    if (this.#policy.image === null) return;
    this.#revision++;
    this.#knownAt.set(this.#revision, { pods: this.state.localPods(), rules: this.#rulesSeen });
    const shadow = this.#nextShadow();
    this.#publisher.want({
      revision: this.#revision,
      image: this.#policy.image,
      ports: this.attachments.ports,
      settings: switchSettings(this.#config),
      ...(shadow === null ? {} : { shadow }),
    });
    this.#flushed = this.#options.now();
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

  #nextShadow(): ShadowSpec | null {
    if (this.#shadow === null) return null;
    const { stage } = this.#shadow;
    stage.update(this.state, this.#config);
    if (stage.error !== null) this.#shadowFailed(stage.error);
    return stage.image === null ? null : { trial: stage.trial, image: stage.image };
  }

  #shadowFailed(error: WeftError): void {
    const { failed } = this.#shadow!;
    this.#shadow = null;
    failed(error);
    this.#waiters.settle();
  }

  // ---- switch → agent

  #connected(link: SwitchLink, welcome: Welcome): void {
    this.#generation = welcome.generation;
    // What an earlier switch acknowledged says nothing about this one.
    this.#acknowledged = 0;
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
    this.#generation = acknowledge.generation;
    this.attachments.acknowledged(acknowledge.ports);
    const { image } = acknowledge;
    const refused = image.status === 'refused' || image.status === 'none';
    this.#imageError = refused
      ? (image.error?.message ?? 'The switch has no policy image; nothing passes.')
      : null;
    if (refused)
      this.#options.observer.log('error', 'the switch refused the policy image', { error: image.error });
    else this.#inForce = desired.image;
    this.#options.images.keepOnly([
      this.#inForce,
      this.#policy.image,
      this.#shadow === null ? null : this.#shadow.stage.image,
    ]);
    this.#shadowStatus = acknowledge.shadow;
    if (this.#shadow !== null && acknowledge.shadow?.status === 'refused')
      this.#shadowFailed(
        new WeftError(
          'image-refused',
          acknowledge.shadow.error?.message ?? 'The switch refused the image of the trial.',
        ),
      );
    for (const port of acknowledge.ports) {
      if (port.status === 'failed')
        this.#options.observer.log('warn', 'a port is not up', { port: port.id, error: port.error });
    }
    this.#acknowledged = acknowledge.revision;
    const known = this.#knownAt.get(acknowledge.revision);
    this.#acknowledgedPods = known?.pods ?? new Set();
    this.#acknowledgedRules = known?.rules ?? 0;
    for (const revision of this.#knownAt.keys())
      if (revision < acknowledge.revision) this.#knownAt.delete(revision);
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

  // ---- outcomes and complaints

  /**
   * A pod that no source knows is asked for by name, since a watch may lag behind the kubelet that calls us. The answer settles nothing but
   * that the server is away: then there is nothing to wait for, and the caller had better come back.
   */
  #lookUp(attachment: Attachment, key: string): { away: boolean } {
    const asked = { away: false };
    if (this.state.knows(key)) return asked;
    const { namespace, name } = attachment.details;
    for (const { source } of this.#sources)
      source.lookUp?.(namespace, name).then((found) => {
        if (found !== 'away') return;
        asked.away = true;
        this.#waiters.settle();
      });
    return asked;
  }

  #attachOutcome(waiting: Attaching): { readonly value: number } | null {
    const { attachment, key, from, asked, abandoned } = waiting;
    if (abandoned?.aborted === true)
      throw new WeftError('attach-abandoned', `Nobody waits for ${key} to be attached any more.`);
    if (this.attachments.get(attachment.id) !== attachment)
      throw new WeftError(
        'attach-replaced',
        `${key} was detached or attached anew while it was being attached.`,
      );
    if (asked.away && !this.state.knows(key))
      throw new WeftError(
        'pod-unknown',
        `The pod ${key} is not known yet, and the API server does not answer. Try again later.`,
      );
    const status = this.attachments.status(attachment.id);
    if (this.#acknowledged < from || status === undefined) return null;
    if (status.status === 'failed')
      throw new WeftError(
        status.error?.code ?? 'port-failed',
        status.error?.message ?? `The switch could not bring up the port of ${key}.`,
      );
    if (this.#imageError !== null || this.#policy.error !== null) return null;
    if (!this.#acknowledgedPods.has(key)) return null;
    // A policy that came while the port was made has to be in force as well; one round of it, or a stream of them would never end.
    waiting.rules ??= this.#rulesSeen;
    return this.#acknowledgedRules >= waiting.rules ? { value: this.#acknowledged } : null;
  }

  #changesRules(event: WorldEvent): boolean {
    if (event.kind === 'policy' || event.kind === 'namespace') return true;
    if (event.kind !== 'pod' || this.#attaching.size === 0) return false;
    const { namespace, name } = event.type === 'upsert' ? event.object : event;
    return [...this.#attaching.keys()].some((id) => {
      const details = this.attachments.get(id)?.details;
      return details?.namespace === namespace && details.name === name;
    });
  }

  #attachComplaint(attachment: Attachment, key: string): WeftError {
    if (!this.#synced || this.#publisher.state !== 'connected' || this.#imageError || this.#policy.error)
      return this.#syncComplaint();
    if (!this.state.knows(key)) {
      const other = this.state.sourcePod(key);
      return new WeftError(
        'pod-unknown',
        other === undefined
          ? `No source knows the pod ${key}, so its policies are not known either. Was it deleted, or is its manifest missing?`
          : `The pod ${key} that the sources know has the uid ${other.uid}, not ${attachment.details.uid}.`,
      );
    }
    return new WeftError('port-pending', `The port of ${key} did not come up in time.`);
  }

  #syncComplaint(): WeftError {
    const waiting = this.#sources.filter(({ synced }) => !synced);
    const first = waiting.flatMap(({ problems }) => problems)[0];
    if (waiting.length > 0)
      return new WeftError(
        'source-not-synced',
        `The source ${waiting.map(({ source }) => source.name).join(', ')} has not synced${first === undefined ? '' : `: ${first.message}`}`,
        { problems: waiting.flatMap(({ problems }) => problems) },
      );
    if (this.#publisher.state !== 'connected')
      return new WeftError(
        'switch-away',
        'There is no connection to the switch. Start it with `weft switch`, or look into its log.',
      );
    if (this.#policy.error !== null) return problemError(this.#policy.error);
    if (this.#imageError !== null) return new WeftError('image-refused', this.#imageError);
    return new WeftError('switch-slow', 'The switch has not acknowledged the latest state in time.');
  }

  #newProblems(state: SourceState, problems: readonly Problem[]): void {
    const before = new Set(state.problems.map((problem) => JSON.stringify(problem)));
    state.problems = problems;
    for (const problem of problems) {
      if (problem.severity === 'info' || before.has(JSON.stringify(problem))) continue;
      this.#options.observer.log(problem.severity === 'error' ? 'error' : 'warn', problem.message, {
        code: problem.code,
        source: problem.source,
      });
    }
  }
}
