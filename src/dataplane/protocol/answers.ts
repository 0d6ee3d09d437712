/** What the switch answers (dataplane/protocol.ts), and the reports that queries give. */
import type { DropReasonName } from '../../errors/drop-reasons.js';
import type { PortSpec } from './desired-state.js';
import type { FlowEnd, RuleName } from './events.js';
import type { QueryName } from './requests.js';

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
  /** Others changed the interface of the host port, and the switch brought it back; absent: nobody did since this switch started. */
  readonly hostRestored?: {
    readonly times: number;
    /** The last time: what was not as it should be. */
    readonly changes: readonly string[];
    readonly secondsAgo: number;
  };
  readonly connections: { readonly used: number; readonly capacity: number };
  readonly workers: number;
  /** Number of the trial that runs; 0: none. */
  readonly trial: number;
  /** Whether ports have UDP segmentation offload (Linux 6.2). */
  readonly udpSegmentation: boolean;
  /** Whether `weft-supervise` keeps duplicates of the descriptors. */
  readonly supervised: boolean;
  /** What the kernel refused of the scheduling of workers and control thread, with what to do; absent: nothing. */
  readonly scheduleRefused?: readonly string[];
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
