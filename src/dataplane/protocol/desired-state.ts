/** What the agent publishes to the switch: ports, settings, and the image of a trial (dataplane/protocol.ts). */

export type PortKind = 'pod' | 'host';

/** A route that a host port gets in the node's namespace, by way of the switch. */
export interface PortRoute {
  /** `10.42.0.0/16` */
  readonly destination: string;
  /** The address that local sockets take as their own on this route: the node's. Without it the kernel takes the port's. */
  readonly source?: string;
}

/**
 * Token buckets, seen from the pod: ingress is what it receives. Rates in bits a second; absent: no limit. Bursts in bits; absent:
 * what the rate gives in a tenth of a second of egress, half a second of ingress. A bucket may be overdrawn by one frame (64 KB), so that any burst works.
 */
export interface PortBandwidth {
  readonly ingressRate?: number;
  readonly ingressBurst?: number;
  readonly egressRate?: number;
  readonly egressBurst?: number;
}

export interface PortSpec {
  /** Unique among all ports, at most 64 characters of `[A-Za-z0-9._:-]`; the CNI uses container id and interface name. */
  readonly id: string;
  /** Kubernetes namespace and name of the pod; for the host port, empty and the node's name. */
  readonly namespace: string;
  readonly name: string;
  /** Path of the network namespace; empty for a host port: the namespace that the switch runs in. */
  readonly netns: string;
  /** At most 15 bytes; `eth0` in pods, `weft0` on the host. */
  readonly ifname: string;
  /** `02:…`, lower case, colons; unicast. */
  readonly mac: string;
  /** One or two, at most one of each family, without prefix length: a port has a /32 and a /128. */
  readonly addresses: readonly string[];
  /** 1280 to 65521 (576 where the port has no IPv6 address). */
  readonly mtu: number;
  readonly kind: PortKind;
  /** Pods only; can change while the port is live. */
  readonly bandwidth?: PortBandwidth;
  /** Host ports only. */
  readonly routes?: readonly PortRoute[];
  /**
   * Host ports only: further addresses of the interface, at most one of each family. The host sends from them where a route or a socket
   * names them; the kernel chooses them for nothing, least of all to masquerade with.
   */
  readonly sources?: readonly string[];
}

/** What of the switch can change while it runs. A field that is absent takes the default that `config/default.yaml` documents. */
export interface SwitchSettings {
  /** Connections, packets a second and the like of one port; 0 means no bound of its own. */
  readonly connectionsPerPort?: number;
  readonly fragmentsPerPort?: number;
  /** ICMP errors and resets that the switch sends to one port, a second. */
  readonly answersPerSecond?: number;
  /** Of allowed flows, one in this many is reported as a flow event; denied ones always are. 0 reports none. */
  readonly flowSampling?: number;
  /** Flow events a second, at most. */
  readonly flowEventsPerSecond?: number;
  /** Seconds. The connection table is opened with them: new values take effect at the next start of the switch. */
  readonly timeouts?: Readonly<Partial<Record<TimeoutName, number>>>;
}

/** Protocols and states whose idle time can be set; the same names as in native/conntrack/timeouts.h. */
export const timeoutNames = [
  'tcp-syn-sent',
  'tcp-syn-received',
  'tcp-established',
  'tcp-picked-up',
  'tcp-fin-wait',
  'tcp-closing',
  'tcp-time-wait',
  'tcp-closed',
  'udp-unreplied',
  'udp-replied',
  'udp-stream',
  'sctp-handshake',
  'sctp-established',
  'sctp-picked-up',
  'sctp-shutdown',
  'sctp-closed',
  'icmp',
  'other-unreplied',
  'other-replied',
] as const;

export type TimeoutName = (typeof timeoutNames)[number];

export interface ShadowSpec {
  /** Of the agent's choice; another number is another trial, which counts from nothing. At least 1. */
  readonly trial: number;
  /** Absolute path of an image file. */
  readonly image: string;
}
