/** What the runtime fills in: `runtimeConfig` of the capabilities that the configuration declares, and the older `args.cni`. */
import { parseAddress } from '../net/address.js';
import type { CniArguments } from './arguments.js';
import {
  type Fields,
  fieldOf,
  objectAt,
  optionalCount,
  optionalList,
  optionalObject,
  optionalText,
  parseAddressWithLength,
  wrongType,
  wrongValue,
} from './fields.js';

/** The capabilities that the configuration which `weft install` writes declares. */
export const capabilities = ['portMappings', 'bandwidth', 'ips', 'mac'] as const;

export interface PortMapping {
  readonly protocol: 'TCP' | 'UDP' | 'SCTP';
  readonly hostPort: number;
  readonly containerPort: number;
  /** '' for every address of the node. */
  readonly hostIP: string;
}

/** Rates in bits a second, bursts in bits. */
export interface BandwidthLimits {
  readonly ingressRate?: number;
  readonly ingressBurst?: number;
  readonly egressRate?: number;
  readonly egressBurst?: number;
}

export interface Capabilities {
  readonly portMappings: readonly PortMapping[];
  readonly bandwidth?: BandwidthLimits;
  /** Bare addresses. */
  readonly ips: readonly string[];
  readonly mac?: string;
  /** Of a container that is no pod; the convention's `args.cni.labels`. */
  readonly labels: Readonly<Record<string, string>>;
}

export function readCapabilities(configuration: Fields, given: CniArguments): Capabilities {
  const runtime = optionalObject(configuration, 'runtimeConfig', 'runtimeConfig') ?? {};
  const args = optionalObject(configuration, 'args', 'args') ?? {};
  const conventional = optionalObject(args, 'cni', 'args.cni') ?? {};
  const bandwidth = readBandwidth(runtime);
  const mac = optionalText(runtime, 'mac', 'runtimeConfig.mac') ?? given.mac;
  if (mac !== undefined && mac !== '' && !/^[0-9a-f]{2}([:-][0-9a-f]{2}){5}$/i.test(mac))
    throw wrongValue('runtimeConfig.mac', mac, 'a MAC address such as 02:00:00:00:00:01');
  return {
    portMappings: readPortMappings(runtime),
    ...(bandwidth === undefined ? {} : { bandwidth }),
    ips: readAddresses(runtime, conventional, given),
    ...(mac === undefined || mac === '' ? {} : { mac: mac.toLowerCase().replaceAll('-', ':') }),
    labels: readLabels(conventional),
  };
}

const portMappingFields = ['hostPort', 'containerPort', 'protocol', 'hostIP'];
const bandwidthFields = ['ingressRate', 'ingressBurst', 'egressRate', 'egressBurst'];

/**
 * containerd's CNI library writes these fields as its Go structures name them (`HostPort`, `IngressRate`), and the plugins that everybody uses
 * never noticed: Go reads JSON without regard to case. So do we, here; the spelling of the specification comes first.
 */
function asSpecified(entry: Fields, names: readonly string[]): Fields {
  const found: Record<string, unknown> = {};
  for (const name of names) {
    const own = fieldOf(entry, name);
    const other = Object.keys(entry).find((key) => key.toLowerCase() === name.toLowerCase());
    const value = own === undefined && other !== undefined ? fieldOf(entry, other) : own;
    if (value !== undefined) found[name] = value;
  }
  return found;
}

/** Entries without a host port map nothing (the plugin `portmap` skips them too); one that is listed twice counts once. */
function readPortMappings(runtime: Fields): readonly PortMapping[] {
  const found = new Map<string, PortMapping>();
  for (const [index, value] of optionalList(
    runtime,
    'portMappings',
    'runtimeConfig.portMappings',
  ).entries()) {
    const at = `runtimeConfig.portMappings[${index}]`;
    const entry = asSpecified(objectAt(value, at), portMappingFields);
    const hostPort = optionalCount(entry, 'hostPort', `${at}.hostPort`) ?? 0;
    if (hostPort === 0) continue;
    if (hostPort > 65535) throw wrongValue(`${at}.hostPort`, hostPort, 'a port number');
    const containerPort = optionalCount(entry, 'containerPort', `${at}.containerPort`);
    if (containerPort === undefined || containerPort === 0 || containerPort > 65535)
      throw wrongValue(`${at}.containerPort`, containerPort, 'a port number');
    const named = optionalText(entry, 'protocol', `${at}.protocol`) ?? '';
    const protocol = named === '' ? 'TCP' : named.toUpperCase();
    if (protocol !== 'TCP' && protocol !== 'UDP' && protocol !== 'SCTP')
      throw wrongValue(`${at}.protocol`, named, 'tcp, udp or sctp');
    const bound = optionalText(entry, 'hostIP', `${at}.hostIP`) ?? '';
    const address = bound === '' ? undefined : parseAddress(bound);
    if (bound !== '' && address === undefined) throw wrongValue(`${at}.hostIP`, bound, 'an address');
    const mapping = { protocol, hostPort, containerPort, hostIP: address?.text ?? '' } as const;
    const key = `${protocol} ${mapping.hostIP} ${hostPort}`;
    const other = found.get(key);
    if (other !== undefined && other.containerPort !== containerPort)
      throw wrongValue(`${at}.hostPort`, hostPort, 'mapped to one container port only');
    found.set(key, mapping);
  }
  return [...found.values()];
}

function readBandwidth(runtime: Fields): BandwidthLimits | undefined {
  const at = 'runtimeConfig.bandwidth';
  const written = optionalObject(runtime, 'bandwidth', at);
  if (written === undefined) return undefined;
  const given = asSpecified(written, bandwidthFields);
  const found: Record<string, number> = {};
  for (const name of bandwidthFields) {
    const value = optionalCount(given, name, `${at}.${name}`);
    if (value !== undefined && value > 0) found[name] = value;
  }
  return Object.keys(found).length === 0 ? undefined : found;
}

function readAddresses(runtime: Fields, conventional: Fields, given: CniArguments): readonly string[] {
  const [at, values] = [
    ['runtimeConfig.ips', optionalList(runtime, 'ips', 'runtimeConfig.ips')] as const,
    ['args.cni.ips', optionalList(conventional, 'ips', 'args.cni.ips')] as const,
    ['CNI_ARGS IP', given.ip === undefined ? [] : given.ip.split(',')] as const,
  ].find(([, list]) => list.length > 0) ?? ['', []];
  const found = values.map((value, index) => {
    if (typeof value !== 'string') throw wrongType(`${at}[${index}]`, 'text');
    const parsed = parseAddressWithLength(value, true);
    if (parsed === undefined) throw wrongValue(`${at}[${index}]`, value, 'an address');
    return parsed.address;
  });
  if (found.length > 2 || (found.length === 2 && found[0]?.family === found[1]?.family))
    throw wrongValue(at, values, 'at most one IPv4 and one IPv6 address');
  return found.map(({ text }) => text);
}

function readLabels(conventional: Fields): Readonly<Record<string, string>> {
  const found: [string, string][] = [];
  for (const [index, value] of optionalList(conventional, 'labels', 'args.cni.labels').entries()) {
    const at = `args.cni.labels[${index}]`;
    const entry = objectAt(value, at);
    const key = optionalText(entry, 'key', `${at}.key`) ?? '';
    if (key === '') throw wrongValue(`${at}.key`, undefined, 'given');
    found.push([key, optionalText(entry, 'value', `${at}.value`) ?? '']);
  }
  return Object.fromEntries(found);
}
