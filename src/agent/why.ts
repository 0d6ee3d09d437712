/**
 * `why`: what becomes of a connection, as the switch says it: by the structure that its workers judge packets with (the published image
 * at its generation, the ports that are live), not by compiling anew. The agent adds what it knows of the ends: names, the rules of the
 * policies and what stood in their way, what is on its way to the switch, and the latest events.
 *
 * A switch judges the ends that are attached to it. Where the other end is a pod of another node, that node has its say, too, and the
 * answer names it.
 */
import type { Basis, ExplainedSide, ExplainedWay, ExplainReport } from '../dataplane/protocol/answers.js';
import { dropReasons } from '../errors/drop-reasons.js';
import { WeftError } from '../errors/problem.js';
import { keyOf } from '../model/event.js';
import { isFinished, type Pod } from '../model/pod.js';
import type { Direction } from '../model/policy.js';
import { protocolNumber } from '../model/protocol.js';
import { type Address, parseAddress } from '../net/address.js';
import type { Directory } from '../policy/directory.js';
import { explainFlow } from '../policy/explain.js';
import type { Flow, FlowProtocol, SideVerdict } from '../policy/flow.js';
import type { Agent } from './agent.js';
import type { Flows } from './flows.js';
import type { Names } from './names.js';
import type { WhyAnswer, WhyFlow, WhyPort } from './protocol/answers.js';
import type { FlowRecord } from './protocol/events.js';
import type { WhyRequest } from './protocol/requests.js';
import type { SwitchLink } from './switch-link.js';
import { type Asked, resolveEnds } from './why-ends.js';

export interface WhyServices {
  readonly agent: Agent;
  readonly flows: Flows;
  readonly names: Names;
  readonly directory: Directory;
}

type Body = Omit<WhyAnswer, 'type' | 'id'>;

const recentEvents = 5;

/** Throws `usage`, `unknown-end`, `switch-away`, `switch-slow`. */
export async function why(services: WhyServices, request: WhyRequest): Promise<Body> {
  const { agent } = services;
  const directory = services.directory.follow();
  const { from, to, notes, asked, fromPod, toPod } = resolveEnds(directory, request);
  const { revision, acknowledged, generation } = agent.progress;
  const ends = [
    { end: 'from' as const, pod: fromPod ?? podOf(directory, asked, 'source') },
    { end: 'to' as const, pod: toPod ?? podOf(directory, asked, 'destination') },
  ];
  const common = {
    node: agent.state.node.name,
    from,
    to,
    acknowledged,
    revision,
    unsettled: unsettled(
      agent,
      ends.map(({ pod }) => pod),
    ),
    alsoAsk: nodesOf(agent, ends),
  };
  if (typeof asked === 'string')
    return { ...common, allowed: null, reason: asked, notes, generation, flows: [], ports: [], recent: [] };
  const { link } = agent;
  if (link === null)
    throw new WeftError(
      'switch-away',
      'The agent has no connection to the switch, which alone knows what it enforces. Start it with `weft switch`, or look into its log; `weft why -f` judges files.',
    );
  const report = await link.query('explain', {
    flow: {
      source: asked.source.text,
      destination: asked.destination.text,
      protocol: numberOf(asked.protocol, asked.source.family),
      port: asked.port,
    },
  });
  const flows = report.ways.map((way) => flowOf(services, directory, asked, way));
  const ports = await portsOf(agent, link, ends);
  return {
    ...common,
    ...verdictOf(services, directory, asked, report, flows),
    notes: [...notes, ...elsewhereNotes(agent, ends)],
    generation: report.generation,
    ...(report.service === undefined ? {} : { service: report.service.name }),
    flows,
    ports,
    recent: recent(services.flows, asked, flows),
  };
}

function podOf(directory: Directory, asked: Asked | string, end: 'source' | 'destination'): Pod | undefined {
  return typeof asked === 'string' ? undefined : directory.podAt(asked[end]);
}

function numberOf(protocol: FlowProtocol, family: 4 | 6): number {
  if (protocol === 'ICMP') return family === 4 ? 1 : 58;
  return protocolNumber[protocol];
}

