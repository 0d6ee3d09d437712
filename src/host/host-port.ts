/** Ports of the host that lead to pods: which there are, and who may not have one because another has it. */
import type { Problem } from '../errors/problem.js';
import type { Address, Family } from '../net/address.js';
import { compareAddresses } from '../net/address.js';

export type HostPortProtocol = 'TCP' | 'UDP' | 'SCTP';

/** One port of the host, in one family. */
export interface HostPort {
  readonly protocol: HostPortProtocol;
  readonly port: number;
  /** The one address of the host at which it answers; null: all of them. */
  readonly at: Address | null;
  readonly to: Address;
  readonly toPort: number;
}

/** What a pod asks for. `hostIP` '': every address of the host. */
export interface HostPortWish {
  readonly protocol: HostPortProtocol;
  readonly hostPort: number;
  readonly containerPort: number;
  readonly hostIP: string;
}

const number: Readonly<Record<HostPortProtocol, number>> = { TCP: 6, UDP: 17, SCTP: 132 };

/** Stands for every address of its family, or of both. */
function scopeOf(hostIP: string): { readonly every: boolean; readonly family: Family | null } {
  if (hostIP === '') return { every: true, family: null };
  if (hostIP === '0.0.0.0') return { every: true, family: 4 };
  if (hostIP === '::') return { every: true, family: 6 };
  return { every: false, family: hostIP.includes(':') ? 6 : 4 };
}

/** Whether both would answer at one address and port. */
export function collide(one: HostPortWish, other: HostPortWish): boolean {
  if (one.protocol !== other.protocol || one.hostPort !== other.hostPort) return false;
  const [a, b] = [scopeOf(one.hostIP), scopeOf(other.hostIP)];
  if (a.family !== null && b.family !== null && a.family !== b.family) return false;
  return a.every || b.every || one.hostIP === other.hostIP;
}

/** The host's ports that a pod with these addresses has, each family for itself. `parse` reads a hostIP. */
export function hostPortsOf(
  wishes: readonly HostPortWish[],
  addresses: readonly Address[],
  parse: (text: string) => Address | undefined,
): readonly HostPort[] {
  return wishes.flatMap(({ protocol, hostPort, containerPort, hostIP }) => {
    const { every, family } = scopeOf(hostIP);
    const at = every ? null : parse(hostIP);
    if (at === undefined) return [];
    return addresses
      .filter((to) => (at?.family ?? family ?? to.family) === to.family)
      .map((to) => ({ protocol, port: hostPort, at, to, toPort: containerPort }));
  });
}

/** Of the ports that are asked for where no port can be led away: the kernel routes ::1 to nobody else, whatever a table says. */
export function unreachable(ports: readonly HostPort[]): readonly Problem[] {
  return ports
    .filter(({ at }) => at?.text === '::1')
    .map(({ protocol, port, to, toPort }) => ({
      code: 'host-port-loopback',
      severity: 'warning' as const,
      message: `The host port ${port}/${protocol} at ::1 that is to lead to [${to.text}]:${toPort} answers nobody: the kernel has no route from ::1 to a pod.`,
      fix: 'Give the port the hostIP 127.0.0.1, or an address of the node.',
    }));
}

export function compareHostPorts(a: HostPort, b: HostPort): number {
  return (
    number[a.protocol] - number[b.protocol] ||
    a.port - b.port ||
    a.to.family - b.to.family ||
    (a.at === null ? (b.at === null ? 0 : -1) : b.at === null ? 1 : compareAddresses(a.at, b.at)) ||
    compareAddresses(a.to, b.to) ||
    a.toPort - b.toPort
  );
}
