/**
 * The subscriptions of the agent's protocol: flows, a capture, a trial. Each answers `subscribed`, then sends its events until it is over or
 * the client has gone, and returns what ends it. A client that reads too slowly loses events and is told how many.
 */

import type { Directory } from '../policy/directory.js';
import type { Agent } from './agent.js';
import { type FlowFilter, type Flows, ruleName } from './flows.js';
import { meantPods, portOf } from './meant-pods.js';
import { needLink } from './need-link.js';
import type { CaptureRequest, FlowsRequest, TrialRequest } from './protocol/requests.js';
import type { Client } from './server.js';
import type { Trials } from './trials.js';

/** Bytes that an observer may leave unread before it loses events. */
const observerBacklog = 1024 * 1024;

/** Sends unless the observer reads too slowly; what it lost is told as soon as it reads again. */
function patientSender(id: number, client: Client) {
  let missing = 0;
  return {
    send(event: object): void {
      if (client.backlog > observerBacklog) {
        missing++;
        return;
      }
      if (missing > 0) client.send({ type: 'event', id, event: 'lost', count: missing });
      missing = 0;
      client.send({ type: 'event', id, ...event });
    },
    lost(count: number): void {
      missing += count;
    },
  };
}

/** Throws `unknown-end`. */
export function followFlows(
  { flows, directory }: { readonly flows: Flows; readonly directory: Directory },
  request: FlowsRequest,
  id: number,
  client: Client,
): () => void {
  const filter: FlowFilter = {
    ...(request.denied === undefined ? {} : { denied: request.denied }),
    ...(request.drops === undefined ? {} : { drops: request.drops }),
    ...podsMeant(flows, directory, request),
  };
  const sender = patientSender(id, client);
  client.send({ type: 'subscribed', id });
  for (const flow of flows.recent(filter)) sender.send({ event: 'flow', flow });
  if (request.follow !== true) {
    client.send({ type: 'event', id, event: 'end' });
    return () => {};
  }
  const stop = flows.follow({
    filter,
    flow: (flow) => sender.send({ event: 'flow', flow }),
    lost: (count) => sender.lost(count),
  });
  client.onClose(stop);
  return stop;
}

function podsMeant(flows: Flows, directory: Directory, request: FlowsRequest): Pick<FlowFilter, 'pod'> {
  const { namespace, name } = request;
  if (namespace === undefined) return {};
  if (name === undefined) return { pod: (key) => key.startsWith(`${namespace}/`) };
  return { pod: meantPods(directory.follow(), { namespace, name }, (key) => flows.remembers(key)) };
}

/** Throws `switch-away`, `unknown-end`, `port-unknown`. */
export async function capture(
  { agent, directory }: { readonly agent: Agent; readonly directory: Directory },
  request: CaptureRequest,
  id: number,
  client: Client,
): Promise<() => void> {
  const sender = patientSender(id, client);
  let left = request.count ?? Number.POSITIVE_INFINITY;
  let stop = () => {};
  let letGo = () => {};
  let ended = false;
  const end = () => {
    if (ended) return;
    ended = true;
    stop();
    letGo();
    client.send({ type: 'event', id, event: 'end' });
  };
  const link = needLink(agent);
  const port = portOf(agent, directory.follow(), request);
  client.onClose(() => {
    ended = true;
    stop();
    letGo();
  });
  stop = await link.capture(
    { port, drops: request.drops === true, snapLength: request.snapLength ?? 65535 },
    {
      events: (events, lost) => {
        if (lost > 0) sender.lost(lost);
        for (const event of events) {
          if (left <= 0) break;
          left--;
          const { time, data, length, direction, reason, answered } = event;
          const denied = reason === 'policy-egress' || reason === 'policy-ingress';
          sender.send({
            event: 'packet',
            packet: {
              time,
              data,
              length,
              direction,
              verdict: reason === undefined ? 'allowed' : denied ? 'denied' : 'dropped',
              ...(reason === undefined ? {} : { reason }),
              ...(answered === true ? { answered } : {}),
              rules: [event.egress, event.ingress].filter((rule) => rule !== undefined).map(ruleName),
            },
          });
        }
        if (left <= 0) end();
      },
    },
  );
  client.send({ type: 'subscribed', id });
  if (ended) stop();
  else letGo = link.whenEnded(end);
  return stop;
}

export async function tryPolicies(
  trials: Trials,
  request: TrialRequest,
  id: number,
  client: Client,
): Promise<() => void> {
  let gone = false;
  let end = () => {};
  client.onClose(() => {
    gone = true;
    end();
  });
  end = await trials.start(request, {
    send: (event) => {
      if (client.backlog > observerBacklog) return false;
      client.send({ type: 'event', id, event: 'trial', ...event });
      return true;
    },
    over: (how) => {
      client.send({ type: 'event', id, event: 'trial-over', ...how });
      client.send({ type: 'event', id, event: 'end' });
    },
  });
  client.send({ type: 'subscribed', id });
  if (gone) end();
  return end;
}
