/**
 * From the node's state to what the switch has in force, as plain synchronous steps:
 *
 *     changed → Tick → PolicyStage → Publisher → acknowledgement → Waiters
 *
 * Changes only mark the state as changed. The first one after a quiet tick is taken up at once, with whatever came in the same turn; those
 * that follow are gathered for a tick (many events, one compile). Then policy is compiled if it could be different, and the publisher is
 * handed the new desired state. While a publication is under way further changes wait for its acknowledgement, which bounds the
 * work whatever the rate of events. Nothing is published before every source has synced.
 *
 * Whoever asks for more than "some time" (CNI ADD, CNI DEL, sync, a trial) waits for a revision: each desired state has one, and an
 * acknowledgement says what has become of each port, and of the image, at that revision.
 */
import type { Config } from '../config/options.js';
import type { Acknowledge, Welcome } from '../dataplane/protocol/answers.js';
import { type Problem, problemError, WeftError } from '../errors/problem.js';
import type { Attachments } from './attachments.js';
import type { Compile, CompiledFigures } from './compile.js';
import type { ImageFiles } from './image-files.js';
import { InForce } from './in-force.js';
import type { NodeState } from './node-state.js';
import type { AgentObserver } from './observer.js';
import { type CompileFigures, PolicyStage } from './policy-stage.js';
import { type Desired, Publisher } from './publisher.js';
import { Shadow } from './shadow.js';
import type { ShadowStage } from './shadow-stage.js';
import type { Sources } from './sources.js';
import type { SwitchLink } from './switch-link.js';
import { switchSettings } from './switch-settings.js';
import { Tick } from './tick.js';
import { Waiters } from './waiters.js';

/** What the agent has that publishing needs. */
export interface PublicationParts {
  readonly state: NodeState;
  readonly attachments: Attachments;
  readonly sources: Sources;
  readonly images: ImageFiles;
  readonly compile: Compile;
  readonly epoch: number;
  readonly openSwitch: () => Promise<SwitchLink>;
  readonly observer: AgentObserver;
  /** The one in force; options can change while the agent runs. */
  readonly config: () => Config;
  /** How many events that change how pods are judged were seen. */
  readonly rulesSeen: () => number;
  /** Milliseconds of a clock that only goes forward. */
  readonly now: () => number;
  /** Another agent has taken over: this one can only end. */
  readonly fenced: (error: Error) => void;
}

export class Publication {
  /** What the switch has acknowledged last. */
  readonly inForce = new InForce();
  /** Asked after every acknowledgement. */
  readonly waiters = new Waiters();
  readonly #parts: PublicationParts;
  readonly #tick: Tick;
  readonly #policy: PolicyStage;
  readonly #publisher: Publisher;
  readonly #shadow = new Shadow();
  /** Something changed that the next desired state has to carry. */
  #dirty = true;
  #revision = 0;
  #generation = '';
  /** Image file that the switch has acknowledged last. */
  #imageInForce: string | null = null;
  #imageError: string | null = null;
  #stopped = false;

