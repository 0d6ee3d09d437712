/**
 * The matrix: who reaches whom on which port, as measured with real packets and as expected. The expectation comes from the
 * reference evaluator, which shares no code with the compiler or the switch, so that agreement means something.
 *
 * Pure: `planProbes` says what to send, `judgeProbes` puts outcome and expectation together; sending is the engine's.
 */
import { decodeInto, noObjects } from '../manifests/decode.js';
import type { KubernetesObject } from '../manifests/object.js';
import { selects } from '../model/endpoints.js';
import { isFinished, type Pod } from '../model/pod.js';
import { type Protocol, protocols } from '../model/protocol.js';
import type { Service, ServicePort } from '../model/service.js';
import { type Address, parseAddress } from '../net/address.js';
import {
  Reference,
  type ReferenceOptions,
  type ReferenceSide,
  type ReferenceVerdict,
} from '../policy/evaluate.js';
import type { ProbeResult, ServedPort } from './engine.js';
import type { LabPod } from './pod-lives.js';

/** Somebody who can send or answer: a pod, the node, or an external host of the lab. */
export interface Party {
  /** `namespace/name`, `node/NAME`, or an external address. */
  readonly key: string;
  /** Path of its network namespace; '' for the node's. */
  readonly netns: string;
  readonly addresses: readonly Address[];
  readonly ports: readonly ServedPort[];
  /** What its responder answers. */
  readonly answer: string;
  /** Whether the switch translates Services for it: pods only. For the node and hosts outside that is kube-proxy's, and a lab has none. */
  readonly usesServices: boolean;
}

/** One question to the network. */
export interface PlannedProbe {
  readonly from: Party;
  /** The pod, or `svc/namespace/name`. */
  readonly to: string;
  readonly source: Address;
  readonly destination: Address;
  readonly protocol: Protocol;
  readonly port: number;
  readonly family: 4 | 6;
  /** Who may answer, with the address and port that policy sees. Empty: a Service without endpoints. */
  readonly targets: readonly { readonly answer: string; readonly address: Address; readonly port: number }[];
}

export interface Denial {
  readonly direction: 'egress' | 'ingress';
  /** The pod whose policies denied it. */
  readonly pod: string;
  /** `namespace/name` of the policies that isolate it in this direction; none of their rules matched. */
  readonly policies: readonly string[];
  /** Who says so: an event of the switch about this very packet, or the reference where there was none. */
  readonly told: 'switch' | 'reference';
}

/** `either`: a Service of which some endpoints may be reached and some not. */
export type Expectation = 'allowed' | 'denied' | 'either';

export interface Cell {
  readonly from: string;
  readonly to: string;
  readonly protocol: Protocol;
  readonly port: number;
  readonly family: 4 | 6;
  readonly source: string;
  readonly destination: string;
  readonly measured: 'allowed' | 'denied';
  readonly expected: Expectation;
  readonly agrees: boolean;
  /** What was seen, for a person: `answered by db/mysql`, `no answer`, `connection refused`, `ICMP 3/13`. */
  readonly observation: string;
  readonly answeredBy: string;
  readonly microseconds: number;
  readonly denial?: Denial;
}

export interface PlanOptions {
  readonly families?: readonly (4 | 6)[];
  readonly protocols?: readonly Protocol[];
  /** Services by their cluster addresses too. */
  readonly services?: boolean;
  readonly from?: (key: string) => boolean;
  readonly to?: (key: string) => boolean;
}

export function partyOfPod(pod: LabPod, netns: string): Party {
  return {
    key: pod.key,
    netns,
    addresses: pod.addresses,
    ports: pod.ports,
    answer: pod.key,
    usesServices: !pod.hostNetwork,
  };
}

