/**
 * One connection of the agent to the switch: requests with their answers, subscriptions with their events. A link does not
 * reconnect; when it ends, everything that waits on it fails with `switch-away` and its user opens another.
 */
import { Conversation, type Message } from '../dataplane/conversation.js';
import { Lines, type Unnumbered } from '../dataplane/lines.js';
import type { Acknowledge, QueryAnswers, Welcome } from '../dataplane/protocol/answers.js';
import type {
  CaptureEvent,
  FlowEvent,
  SwitchEvent,
  TrialCounts,
  TrialEvent,
} from '../dataplane/protocol/events.js';
import type {
  CaptureFilter,
  FlowFilter,
  FlowQuestion,
  PublishFrame,
  QueryName,
} from '../dataplane/protocol/requests.js';
import { maximumFrameBytes, type SwitchAnswer, type SwitchRequest } from '../dataplane/protocol.js';
import { openSocket } from '../dataplane/socket.js';
import { WeftError } from '../errors/problem.js';

/** Who asks for a status must not hang with a switch that hangs. Milliseconds. */
const queryPatience = 3000;

type AnswerType = Exclude<SwitchAnswer['type'], 'error'>;
type AnswerOf<Type extends AnswerType> = Extract<SwitchAnswer, { readonly type: Type }>;

type WithoutNumber<Frame> = Frame extends unknown ? Omit<Frame, 'id' | 'type'> : never;
export type Publication = WithoutNumber<PublishFrame>;

export interface SubscriptionHandlers<Event> {
  events(events: readonly Event[], lost: number): void;
}

export class SwitchLink {
  /** Settles when the connection has ended, with the reason. */
  readonly ended: Promise<Error>;
  readonly #lines: Lines;
  readonly #conversation: Conversation;
  readonly #subscriptions = new Map<number, (event: SwitchEvent) => void>();
  readonly #endings = new Set<() => void>();
  #end: (error: Error) => void = () => {};

  private constructor(lines: (link: SwitchLink) => Lines) {
    this.ended = new Promise((resolve) => {
      this.#end = resolve;
    });
    this.#lines = lines(this);
    this.#conversation = new Conversation(this.#lines);
  }

  /** Connects; rejects with `switch-away` when there is no switch at that socket. */
  static async open(path: string): Promise<SwitchLink> {
    const socket = await openSocket(path).catch((error: Error) => {
      throw away(path, error);
    });
    return new SwitchLink(
      (link) =>
        new Lines(socket, maximumFrameBytes, {
          message: (value) => link.#message(value),
          garbage: () => link.close(),
          closed: (error) => link.#closed(away(path, error)),
        }),
    );
  }

  hello(epoch: number): Promise<Welcome> {
    return this.#request({ type: 'hello', role: 'agent', epoch }, 'welcome');
  }

  publish(publication: Publication): Promise<Acknowledge> {
    return this.#request({ type: 'publish', ...publication }, 'acknowledge');
  }

  async query<What extends QueryName>(
    what: What,
    options: { readonly port?: string; readonly limit?: number; readonly flow?: FlowQuestion } = {},
  ): Promise<QueryAnswers[What]> {
    const asked = this.#request({ type: 'query', what, ...options }, 'answer');
    const answer = await withPatience(asked, queryPatience);
    return answer.data as QueryAnswers[What];
  }

  async flows(filter: FlowFilter, handlers: SubscriptionHandlers<FlowEvent>): Promise<() => void> {
    return this.#subscribe({ type: 'subscribe', what: 'flows', filter }, (event) => {
      if (event.what === 'flows') handlers.events(event.events, event.lost);
    });
  }

  async capture(filter: CaptureFilter, handlers: SubscriptionHandlers<CaptureEvent>): Promise<() => void> {
    return this.#subscribe({ type: 'subscribe', what: 'capture', filter }, (event) => {
      if (event.what === 'capture') handlers.events(event.events, event.lost);
    });
  }

  /** Rejects with `frame-invalid` where the switch knows no trials. */
  async trial(
    handle: (events: readonly TrialEvent[], lost: number, counts: TrialCounts) => void,
  ): Promise<() => void> {
    return this.#subscribe({ type: 'subscribe', what: 'trial' }, (event) => {
      if (event.what === 'trial') handle(event.events, event.lost, event.counts);
    });
  }

  /**
   * Calls `act` once the connection has ended, soon where it has. The result lets go of it: what waits for `ended` is kept by the link as long
   * as that lasts, which is months.
   */
  whenEnded(act: () => void): () => void {
    if (this.#conversation.ended !== null) queueMicrotask(act);
    else this.#endings.add(act);
    return () => this.#endings.delete(act);
  }

  close(): void {
    this.#lines.destroy();
  }

  async #subscribe(
    request: Unnumbered<SwitchRequest>,
    handle: (event: SwitchEvent) => void,
  ): Promise<() => void> {
    // The first events may stand right behind the answer, so the handler is there before the request leaves.
    const id = this.#conversation.next;
    this.#subscriptions.set(id, handle);
    try {
      await this.#request(request, 'done');
    } catch (error) {
      this.#subscriptions.delete(id);
      throw error;
    }
    return () => {
      if (!this.#subscriptions.delete(id)) return;
      this.#request({ type: 'unsubscribe', subscription: id }, 'done').catch(() => {});
    };
  }

  async #request<Type extends AnswerType>(
    request: Unnumbered<SwitchRequest> | (Publication & { readonly type: 'publish' }),
    type: Type,
  ): Promise<AnswerOf<Type>> {
    const answer = await this.#conversation.ask(request);
    if (answer.type !== type)
      throw new WeftError(
        'switch-old',
        `The switch answered "${answer.type}" where "${type}" belongs. It is of another version: restart it.`,
      );
    return answer as unknown as AnswerOf<Type>;
  }

  #message(message: Message): void {
    if (message.type === 'event')
      this.#subscriptions.get(Number(message.subscription))?.(message as unknown as SwitchEvent);
    else this.#conversation.hear(message);
  }

  #closed(error: WeftError): void {
    this.#conversation.end(error);
    this.#subscriptions.clear();
    this.#end(error);
    const endings = [...this.#endings];
    this.#endings.clear();
    for (const act of endings) act();
  }
}

function withPatience<Value>(promise: Promise<Value>, milliseconds: number): Promise<Value> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(
      () => reject(new WeftError('switch-slow', `The switch has not answered within ${milliseconds} ms.`)),
      milliseconds,
    );
    promise.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}

function away(path: string, error: Error | null): WeftError {
  const reason =
    error === null ? 'it closed the connection' : ((error as NodeJS.ErrnoException).code ?? error.message);
  return new WeftError(
    'switch-away',
    `The switch does not answer at ${path} (${reason}). Start it with \`weft switch\`, or look into its log.`,
    error === null ? {} : { cause: error },
  );
}
