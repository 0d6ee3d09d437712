/** Service, Endpoints and EndpointSlice. */

import type { EndpointSlice, Service, ServicePort, ServiceType } from '../model/service.js';
import { parseAddress } from '../net/address.js';
import type { KubernetesObject, ManifestObject } from './parse.js';
import {
  addressesFrom,
  isAbsent,
  isPortName,
  isPortNumber,
  labelsFrom,
  nameOf,
  objectOf,
  objectsOf,
  type PlainObject,
  protocolFrom,
  sourceAt,
  textOf,
} from './plain.js';

/** Kubernetes' default for sessionAffinityConfig.clientIP.timeoutSeconds: three hours. */
const defaultAffinitySeconds = 10_800;
const types: ReadonlySet<unknown> = new Set(['ClusterIP', 'NodePort', 'LoadBalancer', 'ExternalName']);

export function decodeService(value: KubernetesObject, origin?: ManifestObject): Service | undefined {
  const named = nameOf(value);
  if (named === undefined) return undefined;
  const spec = objectOf(value.spec);
  const selector = isAbsent(spec.selector) ? null : labelsFrom(spec.selector);
  if (selector === undefined) return undefined;
  const type = (types.has(spec.type) ? spec.type : 'ClusterIP') as ServiceType;
  return {
    ...named,
    type,
    clusterIPs: type === 'ExternalName' ? [] : addressesFrom(spec.clusterIPs, spec.clusterIP),
    ...(spec.clusterIP === 'None' || (Array.isArray(spec.clusterIPs) && spec.clusterIPs[0] === 'None')
      ? { headless: true }
      : {}),
    ...(Array.isArray(spec.ipFamilies) ? { ipFamilies: spec.ipFamilies.flatMap(familyOf) } : {}),
    externalIPs: addressesFrom(spec.externalIPs),
    loadBalancerIPs: addressesFrom(objectOf(objectOf(value.status).loadBalancer).ingress),
    ports: objectsOf(spec.ports)
      .map(servicePort)
      .filter((port) => port !== undefined),
    // An empty selector is none: the API takes `selector: {}` as "no selector".
    selector: selector === null || selector.size === 0 ? null : selector,
    affinitySeconds: affinitySeconds(spec),
    publishNotReadyAddresses: spec.publishNotReadyAddresses === true,
    internalTrafficPolicy: spec.internalTrafficPolicy === 'Local' ? 'Local' : 'Cluster',
    ...sourceAt(origin, ['metadata', 'name']),
  };
}

function familyOf(value: unknown): (4 | 6)[] {
  return value === 'IPv4' ? [4] : value === 'IPv6' ? [6] : [];
}

function affinitySeconds(spec: PlainObject): number {
  if (spec.sessionAffinity !== 'ClientIP') return 0;
  const given = objectOf(objectOf(spec.sessionAffinityConfig).clientIP).timeoutSeconds;
  return typeof given === 'number' && given > 0 ? given : defaultAffinitySeconds;
}

function servicePort(entry: PlainObject): ServicePort | undefined {
  const protocol = protocolFrom(entry.protocol);
  if (protocol === undefined || !isPortNumber(entry.port)) return undefined;
  const targetPort = isAbsent(entry.targetPort) ? entry.port : entry.targetPort;
  if (!isPortNumber(targetPort) && !isPortName(targetPort)) return undefined;
  return {
    name: textOf(entry.name),
    protocol,
    port: entry.port,
    targetPort,
    ...(isPortNumber(entry.nodePort) ? { nodePort: entry.nodePort } : {}),
  };
}

export function decodeEndpointSlice(
  value: KubernetesObject,
  origin?: ManifestObject,
): EndpointSlice | undefined {
  const named = nameOf(value);
  if (named === undefined) return undefined;
  const family = value.addressType === 'IPv4' ? 4 : value.addressType === 'IPv6' ? 6 : undefined;
  if (family === undefined) return undefined;
  const labels = objectOf(objectOf(value.metadata).labels);
  return {
    namespace: named.namespace,
    name: named.name,
    service: textOf(labels['kubernetes.io/service-name']),
    family,
    ports: endpointPorts(value.ports),
    endpoints: objectsOf(value.endpoints).map((entry) => ({
      addresses: addressesFrom(entry.addresses ?? []).filter((address) => address.family === family),
      // Absent means ready, as the API says.
      ready: objectOf(entry.conditions).ready !== false,
      nodeName: textOf(entry.nodeName),
    })),
    ...sourceAt(origin, ['metadata', 'name']),
  };
}

/** The older Endpoints: one slice for each subset and family. */
export function decodeEndpoints(value: KubernetesObject, origin?: ManifestObject): EndpointSlice[] {
  const named = nameOf(value);
  if (named === undefined) return [];
  return objectsOf(value.subsets).flatMap((subset, index) =>
    ([4, 6] as const)
      .map((family) => ({
        namespace: named.namespace,
        name: `${named.name}-${index}-ipv${family}`,
        service: named.name,
        family,
        ports: endpointPorts(subset.ports),
        endpoints: [
          ...endpointsOf(subset.addresses, family, true),
          ...endpointsOf(subset.notReadyAddresses, family, false),
        ],
        ...sourceAt(origin, ['metadata', 'name']),
      }))
      .filter((slice) => slice.endpoints.length > 0),
  );
}

function endpointsOf(list: unknown, family: 4 | 6, ready: boolean): EndpointSlice['endpoints'] {
  return objectsOf(list).flatMap((entry) => {
    const address = parseAddress(textOf(entry.ip));
    return address?.family === family
      ? [{ addresses: [address], ready, nodeName: textOf(entry.nodeName) }]
      : [];
  });
}

function endpointPorts(list: unknown): EndpointSlice['ports'] {
  return objectsOf(list).flatMap((entry) => {
    const protocol = protocolFrom(entry.protocol);
    return protocol !== undefined && isPortNumber(entry.port)
      ? [{ name: textOf(entry.name), protocol, port: entry.port }]
      : [];
  });
}
