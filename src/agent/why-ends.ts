/** The two ends of a question to a running agent, found in its world: addresses and port of the first packet that would be sent. */
import { WeftError } from '../errors/problem.js';
import type { Pod } from '../model/pod.js';
import type { Service } from '../model/service.js';
import { type Address, type Family, parseAddress } from '../net/address.js';
import type { Directory } from '../policy/directory.js';
import { addressesOf, commonFamily, type End, formatEnd, podOf, withPort } from '../policy/end.js';
import type { FlowProtocol } from '../policy/flow.js';
import { namedAlike, portsOf, serviceNamed } from '../policy/stand-in.js';
import { podsOfWorkload, unknownPod } from './meant-pods.js';
import type { QuestionEnd, WhyRequest } from './protocol/requests.js';

/** As a client sends it: the Service's address and port where a Service is asked for. */
export interface Asked {
  readonly source: Address;
  readonly destination: Address;
  readonly protocol: FlowProtocol;
  /** 0 for ICMP. */
  readonly port: number;
}

export interface ResolvedEnds {
  readonly from: string;
  readonly to: string;
  readonly notes: readonly string[];
  /** The flow, or the sentence why there is none. */
  readonly asked: Asked | string;
  /** Set where the end is (or was taken for) a pod. */
  readonly fromPod?: Pod | undefined;
  readonly toPod?: Pod | undefined;
}

const protocols: readonly string[] = ['TCP', 'UDP', 'SCTP', 'ICMP'] satisfies FlowProtocol[];

/** Throws `usage` and `unknown-end` for what nobody can answer. */
export function resolveEnds(directory: Directory, request: Omit<WhyRequest, 'type' | 'id'>): ResolvedEnds {
  const notes: string[] = [];
  const from = known(directory, endOf(request.from), notes);
  if (from.kind === 'service')
    throw new WeftError('usage', 'A Service starts no connections; name a pod, a node or an address.');
  const to = known(directory, endOf(request.to), notes);
  if (request.protocol !== undefined && !protocols.includes(request.protocol))
    throw new WeftError('usage', `${JSON.stringify(request.protocol)} is none of ${protocols.join(', ')}.`);
  const only =
    request.port === undefined && request.protocol !== 'ICMP' ? onlyPort(directory, to) : undefined;
  if (only !== undefined)
    notes.push(`No port was asked for; ${only.port}/${only.protocol} is the only one of ${formatEnd(to)}.`);
  const protocol = request.protocol ?? only?.protocol ?? 'TCP';
  const port = protocol === 'ICMP' ? undefined : (request.port ?? only?.port);
  if (protocol !== 'ICMP' && port === undefined) {
    const ports = portsOf(directory, to);
    throw new WeftError(
      'usage',
      `A ${protocol} question needs a port: ${withPort(formatEnd(to), 'PORT')}/${protocol}.${ports === '' ? '' : ` ${formatEnd(to)} has ${ports}.`}`,
    );
  }
  const name = port === undefined ? formatEnd(to) : withPort(formatEnd(to), port);
  return {
    from: formatEnd(from),
    to: `${name}/${protocol}`,
    notes,
    asked: flowOf(directory, from, to, protocol, port, request.family),
    fromPod: podOf(directory, from),
    toPod: podOf(directory, to),
  };
}

function endOf(value: QuestionEnd): End {
  if (value.kind !== 'address') return value;
  const address = parseAddress(value.address);
  if (address === undefined) throw new WeftError('usage', `${value.address} is no address.`);
  return { kind: 'address', address };
}

/**
 * The end itself; for a pod that is not there the first of those whose names begin with it, as a workload's do, else the Service
 * of that name.
 */
function known(directory: Directory, end: End, notes: string[]): End {
  if (end.kind === 'service' && directory.service(end.namespace, end.name) === undefined)
    throw new WeftError(
      'unknown-end',
      `The agent knows no Service ${end.namespace}/${end.name}.${meant(directory, end.name)}`,
    );
  if (end.kind !== 'pod' || directory.pod(end.namespace, end.name) !== undefined) return end;
  const first = podsOfWorkload(directory, end)[0]?.name;
  if (first === undefined) {
    const service = serviceNamed(directory, end);
    if (service === undefined) throw unknownPod(directory, end);
    notes.push(`There is no pod ${formatEnd(end)}; the Service ${formatEnd(service)} stands for it.`);
    return service;
  }
  notes.push(`There is no pod ${formatEnd(end)}; ${end.namespace}/${first} stands for it.`);
  return { ...end, name: first };
}

function meant(directory: Directory, name: string): string {
  const alike = namedAlike(directory, name);
  return alike.length === 0 ? '' : ` There is ${alike.join(', ')}.`;
}

function onlyPort(
  directory: Directory,
  end: End,
): { readonly port: number; readonly protocol: FlowProtocol } | undefined {
  const ports =
    end.kind === 'pod'
      ? podOf(directory, end)?.ports
      : end.kind === 'service'
        ? directory.service(end.namespace, end.name)?.ports
        : undefined;
  return ports?.length === 1 ? ports[0] : undefined;
}

function flowOf(
  directory: Directory,
  from: End,
  to: End,
  protocol: FlowProtocol,
  port: number | string | undefined,
  family: Family | undefined,
): Asked | string {
  const source = addressesOf(directory, from);
  if (typeof source === 'string') return source;
  const service = to.kind === 'service' ? directory.service(to.namespace, to.name) : undefined;
  const destination =
    service === undefined ? addressesOf(directory, to) : serviceAddresses(directory, service);
  if (typeof destination === 'string') return destination;
  const pair = commonFamily(source, destination, family);
  if (pair === undefined)
    return family === undefined
      ? `${formatEnd(from)} and ${formatEnd(to)} have no address family in common.`
      : `${formatEnd(from)} and ${formatEnd(to)} do not both have an IPv${family} address.`;
  const number = portOf(directory, to, service, protocol, port);
  return typeof number === 'string' ? number : { ...pair, protocol, port: number };
}

function serviceAddresses(directory: Directory, service: Service): readonly Address[] | string {
  const name = `${service.namespace}/${service.name}`;
  if (service.type === 'ExternalName')
    return `Service ${name} is a name for a host outside the cluster (ExternalName); ask about that host's address.`;
  if (service.clusterIPs.length > 0) return service.clusterIPs;
  const pods = directory
    .slicesOf(service)
    .flatMap(({ endpoints }) => endpoints.flatMap(({ addresses }) => addresses))
    .map((address) => directory.podAt(address))
    .filter((pod) => pod !== undefined)
    .map((pod) => `${pod.namespace}/${pod.name}`);
  const some = [...new Set(pods)].sort().slice(0, 5).join(', ');
  return `Service ${name} has no address of its own${service.headless === true ? ' (headless): its name stands for its pods' : ''}. Ask about one of them${some === '' ? '' : `: ${some}`}.`;
}

function portOf(
  directory: Directory,
  to: End,
  service: Service | undefined,
  protocol: FlowProtocol,
  port: number | string | undefined,
): number | string {
  if (port === undefined) return 0;
  if (typeof port === 'number') return port;
  const named = (service?.ports ?? podOf(directory, to)?.ports ?? []).find(
    (open) => open.name === port && open.protocol === protocol,
  );
  return named?.port ?? `${formatEnd(to)} has no ${protocol} port named "${port}".`;
}
