/** Service, Endpoints and EndpointSlice. */

import type { EndpointSlice, Service, ServicePort, ServiceType, SliceEndpoint } from '../model/service.js';
import { parseAddress } from '../net/address.js';
import { type Cidr, cidr, parseCidr } from '../net/cidr.js';
import type { KubernetesObject, ManifestObject } from './object.js';
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
/** With one of these labels a Service is none of kube-proxy's (its informers in cmd/kube-proxy), so it is none of ours. */
const leftToOthers = ['service.kubernetes.io/service-proxy-name', 'service.kubernetes.io/headless'];
const types: ReadonlySet<unknown> = new Set(['ClusterIP', 'NodePort', 'LoadBalancer', 'ExternalName']);

export function decodeService(value: KubernetesObject, origin?: ManifestObject): Service | undefined {
  const named = nameOf(value);
  if (named === undefined) return undefined;
  const spec = objectOf(value.spec);
  const selector = isAbsent(spec.selector) ? null : labelsFrom(spec.selector);
  if (selector === undefined) return undefined;
  const type = (types.has(spec.type) ? spec.type : 'ClusterIP') as ServiceType;
  const { creationTimestamp, labels } = objectOf(value.metadata);
  const created = textOf(creationTimestamp);
  const otherProxy = leftToOthers.some((label) => Object.hasOwn(objectOf(labels), label));
  const distribution = distributions.get(spec.trafficDistribution);
  const sourceRanges = sourceRangesFrom(spec.loadBalancerSourceRanges);
  return {
    ...named,
    ...(created === '' ? {} : { created }),
    type,
    clusterIPs: type === 'ExternalName' ? [] : addressesFrom(spec.clusterIPs, spec.clusterIP),
    ...(spec.clusterIP === 'None' || (Array.isArray(spec.clusterIPs) && spec.clusterIPs[0] === 'None')
      ? { headless: true }
      : {}),
    ...(otherProxy ? { otherProxy } : {}),
    ...(Array.isArray(spec.ipFamilies) ? { ipFamilies: spec.ipFamilies.flatMap(familyOf) } : {}),
    externalIPs: addressesFrom(spec.externalIPs),
    loadBalancerIPs: addressesFrom(
      objectsOf(objectOf(objectOf(value.status).loadBalancer).ingress).filter(
        ({ ipMode }) => ipMode !== 'Proxy',
      ),
    ),
    ...(sourceRanges.length === 0 ? {} : { loadBalancerSourceRanges: sourceRanges }),
    ports: objectsOf(spec.ports)
      .map(servicePort)
      .filter((port) => port !== undefined),
    // An empty selector is none: the API takes `selector: {}` as "no selector".
    selector: selector === null || selector.size === 0 ? null : selector,
    affinitySeconds: affinitySeconds(spec),
    publishNotReadyAddresses: spec.publishNotReadyAddresses === true,
    internalTrafficPolicy: spec.internalTrafficPolicy === 'Local' ? 'Local' : 'Cluster',
    ...(spec.externalTrafficPolicy === 'Local' ? { externalTrafficPolicy: 'Local' as const } : {}),
    ...(distribution === undefined ? {} : { trafficDistribution: distribution }),
    ...sourceAt(origin, ['metadata', 'name']),
  };
}

/** PreferClose is the older word for PreferSameZone. */
const distributions: ReadonlyMap<unknown, NonNullable<Service['trafficDistribution']>> = new Map([
  ['PreferClose', 'PreferSameZone'],
  ['PreferSameZone', 'PreferSameZone'],
  ['PreferSameNode', 'PreferSameNode'],
]);

/** A block that holds no client, for a list that has entries and none that can be read: it must not become open. */
const nobody: readonly Cidr[] = [cidr('0.0.0.0/32'), cidr('::/128')];

function sourceRangesFrom(list: unknown): readonly Cidr[] {
  if (!Array.isArray(list) || list.length === 0) return [];
  const ranges = list.flatMap((entry) => parseCidr(textOf(entry).trim())?.cidr ?? []);
  return ranges.length === 0 ? nobody : ranges;
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
    endpoints: objectsOf(value.endpoints).map((entry) => sliceEndpoint(entry, family)),
    ...sourceAt(origin, ['metadata', 'name']),
  };
}

function sliceEndpoint(entry: PlainObject, family: 4 | 6): SliceEndpoint {
  const { ready, serving, terminating } = objectOf(entry.conditions);
  const { forZones, forNodes } = objectOf(entry.hints);
  const zones = namesOf(forZones);
  const nodes = namesOf(forNodes);
  return {
    addresses: addressesFrom(entry.addresses ?? []).filter((address) => address.family === family),
    // Absent means ready and serving, as kube-proxy has it.
    ready: ready !== false,
    ...(serving === false ? { serving } : {}),
    ...(terminating === true ? { terminating } : {}),
    nodeName: textOf(entry.nodeName),
    ...(zones.length === 0 ? {} : { forZones: zones }),
    ...(nodes.length === 0 ? {} : { forNodes: nodes }),
  };
}

function namesOf(list: unknown): readonly string[] {
  return objectsOf(list)
    .map(({ name }) => textOf(name))
    .filter((name) => name !== '');
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
