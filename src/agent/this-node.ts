/** What this node is: its name, its own addresses, and its port on the switch. */
import { hostname, networkInterfaces } from 'node:os';
import type { Config } from '../config/options.js';
import type { PortSpec } from '../dataplane/protocol/desired-state.js';
import { standInAddressOf } from '../model/node.js';
import { type Address, parseAddress } from '../net/address.js';
import { blockOf, type Cidr, parseCidr } from '../net/cidr.js';
import { macOf } from './attachment.js';
import type { ThisNode } from './node-state.js';

/**
 * The second addresses of its pod CIDRs are not among them: what comes from those was masqueraded (`hostAddressOf` in model/node). Of a
 * family that its pods have and the host has not, its sockets would take just these; they get an address of their own there.
 */
export function thisNode(config: Config, cidrs: readonly Cidr[]): ThisNode {
  const configured = config.node.addresses.map(parseAddress).filter((address) => address !== undefined);
  const { hostInterface } = config.network;
  const found = configured.length > 0 ? configured : hostAddresses(hostInterface);
  const own = hostInterface === '' ? found : [...found, ...standIns(found, cidrs)];
  return {
    name: nodeName(config),
    addresses: [...new Map(own.map((address) => [address.text, address])).values()],
    podCidrs: cidrs,
  };
}

/** One for each family in which `addresses` has none. */
function standIns(addresses: readonly Address[], cidrs: readonly Cidr[]): readonly Address[] {
  return cidrs
    .filter((cidr) => !addresses.some(({ family }) => family === cidr.family))
    .map(standInAddressOf)
    .filter((address) => address !== undefined);
}

export function nodeName(config: Config): string {
  return config.node.name === '' ? hostname().toLowerCase() : config.node.name;
}

/** Those of the configuration; none: they are the Node object's. */
export function podCidrs(config: Config): readonly Cidr[] {
  return config.network.podCIDRs.map((text) => parseCidr(text)?.cidr).filter((cidr) => cidr !== undefined);
}

/** Addresses of the host's interfaces without loopback, link-local ones and the switch's own port. */
function hostAddresses(hostInterface: string): readonly Address[] {
  const found: Address[] = [];
  for (const [name, addresses] of Object.entries(networkInterfaces())) {
    if (name === hostInterface) continue;
    for (const { address, internal } of addresses ?? []) {
      const parsed = parseAddress(address.split('%')[0] ?? '');
      if (parsed !== undefined && !internal && !isLinkLocal(parsed)) found.push(parsed);
    }
  }
  return found;
}

function isLinkLocal(address: Address): boolean {
  return address.family === 4
    ? address.words[3] >>> 16 === 0xa9fe
    : (address.words[0] & 0xffc00000) >>> 0 === 0xfe800000;
}

/** The node's own port; null where network.hostInterface is empty. `strays`: addresses of pods outside of the node's pod CIDRs. */
export function hostPort(
  config: Config,
  node: ThisNode,
  podAddresses: readonly Address[],
  strays: readonly Address[],
): PortSpec | null {
  const { hostInterface, mtu } = config.network;
  if (hostInterface === '') return null;
  const possible = new Set(node.podCidrs.map((cidr) => standInAddressOf(cidr)?.text));
  const sources = node.addresses.filter(({ text }) => possible.has(text)).map(({ text }) => text);
  return {
    id: 'host',
    namespace: '',
    name: node.name,
    netns: '',
    ifname: hostInterface,
    mac: macOf('host'),
    addresses: podAddresses.map(({ text }) => text),
    mtu,
    kind: 'host',
    ...(sources.length === 0 ? {} : { sources }),
    routes: [
      ...node.podCidrs,
      ...strays.map((address) => blockOf(address, address.family === 4 ? 32 : 128)),
    ].map((cidr) => {
      // Local sockets take the node's address, by which the switch knows them from what the host only forwards.
      const source = node.addresses.find((address) => address.family === cidr.family);
      return { destination: cidr.text, ...(source === undefined ? {} : { source: source.text }) };
    }),
  };
}
