/**
 * Flow events, captured packets and what a trial finds, from the addon's rings to the clients that asked. The rings are bounded and drop for themselves; each
 * client has a queue of its own, bounded too: a client that reads slowly loses its oldest events, is told how many, and costs
 * the others and the packets nothing. While nobody listens no timer runs.
 */
import type { NativeCapture, NativeSwitch } from './addon.js';
import type {
  CaptureEvent,
  FlowEnd,
  FlowEvent,
  SwitchEvent,
  TrialCounts,
  TrialEvent,
} from './protocol/events.js';
import type { CaptureFilter, FlowFilter } from './protocol/requests.js';

/**
 * How often rings are emptied; a person who follows the flows sees no delay, and a batch is worth its frame. Rings that were found empty
 * for a second are looked at less often: an agent follows the flows for as long as it lives, and a quiet node is to sleep.
 */
const interval = { busy: 50, quiet: 200 } as const; // milliseconds
const roundsUntilQuiet = 20;
const queueLimit = 4096;
const batch = 512;
/** Bytes that may wait in a client's socket before its events wait in its queue instead. */
const backlogLimit = 1024 * 1024;

/** The client's end of a subscription. */
export interface Subscriber {
  readonly backlog: number;
  send(event: SwitchEvent): void;
}

interface Queue<Event> {
  readonly id: number;
  readonly subscriber: Subscriber;
  events: Event[];
  lost: number;
}

interface FlowSubscription extends Queue<FlowEvent> {
  readonly filter: FlowFilter;
}

interface CaptureSubscription extends Queue<CaptureEvent> {
  readonly capture: number;
}

/** Tells its counts when they have changed, also without an event. */
interface TrialSubscription extends Queue<TrialEvent> {
  told: string;
}

export type EventSource = Pick<
  NativeSwitch,
  'takeFlows' | 'startCapture' | 'takeCapture' | 'stopCapture' | 'takeTrial' | 'endTrial'
>;

export class Subscriptions {
  readonly #source: EventSource;
  /** `namespace/name` of the pod that has an address. */
  readonly #podAt: (address: string) => string | undefined;
  readonly #flows = new Set<FlowSubscription>();
  readonly #captures = new Set<CaptureSubscription>();
  readonly #trials = new Set<TrialSubscription>();
  #timer: NodeJS.Timeout | undefined;
  /** In a row, without an event. */
  #emptyRounds = 0;
  /** Events lost in any client's queue since the start. */
  lost = 0;

  constructor(source: EventSource, podAt: (address: string) => string | undefined) {
    this.#source = source;
    this.#podAt = podAt;
  }

  flows(id: number, filter: FlowFilter, subscriber: Subscriber): void {
    // What the ring holds from the time when nobody listened is old news.
    if (this.#flows.size === 0) this.#forgetFlows();
    this.#flows.add({ id, subscriber, filter, events: [], lost: 0 });
    this.#run();
  }

  /** Throws an AddonError: capture-limit, port-unknown. */
  capture(id: number, filter: CaptureFilter, subscriber: Subscriber): void {
    const capture = this.#source.startCapture(filter);
    this.#captures.add({ id, subscriber, capture, events: [], lost: 0 });
    this.#run();
  }

  trial(id: number, subscriber: Subscriber): void {
    this.#trials.add({ id, subscriber, events: [], lost: 0, told: '' });
    this.#run();
  }

  /** How many listen to the trial. */
  get trials(): number {
    return this.#trials.size;
  }

  /** False when the subscriber has no subscription of that id. */
  end(subscriber: Subscriber, id: number): boolean {
    return this.#endWhere((queue) => queue.subscriber === subscriber && queue.id === id);
  }

  /** The client has gone. */
  endAll(subscriber: Subscriber): void {
    this.#endWhere((queue) => queue.subscriber === subscriber);
  }

  close(): void {
    this.#endWhere(() => true);
  }

  /** One round: takes what is there, hands out what can be sent. */
  pump(): void {
    if (this.#flows.size > 0) this.#pumpFlows();
    if (this.#trials.size > 0) this.#pumpTrial();
    for (const queue of this.#captures) {
      const { events, lost } = this.#source.takeCapture(queue.capture, batch);
      queue.lost += lost;
      if (events.length > 0) this.#emptyRounds = 0;
      this.#push(queue, events.map(toCaptureEvent));
      this.#send(queue, (sent, missing) => ({
        type: 'event',
        subscription: queue.id,
        what: 'capture',
        events: sent,
        lost: missing,
      }));
    }
  }

  #forgetFlows(): void {
    // Bounded: under load the ring fills while it is emptied.
    for (let i = 0; i < 256 && this.#source.takeFlows(batch).events.length > 0; i++);
  }

