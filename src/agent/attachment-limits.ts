/** What an attach request may say of host ports and bandwidth, checked field by field. */
import type { PortBandwidth } from '../dataplane/protocol/desired-state.js';
import { parseAddress } from '../net/address.js';
import type { Bandwidth, HostPort } from './protocol/requests.js';

/** Refuses a field; does not return. */
type Wrong = (field: string, allowed: string) => never;

const protocols: ReadonlySet<unknown> = new Set(['TCP', 'UDP', 'SCTP']);

const isPort = (value: unknown): value is number =>
  typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= 65535;

/** undefined: none. Host addresses come out in their one spelling; `0.0.0.0` stays apart from '' (it is every IPv4 address only). */
export function checkedHostPorts(value: unknown, wrong: Wrong): readonly HostPort[] | undefined {
  if (value === undefined) return undefined;
  if (!Array.isArray(value)) return wrong('hostPorts', 'a list');
  const taken = new Set<string>();
  const checked = value.map((entry: Partial<Record<keyof HostPort, unknown>> | null, index): HostPort => {
    const at = `hostPorts[${index}]`;
    if (typeof entry !== 'object' || entry === null) return wrong(at, 'an object');
    const { protocol, hostPort, containerPort } = entry;
    if (!protocols.has(protocol)) wrong(`${at}.protocol`, 'TCP, UDP or SCTP');
    if (!isPort(hostPort)) return wrong(`${at}.hostPort`, 'a port number from 1 to 65535');
    if (!isPort(containerPort)) return wrong(`${at}.containerPort`, 'a port number from 1 to 65535');
    const { hostIP = '' } = entry;
    const address = typeof hostIP === 'string' && hostIP !== '' ? parseAddress(hostIP) : undefined;
    if (hostIP !== '' && address === undefined) wrong(`${at}.hostIP`, "an address, or '' for every one");
    const checkedEntry = {
      protocol: protocol as HostPort['protocol'],
      hostPort,
      containerPort,
      hostIP: address?.text ?? '',
    };
    const key = `${checkedEntry.protocol} ${checkedEntry.hostIP} ${hostPort}`;
    if (taken.has(key)) wrong(`${at}.hostPort`, 'named once for a protocol and host address');
    taken.add(key);
    return checkedEntry;
  });
  return checked.length === 0 ? undefined : checked;
}

const bandwidthFields = ['ingressRate', 'ingressBurst', 'egressRate', 'egressBurst'] as const;

/** undefined: no limit. A rate of 0 is none either, as in the CNI plugin `bandwidth`; a burst without a rate means nothing. */
export function checkedBandwidth(value: unknown, wrong: Wrong): Bandwidth | undefined {
  if (value === undefined) return undefined;
  if (typeof value !== 'object' || value === null) return wrong('bandwidth', 'an object');
  const given = value as Readonly<Record<string, unknown>>;
  const checked: Record<string, number> = {};
  for (const field of bandwidthFields) {
    const number = given[field];
    if (number === undefined || number === 0) continue;
    if (typeof number !== 'number' || !Number.isSafeInteger(number) || number < 0)
      return wrong(`bandwidth.${field}`, 'a whole number of bits, not negative');
    checked[field] = number;
  }
  for (const direction of ['ingress', 'egress']) {
    if (checked[`${direction}Rate`] === undefined) delete checked[`${direction}Burst`];
  }
  return Object.keys(checked).length === 0 ? undefined : checked;
}

/** The least that runtimes give as a burst where the pod's annotations name only a rate: the largest number of 31 or 32 bits. */
const unspecifiedBurst = 2 ** 31 - 1;

/** For the switch, which has its own idea of a burst that nobody has chosen. Half a gigabyte would be no limit for most connections. */
export function portBandwidth({
  ingressRate,
  ingressBurst,
  egressRate,
  egressBurst,
}: Bandwidth): PortBandwidth {
  const chosen = (burst: number | undefined) => burst !== undefined && burst < unspecifiedBurst;
  return {
    ...(ingressRate === undefined ? {} : { ingressRate }),
    ...(chosen(ingressBurst) ? { ingressBurst } : {}),
    ...(egressRate === undefined ? {} : { egressRate }),
    ...(chosen(egressBurst) ? { egressBurst } : {}),
  } as PortBandwidth;
}
