/**
 * An attachment: a pod's interface on this node's switch. It is kept in the lease of its addresses, so that a restarted agent desires
 * exactly the ports that its predecessor did.
 */
import { createHash } from 'node:crypto';
import type { PortSpec } from '../dataplane/protocol/desired-state.js';
import { WeftError } from '../errors/problem.js';
import type { Lease } from '../ipam/leases.js';
import { keyOf } from '../model/event.js';
import { type Address, parseAddress } from '../net/address.js';
import { checkedBandwidth, checkedHostPorts, portBandwidth } from './attachment-limits.js';
import type { AttachRequest, Bandwidth, DetachRequest, HostPort } from './protocol/requests.js';

/** What the lease holds besides the addresses. */
export interface AttachmentDetails {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly containerId: string;
  readonly netns: string;
  readonly ifname: string;
  readonly mac: string;
  readonly mtu: number;
  /** Absent where the pod has none. */
  readonly hostPorts?: readonly HostPort[];
  /** Absent where nothing is limited. */
  readonly bandwidth?: Bandwidth;
  /** Of a container that no source tells of; absent for pods. */
  readonly labels?: Readonly<Record<string, string>>;
  /** Name of the CNI network; absent outside of CNI. */
  readonly network?: string;
}

export type Attachment = Lease<AttachmentDetails>;

export interface AttachOrder {
  readonly id: string;
  readonly details: AttachmentDetails;
  readonly addresses: readonly Address[];
}

const nameForm = /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/;
const macForm = /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/;

/** Whether a lease's details are those of an attachment, as far as anything would break without: a journal can be damaged. */
export function isAttachmentDetails(value: unknown): value is AttachmentDetails {
  if (typeof value !== 'object' || value === null) return false;
  const details = value as Readonly<Record<string, unknown>>;
  const { mtu, hostPorts, bandwidth, labels } = details;
  const isObject = (one: unknown) => one === undefined || (typeof one === 'object' && one !== null);
  return (
    (['namespace', 'name', 'uid', 'containerId', 'netns', 'ifname', 'mac'] as const).every(
      (field) => typeof details[field] === 'string',
    ) &&
    typeof mtu === 'number' &&
    (hostPorts === undefined ||
      (Array.isArray(hostPorts) && hostPorts.every((one) => one !== undefined && isObject(one)))) &&
    isObject(bandwidth) &&
    isObject(labels)
  );
}

/** A request of a client, checked; throws `attach-invalid` naming the field. */
export function attachOrder(request: AttachRequest, defaultMtu: number): AttachOrder {
  const wrong = (field: string, allowed: string): never => {
    throw new WeftError('attach-invalid', `The attach request is not valid: ${field} has to be ${allowed}.`);
  };
  const { namespace, name, netns, ifname } = request;
  if (typeof namespace !== 'string' || !/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/.test(namespace))
    wrong('namespace', 'the name of a namespace');
  if (typeof name !== 'string' || !nameForm.test(name)) wrong('name', 'the name of a pod');
  if (typeof netns !== 'string' || !netns.startsWith('/')) wrong('netns', 'an absolute path');
  if (
    typeof ifname !== 'string' ||
    ifname === '.' ||
    ifname === '..' ||
    !/^[^/:\s]{1,15}$/.test(ifname) ||
    Buffer.byteLength(ifname) > 15
  )
    wrong('ifname', 'an interface name of at most 15 bytes without /, : and spaces');
  if (request.uid !== undefined && typeof request.uid !== 'string') wrong('uid', 'text');
  if (request.containerId !== undefined && typeof request.containerId !== 'string')
    wrong('containerId', 'text');
  const mtu = request.mtu ?? defaultMtu;
  if (!Number.isInteger(mtu) || mtu < 576 || mtu > 65521) wrong('mtu', 'a number of bytes from 576 to 65521');
  const id = portId(request);
  const mac = (request.mac ?? macOf(id)).toLowerCase();
  if (!macForm.test(mac) || (Number.parseInt(mac.slice(0, 2), 16) & 1) !== 0)
    wrong('mac', 'a unicast MAC address such as 02:00:00:00:00:01');
  const addresses = (request.addresses ?? []).map(
    (text) =>
      (typeof text === 'string' ? parseAddress(text) : undefined) ??
      wrong('addresses', 'a list of IPv4 and IPv6 addresses'),
  );
  if (addresses.length > 2 || (addresses[1] !== undefined && addresses[0]?.family === addresses[1].family))
    wrong('addresses', 'at most one IPv4 and one IPv6 address');
  if (mtu < 1280 && addresses.some(({ family }) => family === 6)) wrong('mtu', 'at least 1280 for IPv6');
  const { labels, network } = request;
  if (
    labels !== undefined &&
    (typeof labels !== 'object' ||
      labels === null ||
      !Object.values(labels).every((value) => typeof value === 'string'))
  )
    wrong('labels', 'an object of text');
  if (network !== undefined && typeof network !== 'string') wrong('network', 'text');
  const hostPorts = checkedHostPorts(request.hostPorts, wrong);
  const bandwidth = checkedBandwidth(request.bandwidth, wrong);
  return {
    id,
    addresses,
    details: {
      namespace,
      name,
      uid: request.uid ?? '',
      containerId: request.containerId ?? '',
      netns,
      ifname,
      mac,
      mtu,
      ...(hostPorts === undefined ? {} : { hostPorts }),
      ...(bandwidth === undefined ? {} : { bandwidth }),
      ...(labels === undefined ? {} : { labels }),
      ...(network === undefined ? {} : { network }),
    },
  };
}

/**
 * At most 64 characters of `[A-Za-z0-9._:-]`, unique for container (or pod, where there is none) and interface; starts with the
 * pod's name, for people.
 */
export function portId(of: Pick<AttachRequest, 'namespace' | 'name' | 'ifname' | 'containerId'>): string {
  const digest = createHash('sha256')
    .update(JSON.stringify([of.namespace, of.name, of.containerId ?? '', of.ifname]))
    .digest('hex');
  return `${of.name.slice(0, 40)}-${digest.slice(0, 16)}`;
}

/** Locally administered, unicast, and the same for the same port after every restart. */
export function macOf(id: string): string {
  const digest = createHash('sha256').update(`mac ${id}`).digest('hex');
  return ['02', ...(digest.slice(0, 10).match(/../g) ?? [])].join(':');
}

export function portSpec(attachment: Attachment): PortSpec {
  const { namespace, name, netns, ifname, mac, mtu, bandwidth } = attachment.details;
  return {
    id: attachment.id,
    namespace,
    name,
    netns,
    ifname,
    mac,
    mtu,
    addresses: attachment.addresses.map(({ text }) => text),
    kind: 'pod',
    ...(bandwidth === undefined ? {} : { bandwidth: portBandwidth(bandwidth) }),
  };
}

export function podKey(attachment: Pick<Attachment, 'details'>): string {
  return keyOf(attachment.details.namespace, attachment.details.name);
}

/** Whether a detach request means this attachment. A request that names nothing means none. */
export function isMeant(attachment: Attachment, request: Partial<DetachRequest>): boolean {
  const { details } = attachment;
  if (request.ifname !== undefined && request.ifname !== details.ifname) return false;
  if (request.containerId !== undefined && request.containerId !== '' && details.containerId !== '')
    return request.containerId === details.containerId;
  return (
    request.namespace === details.namespace && request.name === details.name && request.name !== undefined
  );
}
