/**
 * The protocol between the switch and everyone else, over the unix socket `RUN/switch.sock` (mode 0600, peer credentials checked).
 *
 * Frames are JSON objects, one a line. A request carries an `id` of the client's choice, its answer repeats it; events have none.
 * The agent publishes desired state, whole, every time: a port that is not listed is removed, so start, restart and change
 * are one path. An epoch fences agents: the switch remembers the highest it has welcomed (also over its own restart) and refuses lower
 * ones, so a stale agent that wakes up late cannot undo what its successor published. Observers (the command line) need no epoch
 * and can only ask.
 *
 * A frame that is too long, is no JSON or has the wrong shape is answered with an `error` frame; the connection survives all but
 * a frame that is too long, whose end cannot be trusted.
 */
import type { DropReasonName } from '../errors/drop-reasons.js';

export const switchProtocolVersion = 1;
export const switchSocketName = 'switch.sock';
/** Bytes of one frame without its newline; a publish of 4,000 ports is about 1.5 MB. */
export const maximumFrameBytes = 8 * 1024 * 1024;

/** The gateway every port talks to; the switch answers for it. Link-local, so the same in every pod of every cluster. */
export const gateway4 = '169.254.1.1';
export const gateway6 = 'fe80::1';
/** Locally administered, unicast; the permanent neighbour entry of both gateways. */
export const gatewayMac = '02:77:65:66:74:01';

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

// ---- requests ----

export interface HelloRequest {
  readonly id: number;
  readonly type: 'hello';
  readonly role: 'agent' | 'observer';
  /** Required of an agent: a number that grows with each start of an agent on this node. */
  readonly epoch?: number;
}

export interface PublishRequest {
  readonly id: number;
  readonly type: 'publish';
  readonly epoch: number;
  /** Counts the agent's publications; repeated in the acknowledgement. */
  readonly revision: number;
  /** Absolute path of an image file; null keeps the image that is loaded. */
  readonly image: string | null;
  readonly ports: readonly PortSpec[];
  readonly settings?: SwitchSettings;
  /**
   * A trial: this image judges beside the real one and nothing that it says is enforced. In force together with `image`, so that both are
   * of one world. Absent: no trial. It needs a subscription `trial` that is there already, and ends with the last one: whoever
   * began it may vanish. Not kept over a restart of the switch.
   */
  readonly shadow?: ShadowSpec;
}

export interface ShadowSpec {
  /** Of the agent's choice; another number is another trial, which counts from nothing. At least 1. */
  readonly trial: number;
  /** Absolute path of an image file. */
  readonly image: string;
}

export const queryNames = ['status', 'ports', 'counters', 'connections', 'image', 'explain'] as const;
export type QueryName = (typeof queryNames)[number];

export interface QueryRequest {
  readonly id: number;
  readonly type: 'query';
  readonly what: QueryName;
  /** `connections`, `counters`: only those of this port. */
  readonly port?: string;
  /** `connections`: at most this many (default 1,000). */
  readonly limit?: number;
  /** `explain`: about this connection; required there. */
  readonly flow?: FlowQuestion;
}

/** A connection that might begin: what would become of its first packet? */
export interface FlowQuestion {
  /** Of one family. */
  readonly source: string;
  readonly destination: string;
  /** IANA number. */
  readonly protocol: number;
  /** Of the destination; 0 where the protocol has none. */
  readonly port: number;
}

export interface FlowFilter {
  /** Only what was not forwarded. */
  readonly denied?: boolean;
  /** Only flows that start or end at this port. */
  readonly port?: string;
}

export interface CaptureFilter {
  readonly port: string;
  /** Only dropped packets. */
  readonly drops?: boolean;
  /** Bytes kept of each packet (default 65,535). */
  readonly snapLength?: number;
}

