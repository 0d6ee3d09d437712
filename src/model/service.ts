/** A Service and the slices of its endpoints, as the API has them. */
import type { SourceRef } from '../errors/problem.js';
import type { Address, Family } from '../net/address.js';
import type { Cidr } from '../net/cidr.js';
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
  /** metadata.creationTimestamp as RFC 3339 in UTC; absent where the source has none. */
  readonly created?: string;
  readonly type: ServiceType;
  /** Empty for headless and ExternalName services, and until one is allotted. */
  readonly clusterIPs: readonly Address[];
  /** clusterIP is `None`: the name stands for the pods themselves and nothing is translated. Absent: false. */
  readonly headless?: boolean;
  /** A label leaves it to another service proxy, or to none, and nothing is translated. Absent: false. */
  readonly otherProxy?: boolean;
  /** spec.ipFamilies; absent where the source has none, then the addresses tell. */
  readonly ipFamilies?: readonly Family[];
  readonly externalIPs: readonly Address[];
  /** Addresses of the load balancer that pass packets on as they are (ipMode VIP); those of proxies are the proxies' own. */
  readonly loadBalancerIPs: readonly Address[];
  /** Whose packets the load balancer's addresses take; absent or none of a family: everybody's of that family. */
  readonly loadBalancerSourceRanges?: readonly Cidr[];
  readonly ports: readonly ServicePort[];
  /** null: no selector; endpoints come from explicit slices only. */
  readonly selector: Labels | null;
  /** Seconds of ClientIP affinity; 0: none. */
  readonly affinitySeconds: number;
  readonly publishNotReadyAddresses: boolean;
  /** Local: only endpoints on the client's own node. */
  readonly internalTrafficPolicy: 'Cluster' | 'Local';
  /** Local: a node's node port leads to endpoints of that node only. Absent: Cluster. */
  readonly externalTrafficPolicy?: 'Cluster' | 'Local';
  /** Which endpoints the EndpointSlice controller would hint at; used where there are no slices. Absent: none in particular. */
  readonly trafficDistribution?: 'PreferSameZone' | 'PreferSameNode';
  readonly source?: SourceRef;
}

/**
 * What a slice says of an endpoint. Optional members are left away where they have the API's default, so that tens of thousands of
 * endpoints stay small.
 */
export interface SliceEndpoint {
  readonly addresses: readonly Address[];
  readonly ready: boolean;
  /** Absent: true, as kube-proxy reads it. */
  readonly serving?: boolean;
  /** Absent: false. */
  readonly terminating?: boolean;
  /** '' where unknown. */
  readonly nodeName: string;
  /** hints.forZones and hints.forNodes; absent where there are none. */
  readonly forZones?: readonly string[];
  readonly forNodes?: readonly string[];
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
  readonly endpoints: readonly SliceEndpoint[];
  readonly source?: SourceRef;
}
