/**
 * Stands on the other side of the switch's socket: speaks the protocol, moves no packets. What the tests of the agent are about is
 * what it publishes and when; ports go live unless the test says otherwise. It keeps what a real switch keeps over a restart (the
 * highest epoch), when given its predecessor.
 */
import { readFileSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { Lines } from '../../src/dataplane/lines.js';
import type {
  Acknowledge,
  ExplainReport,
  PortReport,
  PortStatus,
} from '../../src/dataplane/protocol/answers.js';
import type { PortSpec } from '../../src/dataplane/protocol/desired-state.js';
import type {
  CaptureEvent,
  FlowEvent,
  TrialCounts,
  TrialEvent,
} from '../../src/dataplane/protocol/events.js';
import type { FlowQuestion, PublishRequest } from '../../src/dataplane/protocol/requests.js';
import {
  maximumFrameBytes,
  type SwitchRequest,
  switchProtocolVersion,
} from '../../src/dataplane/protocol.js';

export interface Publication extends PublishRequest {
  /** Text of the image file when it was published. */
  readonly imageText: string | null;
  /** Of the trial's image; null where there was none. */
  readonly shadowText: string | null;
  /** Where the ports came as a reference to those of this publication. */
  readonly portsOf?: number;
}

export class SwitchDouble {
  readonly publications: Publication[] = [];
  /** Hellos that were welcomed. */
  readonly epochs: number[] = [];
  highestEpoch = 0;
  /** Decides what becomes of a port; default live. */
  portStatus: (id: string) => Omit<PortStatus, 'id'> = () => ({ status: 'live' });
  /** What it finds at the path of a port's namespace. */
  namespaceState: (netns: string) => PortReport['namespace'] = () => 'there';
  /** Set: images are refused with this message. */
  refuseImage: string | null = null;
  /** What `explain` answers. */
  explain: (flow: FlowQuestion) => ExplainReport = () => ({ generation: '1', image: false, ways: [] });
  /** Trials are not known, as to a switch of an older version. */
  old = false;
  /** Set: shadows of trials are refused with this message. */
  refuseShadow: string | null = null;
  /** Queries are not answered while true. */
  silent = false;
  /** Acknowledgements wait while true. */
  held = false;
  readonly #path: string;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #waiting: (() => void)[] = [];
  readonly #subscribers: {
    readonly id: number;
    readonly what: string;
    readonly lines: Lines;
    lost: number;
  }[] = [];
  /** Of the protocol; 1 does not know `portsOf`. */
  version = switchProtocolVersion;
  readonly #portsKnown = new WeakMap<
    Lines,
    { readonly revision: number; readonly ports: readonly PortSpec[] }
  >();
  #generation = 0n;
  #lastImage: string | null = null;

  private constructor(path: string, predecessor?: SwitchDouble) {
    this.#path = path;
    this.highestEpoch = predecessor?.highestEpoch ?? 0;
    this.#generation = predecessor === undefined ? 0n : predecessor.#generation;
    this.#server = createServer((socket) => this.#accept(socket));
  }

  static async start(path: string, predecessor?: SwitchDouble): Promise<SwitchDouble> {
    rmSync(path, { force: true });
    const double = new SwitchDouble(path, predecessor);
    await new Promise<void>((resolve) => double.#server.listen(path, resolve));
    return double;
  }

  /** As kill -9: every connection ends, the socket file stays. */
  async kill(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
    rmSync(this.#path, { force: true });
  }

  /** Lets acknowledgements go that were held. */
  release(): void {
    this.held = false;
    for (const send of this.#waiting.splice(0)) send();
  }

  get last(): Publication | undefined {
    return this.publications.at(-1);
  }

  emitFlows(events: readonly FlowEvent[], lost = 0): void {
    this.#emit('flows', events, lost);
  }

  emitCapture(events: readonly CaptureEvent[]): void {
    this.#emit('capture', events, 0);
  }

  emitTrial(events: readonly TrialEvent[], counts: TrialCounts): void {
    for (const { what, id, lines } of this.#subscribers) {
      if (what === 'trial')
        lines.send({ type: 'event', subscription: id, what: 'trial', events, lost: 0, counts });
    }
  }

  get subscriptions(): readonly string[] {
    return this.#subscribers.map(({ what }) => what);
  }

  #emit(what: string, events: readonly unknown[], lost: number): void {
    for (const subscriber of this.#subscribers) {
      if (subscriber.what === what)
        subscriber.lines.send({ type: 'event', subscription: subscriber.id, what, events, lost });
    }
  }

  #accept(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on('close', () => this.#sockets.delete(socket));
    const lines: Lines = new Lines(socket, maximumFrameBytes, {
      message: (value) => this.#answer(value as unknown as SwitchRequest, lines),
      garbage: () => lines.send({ id: null, type: 'error', code: 'frame-not-json', message: 'no JSON' }),
      closed: () => {},
    });
  }

  #answer(request: SwitchRequest, lines: Lines): void {
    const { id } = request;
    const stale = (epoch: number) => {
      if (epoch >= this.highestEpoch) return false;
      lines.send({
        id,
        type: 'error',
        code: 'epoch-stale',
        message: `Epoch ${this.highestEpoch} is in charge.`,
      });
      return true;
    };
    switch (request.type) {
      case 'hello':
        if (request.role === 'agent') {
          if (stale(request.epoch ?? 0)) return;
          this.highestEpoch = request.epoch ?? 0;
          this.epochs.push(this.highestEpoch);
        }
        lines.send({
          id,
          type: 'welcome',
          version: this.version,
          epoch: this.highestEpoch,
          generation: String(this.#generation),
          revision: this.last?.revision ?? 0,
        });
        return;
      case 'publish':
        if (!stale(request.epoch)) this.#publish(this.#whole(request, lines), lines);
        return;
      case 'query':
        if (this.silent) return;
        lines.send({
          id,
          type: 'answer',
          what: request.what,
          data: request.what === 'explain' ? this.explain(request.flow!) : this.#data(request.what),
        });
        return;
      case 'subscribe':
        if (this.old && request.what === 'trial') {
          lines.send({ id, type: 'error', code: 'frame-invalid', message: 'what is none of flows, capture' });
          return;
        }
        lines.send({ id, type: 'done' });
        this.#subscribers.push({ id, what: request.what, lines, lost: 0 });
        return;
      case 'unsubscribe': {
        const index = this.#subscribers.findIndex((subscriber) => subscriber.id === request.subscription);
        if (index >= 0) this.#subscribers.splice(index, 1);
        lines.send({ id, type: 'done' });
      }
    }
  }

  /** With its ports where it refers to those of the publication before. */
  #whole(request: PublishRequest & { readonly portsOf?: number }, lines: Lines): PublishRequest {
    const known = this.#portsKnown.get(lines);
    if (request.portsOf !== undefined && (this.version < 2 || known?.revision !== request.portsOf))
      throw new Error(`a reference to the ports of ${request.portsOf}, and ${known?.revision} is known`);
    const ports = request.portsOf === undefined ? request.ports : known!.ports;
    this.#portsKnown.set(lines, { revision: request.revision, ports });
    return { ...request, ports };
  }

  #publish(request: PublishRequest, lines: Lines): void {
    const imageText = request.image === null ? null : readFileSync(request.image, 'utf8');
    const shadowText = request.shadow === undefined ? null : readFileSync(request.shadow.image, 'utf8');
    this.publications.push({ ...request, imageText, shadowText });
    const refused = this.refuseImage !== null;
    const unchanged = !refused && imageText === this.#lastImage;
    if (!refused && !unchanged) {
      this.#lastImage = imageText;
      this.#generation++;
    }
    const acknowledge: Acknowledge = {
      id: request.id,
      type: 'acknowledge',
      revision: request.revision,
      generation: String(this.#generation),
      image: refused
        ? { status: 'refused', error: { code: 'image-damaged', message: this.refuseImage! } }
        : { status: unchanged ? 'unchanged' : 'loaded' },
      ...(request.shadow === undefined
        ? {}
        : {
            shadow:
              this.refuseShadow === null
                ? { status: 'loaded' }
                : { status: 'refused', error: { code: 'image-damaged', message: this.refuseShadow } },
          }),
      ports: request.ports.map(({ id }) => ({ id, ...this.portStatus(id) })),
    };
    const send = () => lines.send(acknowledge);
    if (this.held) this.#waiting.push(send);
    else send();
  }

  #data(what: string): unknown {
    const ports = this.last?.ports ?? [];
    switch (what) {
      case 'counters':
        return {
          ports: ports.map(({ id }, index) => ({
            id,
            receivedPackets: index + 1,
            receivedBytes: 100,
            sentPackets: 2,
            sentBytes: 200,
            answers: 0,
            connections: 1,
            workerNanoseconds: 1_000_000,
            throttledNanoseconds: 0,
            policedPackets: 0,
            drops: { 'policy-egress': 3 },
          })),
          drops: { 'policy-egress': 1 },
        };
      case 'ports':
        return ports.map((spec) => ({
          id: spec.id,
          ...this.portStatus(spec.id),
          spec,
          instance: 1,
          origin: 'created',
          namespace: this.namespaceState(spec.netns),
        }));
      case 'connections':
        return [
          {
            protocol: 6,
            family: 4,
            source: { address: '10.42.0.2', port: 40000 },
            destination: { address: '10.42.0.3', port: 80 },
            state: 'established',
            generation: '1',
            ageSeconds: 5,
            expiresSeconds: 7435,
            originalPackets: 4,
            originalBytes: 400,
            replyPackets: 3,
            replyBytes: 300,
          },
        ];
      default:
        return {
          version: '0.1.0',
          pid: process.pid,
          uptimeSeconds: 1,
          epoch: this.highestEpoch,
          revision: this.last?.revision ?? 0,
          generation: String(this.#generation),
          imageBytes: 0,
          ports: { live: ports.length, failed: 0 },
          connections: { used: 1, capacity: 1000 },
          workers: 1,
          trial: this.last?.shadow?.trial ?? 0,
          udpSegmentation: true,
          supervised: false,
          starts: 1,
          lostEvents: 0,
        };
    }
  }
}
