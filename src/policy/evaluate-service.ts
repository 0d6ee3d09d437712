/**
 * The reference for Services: where a pod's first packet to an address goes, told straight from plain Kubernetes objects, slow and obvious. It
 * shares nothing with the model, the service table or the image; a property test holds it equal to what the switch looks up.
 *
 * The rules are kube-proxy's for a pod as client (its topology and service port sources, Kubernetes 1.33), and one of ours: a node
 * port at another node's address leads where that node would lead an outside client.
 */
import {
  addressKey,
  blockContains,
  type PlainAddress,
  plainAddress,
  plainBlock,
} from './evaluate-address.js';
import {
  isPortNumber,
  keyOfObject,
  metadataOf,
  namespaceOf,
  type PlainRecord,
  plainLabels,
} from './evaluate-plain.js';
import { isObject } from './evaluate-selector.js';

export interface ServiceQuestion {
  /** The client's address, and the name of its node. */
  readonly client: string;
  readonly node: string;
  readonly destination: string;
  readonly protocol: string;
  readonly port: number;
}

/** A port of the client's node that leads to a pod of it, as the pod's runtime asked for it. */
export interface HostPortAsked {
  /** `namespace/name` of the pod. */
  readonly pod: string;
  readonly protocol: string;
  readonly hostPort: number;
  readonly containerPort: number;
  /** '' , 0.0.0.0 and :: stand for every address, or every one of their family. */
  readonly hostIP: string;
}

export type ServiceAnswer =
  /** No Service answers there. */
  | 'none'
  /** A cluster address without this port. */
  | 'port'
  /** Outside of loadBalancerSourceRanges. */
  | 'source'
  /** No endpoint anywhere. */
  | 'refused'
  /** Endpoints, but none on the node that the traffic policy means. */
  | 'dropped'
  | {
      /** `namespace/name` */
      readonly service: string;
      readonly affinitySeconds: number;
      /** `address port`, the address as addressKey has it; sorted. New flows go to these. */
      readonly backends: readonly string[];
      /** Flows begun earlier may also stay with these. */
      readonly kept: readonly string[];
    };

interface Endpoint {
  readonly at: string;
  readonly node: string;
  readonly ready: boolean;
  readonly serving: boolean;
  readonly terminating: boolean;
  readonly zones: readonly string[];
  readonly nodes: readonly string[];
}

const record = (value: unknown): PlainRecord => (isObject(value) ? value : {});
const records = (value: unknown): PlainRecord[] => (Array.isArray(value) ? value.filter(isObject) : []);
const text = (value: unknown): string => (typeof value === 'string' ? value : '');
const addresses = (list: readonly unknown[]): PlainAddress[] =>
  list.map(plainAddress).filter((address) => address !== undefined);
const has = (list: readonly PlainAddress[], address: PlainAddress) =>
  list.some((one) => addressKey(one) === addressKey(address));

export class ServiceReference {
  readonly #objects = new Map<string, PlainRecord[]>();
  readonly #hostPorts: readonly HostPortAsked[];

  /** Of several objects of one name the last counts. `hostPorts`: of pods on the node whose pods will ask. */
  constructor(objects: Iterable<PlainRecord>, hostPorts: readonly HostPortAsked[] = []) {
    this.#hostPorts = hostPorts;
    const named = new Map<string, PlainRecord>();
    for (const object of objects) {
      if (typeof metadataOf(object)?.name === 'string')
        named.set(`${String(object.kind)} ${keyOfObject(object)}`, object);
    }
    for (const object of named.values()) {
      const kind = String(object.kind);
      this.#objects.set(kind, [...(this.#objects.get(kind) ?? []), object]);
    }
  }

