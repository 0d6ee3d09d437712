/** What each request of the agent's protocol does. Every expected failure becomes an `error` answer; the connection lives on. */
import { gateway4, gateway6, gatewayMac } from '../dataplane/protocol.js';
import { WeftError } from '../errors/problem.js';
import type { Agent } from './agent.js';
import { portSpec } from './attachment.js';
import { CniRequests } from './cni-requests.js';
import { type Flows, ruleName } from './flows.js';
import { limitsInUse } from './limits.js';
import { type Names, protocolName } from './names.js';
import type { PortRow, StatusAnswer } from './protocol/answers.js';
import type { CaptureRequest, ConnectionsRequest, FlowsRequest, TrialRequest } from './protocol/requests.js';
import type { AgentAnswer, AgentRequest } from './protocol.js';
import type { Client, HandleMessage } from './server.js';
import type { Trials } from './trials.js';
import { why } from './why.js';

export interface RequestServices {
  readonly agent: Agent;
  readonly flows: Flows;
  readonly trials: Trials;
  readonly names: Names;
  readonly version: string;
  readonly epoch: number;
  readonly pools: () => StatusAnswer['addresses'];
  readonly uptimeSeconds: () => number;
  readonly metrics: () => Promise<string>;
  readonly cniCounted: (verb: string, code: number) => void;
  readonly reload: () => Promise<{
    readonly applied: readonly string[];
    readonly needRestart: readonly string[];
  }>;
  readonly log: (message: string, fields: Readonly<Record<string, unknown>>) => void;
}

/** Bytes that an observer may leave unread before it loses events. */
const observerBacklog = 1024 * 1024;

export function requestHandler(services: RequestServices): HandleMessage {
  const cni = new CniRequests({ ...services, counted: services.cniCounted });
  let observers = 0;
  return (message, client) => {
    const id = typeof message.id === 'number' ? message.id : 0;
    const answer = (body: Omit<AgentAnswer, 'id'>) => client.send({ ...body, id });
    const subscribe = (start: (client: Client) => Promise<() => void>) => {
      const most = services.agent.config.agent.observers;
      if (observers >= most)
        throw new WeftError(
          'observers-exhausted',
          `${most} clients follow already. End one of them, or raise agent.observers.`,
        );
      observers++;
      client.onClose(() => observers--);
      return start(client);
    };
    respond(services, cni, message as unknown as AgentRequest, id, client, answer, subscribe).catch(
      (error: unknown) => {
        const expected = error instanceof WeftError;
        if (!expected)
          services.log('a request failed', { type: message.type, error: String((error as Error).stack) });
        answer({
          type: 'error',
          code: expected ? error.code : 'agent-internal',
          message: (error as Error).message,
          ...(expected && error.problems.length > 0 ? { problems: error.problems } : {}),
        } as Omit<AgentAnswer, 'id'>);
      },
    );
  };
}

type Answer = (body: Omit<AgentAnswer, 'id'>) => void;
type Subscribe = (start: (client: Client) => Promise<() => void>) => Promise<() => void>;

