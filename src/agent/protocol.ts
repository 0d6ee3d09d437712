/**
 * The agent's protocol: what `weft-cni`, the lab and the command line ask the agent over `RUN/agent.sock`.
 *
 * The socket is mode 0600 and the peer's credentials are checked (root or the agent's own user). Framing is the switch's: one JSON
 * object a line, UTF-8, at most `maxLineBytes`. A request carries an `id` of the client's choosing; its answer repeats it. Answers
 * may come in another order than the requests. A subscription answers `subscribed` and then pushes `event` lines with the same `id`
 * until the client closes the connection; an observer that reads too slowly loses events (and is told how many), never slows the agent.
 *
 * Every expected failure is an `error` answer with a stable code of `src/errors/catalogue.ts`; the connection stays usable.
 *
 * What is said stands in protocol/: requests, answers, events.
 */
import type {
  AttachedAnswer,
  CniAnswer,
  ConnectionsAnswer,
  DetachedAnswer,
  ErrorAnswer,
  MetricsAnswer,
  PortsAnswer,
  ReloadedAnswer,
  StatusAnswer,
  SubscribedAnswer,
  SyncedAnswer,
  WhyAnswer,
} from './protocol/answers.js';
import type {
  EndEvent,
  FlowEvent,
  LostEvent,
  PacketEvent,
  TrialEvent,
  TrialOverEvent,
} from './protocol/events.js';
import type {
  AttachRequest,
  CaptureRequest,
  CniRequest,
  CniTakenRequest,
  ConnectionsRequest,
  DetachRequest,
  FlowsRequest,
  MetricsRequest,
  PortsRequest,
  ReloadRequest,
  StatusRequest,
  SyncRequest,
  TrialRequest,
  WhyRequest,
} from './protocol/requests.js';

export const agentSocketName = 'agent.sock';

/** A line longer than this ends the connection: no request of this protocol comes near it. */
export const maxLineBytes = 4 * 1024 * 1024;

export type AgentRequest =
  | AttachRequest
  | DetachRequest
  | CniRequest
  | CniTakenRequest
  | SyncRequest
  | StatusRequest
  | PortsRequest
  | ConnectionsRequest
  | MetricsRequest
  | ReloadRequest
  | FlowsRequest
  | WhyRequest
  | CaptureRequest
  | TrialRequest;

export type AgentEvent = FlowEvent | PacketEvent | TrialEvent | TrialOverEvent | LostEvent | EndEvent;

export type AgentAnswer =
  | ErrorAnswer
  | AttachedAnswer
  | DetachedAnswer
  | CniAnswer
  | SyncedAnswer
  | StatusAnswer
  | PortsAnswer
  | ConnectionsAnswer
  | WhyAnswer
  | MetricsAnswer
  | ReloadedAnswer
  | SubscribedAnswer
  | AgentEvent;

/** What `request` of the client resolves to for each request type. */
export interface AgentAnswers {
  readonly attach: AttachedAnswer;
  readonly detach: DetachedAnswer;
  readonly cni: CniAnswer;
  readonly sync: SyncedAnswer;
  readonly status: StatusAnswer;
  readonly ports: PortsAnswer;
  readonly connections: ConnectionsAnswer;
  readonly why: WhyAnswer;
  readonly metrics: MetricsAnswer;
  readonly reload: ReloadedAnswer;
}
