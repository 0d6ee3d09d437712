/**
 * The agent's protocol: what `weft-cni`, the lab and the command line ask the agent over `RUN/agent.sock`.
 *
 * The socket is mode 0600 and the peer's credentials are checked (root or the agent's own user). Framing is the switch's: one JSON
 * object a line, UTF-8, at most `maxLineBytes`. A request carries an `id` of the client's choosing; its answer repeats it. Answers
 * may come in another order than the requests. A subscription answers `subscribed` and then pushes `event` lines with the same `id`
 * until the client closes the connection; an observer that reads too slowly loses events (and is told how many), never slows the agent.
 *
 * Every expected failure is an `error` answer with a stable code of `src/errors/catalogue.ts`; the connection stays usable.
 */
import type { SwitchStatus } from '../dataplane/protocol.js';
import type { DropReasonName } from '../errors/drop-reasons.js';
import type { Problem } from '../errors/problem.js';
import type { WatchState } from '../model/source.js';
import type { SideExplanation } from '../policy/explain.js';
import type { FlowProtocol } from '../policy/flow.js';

export const agentProtocolVersion = 1;

/** A line longer than this ends the connection: no request of this protocol comes near it. */
export const maxLineBytes = 4 * 1024 * 1024;

// ---------------------------------------------------------------------------------------------------------------- requests

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

export type AgentRequest =
  | AttachRequest
  | DetachRequest
  | CniRequest
  | CniTakenRequest
  | SyncRequest
  | StatusRequest
  | PortsRequest
  | ConnectionsRequest
  | MetricsRequest
  | ReloadRequest
  | FlowsRequest
  | WhyRequest
  | CaptureRequest
  | TrialRequest;

// ----------------------------------------------------------------------------------------------------------------- answers

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