function flowOf(services: WhyServices, directory: Directory, asked: Asked, way: ExplainedWay): WhyFlow {
  const destination = parseAddress(way.destination.address) ?? asked.destination;
  const flow: Flow = {
    source: asked.source,
    destination,
    protocol: asked.protocol,
    port: way.destination.port ?? 0,
  };
  const verdict = {
    egress: sideOf(directory, asked.source, way.egress),
    ingress: sideOf(directory, destination, way.ingress),
  };
  const end = services.names.end(destination.text);
  return {
    source: flow.source.text,
    destination: destination.text,
    destinationName: end.name === '' ? destination.text : end.kind === 'node' ? `node/${end.name}` : end.name,
    port: flow.port,
    protocol: flow.protocol,
    allowed: way.reason === undefined,
    ...(way.reason === undefined ? {} : { reason: way.reason }),
    sides: way.egress === undefined ? [] : explainFlow(directory, flow, verdict),
  };
}

const allows: Readonly<Record<Basis, boolean>> = {
  elsewhere: true,
  self: true,
  'own-node': true,
  unknown: false,
  'not-isolated': true,
  rule: true,
  isolated: false,
};

function sideOf(directory: Directory, own: Address, side: ExplainedSide | undefined): SideVerdict {
  if (side === undefined) return { allowed: true, reason: 'no-pod', isolatedBy: [] };
  const { basis, rule, isolatedBy } = side;
  const reason = basis === 'elsewhere' && directory.podAt(own) === undefined ? 'no-pod' : basis;
  return {
    allowed: allows[basis],
    reason,
    ...(rule === undefined ? {} : { policy: rule.policy, rule: rule.index }),
    isolatedBy: [...isolatedBy].sort(),
  };
}

/** What the switch's answer comes to, in a sentence where it is no plain yes. */
function verdictOf(
  { agent, names }: WhyServices,
  directory: Directory,
  asked: Asked,
  report: ExplainReport,
  flows: readonly WhyFlow[],
): { readonly allowed: boolean | null; readonly reason?: string } {
  if (!report.image) return { allowed: false, reason: helpOf('no-image') };
  if (report.from === undefined)
    return {
      allowed: null,
      reason: `The source is not attached to this node, which has no port for what comes from outside.`,
    };
  if (flows.length === 0)
    return { allowed: false, reason: helpOf(report.service?.reason ?? 'service-no-endpoint') };
  const denied = flows.find(({ allowed }) => !allowed);
  if (denied !== undefined) {
    const isolated = denied.sides.some(({ verdict }) => verdict.reason === 'isolated');
    return isolated
      ? { allowed: false }
      : { allowed: false, reason: dropSentence(directory, asked, denied.reason ?? 'internal') };
  }
  const kinds = new Map(agent.attachments.ports.map(({ id, kind }) => [id, kind]));
  const enters = kinds.get(report.from) === 'pod';
  const arrives = report.ways.some(({ to }) => to !== undefined && kinds.get(to) === 'pod');
  if (enters || arrives) return { allowed: true };
  const source = names.end(asked.source.text);
  return {
    allowed: null,
    reason: `Neither end is attached to this node (${agent.state.node.name}), so its switch does not meet ${source.name === '' ? asked.source.text : source.name}'s connection.`,
  };
}

function helpOf(name: string): string {
  return dropReasons.find((reason) => reason.name === name)?.help ?? name;
}

/** The general sentence of a drop reason, or a particular one where the ends tell more. */
function dropSentence(directory: Directory, asked: Asked, reason: string): string {
  const missing =
    reason === 'spoof-ip' ? asked.source : reason === 'no-route' ? asked.destination : undefined;
  const pod = missing === undefined ? undefined : directory.podAt(missing);
  if (pod !== undefined)
    return `The pod ${pod.namespace}/${pod.name} is this node's, but its port is not live, so nothing comes from it or goes to it (${reason}).`;
  return `${helpOf(reason)} (${reason})`;
}

interface NamedEnd {
  readonly end: 'from' | 'to';
  readonly pod: Pod | undefined;
}

function attachedHere(agent: Agent, pod: Pod): boolean {
  return agent.attachments.ports.some(
    (port) => port.kind === 'pod' && port.namespace === pod.namespace && port.name === pod.name,
  );
}

function isElsewhere(agent: Agent, pod: Pod | undefined): pod is Pod {
  return (
    pod !== undefined &&
    !isFinished(pod) &&
    pod.nodeName !== '' &&
    pod.nodeName !== agent.state.node.name &&
    !attachedHere(agent, pod)
  );
}