async function respond(
  services: RequestServices,
  cni: CniRequests,
  request: AgentRequest,
  id: number,
  client: Client,
  answer: Answer,
  subscribe: Subscribe,
): Promise<void> {
  const { agent } = services;
  switch (request.type) {
    case 'attach': {
      const { attachment, revision } = await agent.attach(request);
      const { mac, mtu, addresses } = portSpec(attachment);
      answer({
        type: 'attached',
        port: attachment.id,
        mac,
        mtu,
        addresses,
        gateways: [...new Set(addresses.map((text) => (text.includes(':') ? gateway6 : gateway4)))],
        gatewayMac,
        revision,
      } as Omit<AgentAnswer, 'id'>);
      return;
    }
    case 'detach':
      answer({ type: 'detached', found: await agent.detach(request) } as Omit<AgentAnswer, 'id'>);
      return;
    case 'cni':
      answer((await cni.handle(request, id, client)) as Omit<AgentAnswer, 'id'>);
      return;
    case 'cni-taken':
      cni.taken(client, id);
      return;
    case 'sync': {
      const revision = await agent.sync(request.timeoutMilliseconds);
      answer({
        type: 'synced',
        revision,
        generation: agent.progress.generation,
        problems: agent.problems,
        failedPorts: agent.attachments.failed.map(({ id, error }) => ({ id, error: error?.message ?? '' })),
      } as Omit<AgentAnswer, 'id'>);
      return;
    }
    case 'status':
      answer(await status(services));
      return;
    case 'ports':
      answer({ type: 'ports', ports: await portRows(agent) } as Omit<AgentAnswer, 'id'>);
      return;
    case 'connections':
      answer({ type: 'connections', connections: await connectionRows(services, request) } as Omit<
        AgentAnswer,
        'id'
      >);
      return;
    case 'why':
      answer({ type: 'why', ...(await why(services, request)) } as Omit<AgentAnswer, 'id'>);
      return;
    case 'metrics':
      answer({ type: 'metrics', text: await services.metrics() } as Omit<AgentAnswer, 'id'>);
      return;
    case 'reload':
      answer({ type: 'reloaded', ...(await services.reload()) } as Omit<AgentAnswer, 'id'>);
      return;
    case 'flows':
      await subscribe(async () => followFlows(services.flows, request, id, client));
      return;
    case 'capture':
      await subscribe(() => capture(agent, request, id, client));
      return;
    case 'trial':
      await subscribe(() => tryPolicies(services.trials, request, id, client));
      return;
    default:
      throw new WeftError(
        'request-invalid',
        `The agent does not know the request ${JSON.stringify((request as { type?: unknown }).type)}. Agent and client have to be of one version.`,
      );
  }
}

async function status(services: RequestServices): Promise<Omit<StatusAnswer, 'id'>> {
  const { agent } = services;
  const { world } = agent.state;
  const { revision, acknowledged, generation } = agent.progress;
  const link = agent.link;
  const switchStatus = link === null ? undefined : await link.query('status').catch(() => undefined);
  return {
    type: 'status',
    version: services.version,
    node: agent.state.node.name,
    pid: process.pid,
    uptimeSeconds: services.uptimeSeconds(),
    epoch: services.epoch,
    revision,
    acknowledged,
    generation: link === null ? '' : generation,
    switchConnected: link !== null,
    ...(agent.imageError === null ? {} : { imageError: agent.imageError }),
    ready: agent.ready,
    sources: agent.sources,
    counts: {
      namespaces: world.all('namespace').size,
      pods: world.all('pod').size,
      localPods: agent.state.localPods().size,
      policies: world.all('policy').size,
      services: world.all('service').size,
      identities: agent.figures.identities,
      classes: agent.figures.classes,
      programs: agent.figures.programs,
      ports: agent.attachments.list().length,
    },
    compile: agent.compiles,
    addresses: services.pools(),
    limits: limitsInUse(agent, switchStatus ?? null),
    pending: agent.pending,
    ...(agent.ready ? {} : { unready: agent.unreadyReason }),
    problems: agent.problems,
    ...(switchStatus === undefined ? {} : { switch: switchStatus }),
  };
}

async function portRows(agent: Agent): Promise<readonly PortRow[]> {
  const counters = await agent.link?.query('counters').catch(() => undefined);
  const byId = new Map(counters?.ports.map((port) => [port.id, port]));
  return agent.attachments.ports.map((spec): PortRow => {
    const known = agent.attachments.status(spec.id);
    const counted = byId.get(spec.id);
    return {
      id: spec.id,
      namespace: spec.namespace,
      name: spec.name,
      kind: spec.kind,
      ifname: spec.ifname,
      netns: spec.netns,
      mac: spec.mac,
      addresses: spec.addresses,
      mtu: spec.mtu,
      status: known?.status ?? 'pending',
      ...(known?.error === undefined ? {} : { error: known.error.message }),
      ...(counted === undefined
        ? {}
        : {
            received: { packets: counted.receivedPackets, bytes: counted.receivedBytes },
            sent: { packets: counted.sentPackets, bytes: counted.sentBytes },
            drops: counted.drops,
            connections: counted.connections,
            answers: counted.answers,
            workerSeconds: counted.workerNanoseconds / 1e9,
            throttledSeconds: counted.throttledNanoseconds / 1e9,
            policedPackets: counted.policedPackets,
          }),
    };
  });
}

