/**
 * The switch's socket: who may speak, in which order, and what becomes of what they say. Knows the protocol and nothing of devices;
 * `SwitchService` does the work.
 *
 * Publications are applied one after the other, whoever sent them. Queries are answered at once, also while a publication is under way.
 */
import type { Socket } from 'node:net';
import type { PeerCredentials } from './addon.js';
import { Lines } from './lines.js';
import { OwnSocket } from './own-socket.js';
import { FrameInvalid, PortParser, parseRequest } from './parse-request.js';
import type { Acknowledge, Failure, QueryAnswer, SwitchErrorCode } from './protocol/answers.js';
import type { PublishRequest, QueryRequest, SubscribeRequest } from './protocol/requests.js';
import { maximumFrameBytes, type SwitchRequest, switchProtocolVersion } from './protocol.js';
import type { Subscriber } from './subscriptions.js';

export interface SwitchService {
  /** The highest epoch that was welcomed. */
  readonly epoch: number;
  readonly revision: number;
  readonly generation: string;
  /** Remembers a higher epoch, durably, before it returns. */
  raiseEpoch(epoch: number): void;
  publish(request: PublishRequest): Promise<Acknowledge>;
  query(request: QueryRequest): QueryAnswer;
  /** Throws an AddonError. */
  subscribe(request: SubscribeRequest, subscriber: Subscriber): void;
  unsubscribe(subscriber: Subscriber, subscription: number): boolean;
  left(subscriber: Subscriber): void;
}

export interface SwitchServerOptions {
  readonly path: string;
  readonly service: SwitchService;
  readonly peerCredentials: (descriptor: number) => PeerCredentials;
  readonly log: (message: string, fields: object) => void;
}

/** Publications of one client that may wait for their turn. */
const maximumWaiting = 16;

export class SwitchServer {
  readonly #options: SwitchServerOptions;
  readonly #socket: OwnSocket;
  readonly #sessions = new Set<Session>();
  /** Settles when all publications so far have been applied. */
  #turn: Promise<unknown> = Promise.resolve();
  #closing = false;

  constructor(options: SwitchServerOptions) {
    this.#options = options;
    this.#socket = new OwnSocket(options.path, (socket) => this.#accept(socket));
  }

  /** The caller holds the run directory's lock. */
  listen(): Promise<void> {
    return this.#socket.listen();
  }

  /** Puts the socket back where somebody has removed it; true: it was so. */
  keep(): Promise<boolean> {
    return this.#socket.keep();
  }

  /** Finishes the publication under way and refuses what waits behind it. */
  async close(): Promise<void> {
    this.#closing = true;
    await this.#turn;
    for (const session of this.#sessions) session.destroy();
    await this.#socket.close();
  }

  #accept(socket: Socket): void {
    const peer = this.#peer(socket);
    if (peer === null || (peer.uid !== 0 && peer.uid !== process.getuid?.())) {
      this.#options.log('a connection was refused', { ...peer });
      socket.destroy();
      return;
    }
    const session: Session = new Session(socket, this.#options.service, {
      publish: (request) => this.#publish(session, request),
      ended: () => this.#sessions.delete(session),
    });
    this.#sessions.add(session);
  }

  #peer(socket: Socket): PeerCredentials | null {
    // Node.js offers no public way to a socket's descriptor; this one has been there since 0.x.
    const handle = (socket as unknown as { _handle?: { fd?: number } })._handle;
    try {
      return this.#options.peerCredentials(handle?.fd ?? -1);
    } catch {
      return null;
    }
  }

  #publish(session: Session, request: PublishRequest): Promise<void> {
    const turn = this.#turn.then(async () => {
      const { service } = this.#options;
      if (this.#closing) {
        session.fail(request.id, 'switch-stopping', 'the switch is stopping; its successor will take this');
      } else if (request.epoch !== service.epoch) {
        // Fenced while it waited.
        session.failStale(request.id, request.epoch);
      } else {
        session.send(await service.publish(request));
      }
    });
    this.#turn = turn.catch((error: Error) => {
      this.#options.log('a publication failed', { error: error.message });
      session.fail(request.id, 'switch-internal', error.message);
    });
    return this.#turn as Promise<void>;
  }
}