/** Every pair on every port that the destination serves; nobody asks itself. */
export function planProbes(
  sources: readonly Party[],
  destinations: readonly Party[],
  objects: readonly KubernetesObject[],
  options: PlanOptions = {},
): PlannedProbe[] {
  const probes: PlannedProbe[] = [];
  const wanted = new Set(options.protocols ?? protocols);
  const families = options.families ?? [4, 6];
  const services = options.services === true ? serviceAddresses(objects) : [];
  for (const from of sources) {
    if (options.from !== undefined && !options.from(from.key)) continue;
    for (const family of families) {
      const source = from.addresses.find((one) => one.family === family);
      if (source === undefined) continue;
      for (const to of destinations) {
        if (to.key === from.key || (options.to !== undefined && !options.to(to.key))) continue;
        const destination = to.addresses.find((one) => one.family === family);
        // hostNetwork pods share the node's addresses: from there to there is not the network's.
        if (destination === undefined || destination.text === source.text) continue;
        for (const { protocol, port } of to.ports) {
          if (!wanted.has(protocol)) continue;
          const targets = [{ answer: to.answer, address: destination, port }];
          probes.push({ from, to: to.key, source, destination, protocol, port, family, targets });
        }
      }
      for (const service of from.usesServices ? services : []) {
        if (options.to !== undefined && !options.to(service.key)) continue;
        if (service.address.family !== family || !wanted.has(service.port.protocol)) continue;
        const { key, address, port, targets } = service;
        probes.push({
          from,
          to: key,
          source,
          destination: address,
          protocol: port.protocol,
          port: port.port,
          family,
          targets,
        });
      }
    }
  }
  return probes;
}

interface ServiceAddress {
  readonly key: string;
  readonly address: Address;
  readonly port: ServicePort;
  readonly targets: PlannedProbe['targets'];
}

/** Cluster addresses with who stands behind them; Services whose endpoints are not pods of ours are left out. */
function serviceAddresses(objects: readonly KubernetesObject[]): ServiceAddress[] {
  const model = noObjects();
  for (const object of objects) decodeInto(model, object);
  const sliced = new Set(model.slices.map((slice) => `${slice.namespace}/${slice.service}`));
  const list: ServiceAddress[] = [];
  for (const service of model.services) {
    if (service.selector === null || sliced.has(`${service.namespace}/${service.name}`)) continue;
    const pods = model.pods.filter((pod) => isBehind(pod, service));
    for (const address of service.clusterIPs) {
      for (const port of service.ports) {
        const targets = pods.flatMap((pod) => targetOf(pod, port, address.family));
        list.push({ key: `svc/${service.namespace}/${service.name}`, address, port, targets });
      }
    }
  }
  return list;
}

function isBehind(pod: Pod, service: Service): boolean {
  if (!selects(service, pod) || isFinished(pod)) return false;
  return service.publishNotReadyAddresses || (pod.ready && !pod.terminating);
}

function targetOf(pod: Pod, port: ServicePort, family: 4 | 6): PlannedProbe['targets'] {
  const address = pod.addresses.find((one) => one.family === family);
  const number =
    typeof port.targetPort === 'number'
      ? port.targetPort
      : pod.ports.find((one) => one.name === port.targetPort && one.protocol === port.protocol)?.port;
  if (address === undefined || number === undefined) return [];
  return [{ answer: `${pod.namespace}/${pod.name}`, address, port: number }];
}

/** What the switch said about denied packets; the key is made by `denialKey`. */
export type DenialReports = ReadonlyMap<
  string,
  { direction: 'egress' | 'ingress'; policies: readonly string[] }
>;

export function denialKey(source: string, destination: string, protocol: string, port: number): string {
  return `${source} ${destination} ${protocol} ${port}`;
}

export class Expectations {
  readonly #reference: Reference;

  constructor(objects: readonly KubernetesObject[], options: ReferenceOptions = {}) {
    this.#reference = new Reference(objects, options);
  }

  judge(
    probe: Pick<PlannedProbe, 'source' | 'protocol'>,
    target: PlannedProbe['targets'][number],
  ): ReferenceVerdict {
    return this.#reference.judge({
      source: probe.source.text,
      destination: target.address.text,
      protocol: probe.protocol,
      port: target.port,
    });
  }
}

