/** What the agent answers: one interface for each answer of the agent's protocol (agent/protocol.ts), and the rows they are made of. */
import type { SwitchStatus } from '../../dataplane/protocol/answers.js';
import type { DropReasonName } from '../../errors/drop-reasons.js';
import type { Problem } from '../../errors/problem.js';
import type { WatchState } from '../../model/source.js';
import type { SideExplanation } from '../../policy/explain.js';
import type { FlowProtocol } from '../../policy/flow.js';
import type { FlowEnd, FlowRecord } from './events.js';

export interface ErrorAnswer {
  readonly type: 'error';
  readonly id: number;
  readonly code: string;
  readonly message: string;
  readonly problems?: readonly Problem[];
}

export interface AttachedAnswer {
  readonly type: 'attached';
  readonly id: number;
  readonly port: string;
  readonly mac: string;
  readonly mtu: number;
  /** Bare addresses; the pod sees them as /32 and /128. */
  readonly addresses: readonly string[];
  /** The link-local gateways of the families that the pod has. */
  readonly gateways: readonly string[];
  readonly gatewayMac: string;
  /** The revision at which the port is live. */
  readonly revision: number;
}

export interface DetachedAnswer {
  readonly type: 'detached';
  readonly id: number;
  /** false: nothing of that name was attached. */
  readonly found: boolean;
}

export interface CniAnswer {
  readonly type: 'cni';
  readonly id: number;
  readonly exitStatus: number;
  /** What the plugin prints. */
  readonly stdout: string;
}

export interface SyncedAnswer {
  readonly type: 'synced';
  readonly id: number;
  readonly revision: number;
  readonly generation: string;
  /** What was found wrong in the sources; those objects count as absent. */
  readonly problems: readonly Problem[];
  /** Ports that the switch could not bring up. */
  readonly failedPorts: readonly { readonly id: string; readonly error: string }[];
}

export interface SourceStatus {
  readonly name: string;
  readonly synced: boolean;
  readonly objects: number;
  readonly problems: number;
  /** How a source that watches a server stands with it, kind by kind. */
  readonly watches?: readonly WatchState[];
}

/** A bound of the node that fills up, and how much of it is used. */
export interface LimitUse {
  readonly limit: string;
  readonly used: number;
  readonly most: number;
}

export interface StatusAnswer {
  readonly type: 'status';
  readonly id: number;
  readonly version: string;
  readonly node: string;
  readonly pid: number;
  readonly uptimeSeconds: number;
  readonly epoch: number;
  /** Last revision sent and last acknowledged; equal when the switch enforces what the agent knows. */
  readonly revision: number;
  readonly acknowledged: number;
  /** The switch's own 64-bit generation as a decimal string; '' when not connected. */
  readonly generation: string;
  readonly switchConnected: boolean;
  /** Set when the switch refused the last image; the previous one is in force. */
  readonly imageError?: string;
  /** What the kernel refused of the agent's scheduling, with what to do; absent: nothing. */
  readonly scheduleRefused?: readonly string[];
  readonly ready: boolean;
  readonly sources: readonly SourceStatus[];
  readonly counts: {
    readonly namespaces: number;
    readonly pods: number;
    readonly localPods: number;
    readonly policies: number;
    readonly services: number;
    readonly identities: number;
    readonly classes: number;
    readonly programs: number;
    readonly ports: number;
  };
  readonly compile: {
    readonly count: number;
    readonly lastMilliseconds: number;
    readonly imageBytes: number;
  };
  readonly addresses: readonly { readonly cidr: string; readonly used: number; readonly total: string }[];
  /** Bounds that fill up. */
  readonly limits: readonly LimitUse[];
  /** Something has changed that no revision carries yet. */
  readonly pending: boolean;
  /** Why it is not ready. */
  readonly unready?: string;
  readonly problems: readonly Problem[];
  /** The switch's own status answer, as it gave it. */
  readonly switch?: SwitchStatus;
}