interface SessionOwner {
  publish(request: PublishRequest): Promise<void>;
  ended(): void;
}

/** One client. */
class Session implements Subscriber {
  readonly #lines: Lines;
  readonly #service: SwitchService;
  readonly #owner: SessionOwner;
  readonly #ports = new PortParser();
  #role: 'agent' | 'observer' | null = null;
  #waiting = 0;

  constructor(socket: Socket, service: SwitchService, owner: SessionOwner) {
    this.#service = service;
    this.#owner = owner;
    this.#lines = new Lines(socket, maximumFrameBytes, {
      message: (value) => this.#message(value),
      garbage: () => this.fail(null, 'frame-not-json', 'a frame is one JSON object on a line'),
      tooLong: () =>
        this.fail(null, 'frame-too-long', `a frame has at most ${maximumFrameBytes} bytes; connect again`),
      closed: () => {
        service.left(this);
        owner.ended();
      },
    });
  }

  get backlog(): number {
    return this.#lines.backlog;
  }

  send(frame: object): void {
    this.#lines.send(frame);
  }

  fail(id: number | null, code: SwitchErrorCode, message: string): void {
    this.send({ id, type: 'error', code, message });
  }

  failStale(id: number, epoch: number): void {
    this.fail(
      id,
      'epoch-stale',
      `epoch ${epoch} is not the current ${this.#service.epoch}: another agent has taken over this node; stop this one`,
    );
  }

  destroy(): void {
    this.#lines.destroy();
  }

  #message(value: Readonly<Record<string, unknown>>): void {
    let request: SwitchRequest;
    try {
      request = parseRequest(value, this.#ports);
    } catch (error) {
      if (!(error instanceof FrameInvalid)) throw error;
      this.fail(typeof value.id === 'number' ? value.id : null, 'frame-invalid', error.message);
      return;
    }
    if (request.type !== 'hello' && this.#role === null)
      this.fail(request.id, 'not-greeted', 'the first frame of a connection is hello');
    else this.#handle(request);
  }

  #handle(request: SwitchRequest): void {
    switch (request.type) {
      case 'hello':
        if (request.role === 'agent') {
          const epoch = request.epoch ?? 0;
          if (epoch < this.#service.epoch) {
            this.failStale(request.id, epoch);
            return;
          }
          this.#service.raiseEpoch(epoch);
        }
        this.#role = request.role;
        this.send({
          id: request.id,
          type: 'welcome',
          version: switchProtocolVersion,
          epoch: this.#service.epoch,
          generation: this.#service.generation,
          revision: this.#service.revision,
        });
        return;
      case 'publish':
        this.#publish(request);
        return;
      case 'query':
        this.send(this.#service.query(request));
        return;
      case 'subscribe':
        try {
          this.#service.subscribe(request, this);
        } catch (error) {
          const { code, message } = error as Error & Failure;
          this.send({ id: request.id, type: 'error', code: code ?? 'switch-internal', message });
          return;
        }
        this.send({ id: request.id, type: 'done' });
        return;
      case 'unsubscribe':
        if (this.#service.unsubscribe(this, request.subscription))
          this.send({ id: request.id, type: 'done' });
        else
          this.fail(request.id, 'subscription-unknown', `there is no subscription ${request.subscription}`);
    }
  }

  #publish(request: PublishRequest): void {
    if (this.#role !== 'agent') {
      this.fail(request.id, 'not-agent', 'only an agent publishes; say hello with role agent and an epoch');
    } else if (request.epoch !== this.#service.epoch) {
      this.failStale(request.id, request.epoch);
    } else if (this.#waiting >= maximumWaiting) {
      this.fail(
        request.id,
        'switch-busy',
        `${maximumWaiting} publications wait already; await their answers`,
      );
    } else {
      this.#waiting++;
      void this.#owner.publish(request).finally(() => this.#waiting--);
    }
  }
}
