/** What the agent is asked: one interface for each request of the agent's protocol (agent/protocol.ts). */
import type { FlowProtocol } from '../../policy/flow.js';

/** A port of the node that leads to one of the pod's, as the CNI capability `portMappings` has it. */
export interface HostPort {
  readonly protocol: 'TCP' | 'UDP' | 'SCTP';
  readonly hostPort: number;
  readonly containerPort: number;
  /** '' for every address of the node. */
  readonly hostIP: string;
}

/** As the CNI capability `bandwidth` has it: rates in bits per second, bursts in bits; ingress is towards the pod. A rate that is absent is no limit. */
export interface Bandwidth {
  readonly ingressRate?: number;
  readonly ingressBurst?: number;
  readonly egressRate?: number;
  readonly egressBurst?: number;
}

/**
 * CNI ADD. Answers `attached` once the pod's port is live at a published state that knows the pod and the policies that select it.
 * Repeating it for the same attachment (same namespace, name, netns, ifname) answers the same addresses again; a new netns for the
 * same pod replaces the old port.
 */
export interface AttachRequest {
  readonly type: 'attach';
  readonly id: number;
  readonly namespace: string;
  readonly name: string;
  /** The pod's uid where the caller knows it; '' otherwise. A pod of another uid in the world is a predecessor and is waited out. */
  readonly uid: string;
  /** Path of the network namespace, e.g. /run/netns/cni-1234. The agent never opens it; the switch does. */
  readonly netns: string;
  readonly ifname: string;
  /** Container id of the runtime; '' when there is none (lab). One of the keys `detach` takes. */
  readonly containerId?: string;
  /**
   * Addresses that must be given: those of the pod's `status.podIPs` in a manifest, or some of this node's pod CIDRs (a family that is not
   * named gets one of its own). Absent: those of the manifest, or taken from the pod CIDRs.
   */
  readonly addresses?: readonly string[];
  readonly mac?: string;
  /** Bytes; absent: `network.mtu`. */
  readonly mtu?: number;
  readonly hostPorts?: readonly HostPort[];
  readonly bandwidth?: Bandwidth;
  /** Of a container that no source tells of: with them it is a pod in its own right. Absent: it waits for a source to know it. */
  readonly labels?: Readonly<Record<string, string>>;
  /** Name of the CNI network that it belongs to; absent outside of CNI. */
  readonly network?: string;
  /** How long to wait for the port to be live and the pod to be known; absent: `agent.attachTimeout`. */
  readonly timeoutMilliseconds?: number;
}

/** CNI DEL. Idempotent: an attachment that is not there is detached already. Addresses return to the pool. */
export interface DetachRequest {
  readonly type: 'detach';
  readonly id: number;
  /** Either the container id, or namespace and name. */
  readonly containerId?: string;
  readonly namespace?: string;
  readonly name?: string;
  readonly ifname?: string;
}

/**
 * A call of the CNI plugin, as the runtime made it. ADD holds the connection: when it closes before the answer, or before `cni-taken`
 * has said that the answer was handed on, the ADD is undone.
 */
export interface CniRequest {
  readonly type: 'cni';
  readonly id: number;
  /** The variables whose names begin with CNI_. */
  readonly environment: Readonly<Record<string, string>>;
  /** The network configuration. */
  readonly stdin: string;
  /** What the plugin saw in the network namespace (native/cni/namespace.h); for ADD and CHECK. */
  readonly namespace?: object;
}

/** The runtime has the answer to the ADD of this id. Not answered. */
export interface CniTakenRequest {
  readonly type: 'cni-taken';
  readonly id: number;
}

/** Answers once everything that is in the sources now is published and acknowledged by the switch. */
export interface SyncRequest {
  readonly type: 'sync';
  readonly id: number;
  readonly timeoutMilliseconds?: number;
}

export interface StatusRequest {
  readonly type: 'status';
  readonly id: number;
}

export interface PortsRequest {
  readonly type: 'ports';
  readonly id: number;
  /** Only the port of this pod; both or neither. */
  readonly namespace?: string;
  readonly name?: string;
}

export interface ConnectionsRequest {
  readonly type: 'connections';
  readonly id: number;
  /** Only connections of this pod; both or neither. */
  readonly namespace?: string;
  readonly name?: string;
  /** At most this many, default 1000. */
  readonly limit?: number;
}

/** Replaces the agent's metrics endpoint for the command line: Prometheus text in the answer. */
export interface MetricsRequest {
  readonly type: 'metrics';
  readonly id: number;
}

/** Same as SIGHUP. */
export interface ReloadRequest {
  readonly type: 'reload';
  readonly id: number;
}

export interface FlowsRequest {
  readonly type: 'flows';
  readonly id: number;
  /** false: the recent events, then `end`. true: the recent events, then new ones until the client closes. */
  readonly follow: boolean;
  readonly denied?: boolean;
  /** Only drops, of every reason (also those that no policy made). */
  readonly drops?: boolean;
  /** Of this namespace; with a name: of the pod or the workload that it is the name of. */
  readonly namespace?: string;
  readonly name?: string;
}

/** An end of a question, by name or by address. */
export type QuestionEnd =
  | { readonly kind: 'pod'; readonly namespace: string; readonly name: string }
  | { readonly kind: 'service'; readonly namespace: string; readonly name: string }
  | { readonly kind: 'node'; readonly name: string }
  | { readonly kind: 'address'; readonly address: string };

/** What would become of a connection now, as the switch itself says, told with what the agent knows of its ends. */
export interface WhyRequest {
  readonly type: 'why';
  readonly id: number;
  readonly from: QuestionEnd;
  readonly to: QuestionEnd;
  /** Number, or the name of a port of the destination; absent: the only one that it has. */
  readonly port?: number | string;
  readonly protocol?: FlowProtocol;
  readonly family?: 4 | 6;
}

export interface CaptureRequest {
  readonly type: 'capture';
  readonly id: number;
  readonly namespace: string;
  readonly name: string;
  readonly drops: boolean;
  /** Bytes of each packet that are kept; default 65535. */
  readonly snapLength?: number;
  /** End after this many packets. */
  readonly count?: number;
}

/**
 * `weft policy try`: judges live flows by other policies beside those in force, enforcing nothing. Answers `subscribed` when both judge, then
 * pushes `trial` events, at last `trial-over` and `end`. The trial is over when the connection closes. One at a time.
 */
export interface TrialRequest {
  readonly type: 'trial';
  readonly id: number;
  /** NetworkPolicies, added or in place of those of the same name; objects of other kinds are left out. */
  readonly manifests: readonly { readonly file: string; readonly text: string }[];
  /** `namespace/name` of policies that are left out. */
  readonly remove: readonly string[];
  /** At most `agent.trials.longest`. */
  readonly seconds: number;
}
