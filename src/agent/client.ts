/** A client of the agent's socket: requests with typed answers, and subscriptions. For the command line, the lab and the CNI server. */
import { type LineStream, Lines, type Unnumbered } from '../dataplane/lines.js';
import { openSocket } from '../dataplane/socket.js';
import { WeftError } from '../errors/problem.js';
import type { CaptureRequest, FlowsRequest, TrialRequest } from './protocol/requests.js';
import {
  type AgentAnswer,
  type AgentAnswers,
  type AgentEvent,
  type AgentRequest,
  maxLineBytes,
} from './protocol.js';

type RequestOf<Type extends keyof AgentAnswers> = Omit<Extract<AgentRequest, { type: Type }>, 'type' | 'id'>;

interface Waiting {
  readonly resolve: (answer: AgentAnswer) => void;
  readonly reject: (error: Error) => void;
  /** Set for subscriptions: events go on coming under the id. */
  readonly event: ((event: AgentEvent) => void) | null;
}

export class AgentClient {
  readonly #lines: Lines;
  readonly #waiting = new Map<number, Waiting>();
  #next = 1;
  #ended: Error | null = null;

  private constructor(lines: (client: AgentClient) => Lines) {
    this.#lines = lines(this);
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
          message: (value) => client.#message(value as unknown as AgentAnswer),
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
    const answer = await this.#send({ type, ...body[0] } as unknown as Unnumbered<AgentRequest>, null);
    return answer as unknown as AgentAnswers[Type];
  }

  /** Resolves when the subscription has ended: by itself, or with the connection (`close`). Rejects when it is refused. */
  async subscribe(
    request: Unnumbered<FlowsRequest | CaptureRequest | TrialRequest>,
    event: (event: AgentEvent) => void,
  ): Promise<void> {
    let over: (error: Error | null) => void = () => {};
    const end = new Promise<Error | null>((resolve) => {
      over = resolve;
    });
    const handle = (arrived: AgentEvent) => {
      if (arrived.event === 'end') over(null);
      else event(arrived);
    };
    await this.#send(request, handle, over);
    const error = await end;
    if (error !== null) throw error;
  }

  close(): void {
    this.#lines.destroy();
  }

  #send(
    request: Unnumbered<AgentRequest>,
    event: ((event: AgentEvent) => void) | null,
    over?: (error: Error) => void,
  ): Promise<AgentAnswer> {
    return new Promise((resolve, reject) => {
      if (this.#ended !== null) {
        reject(this.#ended);
        return;
      }
      const id = this.#next++;
      const rejectAll = (error: Error) => {
        reject(error);
        over?.(error);
      };
      this.#waiting.set(id, { resolve, reject: rejectAll, event });
      this.#lines.send({ id, ...request });
    });
  }

  #message(message: AgentAnswer): void {
    const waiting = this.#waiting.get(message.id);
    if (message.type === 'event') {
      waiting?.event?.(message);
      return;
    }
    if (message.type === 'error' && message.id === 0) {
      // Said of the connection, not of a request: nobody here is served.
      this.#closed(new WeftError(message.code, message.message));
      return;
    }
    if (waiting === undefined) return;
    if (waiting.event === null || message.type === 'error') this.#waiting.delete(message.id);
    if (message.type === 'error')
      waiting.reject(new WeftError(message.code, message.message, { problems: message.problems ?? [] }));
    else waiting.resolve(message);
  }

  #closed(error: Error): void {
    if (this.#ended !== null) return;
    this.#ended = error;
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
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