  ask(question: ServiceQuestion): ServiceAnswer {
    const destination = plainAddress(question.destination);
    const client = plainAddress(question.client);
    if (destination === undefined || client === undefined) return 'none';
    const services = this.#kind('Service')
      .filter((service) => clusterAddresses(service).length > 0)
      .sort((a, b) => (keyOfObject(a) < keyOfObject(b) ? -1 : 1));

    for (const service of services) {
      const port = servicePorts(service).find(
        (one) => one.protocol === question.protocol && one.port === question.port,
      );
      if (port === undefined || !existsIn(service, destination.family)) continue;
      const endpoints = this.#endpoints(service, port, destination.family);
      const spec = record(service.spec);
      if (has(clusterAddresses(service), destination)) {
        const local = spec.internalTrafficPolicy === 'Local' ? question.node : undefined;
        return this.#answer(service, port, endpoints, question, local);
      }
      if (has(balancerAddresses(service), destination)) {
        const given = Array.isArray(spec.loadBalancerSourceRanges) ? spec.loadBalancerSourceRanges : [];
        const readable = given
          .map((range) => plainBlock(text(range).trim()))
          .filter((one) => one !== undefined);
        const own = readable.filter(({ family }) => family === destination.family);
        const closed = given.length > 0 && readable.length === 0;
        if (closed || (own.length > 0 && !own.some((block) => blockContains(block, client)))) return 'source';
        return this.#answer(service, port, endpoints, question, undefined);
      }
      if (has(addresses(Array.isArray(spec.externalIPs) ? spec.externalIPs : []), destination))
        return this.#answer(service, port, endpoints, question, undefined);
    }

    const at = this.#nodeOf(destination, question.node);
    for (const service of at === undefined ? [] : services) {
      const spec = record(service.spec);
      if (spec.type !== 'NodePort' && spec.type !== 'LoadBalancer') continue;
      const port = servicePorts(service).find(
        (one) => one.protocol === question.protocol && one.nodePort === question.port,
      );
      if (port === undefined || !existsIn(service, destination.family)) continue;
      const endpoints = this.#endpoints(service, port, destination.family);
      const there = spec.externalTrafficPolicy === 'Local' && at !== question.node ? at : undefined;
      return this.#answer(service, port, endpoints, question, there);
    }
    const hostPort = at === question.node ? this.#hostPort(question, destination) : undefined;
    if (hostPort !== undefined) return hostPort;
    return services.some((service) => has(clusterAddresses(service), destination)) ? 'port' : 'none';
  }

  /** At an address of the client's own node: those that name it first, then those that name none; of equals the first pod by name. */
  #hostPort(question: ServiceQuestion, destination: PlainAddress): ServiceAnswer | undefined {
    const every = destination.family === 4 ? ['', '0.0.0.0'] : ['', '::'];
    const named = (asked: HostPortAsked) => {
      const at = plainAddress(asked.hostIP);
      return at !== undefined && addressKey(at) === addressKey(destination);
    };
    const byPod = [...this.#hostPorts].sort((a, b) => (a.pod < b.pod ? -1 : a.pod > b.pod ? 1 : 0));
    for (const fits of [named, (asked: HostPortAsked) => every.includes(asked.hostIP)])
      for (const asked of byPod.filter(fits)) {
        if (asked.protocol !== question.protocol || asked.hostPort !== question.port) continue;
        const pod = this.#kind('Pod').find((one) => keyOfObject(one) === asked.pod);
        const status = record(pod?.status);
        if (status.phase === 'Succeeded' || status.phase === 'Failed') continue;
        if (pod === undefined || text(record(pod.spec).nodeName) !== question.node) continue;
        const address = podAddresses(status).find((own) => own.family === destination.family);
        if (address === undefined) continue;
        const backends = [`${addressKey(address)} ${asked.containerPort}`];
        return { service: asked.pod, affinitySeconds: 0, backends, kept: [] };
      }
    return undefined;
  }