/** One end of a flow or connection, with the name that the world has for the address. */
export interface FlowEnd {
  readonly address: string;
  /** 0 where the protocol has no ports. */
  readonly port: number;
  /** `forwarded`: a host's address in its pod CIDR; as a source, traffic that the host masquerades. */
  readonly kind: 'pod' | 'node' | 'forwarded' | 'service' | 'external';
  /** `namespace/name` of a pod or Service, name of a node, '' for an external address. */
  readonly name: string;
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

// ------------------------------------------------------------------------------------------------------------------ events

/** A rule that allowed: `rule` is its index in the policy's list of that direction, from 0. */
export interface RuleName {
  /** `namespace/name` of the NetworkPolicy. */
  readonly policy: string;
  readonly direction: 'egress' | 'ingress';
  readonly rule: number;
}

export interface FlowRecord {
  /** RFC 3339 with milliseconds, UTC. */
  readonly time: string;
  /** denied: by policy; dropped: for any other reason. */
  readonly verdict: 'allowed' | 'denied' | 'dropped';
  /** Absent when allowed. */
  readonly reason?: DropReasonName;
  readonly family: 4 | 6;
  /** 'TCP', 'UDP', 'SCTP', 'ICMP', 'ICMPv6' or the protocol number. */
  readonly protocol: string;
  readonly source: FlowEnd;
  readonly destination: FlowEnd;
  /** Where a Service led to. */
  readonly translated?: FlowEnd;
  /** The rules that allowed it; a direction that is not isolated has none. */
  readonly rules: readonly RuleName[];
  /** When denied: the policies that isolate the pod in the direction that denied, none of whose rules allows it. */
  readonly isolatedBy: readonly string[];
}

export interface FlowEvent {
  readonly type: 'event';
  readonly id: number;
  readonly event: 'flow';
  readonly flow: FlowRecord;
}

export interface PacketRecord {
  /** Nanoseconds since 1970, decimal. */
  readonly time: string;
  /** Base64 of the frame from its Ethernet header on. */
  readonly data: string;
  /** Length of the whole frame; data may be cut at the snap length. */
  readonly length: number;
  /** Seen from the pod: egress is what it sent. */
  readonly direction: 'egress' | 'ingress';
  readonly verdict: 'allowed' | 'denied' | 'dropped';
  readonly reason?: DropReasonName;
  /** The switch itself answered it, or made it. */
  readonly answered?: boolean;
  /** The rules that allowed it, or the connection that it belongs to. */
  readonly rules: readonly RuleName[];
}

export interface PacketEvent {
  readonly type: 'event';
  readonly id: number;
  readonly event: 'packet';
  readonly packet: PacketRecord;
}

/** One end of the flows of a row. */
export interface TrialEnd {
  readonly kind: FlowEnd['kind'];
  /** `namespace/workload` of a pod, name of a node or Service; of what is external, the address of a server and '' for clients. */
  readonly name: string;
}

export interface TrialVerdict {
  readonly verdict: 'allowed' | 'denied';
  /** Which direction denies. */
  readonly reason?: DropReasonName;
  /** The rules that allow; a direction that is not isolated has none. */
  readonly rules: readonly RuleName[];
  /** When denied: the policies that isolate, none of whose rules allows it. */
  readonly isolatedBy: readonly string[];
}

/** Flows of the same ends, port and cause whose verdict would change. */
export interface TrialRow {
  /** Of this trial; a row that is told again replaces the one of its number. */
  readonly id: number;
  /** What would become of them. */
  readonly change: 'allowed' | 'denied';
  readonly source: TrialEnd;
  /** Where the packets really go. */
  readonly destination: TrialEnd;
  /** `namespace/name` of the Service that led there. */
  readonly service?: string;
  readonly protocol: string;
  /** Of the destination; 0 where the protocol has none. */
  readonly port: number;
  readonly now: TrialVerdict;
  readonly then: TrialVerdict;
  readonly flows: number;
  /** RFC 3339, UTC. */
  readonly first: string;
  readonly last: string;
  /** The first of them. */
  readonly example: {
    readonly source: FlowEnd;
    readonly destination: FlowEnd;
    readonly translated?: FlowEnd;
  };
}

/** Flows since the trial began, each once. */
export interface TrialTotals {
  /** Judged by both: new ones, and connections from before that had a packet. */
  readonly judged: number;
  /** Of these: allowed now, and would be denied. */
  readonly denied: number;
  /** Of these: denied now, and would be allowed. */
  readonly allowed: number;
  /** Differences that were counted without learning whose (the rate of a port, or a slow reader). */
  readonly unnamed: number;
  /** Differences beyond the rows that are kept. */
  readonly unlisted: number;
}

export interface TrialEvent {
  readonly type: 'event';
  readonly id: number;
  readonly event: 'trial';
  /** New or grown. */
  readonly rows: readonly TrialRow[];
  readonly totals: TrialTotals;
}

/** `time`: as long as asked; `asked`: the client ended it; `switch`: its switch has gone; `failed`: no image of it any more. */
export interface TrialOver {
  readonly reason: 'time' | 'asked' | 'switch' | 'failed';
  readonly message?: string;
}

export interface TrialOverEvent extends TrialOver {
  readonly type: 'event';
  readonly id: number;
  readonly event: 'trial-over';
}

/** The observer was too slow, or the switch's ring overran: this many events are missing here. */
export interface LostEvent {
  readonly type: 'event';
  readonly id: number;
  readonly event: 'lost';
  readonly count: number;
}

/** End of a subscription that does not follow, or whose count is reached. */
export interface EndEvent {
  readonly type: 'event';
  readonly id: number;
  readonly event: 'end';
}

export type AgentEvent = FlowEvent | PacketEvent | TrialEvent | TrialOverEvent | LostEvent | EndEvent;

export type AgentAnswer =
  | ErrorAnswer
  | AttachedAnswer
  | DetachedAnswer
  | CniAnswer
  | SyncedAnswer
  | StatusAnswer
  | PortsAnswer
  | ConnectionsAnswer
  | WhyAnswer
  | MetricsAnswer
  | ReloadedAnswer
  | SubscribedAnswer
  | AgentEvent;

/** What `request` of the client resolves to for each request type. */
export interface AgentAnswers {
  readonly attach: AttachedAnswer;
  readonly detach: DetachedAnswer;
  readonly cni: CniAnswer;
  readonly sync: SyncedAnswer;
  readonly status: StatusAnswer;
  readonly ports: PortsAnswer;
  readonly connections: ConnectionsAnswer;
  readonly why: WhyAnswer;
  readonly metrics: MetricsAnswer;
  readonly reload: ReloadedAnswer;
}