export interface PortRow {
  readonly id: string;
  readonly namespace: string;
  readonly name: string;
  readonly kind: 'pod' | 'host';
  readonly ifname: string;
  readonly netns: string;
  readonly mac: string;
  readonly addresses: readonly string[];
  readonly mtu: number;
  readonly status: 'live' | 'pending' | 'failed';
  readonly error?: string;
  /** As counted by the switch; absent while it is away. Packets and bytes: received = sent by the pod. */
  readonly received?: { readonly packets: number; readonly bytes: number };
  readonly sent?: { readonly packets: number; readonly bytes: number };
  readonly drops?: Readonly<Partial<Record<DropReasonName, number>>>;
  /** Connections that the port has begun. */
  readonly connections?: number;
  /** ARP, ND, ICMP and resets that the switch itself sent to the port. */
  readonly answers?: number;
  /** Time that the switch's workers have spent on frames of this port. */
  readonly workerSeconds?: number;
  /** Time for which the pod's queue was left unread, to keep to its egress bandwidth. */
  readonly throttledSeconds?: number;
  /** Packets to the pod that were dropped for its ingress bandwidth. */
  readonly policedPackets?: number;
}

export interface PortsAnswer {
  readonly type: 'ports';
  readonly id: number;
  readonly ports: readonly PortRow[];
}

export interface ConnectionRow {
  readonly protocol: string;
  readonly family: 4 | 6;
  readonly state: string;
  readonly source: FlowEnd;
  /** As the client addressed it (a Service's address, where there is one). */
  readonly destination: FlowEnd;
  /** Where the packets really go, when a Service was translated. */
  readonly translated?: FlowEnd;
  readonly packets: { readonly original: number; readonly reply: number };
  readonly bytes: { readonly original: number; readonly reply: number };
  readonly ageSeconds: number;
  /** Until it is forgotten, if no packet comes. */
  readonly expiresSeconds: number;
  /** Generation of the policy that it was last judged at; '0': it is judged anew at its next packet. */
  readonly generation: string;
}

export interface ConnectionsAnswer {
  readonly type: 'connections';
  readonly id: number;
  readonly connections: readonly ConnectionRow[];
}

/** To the destination, or to one backend of the Service that it is. */
export interface WhyFlow {
  /** Addresses. */
  readonly source: string;
  readonly destination: string;
  /** Pod, node or address, for people. */
  readonly destinationName: string;
  readonly port: number;
  readonly protocol: FlowProtocol;
  readonly allowed: boolean;
  /** Why it would be dropped. */
  readonly reason?: DropReasonName;
  /** Empty where it leads nowhere. */
  readonly sides: readonly SideExplanation[];
}

/** One end that is a pod of this node. */
export interface WhyPort {
  readonly end: 'from' | 'to';
  readonly pod: string;
  readonly status: 'live' | 'pending' | 'failed';
  readonly error?: string;
  /** What the switch has dropped of what the port sent; only reasons that were counted. */
  readonly drops: Readonly<Partial<Record<DropReasonName, number>>>;
}

export interface WhyAnswer {
  readonly type: 'why';
  readonly id: number;
  readonly node: string;
  /** As they were understood. */
  readonly from: string;
  readonly to: string;
  /** By this node's switch; null: it has no say, `reason` tells why. A Service is allowed if each of its backends is. */
  readonly allowed: boolean | null;
  readonly reason?: string;
  readonly notes: readonly string[];
  /** The state that the answer is of, and the latest one. */
  readonly generation: string;
  readonly acknowledged: number;
  readonly revision: number;
  /** What the switch does not know yet, and other reasons why the answer may soon be another. */
  readonly unsettled: readonly string[];
  /** `namespace/name:port` of the Service that the switch translates. */
  readonly service?: string;
  readonly flows: readonly WhyFlow[];
  readonly ports: readonly WhyPort[];
  /** Nodes whose switches judge an end that is not here. */
  readonly alsoAsk: readonly string[];
  /** The latest events of this connection, oldest first. */
  readonly recent: readonly FlowRecord[];
}

export interface MetricsAnswer {
  readonly type: 'metrics';
  readonly id: number;
  readonly text: string;
}

export interface ReloadedAnswer {
  readonly type: 'reloaded';
  readonly id: number;
  /** Option paths that changed and are in force. */
  readonly applied: readonly string[];
  /** Option paths that changed and wait for a restart. */
  readonly needRestart: readonly string[];
}

export interface SubscribedAnswer {
  readonly type: 'subscribed';
  readonly id: number;
}