  #answer(
    service: PlainRecord,
    port: Port,
    told: readonly Endpoint[],
    question: ServiceQuestion,
    localTo: string | undefined,
  ): ServiceAnswer {
    const endpoints = asSeenFrom(told, localTo ?? question.node);
    const leaving = (endpoint: Endpoint) => endpoint.serving && endpoint.terminating;
    const firstOf = (...lists: readonly (readonly Endpoint[])[]) =>
      lists.find((list) => list.length > 0) ?? [];
    const ready = endpoints.filter((endpoint) => endpoint.ready);
    let chosen: readonly Endpoint[];
    if (localTo !== undefined) {
      const here = (endpoint: Endpoint) => endpoint.node === localTo;
      chosen = firstOf(ready.filter(here), endpoints.filter(leaving).filter(here));
    } else {
      const zone = this.#zoneOf(question.node);
      const sameNode = ready.every(({ nodes }) => nodes.length > 0)
        ? ready.filter(({ nodes }) => nodes.includes(question.node))
        : [];
      const sameZone =
        zone !== undefined && ready.every(({ zones }) => zones.length > 0)
          ? ready.filter(({ zones }) => zones.includes(zone))
          : [];
      chosen = firstOf(sameNode, sameZone, ready, endpoints.filter(leaving));
    }
    if (chosen.length === 0) return ready.length > 0 || endpoints.some(leaving) ? 'dropped' : 'refused';
    const serving = endpoints.filter((endpoint) => endpoint.ready || endpoint.serving);
    const keeps = port.protocol === 'UDP' && serving.length > 0 ? serving : endpoints;
    return {
      service: keyOfObject(service),
      affinitySeconds: affinitySeconds(record(service.spec)),
      backends: chosen.map(({ at }) => at).sort(),
      kept: keeps
        .filter((endpoint) => !chosen.includes(endpoint))
        .map(({ at }) => at)
        .sort(),
    };
  }

  #endpoints(service: PlainRecord, port: Port, family: 4 | 6): Endpoint[] {
    const slices = this.#kind('EndpointSlice').filter(
      (slice) =>
        namespaceOf(slice) === namespaceOf(service) &&
        record(metadataOf(slice).labels)['kubernetes.io/service-name'] === metadataOf(service).name,
    );
    return slices.length > 0 ? fromSlices(slices, port, family) : this.#fromPods(service, port, family);
  }

  #fromPods(service: PlainRecord, port: Port, family: 4 | 6): Endpoint[] {
    const spec = record(service.spec);
    const selector = Object.entries(record(spec.selector));
    if (selector.length === 0) return [];
    const endpoints: Endpoint[] = [];
    for (const pod of this.#kind('Pod')) {
      const labels = plainLabels(metadataOf(pod).labels);
      const status = record(pod.status);
      if (labels === undefined || namespaceOf(pod) !== namespaceOf(service)) continue;
      if (selector.some(([key, value]) => labels[key] !== value)) continue;
      if (status.phase === 'Succeeded' || status.phase === 'Failed') continue;
      const address = podAddresses(status).find((own) => own.family === family);
      const number = isPortNumber(port.target) ? port.target : containerPort(pod, port);
      if (address === undefined || number === undefined) continue;
      const node = text(record(pod.spec).nodeName);
      const serving = isReady(status);
      const terminating = typeof metadataOf(pod).deletionTimestamp === 'string';
      const zone = this.#zoneOf(node);
      const distribution = text(spec.trafficDistribution);
      const near = ['PreferClose', 'PreferSameZone', 'PreferSameNode'].includes(distribution) && node !== '';
      endpoints.push({
        at: `${addressKey(address)} ${number}`,
        node,
        ready: spec.publishNotReadyAddresses === true || (serving && !terminating),
        serving,
        terminating,
        zones: near && zone !== undefined ? [zone] : [],
        nodes: near && distribution === 'PreferSameNode' ? [node] : [],
      });
    }
    return endpoints;
  }

  #kind(kind: string): PlainRecord[] {
    return this.#objects.get(kind) ?? [];
  }

  #node(name: string): PlainRecord | undefined {
    return this.#kind('Node').find((node) => metadataOf(node).name === name);
  }

  #zoneOf(name: string): string | undefined {
    const node = this.#node(name);
    const zone =
      node === undefined ? '' : text(record(metadataOf(node).labels)['topology.kubernetes.io/zone']);
    return zone === '' ? undefined : zone;
  }

  /** The node that has the address; where several do, the client's own, else the first by name. */
  #nodeOf(address: PlainAddress, own: string): string | undefined {
    const names = this.#kind('Node')
      .filter((node) =>
        has(
          addresses(
            records(record(node.status).addresses)
              .filter(({ type }) => type === 'InternalIP' || type === 'ExternalIP')
              .map((entry) => entry.address),
          ),
          address,
        ),
      )
      .map((node) => String(metadataOf(node).name))
      .sort();
    return names.includes(own) ? own : names[0];
  }
}

/** One for each address and port: what is told of the node itself; else, or of several, the one in the best condition. */
function asSeenFrom(told: readonly Endpoint[], node: string): Endpoint[] {
  const rank = (endpoint: Endpoint) =>
    (endpoint.node === node && node !== '' ? 0 : 10) +
    (endpoint.ready ? 0 : endpoint.serving && endpoint.terminating ? 1 : endpoint.serving ? 2 : 3);
  const remarks = ({ node, serving, terminating, zones, nodes }: Endpoint) =>
    JSON.stringify([node, serving, terminating, zones, nodes]);
  const better = (a: Endpoint, b: Endpoint) =>
    rank(a) < rank(b) || (rank(a) === rank(b) && remarks(a) < remarks(b));
  const best = new Map<string, Endpoint>();
  for (const endpoint of told) {
    const other = best.get(endpoint.at);
    if (other === undefined || better(endpoint, other)) best.set(endpoint.at, endpoint);
  }
  return [...best.values()];
}