export type SubscribeRequest =
  | { readonly id: number; readonly type: 'subscribe'; readonly what: 'flows'; readonly filter?: FlowFilter }
  | {
      readonly id: number;
      readonly type: 'subscribe';
      readonly what: 'capture';
      readonly filter: CaptureFilter;
    }
  | { readonly id: number; readonly type: 'subscribe'; readonly what: 'trial' };

/** Ends the subscription that the request `subscription` started. */
export interface UnsubscribeRequest {
  readonly id: number;
  readonly type: 'unsubscribe';
  readonly subscription: number;
}

export type SwitchRequest =
  | HelloRequest
  | PublishRequest
  | QueryRequest
  | SubscribeRequest
  | UnsubscribeRequest;

// ---- answers ----

/** A failure with a stable code and a sentence that says what to do. */
export interface Failure {
  readonly code: string;
  readonly message: string;
}

export interface Welcome {
  readonly id: number;
  readonly type: 'welcome';
  readonly version: number;
  /** The highest epoch so far; an agent that is welcomed finds its own here. */
  readonly epoch: number;
  /** 64-bit, so a decimal string; "0" before the first image. */
  readonly generation: string;
  /** Of the last accepted publication, 0 before the first. */
  readonly revision: number;
}

export interface ImageStatus {
  /** `none`: null was published and no image was ever loaded, so nothing passes. */
  readonly status: 'loaded' | 'unchanged' | 'refused' | 'none';
  readonly error?: Failure;
}

export interface PortStatus {
  readonly id: string;
  readonly status: 'live' | 'failed';
  readonly error?: Failure;
}

export interface Acknowledge {
  readonly id: number;
  readonly type: 'acknowledge';
  readonly revision: number;
  readonly generation: string;
  readonly image: ImageStatus;
  /** Where the publication had one. */
  readonly shadow?: ImageStatus;
  /** One for each port of the publication, in its order. */
  readonly ports: readonly PortStatus[];
}

export interface SwitchStatus {
  readonly version: string;
  readonly pid: number;
  readonly uptimeSeconds: number;
  readonly epoch: number;
  readonly revision: number;
  readonly generation: string;
  readonly imageBytes: number;
  readonly ports: { readonly live: number; readonly failed: number };
  readonly connections: { readonly used: number; readonly capacity: number };
  readonly workers: number;
  /** Number of the trial that runs; 0: none. */
  readonly trial: number;
  /** Whether ports have UDP segmentation offload (Linux 6.2). */
  readonly udpSegmentation: boolean;
  /** Whether `weft-supervise` keeps duplicates of the descriptors. */
  readonly supervised: boolean;
  /** Starts of a switch on this run directory since boot; each restart adds one. */
  readonly starts: number;
  /** Events that a subscriber or the ring lost because its reader was slow. */
  readonly lostEvents: number;
}

/** Created new, re-attached by the path of its namespace after a restart, or adopted: the supervisor had kept its descriptor. */
export type PortOrigin = 'created' | 're-attached' | 'adopted';

export interface PortReport extends PortStatus {
  readonly spec: PortSpec;
  /** The first life of a port index is 1; a port that was removed and came back has another. 0 while failed. */
  readonly instance: number;
  /** Whether a namespace is at the port's path now; `unknown`: it could not be looked at. Of the host port always `there`. */
  readonly namespace: 'there' | 'gone' | 'unknown';
  /** How the switch came to its device; absent while it has none. */
  readonly origin?: PortOrigin;
}

export interface PortCounters {
  readonly id: string;
  readonly receivedPackets: number;
  readonly receivedBytes: number;
  readonly sentPackets: number;
  readonly sentBytes: number;
  /** ARP, ND, ICMP and resets that the switch itself sent to the port. */
  readonly answers: number;
  /** Connections that the port began. */
  readonly connections: number;
  /** Nanoseconds of worker time spent on frames of this port. */
  readonly workerNanoseconds: number;
  /** Nanoseconds for which the pod's queue was left unread, to keep to its egress bandwidth. */
  readonly throttledNanoseconds: number;
  /** Packets to the port that were dropped for its ingress bandwidth; their reason is counted at the ports they came from. */
  readonly policedPackets: number;
  /** Only reasons that were counted. */
  readonly drops: Readonly<Partial<Record<DropReasonName, number>>>;
}

