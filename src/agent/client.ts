/** A client of the agent's socket: requests with typed answers, and subscriptions. For the command line, the lab and the CNI server. */
import { Conversation, type Message, refusalOf } from '../dataplane/conversation.js';
import { type LineStream, Lines, type Unnumbered } from '../dataplane/lines.js';
import { openSocket } from '../dataplane/socket.js';
import { WeftError } from '../errors/problem.js';
import type { CaptureRequest, FlowsRequest, TrialRequest } from './protocol/requests.js';
import { type AgentAnswers, type AgentEvent, type AgentRequest, maxLineBytes } from './protocol.js';

type RequestOf<Type extends keyof AgentAnswers> = Omit<Extract<AgentRequest, { type: Type }>, 'type' | 'id'>;

interface Subscription {
  event(event: AgentEvent): void;
  /** null: by itself. */
  over(error: Error | null): void;
}

export class AgentClient {
  readonly #lines: Lines;
  readonly #conversation: Conversation;
  readonly #subscriptions = new Map<number, Subscription>();

  private constructor(lines: (client: AgentClient) => Lines) {
    this.#lines = lines(this);
    this.#conversation = new Conversation(this.#lines);
  }

  /** Throws `agent-away` with the remedy when no agent answers at the socket. */
  static async open(path: string): Promise<AgentClient> {
    const socket = await openSocket(path).catch((error: Error) => {
      throw away(path, error);
    });
    return AgentClient.over(socket, (error) => away(path, error));
  }

  /** Over a stream that leads to an agent's socket; `away` words its end, which comes with the stream's error if there was one. */
  static over(stream: LineStream, away: (error: Error | null) => WeftError): AgentClient {
    return new AgentClient(
      (client) =>
        new Lines(stream, 16 * maxLineBytes, {
          message: (message) => client.#message(message),
          garbage: () => client.close(),
          closed: (error) => client.#closed(away(error)),
        }),
    );
  }

  /** Rejects with a WeftError of the agent's code when it refuses. */
  async request<Type extends keyof AgentAnswers>(
    type: Type,
    ...body: Record<string, never> extends RequestOf<Type> ? [RequestOf<Type>?] : [RequestOf<Type>]
  ): Promise<AgentAnswers[Type]> {
    return (await this.#conversation.ask({ type, ...body[0] })) as unknown as AgentAnswers[Type];
  }

  /** Resolves when the subscription has ended: by itself, or with the connection (`close`). Rejects when it is refused. */
  async subscribe(
    request: Unnumbered<FlowsRequest | CaptureRequest | TrialRequest>,
    event: (event: AgentEvent) => void,
  ): Promise<void> {
    // The first events may stand right behind the answer, so their handler is there before the request leaves.
    const id = this.#conversation.next;
    const end = new Promise<void>((resolve, reject) => {
      const over = (error: Error | null) => (error === null ? resolve() : reject(error));
      this.#subscriptions.set(id, { event, over });
    });
    try {
      await Promise.all([this.#conversation.ask(request), end]);
    } finally {
      this.#subscriptions.delete(id);
    }
  }

  close(): void {
    this.#lines.destroy();
  }

  #message(message: Message): void {
    const id = Number(message.id);
    // Said of the connection, not of a request: nobody here is served.
    if (message.type === 'error' && id === 0) this.#closed(refusalOf(message));
    else if (message.type === 'event') this.#event(id, message as unknown as AgentEvent);
    else if (!this.#conversation.hear(message) && message.type === 'error')
      this.#subscriptions.get(id)?.over(refusalOf(message));
  }

  #event(id: number, event: AgentEvent): void {
    const subscription = this.#subscriptions.get(id);
    if (event.event === 'end') subscription?.over(null);
    else subscription?.event(event);
  }

  #closed(error: Error): void {
    if (!this.#conversation.end(error)) return;
    for (const { over } of this.#subscriptions.values()) over(error);
  }
}

function away(path: string, error: Error | null): WeftError {
  const code = (error as NodeJS.ErrnoException | null)?.code;
  if (code === 'EACCES' || code === 'EPERM')
    return new WeftError(
      'agent-denied',
      `The agent's socket ${path} is not open to this user. Run the command as root.`,
    );
  const reason = error === null ? 'it closed the connection' : (code ?? error.message);
  return new WeftError(
    'agent-away',
    `No agent answers at ${path} (${reason}). Start it with \`weft agent\`, or name its run directory with --run-dir.`,
    error === null ? {} : { cause: error },
  );
}
