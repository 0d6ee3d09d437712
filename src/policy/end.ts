/** An end of a connection as people name it, and the addresses that it has. */
import { isFinished, type Pod } from '../model/pod.js';
import type { Address } from '../net/address.js';
import type { Directory } from './directory.js';

export type End =
  | { readonly kind: 'pod'; readonly namespace: string; readonly name: string }
  | { readonly kind: 'service'; readonly namespace: string; readonly name: string }
  | { readonly kind: 'node'; readonly name: string }
  | { readonly kind: 'address'; readonly address: Address };

export function formatEnd(end: End): string {
  switch (end.kind) {
    case 'pod':
      return `${end.namespace}/${end.name}`;
    case 'service':
      return `svc/${end.namespace}/${end.name}`;
    case 'node':
      return `node/${end.name}`;
    case 'address':
      return end.address.text;
  }
}

/** `HOST:PORT`; the colons of an IPv6 address are told from the port's by brackets. */
export function withPort(host: string, port: number | string): string {
  return host.includes(':') && !host.includes('/') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** The addresses of an end in its own order, or the sentence why it has none. */
export function addressesOf(directory: Directory, end: End): readonly Address[] | string {
  switch (end.kind) {
    case 'address':
      return [end.address];
    case 'node': {
      const addresses = directory.nodeAddresses(end.name);
      if (addresses === undefined) return `There is no node ${end.name}.`;
      return addresses.length > 0 ? addresses : `No address of node ${end.name} is known.`;
    }
    case 'pod': {
      const pod = directory.pod(end.namespace, end.name);
      return pod === undefined ? `There is no pod ${formatEnd(end)}.` : podAddresses(directory, pod);
    }
    case 'service':
      return `${formatEnd(end)} is a Service and has no place here.`;
  }
}

export function podAddresses(directory: Directory, pod: Pod): readonly Address[] | string {
  const name = `${pod.namespace}/${pod.name}`;
  if (isFinished(pod)) return `Pod ${name} has finished (${pod.phase}), so no address is its own.`;
  if (pod.hostNetwork) {
    if (pod.addresses.length > 0) return pod.addresses;
    if (pod.hostAddresses.length > 0) return pod.hostAddresses;
    const node = directory.nodeAddresses(pod.nodeName) ?? [];
    return node.length > 0 ? node : `Pod ${name} uses its node's network, and no address of that is known.`;
  }
  if (pod.addresses.length === 0) return `Pod ${name} has no address.`;
  const own = pod.addresses.filter((address) => directory.podAt(address) === pod);
  if (own.length > 0) return own;
  const owner = directory.podAt(pod.addresses[0]!);
  const whose = owner === undefined ? 'a node' : `${owner.namespace}/${owner.name}`;
  return `The address of pod ${name} belongs to ${whose}.`;
}

export function podOf(directory: Directory, end: End): Pod | undefined {
  return end.kind === 'pod' ? directory.pod(end.namespace, end.name) : undefined;
}

/** The first pair of one family, in the order of the source. */
export function commonFamily(
  source: readonly Address[],
  destination: readonly Address[],
  family: 4 | 6 | undefined,
): { source: Address; destination: Address } | undefined {
  for (const from of source) {
    if (family !== undefined && from.family !== family) continue;
    const to = destination.find((address) => address.family === from.family);
    if (to !== undefined) return { source: from, destination: to };
  }
  return undefined;
}
