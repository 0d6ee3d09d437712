/** What the agent reports of itself and of the switch when it is asked: status, ports, connections. */

import type { SwitchStatus } from '../dataplane/protocol/answers.js';
import type { Problem } from '../errors/problem.js';
import type { Directory } from '../policy/directory.js';
import type { Agent } from './agent.js';
import { limitsInUse } from './limits.js';
import { portOf } from './meant-pods.js';
import { type Names, protocolName } from './names.js';
import { needLink } from './need-link.js';
import type { ConnectionRow, PortRow, StatusAnswer } from './protocol/answers.js';
import type { ConnectionsRequest, PortsRequest } from './protocol/requests.js';

export interface ReportServices {
  readonly agent: Agent;
  readonly names: Names;
  readonly directory: Directory;
  readonly version: string;
  readonly epoch: number;
  readonly pools: () => StatusAnswer['addresses'];
  readonly uptimeSeconds: () => number;
  /** What the kernel refused of the agent's scheduling. */
  readonly scheduleRefused: readonly string[];
}

export async function statusReport(services: ReportServices): Promise<Omit<StatusAnswer, 'id'>> {
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
    ...(services.scheduleRefused.length === 0 ? {} : { scheduleRefused: services.scheduleRefused }),
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
    problems: [
      ...agent.problems,
      ...(switchStatus?.hostRestored === undefined ? [] : interfaceChanged(switchStatus.hostRestored)),
    ],
    ...(switchStatus === undefined ? {} : { switch: switchStatus }),
  };
}

/** For so long it is a problem that somebody changes the host port's interface. Seconds. */
const changedFor = 600;

function interfaceChanged({
  times,
  changes,
  secondsAgo,
}: NonNullable<SwitchStatus['hostRestored']>): readonly Problem[] {
  if (secondsAgo > changedFor) return [];
  return [
    {
      code: 'host-changed',
      severity: 'warning',
      message: `Somebody changes the interface of this node on the switch: ${times} times so far, the last time ${changes.join(', ')}. It was brought back each time; in between the node did not reach its pods.`,
      fix: 'Find out who: `ip monitor link address route`, a network manager, a script.',
    },
  ];
}

export async function portRows(
  { agent, directory }: ReportServices,
  { namespace, name }: PortsRequest,
): Promise<readonly PortRow[]> {
  const only =
    namespace === undefined || name === undefined
      ? null
      : portOf(agent, directory.follow(), { namespace, name });
  const [counters, reports] = await Promise.all([
    agent.link?.query('counters').catch(() => undefined),
    agent.link?.query('ports').catch(() => undefined),
  ]);
  // The switch's own word: what it acknowledged may have broken since.
  const told = new Map(reports?.map((report) => [report.id, report]));
  const byId = new Map(counters?.ports.map((port) => [port.id, port]));
  const specs = agent.attachments.ports.filter(({ id }) => only === null || id === only);
  return specs.map((spec): PortRow => {
    const known = told.get(spec.id) ?? agent.attachments.status(spec.id);
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

export async function connectionRows(
  services: ReportServices,
  request: ConnectionsRequest,
): Promise<readonly ConnectionRow[]> {
  const { agent, names, directory } = services;
  const { namespace, name } = request;
  const port =
    namespace === undefined || name === undefined
      ? undefined
      : portOf(agent, directory.follow(), { namespace, name });
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