  #pumpFlows(): void {
    const { events, lost } = this.#source.takeFlows(queueLimit);
    if (events.length > 0) this.#emptyRounds = 0;
    const pods = new Map<string, string | undefined>();
    const named = events.map((event) => this.#name(event, pods));
    for (const queue of this.#flows) {
      queue.lost += lost;
      this.#push(
        queue,
        named.filter((event) => wanted(event, queue.filter)),
      );
      this.#send(queue, (sent, missing) => ({
        type: 'event',
        subscription: queue.id,
        what: 'flows',
        events: sent,
        lost: missing,
      }));
    }
  }

  #pumpTrial(): void {
    const { events, counts } = this.#source.takeTrial(queueLimit);
    if (events.length > 0) this.#emptyRounds = 0;
    const pods = new Map<string, string | undefined>();
    const named = events.map((event) => ({ ...event, actual: this.#name(event.actual, pods) }));
    const text = JSON.stringify(counts);
    for (const queue of this.#trials) {
      this.#push(queue, named);
      const frame = (sent: readonly TrialEvent[], missing: number) =>
        ({
          type: 'event',
          subscription: queue.id,
          what: 'trial',
          events: sent,
          lost: missing,
          counts: counts satisfies TrialCounts,
        }) as const;
      const waiting = queue.events.length > 0 || queue.lost > 0;
      if (waiting) this.#send(queue, frame);
      else if (queue.told !== text && queue.subscriber.backlog < backlogLimit)
        queue.subscriber.send(frame([], 0));
      queue.told = text;
    }
  }

  /** `pods`: what was found already; a batch has few addresses. */
  #name(event: FlowEvent, pods: Map<string, string | undefined>): FlowEvent {
    const end = (value: FlowEnd): FlowEnd => {
      if (!pods.has(value.address)) pods.set(value.address, this.#podAt(value.address));
      const pod = pods.get(value.address);
      return pod === undefined ? value : { ...value, pod };
    };
    return {
      ...event,
      source: end(event.source),
      destination: end(event.destination),
      ...(event.translated === undefined ? {} : { translated: end(event.translated) }),
    };
  }

  #push<Event>(queue: Queue<Event>, events: readonly Event[]): void {
    queue.events.push(...events);
    const surplus = queue.events.length - queueLimit;
    if (surplus <= 0) return;
    queue.events.splice(0, surplus);
    queue.lost += surplus;
    this.lost += surplus;
  }

  #send<Event>(queue: Queue<Event>, frame: (events: readonly Event[], lost: number) => SwitchEvent): void {
    while ((queue.events.length > 0 || queue.lost > 0) && queue.subscriber.backlog < backlogLimit) {
      queue.subscriber.send(frame(queue.events.splice(0, batch), queue.lost));
      queue.lost = 0;
    }
  }

  #endWhere(matches: (queue: Queue<unknown>) => boolean): boolean {
    let found = false;
    for (const queue of this.#flows) {
      if (!matches(queue)) continue;
      this.#flows.delete(queue);
      found = true;
    }
    for (const queue of this.#captures) {
      if (!matches(queue)) continue;
      this.#captures.delete(queue);
      this.#source.stopCapture(queue.capture);
      found = true;
    }
    for (const queue of this.#trials) {
      if (!matches(queue)) continue;
      this.#trials.delete(queue);
      found = true;
      // Nobody would learn what it says.
      if (this.#trials.size === 0) this.#source.endTrial();
    }
    if (this.#flows.size + this.#captures.size + this.#trials.size === 0) {
      clearTimeout(this.#timer);
      this.#timer = undefined;
    }
    return found;
  }

  /** Somebody began to listen. */
  #run(): void {
    this.#emptyRounds = 0;
    clearTimeout(this.#timer);
    this.#again();
  }

  #again(): void {
    const pause = this.#emptyRounds < roundsUntilQuiet ? interval.busy : interval.quiet;
    this.#timer = setTimeout(() => {
      this.#emptyRounds++;
      this.pump();
      // A subscriber that ended meanwhile may have been the last.
      if (this.#flows.size + this.#captures.size + this.#trials.size > 0) this.#again();
    }, pause);
  }
}

function wanted(event: FlowEvent, filter: FlowFilter): boolean {
  if (filter.denied === true && event.verdict === 'allowed') return false;
  return filter.port === undefined || event.fromPort === filter.port || event.toPort === filter.port;
}

function toCaptureEvent(event: NativeCapture): CaptureEvent {
  return { ...event, data: Buffer.from(event.data).toString('base64') };
}