  constructor(parts: PublicationParts) {
    this.#parts = parts;
    this.#policy = new PolicyStage(parts.compile, parts.images, parts.now);
    this.#tick = new Tick(
      () => this.flush(),
      () => parts.config().agent.tick / 1000,
      parts.now,
    );
    this.#publisher = new Publisher({
      epoch: parts.epoch,
      open: parts.openSwitch,
      longestPause: () => parts.config().agent.reconnect / 1000,
      handlers: {
        connected: (link, welcome) => this.#connected(link, welcome),
        disconnected: (reason) => this.#disconnected(reason),
        acknowledged: (desired, acknowledge) => this.#acknowledge(desired, acknowledge),
        refused: (desired, error) => this.#refused(desired, error),
        fenced: (error) => parts.fenced(error),
      },
    });
  }

  start(): void {
    this.#publisher.start();
  }

  stop(): void {
    this.#stopped = true;
    this.#tick.stop();
    this.#publisher.stop();
    this.waiters.stop();
  }

  // ---- change → publication

  /** Marks the state as changed; gives the revision that will have the change. */
  changed(): number {
    this.#dirty = true;
    this.#tick.ask();
    return this.#revision + 1;
  }

  /** Makes the next desired state now, if there is something new and the switch has dealt with the last one. */
  flush(): void {
    const { state, attachments, sources, observer, rulesSeen } = this.#parts;
    if (!this.#dirty || this.#stopped || !sources.synced || this.#publisher.busy) return;
    this.#dirty = false;
    const config = this.#parts.config();
    if (this.#policy.update(state, config)) observer.compiled(this.compiles);
    else if (this.#policy.error !== null)
      observer.log('error', 'no new policy image', { error: this.#policy.error });
    // Without any image there is nothing to publish: ports would only take what is then dropped.
    if (this.#policy.image === null) return;
    this.#revision++;
    this.inForce.published(this.#revision, { pods: state.localPods(), rules: rulesSeen() });
    const shadow = this.#shadow.next(state, config);
    this.#publisher.want({
      revision: this.#revision,
      image: this.#policy.image,
      ports: attachments.ports,
      settings: switchSettings(config),
      ...(shadow === null ? {} : { shadow }),
    });
    observer.log('debug', 'state published', { revision: this.#revision });
    this.#tick.passed();
  }

  /** Makes the image anew, and publishes it, where somebody has removed its file; true: it was so. */
  keepImage(): boolean {
    // One that cannot be written is tried again by the agent's upkeep.
    if (!this.#policy.lost || this.#policy.error !== null) return false;
    this.changed();
    return true;
  }

  // ---- switch → agent

  #connected(link: SwitchLink, welcome: Welcome): void {
    const { attachments, observer } = this.#parts;
    const { generation, revision } = welcome;
    this.#generation = generation;
    this.inForce.reset();
    attachments.acknowledged([]);
    observer.log('info', 'connected to the switch', { generation, revision });
    observer.connected(link);
  }

  #disconnected(reason: Error): void {
    this.#parts.observer.log('debug', 'no connection to the switch', { reason: reason.message });
  }

  #acknowledge(desired: Desired, acknowledge: Acknowledge): void {
    const { attachments, images, observer } = this.#parts;
    const { revision, image } = acknowledge;
    this.#generation = acknowledge.generation;
    observer.log('debug', 'state acknowledged', { revision });
    attachments.acknowledged(acknowledge.ports);
    const refused = image.status === 'refused' || image.status === 'none';
    this.#imageError = refused
      ? (image.error?.message ?? 'The switch has no policy image; nothing passes.')
      : null;
    if (refused) observer.log('error', 'the switch refused the policy image', { error: image.error });
    else this.#imageInForce = desired.image;
    images.keepOnly([this.#imageInForce, this.#policy.image, this.#shadow.image]);
    this.#shadow.acknowledged(acknowledge.shadow);
    for (const { id, status, error } of acknowledge.ports)
      if (status === 'failed') observer.log('warn', 'a port is not up', { port: id, error });
    this.inForce.acknowledged(revision);
    this.waiters.settle();
    if (this.#dirty) this.changed();
    observer.acknowledged();
  }

  #refused({ revision }: Desired, error: Error): void {
    this.#parts.observer.log('error', 'the switch refused the desired state', {
      revision,
      error: error.message,
    });
    this.#imageError = error.message;
    if (this.#dirty) this.changed();
  }

  // ---- who waits

  /** Takes up at once what has changed. Resolves when it is in force, with the revision; rejects with what is in its way. */
  latest(patience: number): Promise<number> {
    this.flush();
    // Without a change the revision that is there already is the one to wait for.
    const from = this.#dirty ? this.#revision + 1 : this.#revision;
    return this.waiters.wait(
      patience,
      () => {
        if (this.#policy.error !== null) throw problemError(this.#policy.error);
        if (this.inForce.revision < from || !this.#parts.sources.synced) return null;
        if (this.#imageError !== null) throw new WeftError('image-refused', this.#imageError);
        return { value: this.inForce.revision };
      },
      () => this.complaint(),
    );
  }

  /** Resolves once it is ready, or after `patience` milliseconds. */
  async settled(patience: number): Promise<void> {
    await this.waiters
      .wait(
        patience,
        () => (this.ready ? { value: undefined } : null),
        () => this.complaint(),
      )
      .catch(() => {});
  }

  /**
   * A trial: from the next publication on the stage's image judges beside the real one; null ends it. Resolves once the switch has taken it
   * up. `failed` is told when there is no image any more, and then the trial is over.
   */
  async setShadow(stage: ShadowStage | null, failed: (error: WeftError) => void = () => {}): Promise<void> {
    if (stage === null) {
      if (!this.#shadow.runs) return;
      this.#shadow.end();
      this.changed();
      return;
    }
    let refused: WeftError | null = null;
    this.#shadow.begin(stage, (error) => {
      refused = error;
      failed(error);
      this.waiters.settle();
    });
    const from = this.changed();
    await this.waiters.wait(
      this.#parts.config().agent.attachTimeout / 1000,
      () => {
        if (refused !== null) throw refused;
        return this.inForce.revision >= from && this.#shadow.published ? { value: null } : null;
      },
      () => this.complaint(),
    );
  }

  // ---- how it stands

  /** The switch; null while there is no connection. */
  get link(): SwitchLink | null {
    return this.#publisher.link;
  }
  /** The switch while no publication is under way: what it says of its ports is then what was acknowledged, or news. */
  get idleLink(): SwitchLink | null {
    return this.#publisher.busy ? null : this.link;
  }
  get connected(): boolean {
    return this.#publisher.state === 'connected';
  }
  get figures(): CompiledFigures {
    return this.#policy.figures;
  }
  get compiles(): CompileFigures {
    return this.#policy.compiles;
  }
  get progress(): { readonly revision: number; readonly acknowledged: number; readonly generation: string } {
    return { revision: this.#revision, acknowledged: this.inForce.revision, generation: this.#generation };
  }
  /** Whether something has changed that no desired state carries yet. */
  get pending(): boolean {
    return this.#dirty;
  }
  /** Why the switch has not the latest image; null: it has, or was not asked yet. */
  get imageError(): string | null {
    return this.#imageError;
  }
  get problems(): readonly Problem[] {
    return this.#policy.problems;
  }
  /** Whether the latest policy was compiled, and not refused by the switch. */
  get policyTaken(): boolean {
    return this.#imageError === null && this.#policy.error === null;
  }

  /** Whether the switch enforces what the sources say: every source has synced, and the latest image is in force. */
  get ready(): boolean {
    return this.connected && this.#parts.sources.synced && this.inForce.revision > 0 && this.policyTaken;
  }

  /** Why it is not ready, or not in time. */
  complaint(): WeftError {
    return (
      this.trouble() ??
      new WeftError('switch-slow', 'The switch has not acknowledged the latest state in time.')
    );
  }

  /** What keeps anything from coming into force; null: nothing that is known. */
  trouble(): WeftError | null {
    const { complaint } = this.#parts.sources;
    if (complaint !== null) return complaint;
    if (!this.connected)
      return new WeftError(
        'switch-away',
        'There is no connection to the switch. Start it with `weft switch`, or look into its log.',
      );
    if (this.#policy.error !== null) return problemError(this.#policy.error);
    return this.#imageError === null ? null : new WeftError('image-refused', this.#imageError);
  }
}
