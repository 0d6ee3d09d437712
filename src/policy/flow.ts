/** A connection as policy sees it, and the verdict on it: what every engine is asked and answers. */
import type { Address } from '../net/address.js';

/** ICMP is ICMPv6 between IPv6 addresses. */
export type FlowProtocol = 'TCP' | 'UDP' | 'SCTP' | 'ICMP';

/** What an engine is asked. `port` is 0 for ICMP. */
export interface Flow {
  readonly source: Address;
  readonly destination: Address;
  readonly protocol: FlowProtocol;
  readonly port: number;
}

/** One direction of one flow. */
export interface SideVerdict {
  readonly allowed: boolean;
  /**
   * `rule`: a rule allows it. `isolated`: policies isolate the pod and none of their rules allows it. `not-isolated`: no policy isolates the
   * pod in this direction. `no-pod`: this end is no pod. `self`: a pod to itself. `own-node`: a pod and its own node. Only of a
   * running switch: `elsewhere`: a pod that another node judges. `unknown`: a pod that the policy in force does not know, denied.
   */
  readonly reason:
    | 'rule'
    | 'isolated'
    | 'not-isolated'
    | 'no-pod'
    | 'self'
    | 'own-node'
    | 'elsewhere'
    | 'unknown';
  /** `namespace/name` of the policy whose rule allows. */
  readonly policy?: string;
  /** Its place in `spec.egress` or `spec.ingress`. */
  readonly rule?: number;
  /** The policies that isolate the pod in this direction, sorted. */
  readonly isolatedBy: readonly string[];
}

export interface FlowVerdict {
  readonly egress: SideVerdict;
  readonly ingress: SideVerdict;
}
