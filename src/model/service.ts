import type { SourceRef } from '../errors/problem.js';
import type { Address, Family } from '../net/address.js';
import type { Labels } from './labels.js';
import type { Protocol } from './protocol.js';

export type ServiceType = 'ClusterIP' | 'NodePort' | 'LoadBalancer' | 'ExternalName';

export interface ServicePort {
  /** '' where the service has one unnamed port. */
  readonly name: string;
  readonly protocol: Protocol;
  readonly port: number;
  /** A container port's number or name; the edge fills in `port` where absent. */
  readonly targetPort: number | string;
  readonly nodePort?: number;
}

export interface Service {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly type: ServiceType;
  /** Empty for headless and ExternalName services, and until one is allotted. */
  readonly clusterIPs: readonly Address[];
  /** clusterIP is `None`: the name stands for the pods themselves and nothing is translated. Absent: false. */
  readonly headless?: boolean;
  /** spec.ipFamilies; absent where the source has none, then the addresses tell. */
  readonly ipFamilies?: readonly Family[];
  readonly externalIPs: readonly Address[];
  readonly loadBalancerIPs: readonly Address[];
  readonly ports: readonly ServicePort[];
  /** null: no selector; endpoints come from explicit slices only. */
  readonly selector: Labels | null;
  /** Seconds of ClientIP affinity; 0: none. */
  readonly affinitySeconds: number;
  readonly publishNotReadyAddresses: boolean;
  /** Local: only endpoints on the client's own node. */
  readonly internalTrafficPolicy: 'Cluster' | 'Local';
  readonly source?: SourceRef;
}

/** One EndpointSlice. Slices win over the service's selector as soon as one names the service. */
export interface EndpointSlice {
  readonly namespace: string;
  readonly name: string;
  /** The service, from the label kubernetes.io/service-name. */
  readonly service: string;
  readonly family: Family;
  /** null port: every port (not honoured, left out). */
  readonly ports: readonly { readonly name: string; readonly protocol: Protocol; readonly port: number }[];
  readonly endpoints: readonly {
    readonly addresses: readonly Address[];
    readonly ready: boolean;
    readonly nodeName: string;
  }[];
  readonly source?: SourceRef;
}
