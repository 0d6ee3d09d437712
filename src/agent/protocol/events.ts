/** What a subscriber of the agent is told: flows, captured packets, the differences of a trial (agent/protocol.ts). */
import type { DropReasonName } from '../../errors/drop-reasons.js';

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
  /** Allowed though policies isolate an end and no rule of theirs allows it: a pod and its own node, or a pod and itself. */
  readonly exempt?: true;
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
