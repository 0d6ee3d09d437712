/** A Pod, as far as policy, Services and its host ports need it. */
import type { SourceRef } from '../errors/problem.js';
import type { Address } from '../net/address.js';
import type { Labels } from './labels.js';
import type { Protocol } from './protocol.js';

export interface ContainerPort {
  readonly name?: string;
  readonly port: number;
  readonly protocol: Protocol;
}

/** A port of the node that leads to a pod's, as the container runtime asked for it. */
export interface HostPort {
  readonly protocol: Protocol;
  readonly hostPort: number;
  readonly containerPort: number;
  /** The node's address that it is at; '' every one. */
  readonly hostIP: string;
}

export type PodPhase = 'Pending' | 'Running' | 'Succeeded' | 'Failed' | 'Unknown';

export interface Pod {
  readonly namespace: string;
  readonly name: string;
  /** '' where the source has none; then the name alone is the pod's identity. */
  readonly uid: string;
  /** Of the mirror of a static pod: what the kubelet calls its uid (annotation kubernetes.io/config.hash). Absent for others. */
  readonly configHash?: string;
  readonly labels: Labels;
  /** Every address of the pod, either family; of a hostNetwork pod its node's. Empty until it has one. */
  readonly addresses: readonly Address[];
  /** Addresses of the pod's node as its status tells them (hostIPs); empty where unknown. */
  readonly hostAddresses: readonly Address[];
  readonly hostNetwork: boolean;
  /** '' until scheduled. */
  readonly nodeName: string;
  readonly phase: PodPhase;
  /** metadata.deletionTimestamp is set. Such a pod stays enforced until it is deleted. */
  readonly terminating: boolean;
  /** Ready condition; services send only to ready pods. */
  readonly ready: boolean;
  /** metadata.creationTimestamp as RFC 3339 in UTC (so that text order is time order), or ''. */
  readonly created: string;
  /** Ports of every container that runs for the pod's life: containers and restartable init containers (sidecars). */
  readonly ports: readonly ContainerPort[];
  /** Host ports in force: of pods that are attached to this node's switch. Absent: none. */
  readonly hostPorts?: readonly HostPort[];
  readonly source?: SourceRef;
}

/** Succeeded and Failed pods are in no set: their address may already be another's. */
export function isFinished(pod: Pod): boolean {
  return pod.phase === 'Succeeded' || pod.phase === 'Failed';
}

/**
 * Which of two pods that claim one address has it: the one that is not being deleted, then the one created later (an address is
 * only given again after its first owner lost it), then by uid, namespace and name so that the answer never depends on arrival.
 * Negative where `a` has it.
 */
export function compareClaims(a: Pod, b: Pod): number {
  if (a.terminating !== b.terminating) return a.terminating ? 1 : -1;
  if (a.created !== b.created) return a.created > b.created ? -1 : 1;
  if (a.uid !== b.uid) return a.uid > b.uid ? -1 : 1;
  const keyA = `${a.namespace}/${a.name}`;
  const keyB = `${b.namespace}/${b.name}`;
  return keyA < keyB ? -1 : keyA > keyB ? 1 : 0;
}