export interface CountersReport {
  readonly ports: readonly PortCounters[];
  /** Drops of ports that are gone, so that sums never go back. */
  readonly drops: Readonly<Partial<Record<DropReasonName, number>>>;
}

/** One end of a flow. `pod` is `namespace/name` where the address is that of a port of this switch. */
export interface FlowEnd {
  readonly address: string;
  readonly port?: number;
  readonly pod?: string;
}

export interface RuleName {
  /** `namespace/name` of the NetworkPolicy. */
  readonly policy: string;
  readonly direction: 'egress' | 'ingress';
  /** Index in the policy's list of rules. */
  readonly index: number;
}

export interface ConnectionReport {
  readonly protocol: number;
  readonly family: 4 | 6;
  readonly source: FlowEnd;
  readonly destination: FlowEnd;
  /** Where the packets really go, when a Service was translated. */
  readonly translated?: FlowEnd;
  readonly state: string;
  /** Zero is "not judged since": the next packet is judged anew. */
  readonly generation: string;
  readonly ageSeconds: number;
  /** Until it is forgotten, if no packet comes. */
  readonly expiresSeconds: number;
  readonly originalPackets: number;
  readonly originalBytes: number;
  readonly replyPackets: number;
  readonly replyBytes: number;
}

export interface ImageReport {
  readonly loaded: boolean;
  readonly bytes: number;
  readonly generation: string;
}

/**
 * Why one direction of a connection passes or not. `elsewhere`: this end is no pod with a port of this switch, so it is not judged
 * here. `unknown`: the pod has a port, but the image does not know it, which denies. `isolated`: policies isolate the pod and none of
 * their rules allows.
 */
export type Basis = 'elsewhere' | 'self' | 'own-node' | 'unknown' | 'not-isolated' | 'rule' | 'isolated';

export interface ExplainedSide {
  readonly basis: Basis;
  /** With `rule`. */
  readonly rule?: RuleName;
  /** `namespace/name` of the policies that isolate the pod; with `rule` and `isolated`. */
  readonly isolatedBy: readonly string[];
}

/** To one destination: the one that was asked for, or one backend of the Service that it is. */
export interface ExplainedWay {
  readonly destination: FlowEnd;
  /** Absent: it would pass. */
  readonly reason?: DropReasonName;
  /** Id of the port that it leaves by; absent, as the sides are, where it leads nowhere. */
  readonly to?: string;
  readonly egress?: ExplainedSide;
  readonly ingress?: ExplainedSide;
}

/** What the switch would do with a connection, by the structure that its workers use. */
export interface ExplainReport {
  readonly generation: string;
  /** false: nothing was published yet, everything is dropped. */
  readonly image: boolean;
  /** Id of the port that the packet would come in by; absent where there is none. */
  readonly from?: string;
  /** The Service that the destination is, where the switch translates it. `name` is `namespace/name:port`. */
  readonly service?: {
    readonly name: string;
    readonly affinitySeconds: number;
    /** Drop reason, where the Service itself lets nothing of this client through. */
    readonly reason?: string;
  };
  /** Empty without an image, without a port to come in by, and of a Service without endpoints. */
  readonly ways: readonly ExplainedWay[];
}

export interface QueryAnswers {
  readonly status: SwitchStatus;
  readonly ports: readonly PortReport[];
  readonly counters: CountersReport;
  readonly connections: readonly ConnectionReport[];
  readonly image: ImageReport;
  readonly explain: ExplainReport;
}

export type QueryAnswer = {
  [What in QueryName]: {
    readonly id: number;
    readonly type: 'answer';
    readonly what: What;
    readonly data: QueryAnswers[What];
  };
}[QueryName];