function nodesOf(agent: Agent, ends: readonly NamedEnd[]): readonly string[] {
  const pods = ends.map(({ pod }) => pod).filter((pod) => isElsewhere(agent, pod) && !pod.hostNetwork);
  return [...new Set(pods.map((pod) => pod?.nodeName ?? ''))].sort();
}

function elsewhereNotes(agent: Agent, ends: readonly NamedEnd[]): string[] {
  return ends.flatMap(({ end, pod }) => {
    if (!isElsewhere(agent, pod) || pod.hostNetwork) return [];
    const direction: Direction = end === 'from' ? 'egress' : 'ingress';
    return [
      `${keyOf(pod.namespace, pod.name)} runs on node ${pod.nodeName}, whose switch judges its ${direction}: ask there, too.`,
    ];
  });
}

/** Why the answer may soon be another, or the switch knows less than the API tells. */
function unsettled(agent: Agent, pods: readonly (Pod | undefined)[]): string[] {
  const { revision, acknowledged } = agent.progress;
  const sentences: string[] = [];
  if (!agent.ready) sentences.push(agent.unreadyReason);
  if (revision !== acknowledged)
    sentences.push(
      `Revision ${revision} is on its way to the switch, which has acknowledged ${acknowledged === 0 ? 'none of this agent' : acknowledged}: what has changed since is not known to it yet.`,
    );
  if (agent.pending) sentences.push('Changes have come in that no revision carries yet.');
  for (const pod of new Set(pods)) {
    if (pod === undefined || pod.hostNetwork || isFinished(pod)) continue;
    const name = keyOf(pod.namespace, pod.name);
    const attached = agent.attachments.ports.find(
      (port) => port.kind === 'pod' && port.namespace === pod.namespace && port.name === pod.name,
    );
    if (attached !== undefined) {
      const status = agent.attachments.status(attached.id);
      if (status === undefined) sentences.push(`The port of ${name} is not acknowledged by the switch yet.`);
      else if (status.status === 'failed')
        sentences.push(
          `The port of ${name} is not up: ${status.error?.message ?? 'the switch does not say why'}.`,
        );
      if (!agent.state.knows(name))
        sentences.push(
          `${name} is attached, but no source has told of this life of it yet: it stays closed.`,
        );
    } else if (pod.nodeName === agent.state.node.name)
      sentences.push(
        `${name} is to run on this node, but it is not attached: its network is not set up yet, or was removed.`,
      );
    else if (pod.nodeName === '') sentences.push(`${name} is on no node yet.`);
  }
  return sentences;
}

async function portsOf(
  agent: Agent,
  link: SwitchLink,
  ends: readonly NamedEnd[],
): Promise<readonly WhyPort[]> {
  const rows = ends.flatMap(({ end, pod }) => {
    const spec =
      pod === undefined
        ? undefined
        : agent.attachments.ports.find(
            (port) => port.kind === 'pod' && port.namespace === pod.namespace && port.name === pod.name,
          );
    return spec === undefined ? [] : [{ end, spec }];
  });
  return Promise.all(
    rows.map(async ({ end, spec }): Promise<WhyPort> => {
      const status = agent.attachments.status(spec.id);
      const counters = await link.query('counters', { port: spec.id }).catch(() => undefined);
      return {
        end,
        pod: keyOf(spec.namespace, spec.name),
        status: status?.status ?? 'pending',
        ...(status?.error === undefined ? {} : { error: status.error.message }),
        drops: counters?.ports.find(({ id }) => id === spec.id)?.drops ?? {},
      };
    }),
  );
}

/** The latest events from the source to the destination, or to where it is translated. */
function recent(flows: Flows, asked: Asked, ways: readonly WhyFlow[]): readonly FlowRecord[] {
  const goals = new Set([
    `${asked.destination.text} ${asked.port}`,
    ...ways.map(({ destination, port }) => `${destination} ${port}`),
  ]);
  const named = (protocol: string) => (protocol === 'ICMPv6' ? 'ICMP' : protocol);
  return flows
    .recent({})
    .filter(
      ({ source, destination, translated, protocol }) =>
        source.address === asked.source.text &&
        named(protocol) === asked.protocol &&
        [destination, translated].some((end) => end !== undefined && goals.has(`${end.address} ${end.port}`)),
    )
    .slice(-recentEvents);
}