async function connectionRows(services: RequestServices, request: ConnectionsRequest) {
  const { agent, names } = services;
  const port = request.namespace === undefined ? undefined : portOf(agent, request);
  const reports = await needLink(agent).query('connections', {
    limit: request.limit ?? 1000,
    ...(port === undefined ? {} : { port }),
  });
  return reports.map((report) => ({
    protocol: protocolName(report.protocol),
    family: report.family,
    state: report.state,
    source: names.end(report.source.address, report.source.port),
    destination: names.end(report.destination.address, report.destination.port),
    ...(report.translated === undefined
      ? {}
      : { translated: names.end(report.translated.address, report.translated.port) }),
    packets: { original: report.originalPackets, reply: report.replyPackets },
    bytes: { original: report.originalBytes, reply: report.replyBytes },
    ageSeconds: report.ageSeconds,
    expiresSeconds: report.expiresSeconds,
    generation: report.generation,
  }));
}

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

function followFlows(flows: Flows, request: FlowsRequest, id: number, client: Client): () => void {
  const sender = patientSender(id, client);
  client.send({ type: 'subscribed', id });
  for (const flow of flows.recent(request)) sender.send({ event: 'flow', flow });
  if (request.follow !== true) {
    client.send({ type: 'event', id, event: 'end' });
    return () => {};
  }
  const stop = flows.follow({
    filter: request,
    flow: (flow) => sender.send({ event: 'flow', flow }),
    lost: (count) => sender.lost(count),
  });
  client.onClose(stop);
  return stop;
}

async function capture(
  agent: Agent,
  request: CaptureRequest,
  id: number,
  client: Client,
): Promise<() => void> {
  const sender = patientSender(id, client);
  let left = request.count ?? Number.POSITIVE_INFINITY;
  let stop = () => {};
  let ended = false;
  const end = () => {
    if (ended) return;
    ended = true;
    stop();
    client.send({ type: 'event', id, event: 'end' });
  };
  const link = needLink(agent);
  const port = portOf(agent, request);
  client.onClose(() => {
    ended = true;
    stop();
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
  link.ended.then(end);
  if (ended) stop();
  return stop;
}

async function tryPolicies(
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
  end = await trials.start(trialRequest(request), {
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

function trialRequest(request: TrialRequest): TrialRequest {
  const { manifests, remove, seconds } = request;
  const texts = (list: unknown, form: (item: unknown) => boolean) => Array.isArray(list) && list.every(form);
  if (
    typeof seconds === 'number' &&
    texts(remove, (item) => typeof item === 'string') &&
    texts(manifests, (item) => {
      const { file, text } = (item ?? {}) as { file?: unknown; text?: unknown };
      return typeof file === 'string' && typeof text === 'string';
    })
  )
    return request;
  throw new WeftError(
    'request-invalid',
    'A trial has manifests (file and text each), remove (a list of names) and seconds.',
  );
}

function needLink(agent: Agent) {
  if (agent.link === null)
    throw new WeftError(
      'switch-away',
      'The agent has no connection to the switch. Start it with `weft switch`, or look into its log.',
    );
  return agent.link;
}

/** Port of a pod that is attached here. */
function portOf(agent: Agent, pod: { readonly namespace?: string; readonly name?: string }): string {
  const found = agent.attachments.ports.find(
    ({ namespace, name }) => namespace === pod.namespace && name === pod.name,
  );
  if (found === undefined)
    throw new WeftError(
      'port-unknown',
      `No pod ${pod.namespace}/${pod.name} is attached to this node. \`weft ports\` lists those that are.`,
    );
  return found.id;
}