/** Outcome and expectation of every probe. */
export function judgeProbes(
  probes: readonly PlannedProbe[],
  results: readonly ProbeResult[],
  expectations: Expectations,
  reports: DenialReports = new Map(),
): Cell[] {
  return probes.map((probe, index) => judgeProbe(probe, results[index]!, expectations, reports));
}

function judgeProbe(
  probe: PlannedProbe,
  result: ProbeResult,
  expectations: Expectations,
  reports: DenialReports,
): Cell {
  const verdicts = probe.targets.map((target) => ({ target, verdict: expectations.judge(probe, target) }));
  const allowed = verdicts.filter(({ verdict }) => verdict.allowed);
  const expected: Expectation =
    allowed.length === 0 ? 'denied' : allowed.length === verdicts.length ? 'allowed' : 'either';
  const measured = result.outcome === 'answered' ? 'allowed' : 'denied';
  const rightOne = allowed.some(({ target }) => target.answer === result.name);
  const agrees = result.outcome !== 'failed' && (measured === 'allowed' ? rightOne : expected !== 'allowed');
  const denial = measured === 'denied' ? denialOf(probe, verdicts, reports) : undefined;
  return {
    from: probe.from.key,
    to: probe.to,
    protocol: probe.protocol,
    port: probe.port,
    family: probe.family,
    source: probe.source.text,
    destination: probe.destination.text,
    measured,
    expected,
    agrees,
    observation: observe(result, probe.targets.length),
    answeredBy: result.name,
    microseconds: result.microseconds,
    ...(denial === undefined ? {} : { denial }),
  };
}

/**
 * Whether it may have been the machine and not the network: silence where an answer was expected, also behind a connection that the kernel
 * accepted and the busy responder said nothing on. What answered against expectation is never asked again.
 */
export function mayBeTooSlow({ agrees, measured, expected, answeredBy }: Cell): boolean {
  return !agrees && (measured === 'denied' || (expected !== 'denied' && answeredBy === ''));
}

function denialOf(
  probe: PlannedProbe,
  verdicts: readonly { target: PlannedProbe['targets'][number]; verdict: ReferenceVerdict }[],
  reports: DenialReports,
): Denial | undefined {
  const podOf = (direction: 'egress' | 'ingress', answer: string) =>
    direction === 'egress' ? probe.from.key : answer;
  for (const { target } of verdicts) {
    const report = reports.get(
      denialKey(probe.source.text, target.address.text, probe.protocol, target.port),
    );
    if (report !== undefined) {
      const { direction, policies } = report;
      return { direction, pod: podOf(direction, target.answer), policies, told: 'switch' };
    }
  }
  for (const { target, verdict } of verdicts) {
    for (const direction of ['egress', 'ingress'] as const) {
      const side: ReferenceSide = verdict[direction];
      if (side.allowed) continue;
      return {
        direction,
        pod: podOf(direction, target.answer),
        policies: side.isolatedBy,
        told: 'reference',
      };
    }
  }
  return undefined;
}

function observe(result: ProbeResult, targets: number): string {
  switch (result.outcome) {
    case 'answered':
      return result.name === '' ? 'accepted, but nobody answered' : `answered by ${result.name}`;
    case 'refused':
      return targets === 0 ? 'refused at once: no endpoints' : 'refused';
    case 'unreachable':
      return `unreachable (ICMP ${result.icmpType}/${result.icmpCode})`;
    case 'timeout':
      return `no answer in ${result.tries} ${result.tries === 1 ? 'try' : 'tries'}`;
    case 'failed':
      return `not measured: ${result.message}`;
  }
}

/** An end named by an address that is no pod's: an external host. */
export function partyOfAddress(text: string, netns: string, ports: readonly ServedPort[]): Party | undefined {
  const address = parseAddress(text);
  if (address === undefined) return undefined;
  return { key: address.text, netns, addresses: [address], ports, answer: address.text, usesServices: false };
}
