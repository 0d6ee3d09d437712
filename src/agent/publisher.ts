/**
 * Brings the switch to the desired state and keeps it there.
 *
 * There is one desired state, the latest; what was desired before and never sent is nobody's loss. Start of the agent, restart of the
 * switch and every change take the same way: connect, hello, publish the desired state whole, take the acknowledgement. One
 * publication is under way at a time. When the connection ends the publisher reconnects (at once, then in growing steps) and publishes
 * again; the desired state lives here and in the image file, so a dying switch loses nothing.
 *
 * A switch that has seen a higher epoch refuses us: another agent has taken over. The publisher then stops for good (`fenced`).
 */
import type { Acknowledge, Welcome } from '../dataplane/protocol/answers.js';
import type { PortSpec, ShadowSpec, SwitchSettings } from '../dataplane/protocol/desired-state.js';
import { WeftError } from '../errors/problem.js';
import type { Publication, SwitchLink } from './switch-link.js';

export interface Desired {
  /** Grows with each desired state. */
  readonly revision: number;
  /** Image file; null as long as there is none to publish. */
  readonly image: string | null;
  /** The same list as before where no port is another. */
  readonly ports: readonly PortSpec[];
  readonly settings: SwitchSettings;
  /** Of a trial that runs. */
  readonly shadow?: ShadowSpec;
}

export interface PublisherHandlers {
  /** A switch (a new one, or the same again) has welcomed us. */
  connected(link: SwitchLink, welcome: Welcome): void;
  disconnected(reason: Error): void;
  acknowledged(desired: Desired, acknowledge: Acknowledge): void;
  /** The switch refused the whole publication; it is tried again with the next desired state or connection. */
  refused(desired: Desired, error: Error): void;
  /** Another agent has taken over. */
  fenced(error: Error): void;
}

export interface PublisherOptions {
  readonly epoch: number;
  readonly open: () => Promise<SwitchLink>;
  /** The longest pause between two attempts, milliseconds; asked each time, because it can change. */
  readonly longestPause: () => number;
  readonly handlers: PublisherHandlers;
}

export type PublisherState = 'idle' | 'connecting' | 'connected' | 'fenced' | 'stopped';

/** From this version on a switch takes the revision of the publication before in place of its ports. */
const takesPortsOf = 2;
const firstPause = 10; // milliseconds
/** A switch that takes this long for one publication hangs; a new connection finds out. Milliseconds. */
const publishPatience = 120_000;

export class Publisher {
  readonly #options: PublisherOptions;
  #desired: Desired | null = null;
  /** Revision that this connection's switch has acknowledged or refused; 0: none. */
  #settled = 0;
  /** The publication that this connection's switch has acknowledged last, where it can be referred to. */
  #known: Desired | null = null;
  #refers = false;
  #busy = false;
  #link: SwitchLink | null = null;
  #state: PublisherState = 'idle';
  #timer: NodeJS.Timeout | null = null;
  #pause = 0;

  constructor(options: PublisherOptions) {
    this.#options = options;
  }

  get state(): PublisherState {
    return this.#state;
  }

  /** The link while connected. */
  get link(): SwitchLink | null {
    return this.#state === 'connected' ? this.#link : null;
  }

  /** Whether a publication waits for its acknowledgement; with more changes to come it pays to wait for it. */
  get busy(): boolean {
    return this.#busy;
  }

  start(): void {
    if (this.#state !== 'idle') return;
    this.#state = 'connecting';
    this.#connect();
  }

  stop(): void {
    this.#state = this.#state === 'fenced' ? 'fenced' : 'stopped';
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#link?.close();
    this.#link = null;
  }

  want(desired: Desired): void {
    this.#desired = desired;
    this.#publish();
  }

  #connect(): void {
    this.#timer = null;
    if (this.#state !== 'connecting') return;
    this.#greet().catch((error: Error) => {
      if (this.#state !== 'connecting') return;
      if (error instanceof WeftError && error.code === 'epoch-stale') {
        this.#fence(error);
        return;
      }
      this.#options.handlers.disconnected(error);
      this.#later();
    });
  }

  async #greet(): Promise<void> {
    const link = await this.#options.open();
    let welcome: Welcome;
    try {
      if (this.#state !== 'connecting') throw new WeftError('switch-away', 'The agent is stopping.');
      welcome = await link.hello(this.#options.epoch);
    } catch (error) {
      link.close();
      throw error;
    }
    if (this.#state !== 'connecting') {
      link.close();
      return;
    }
    this.#link = link;
    this.#state = 'connected';
    this.#pause = 0;
    this.#settled = 0;
    this.#known = null;
    this.#refers = welcome.version >= takesPortsOf;
    link.ended.then((reason) => this.#lost(link, reason));
    this.#options.handlers.connected(link, welcome);
    this.#publish();
  }

  #lost(link: SwitchLink, reason: Error): void {
    if (this.#link !== link || this.#state !== 'connected') return;
    this.#link = null;
    this.#state = 'connecting';
    this.#options.handlers.disconnected(reason);
    this.#later();
  }

  #later(): void {
    this.#timer = setTimeout(() => this.#connect(), this.#pause);
    this.#pause = Math.min(Math.max(firstPause, this.#pause * 2), this.#options.longestPause());
  }

  #publish(): void {
    const desired = this.#desired;
    const link = this.#link;
    if (this.#state !== 'connected' || link === null || this.#busy) return;
    if (desired === null || desired.revision === this.#settled) return;
    this.#busy = true;
    const hanging = setTimeout(() => link.close(), publishPatience);
    link
      .publish(this.#publication(desired))
      .then(
        (acknowledge) => {
          this.#busy = false;
          this.#settled = desired.revision;
          if (this.#link === link) this.#known = desired;
          this.#options.handlers.acknowledged(desired, acknowledge);
        },
        (error: Error) => {
          this.#busy = false;
          // A link that ended is `#lost`'s; the desired state goes to the next one.
          if (this.#link !== link) return;
          if (error instanceof WeftError && error.code === 'switch-away') return;
          if (error instanceof WeftError && error.code === 'epoch-stale') {
            this.#fence(error);
            return;
          }
          this.#settled = desired.revision;
          // Whatever it was, the switch may not have got as far as the ports.
          this.#known = null;
          this.#options.handlers.refused(desired, error);
        },
      )
      .finally(() => {
        clearTimeout(hanging);
        this.#publish();
      });
  }

  #publication(desired: Desired): Publication {
    const { epoch } = this.#options;
    const known = this.#known;
    if (!this.#refers || known === null || known.ports !== desired.ports) return { epoch, ...desired };
    const { ports: _, ...rest } = desired;
    return { epoch, ...rest, portsOf: known.revision };
  }

  #fence(error: Error): void {
    this.#state = 'fenced';
    this.#link?.close();
    this.#link = null;
    this.#options.handlers.fenced(error);
  }
}
