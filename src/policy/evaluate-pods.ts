/** Who stands behind an address, for the reference evaluator: a pod, a node, or neither. */
import { addressKey, type PlainAddress, plainAddress, plainBlock } from './evaluate-address.js';
import {
  isPortNumber,
  keyOfObject,
  metadataOf,
  namespaceOf,
  type PlainRecord,
  plainLabels,
} from './evaluate-plain.js';
import { isObject, type PlainLabels } from './evaluate-selector.js';

export interface EvaluatedPod {
  readonly key: string;
  readonly namespace: string;
  readonly labels: PlainLabels;
  readonly addresses: readonly PlainAddress[];
  readonly ports: readonly { name: string; protocol: string; number: number }[];
  readonly terminating: boolean;
  readonly created: string;
  readonly uid: string;
  /** Keys of the addresses that its own node has. */
  ownNode: ReadonlySet<string>;
}

export interface AddressOwners {
  /** The pod that has each address, by `addressKey`. An address that a node has is the node's, whoever else claims it. */
  readonly pods: ReadonlyMap<string, EvaluatedPod>;
  /** Keys of the addresses that hosts masquerade with: the second one of each pod CIDR. */
  readonly forwarded: ReadonlySet<string>;
}

export function ownersOfAddresses(
  pods: readonly PlainRecord[],
  nodes: readonly PlainRecord[],
): AddressOwners {
  const forwarded = new Set<string>();
  const addressesOfNode = new Map<string, Set<string>>();
  const learn = (node: string, addresses: readonly PlainAddress[]) => {
    const known = addressesOfNode.get(node) ?? new Set();
    for (const address of addresses) known.add(addressKey(address));
    addressesOfNode.set(node, known);
  };
  for (const node of nodes) {
    const second = secondAddresses(node);
    for (const address of second) forwarded.add(addressKey(address));
    learn(String(metadataOf(node).name), [...nodeAddresses(node), ...second]);
  }
  const homes: { pod: EvaluatedPod; node: string | undefined; host: readonly PlainAddress[] }[] = [];
  const nodeOwned = new Set([...addressesOfNode.values()].flatMap((keys) => [...keys]));
  for (const object of pods) {
    const spec = isObject(object.spec) ? object.spec : {};
    const status = isObject(object.status) ? object.status : {};
    if (status.phase === 'Succeeded' || status.phase === 'Failed') continue; // 59
    const node = typeof spec.nodeName === 'string' && spec.nodeName !== '' ? spec.nodeName : undefined;
    const host = hostAddresses(status);
    const addresses = podAddresses(status);
    // A hostNetwork pod's addresses are its node's; no selector ever sees it (49, 50).
    const nodes = spec.hostNetwork === true ? [...host, ...addresses] : host;
    for (const address of nodes) nodeOwned.add(addressKey(address));
    if (node !== undefined) learn(node, nodes);
    if (spec.hostNetwork === true) continue;
    const metadata = metadataOf(object);
    const labels = plainLabels(metadata.labels);
    if (labels === undefined || addresses.length === 0) continue; // 58
    homes.push({
      node,
      host,
      pod: {
        key: keyOfObject(object),
        namespace: namespaceOf(object),
        labels,
        addresses,
        ports: containerPorts(spec),
        terminating: typeof metadata.deletionTimestamp === 'string',
        created: String(metadata.creationTimestamp ?? ''),
        uid: String(metadata.uid ?? ''),
        ownNode: new Set(),
      },
    });
  }
  const owners = new Map<string, EvaluatedPod>();
  for (const { pod } of homes) {
    for (const address of pod.addresses.map(addressKey)) {
      if (nodeOwned.has(address)) continue; // 50
      const rival = owners.get(address);
      if (rival === undefined || hasBetterClaim(pod, rival)) owners.set(address, pod);
    }
  }
  for (const { pod, node, host } of homes) {
    pod.ownNode = ownNodeOf(node, host, addressesOfNode);
  }
  return { pods: owners, forwarded };
}

function ownNodeOf(
  node: string | undefined,
  host: readonly PlainAddress[],
  addressesOfNode: ReadonlyMap<string, ReadonlySet<string>>,
): ReadonlySet<string> {
  if (node !== undefined) return addressesOfNode.get(node) ?? new Set();
  // Without a node name, the node is the one that has the pod's host address.
  const own = new Set(host.map(addressKey));
  for (const known of addressesOfNode.values()) {
    if (host.some((address) => known.has(addressKey(address)))) for (const key of known) own.add(key);
  }
  return own;
}

/**
 * Of two pods with one address (60) the one that is not being deleted has it, then the younger, then by uid and name, so that the
 * order in which they are told never matters.
 */
function hasBetterClaim(pod: EvaluatedPod, rival: EvaluatedPod): boolean {
  if (pod.terminating !== rival.terminating) return rival.terminating;
  if (pod.created !== rival.created) return pod.created > rival.created;
  if (pod.uid !== rival.uid) return pod.uid > rival.uid;
  return pod.key < rival.key;
}

/** Ports of containers and of restartable init containers (43). */
function containerPorts(spec: PlainRecord): EvaluatedPod['ports'] {
  const containers = Array.isArray(spec.containers) ? spec.containers.filter(isObject) : [];
  const init = Array.isArray(spec.initContainers) ? spec.initContainers.filter(isObject) : [];
  return [...containers, ...init.filter((container) => container.restartPolicy === 'Always')]
    .flatMap((container) => (Array.isArray(container.ports) ? container.ports.filter(isObject) : []))
    .filter((port) => typeof port.name === 'string' && isPortNumber(port.containerPort))
    .map((port) => ({
      name: port.name as string,
      protocol: String(port.protocol ?? 'TCP'),
      number: port.containerPort as number,
    }));
}

function addressList(list: unknown, single: unknown): PlainAddress[] {
  const texts: unknown[] = Array.isArray(list)
    ? list.map((entry) => (isObject(entry) ? entry.ip : entry))
    : [];
  if (texts.length === 0) texts.push(single);
  return texts.map(plainAddress).filter((address) => address !== undefined);
}

const podAddresses = (status: PlainRecord) => addressList(status.podIPs, status.podIP);
const hostAddresses = (status: PlainRecord) => addressList(status.hostIPs, status.hostIP);

function nodeAddresses(node: PlainRecord): PlainAddress[] {
  const status = isObject(node.status) ? node.status : {};
  if (!Array.isArray(status.addresses)) return [];
  return status.addresses
    .filter(isObject)
    .filter((entry) => entry.type === 'InternalIP' || entry.type === 'ExternalIP')
    .map((entry) => plainAddress(entry.address))
    .filter((address) => address !== undefined);
}

/** The second address of each pod CIDR that has at least four: the host's own there. */
function secondAddresses(node: PlainRecord): PlainAddress[] {
  const spec = isObject(node.spec) ? node.spec : {};
  const blocks = Array.isArray(spec.podCIDRs) ? spec.podCIDRs : [spec.podCIDR];
  return blocks
    .map(plainBlock)
    .filter((block) => block !== undefined)
    .filter(({ family, length }) => length <= (family === 4 ? 30 : 126))
    .map(({ family, bits }) => ({ family, bits: bits + 1n }));
}