/** Answers `subscribe` and `unsubscribe`. */
export interface Done {
  readonly id: number;
  readonly type: 'done';
}

export interface ErrorAnswer extends Failure {
  /** Null where the frame was too broken to have one. */
  readonly id: number | null;
  readonly type: 'error';
}

export type SwitchAnswer = Welcome | Acknowledge | QueryAnswer | Done | ErrorAnswer;

// ---- events ----

export interface FlowEvent {
  /** Milliseconds since 1970. */
  readonly time: number;
  readonly verdict: 'allowed' | 'denied' | 'dropped';
  /** Present unless allowed. */
  readonly reason?: DropReasonName;
  readonly protocol: number;
  readonly family: 4 | 6;
  readonly source: FlowEnd;
  readonly destination: FlowEnd;
  /** Where a Service led to. */
  readonly translated?: FlowEnd;
  /** Ids of the ports; absent where there is none, or the packet never got that far. */
  readonly fromPort?: string;
  readonly toPort?: string;
  /** The rules that allowed it. A direction that is not isolated has none. */
  readonly egress?: RuleName;
  readonly ingress?: RuleName;
  /** For a denial: the policies that isolate the pod in the direction that denied, `namespace/name`. */
  readonly isolatedBy?: readonly string[];
}

/** A flow that the image in force and the shadow of a trial judge differently. */
export interface TrialEvent {
  /** What happened to it; allowed or denied. */
  readonly actual: FlowEvent;
  readonly shadow: {
    readonly verdict: 'allowed' | 'denied';
    readonly reason?: DropReasonName;
    readonly egress?: RuleName;
    readonly ingress?: RuleName;
    readonly isolatedBy?: readonly string[];
  };
}

/** Since the trial began. A flow counts once, however many packets it has and however often it is tried. */
export interface TrialCounts {
  /** Flows that both images have judged: new ones, and connections from before at their next packet. */
  readonly judged: number;
  /** Of these: allowed, and the shadow denies. */
  readonly denied: number;
  /** Of these: denied, and the shadow allows. */
  readonly allowed: number;
  /** Differences that were counted, and not told because of the port's rate or a full ring. */
  readonly unnamed: number;
}

export interface CaptureEvent {
  /** Nanoseconds since 1970, decimal. */
  readonly time: string;
  readonly port: string;
  /** Seen from the pod. */
  readonly direction: 'egress' | 'ingress';
  /** Of the whole frame; `data` may be shorter. */
  readonly length: number;
  /** The Ethernet frame, base64. */
  readonly data: string;
  readonly reason?: DropReasonName;
  /** The switch itself answered it, or made it. */
  readonly answered?: boolean;
  /** The rules that allowed it, where it began a connection or belongs to one. */
  readonly egress?: RuleName;
  readonly ingress?: RuleName;
}

export type SwitchEvent =
  | {
      readonly type: 'event';
      readonly subscription: number;
      readonly what: 'flows';
      readonly events: readonly FlowEvent[];
      /** Events of this subscription that were dropped, oldest first, since the last frame. */
      readonly lost: number;
    }
  | {
      readonly type: 'event';
      readonly subscription: number;
      readonly what: 'capture';
      readonly events: readonly CaptureEvent[];
      readonly lost: number;
    }
  | {
      readonly type: 'event';
      readonly subscription: number;
      readonly what: 'trial';
      readonly events: readonly TrialEvent[];
      readonly lost: number;
      readonly counts: TrialCounts;
    };

/** The codes of `error` frames; each with its remedy in its message. */
export const switchErrorCodes = [
  'frame-too-long',
  'frame-not-json',
  'frame-invalid',
  'not-greeted',
  'not-agent',
  'epoch-stale',
  'subscription-unknown',
  'switch-busy',
  'switch-stopping',
  'switch-internal',
] as const;
export type SwitchErrorCode = (typeof switchErrorCodes)[number];