interface Port {
  readonly name: string;
  readonly protocol: string;
  readonly port: number;
  readonly target: number | string;
  readonly nodePort: unknown;
}

function servicePorts(service: PlainRecord): Port[] {
  return records(record(service.spec).ports)
    .filter((port) => isPortNumber(port.port))
    .map((port) => ({
      name: text(port.name),
      protocol: String(port.protocol ?? 'TCP'),
      port: port.port as number,
      target: (port.targetPort ?? port.port) as number | string,
      nodePort: port.nodePort,
    }));
}

/** Empty where nothing is translated: headless and ExternalName services, and those whose labels leave them to another proxy. */
function clusterAddresses(service: PlainRecord): PlainAddress[] {
  const spec = record(service.spec);
  const labels = Object.keys(record(metadataOf(service).labels));
  if (labels.some((label) => /^service\.kubernetes\.io\/(service-proxy-name|headless)$/.test(label)))
    return [];
  if (spec.type === 'ExternalName') return [];
  const list =
    Array.isArray(spec.clusterIPs) && spec.clusterIPs.length > 0 ? spec.clusterIPs : [spec.clusterIP];
  return list[0] === 'None' || spec.clusterIP === 'None' ? [] : addresses(list);
}

const existsIn = (service: PlainRecord, family: 4 | 6) =>
  clusterAddresses(service).some((address) => address.family === family);

function balancerAddresses(service: PlainRecord): PlainAddress[] {
  const ingress = records(record(record(service.status).loadBalancer).ingress);
  return addresses(ingress.filter(({ ipMode }) => ipMode !== 'Proxy').map(({ ip }) => ip));
}

function affinitySeconds(spec: PlainRecord): number {
  if (spec.sessionAffinity !== 'ClientIP') return 0;
  const given = record(record(spec.sessionAffinityConfig).clientIP).timeoutSeconds;
  return typeof given === 'number' ? given : 10_800;
}

function fromSlices(slices: readonly PlainRecord[], port: Port, family: 4 | 6): Endpoint[] {
  const endpoints: Endpoint[] = [];
  for (const slice of slices) {
    if (slice.addressType !== `IPv${family}`) continue;
    for (const own of records(slice.ports)) {
      if (text(own.name) !== port.name || String(own.protocol ?? 'TCP') !== port.protocol) continue;
      if (!isPortNumber(own.port)) continue;
      for (const told of records(slice.endpoints)) {
        const [address] = addresses(Array.isArray(told.addresses) ? told.addresses : []);
        if (address === undefined || address.family !== family) continue;
        const { ready, serving, terminating } = record(told.conditions);
        const names = (list: unknown) => records(list).map(({ name }) => text(name));
        endpoints.push({
          at: `${addressKey(address)} ${own.port}`,
          node: text(told.nodeName),
          ready: ready !== false,
          serving: serving !== false,
          terminating: terminating === true,
          zones: names(record(told.hints).forZones),
          nodes: names(record(told.hints).forNodes),
        });
      }
    }
  }
  return endpoints;
}

function podAddresses(status: PlainRecord): PlainAddress[] {
  const list = records(status.podIPs).map(({ ip }) => ip);
  return addresses(list.length > 0 ? list : [status.podIP]);
}

function isReady(status: PlainRecord): boolean {
  const condition = records(status.conditions).find(({ type }) => type === 'Ready');
  if (condition !== undefined) return condition.status === 'True';
  return status.phase === undefined || status.phase === 'Running';
}

/** The number behind a name, of containers and of those init containers that go on running. */
function containerPort(pod: PlainRecord, port: Port): number | undefined {
  const spec = record(pod.spec);
  const running = [
    ...records(spec.containers),
    ...records(spec.initContainers).filter(({ restartPolicy }) => restartPolicy === 'Always'),
  ];
  for (const container of running)
    for (const own of records(container.ports))
      if (own.name === port.target && String(own.protocol ?? 'TCP') === port.protocol)
        return isPortNumber(own.containerPort) ? own.containerPort : undefined;
  return undefined;
}
