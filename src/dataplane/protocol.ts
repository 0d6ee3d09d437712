/**
 * The protocol between the switch and everyone else, over the unix socket `RUN/switch.sock` (mode 0600, peer credentials checked).
 *
 * Frames are JSON objects, one a line. A request carries an `id` of the client's choice, its answer repeats it; events have none.
 * The agent publishes desired state, whole, every time: a port that is not listed is removed, so start, restart and change
 * are one path. (Where no port is another than in the publication before on the same connection, which was acknowledged, that one's
 * revision stands in place of the list.) An epoch fences agents: the switch remembers the highest it has welcomed (also over its own restart) and refuses lower
 * ones, so a stale agent that wakes up late cannot undo what its successor published. Observers (the command line) need no epoch
 * and can only ask.
 *
 * A frame that is too long, is no JSON or has the wrong shape is answered with an `error` frame; the connection survives all but
 * a frame that is too long, whose end cannot be trusted.
 *
 * What is said stands in protocol/: the desired state that is published, requests, answers, events.
 */
import type { Acknowledge, Done, ErrorAnswer, QueryAnswer, Welcome } from './protocol/answers.js';
import type {
  HelloRequest,
  PublishRequest,
  QueryRequest,
  SubscribeRequest,
  UnsubscribeRequest,
} from './protocol/requests.js';

/** 2: takes `portsOf`. */
export const switchProtocolVersion = 2;
export const switchSocketName = 'switch.sock';
/** Bytes of one frame without its newline; a publish of 4,000 ports is about 1.5 MB. */
export const maximumFrameBytes = 8 * 1024 * 1024;

/** The gateway every port talks to; the switch answers for it. Link-local, so the same in every pod of every cluster. */
export const gateway4 = '169.254.1.1';
export const gateway6 = 'fe80::1';
/** Locally administered, unicast; the permanent neighbour entry of both gateways. */
export const gatewayMac = '02:77:65:66:74:01';

export type SwitchRequest =
  | HelloRequest
  | PublishRequest
  | QueryRequest
  | SubscribeRequest
  | UnsubscribeRequest;

export type SwitchAnswer = Welcome | Acknowledge | QueryAnswer | Done | ErrorAnswer;
