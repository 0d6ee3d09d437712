/** What a subscriber of the switch is told: flows, differences of a trial, captured packets (dataplane/protocol.ts). */
import type { DropReasonName } from '../../errors/drop-reasons.js';

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
  /** Allowed though policies isolate an end and no rule of theirs allows it: a pod and its own node, or a pod and itself. */
  readonly exempt?: true;
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
