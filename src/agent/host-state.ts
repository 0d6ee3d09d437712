/** What the host around the switch has to be, from what the agent knows. */
import type { Config } from '../config/options.js';
import { hostPortsOf } from '../host/host-port.js';
import type { HostState } from '../host/table.js';
import { type Address, compareAddresses, parseAddress } from '../net/address.js';
import { type Cidr, parseCidr } from '../net/cidr.js';
import type { Agent } from './agent.js';
import { type Environment, readsApi } from './open-source.js';

/** Whether this agent sets up the host. */
export function setsUpHost(config: Config, environment: Environment): boolean {
  if (config.network.hostInterface === '') return false;
  const { enabled } = config.host;
  return enabled === 'auto' ? readsApi(config, environment) : enabled === 'on';
}

/** null: the node has no port on the switch, or no pod CIDR yet. */
export function hostState(agent: Agent): HostState | null {
  const { config, state, attachments } = agent;
  const port = attachments.ports.find(({ kind }) => kind === 'host');
  if (port === undefined) return null;
  const pods = (port.routes ?? []).map(({ destination }) => block(destination)).filter(isThere);
  if (pods.length === 0) return null;
  const nodes = [...state.world.all('node').values()];
  const configured = config.host.clusterCIDRs.map(block).filter(isThere);
  const addresses = new Map<string, Address>();
  for (const node of nodes) for (const address of node.addresses) addresses.set(address.text, address);
  return {
    interface: port.ifname,
    pods,
    own: port.addresses.map(parseAddress).filter(isThere),
    node: state.node.addresses,
    cluster: configured.length > 0 ? configured : [...pods, ...nodes.flatMap(({ podCidrs }) => podCidrs)],
    nodes: [...addresses.values()].sort(compareAddresses),
    masquerade: config.host.masquerade,
    hostPorts: attachments
      .list()
      .flatMap(({ details, addresses: to }) => hostPortsOf(details.hostPorts ?? [], to, parseAddress)),
  };
}

function block(text: string): Cidr | undefined {
  return parseCidr(text)?.cidr;
}

function isThere<T>(value: T | undefined): value is T {
  return value !== undefined;
}
