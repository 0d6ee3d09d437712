/**
 * Why a flow is allowed or denied, told from the policies' own text: who is selected, which rule matched, and of every rule that did not,
 * the part that stood in the way. The verdict itself is an engine's; this only explains it, over the typed policies with their places.
 */
import type { SourceRef } from '../errors/problem.js';
import { keyOf } from '../model/event.js';
import type { Labels } from '../model/labels.js';
import { namespaceNameLabel } from '../model/namespace.js';
import type { Pod } from '../model/pod.js';
import type { NetworkPolicy, PolicyPeer, PolicyPort, PolicyRule } from '../model/policy.js';
import { describeSelector, matches } from '../model/selector.js';
import { contains } from '../net/cidr.js';
import type { Directory } from './directory.js';
import type { Flow, FlowVerdict, SideVerdict } from './flow.js';

export interface Place {
  readonly file: string;
  readonly line: number;
  /** `spec.ingress[0]` */
  readonly path: string;
}

export interface RuleExplanation {
  readonly place: Place;
  readonly matched: boolean;
  /** The rule names peers, they match, and only the ports stand in the way. */
  readonly portsOnly: boolean;
  /** Why it did not match; empty where it did. */
  readonly reasons: readonly string[];
}

export interface PolicyExplanation {
  /** `namespace/name` */
  readonly policy: string;
  readonly place: Place;
  readonly rules: readonly RuleExplanation[];
}

export interface SideExplanation {
  readonly direction: 'egress' | 'ingress';
  /** `namespace/name`, a node's name or the address. */
  readonly subject: string;
  readonly verdict: SideVerdict;
  readonly policies: readonly PolicyExplanation[];
  /** What would have to change, where it is denied. */
  readonly change?: string;
}

export function explainFlow(directory: Directory, flow: Flow, verdict: FlowVerdict): SideExplanation[] {
  return [
    explainSide(directory, flow, 'egress', verdict.egress),
    explainSide(directory, flow, 'ingress', verdict.ingress),
  ];
}

function explainSide(
  directory: Directory,
  flow: Flow,
  direction: 'egress' | 'ingress',
  verdict: SideVerdict,
): SideExplanation {
  const own = direction === 'egress' ? flow.source : flow.destination;
  const other = direction === 'egress' ? flow.destination : flow.source;
  const pod = directory.podAt(own);
  const subject = pod === undefined ? nameOfAddress(directory, own) : `${pod.namespace}/${pod.name}`;
  if (pod === undefined || verdict.reason === 'self' || verdict.reason === 'own-node') {
    return { direction, subject, verdict, policies: [] };
  }
  const judge: Judge = {
    directory,
    flow,
    peer: directory.podAt(other),
    address: other,
    destination: directory.podAt(flow.destination),
  };
  const policies = verdict.isolatedBy.flatMap((key): PolicyExplanation[] => {
    // A running switch may enforce a policy for a moment that the world has lost already.
    const policy = directory.world.get('policy', key);
    if (policy === undefined) return [];
    const explanation = {
      policy: key,
      place: placeOf(policy.source, 'metadata.name'),
      rules: (policy[direction] ?? []).map((rule, index) => ({
        place: placeOf(rule.source, `spec.${direction}[${index}]`),
        ...explainRule(rule, policy, judge),
      })),
    };
    return [explanation];
  });
  const change =
    verdict.allowed || policies.length === 0 ? undefined : changeNeeded(direction, pod, policies, judge);
  return { direction, subject, verdict, policies, ...(change === undefined ? {} : { change }) };
}

interface Judge {
  readonly directory: Directory;
  readonly flow: Flow;
  readonly peer: Pod | undefined;
  readonly address: Flow['source'];
  readonly destination: Pod | undefined;
}

function explainRule(
  rule: PolicyRule,
  policy: NetworkPolicy,
  judge: Judge,
): { matched: boolean; portsOnly: boolean; reasons: string[] } {
  const peers = missesOf(rule.peers, (peer) => peerMiss(peer, policy, judge));
  const ports = missesOf(rule.ports, (port) => portMiss(port, judge));
  const reasons = [...peers, ...ports];
  // A rule for everybody is no place to add a port for one peer.
  const portsOnly = rule.peers !== null && peers.length === 0 && ports.length > 0;
  return { matched: reasons.length === 0, portsOnly, reasons };
}

/** Why no entry of a list matches; empty where one does, or where the list stands for everything. */
function missesOf<T>(
  entries: readonly T[] | null,
  miss: (entry: T) => string | undefined,
): readonly string[] {
  const misses = (entries ?? []).map(miss);
  const told = misses.filter((why) => why !== undefined);
  return told.length === misses.length ? [...new Set(told)] : [];
}

/** Why the other end is not this peer; undefined: it is. */
function peerMiss(
  peer: PolicyPeer,
  policy: NetworkPolicy,
  { directory, peer: pod, address }: Judge,
): string | undefined {
  if (peer.kind === 'nothing') return `an entry matches nobody: ${peer.why}`;
  if (peer.kind === 'block') {
    if (directory.forwardedBy(address) !== undefined)
      return `${nameOfAddress(directory, address)} is in no ipBlock, since the host hides whose it is`;
    if (!contains(peer.cidr, address)) return `${address.text} is not in ${peer.cidr.text}`;
    const hole = peer.except.find((block) => contains(block, address));
    return hole === undefined ? undefined : `${address.text} is in the exception ${hole.text}`;
  }
  const { namespaceSelector, podSelector } = peer;
  if (pod === undefined) return `${nameOfAddress(directory, address)} is no pod, and the entry selects pods`;
  const name = `${pod.namespace}/${pod.name}`;
  if (namespaceSelector === undefined && pod.namespace !== policy.namespace) {
    return `${name} is in another namespace than the policy, and the entry has no namespaceSelector`;
  }
  if (namespaceSelector !== undefined) {
    const labels = namespaceLabels(directory, pod.namespace);
    if (!matches(namespaceSelector, labels)) {
      return `namespace ${pod.namespace} (${labelText(labels)}) does not match namespaceSelector ${describeSelector(namespaceSelector)}`;
    }
  }
  if (podSelector !== undefined && !matches(podSelector, pod.labels)) {
    return `${name} (${labelText(pod.labels)}) does not match podSelector ${describeSelector(podSelector)}`;
  }
  return undefined;
}

function portMiss(port: PolicyPort, { flow, destination }: Judge): string | undefined {
  if (port.kind === 'nothing') return `a port entry matches nothing: ${port.why}`;
  const asked = describeAsked(flow);
  if (port.protocol !== flow.protocol) return `${asked} is not ${port.protocol}`;
  switch (port.kind) {
    case 'protocol':
      return undefined;
    case 'range':
      if (flow.port >= port.first && flow.port <= port.last) return undefined;
      return `port ${flow.port} is not ${port.first === port.last ? port.first : `in ${port.first}-${port.last}`}`;
    case 'named': {
      const named = destination?.ports.filter(
        (open) => open.name === port.name && open.protocol === port.protocol,
      );
      if (named?.some((open) => open.port === flow.port)) return undefined;
      if (destination === undefined) return `the destination is no pod and has no port named "${port.name}"`;
      const name = `${destination.namespace}/${destination.name}`;
      return named === undefined || named.length === 0
        ? `${name} has no ${port.protocol} port named "${port.name}"`
        : `"${port.name}" of ${name} is ${named.map((open) => open.port).join(', ')}, not ${flow.port}`;
    }
  }
}

/** `3306/TCP`, or just `ICMP`. */
export function describeAsked(flow: { readonly port: number; readonly protocol: string }): string {
  return flow.protocol === 'ICMP' ? 'ICMP' : `${flow.port}/${flow.protocol}`;
}

/** One sentence: a rule that only lacks the port, else the peer, else a rule to add. */
function changeNeeded(
  direction: 'egress' | 'ingress',
  pod: Pod,
  policies: readonly PolicyExplanation[],
  judge: Judge,
): string {
  const peersField = direction === 'egress' ? 'to' : 'from';
  const { flow } = judge;
  const policy = policies.find(({ rules }) => rules.length > 0) ?? policies[0]!;
  const near = policies
    .flatMap(({ rules, policy: key }) => rules.map((rule) => ({ key, rule })))
    .find(({ rule }) => rule.portsOnly);
  const at = ({ file, line }: Place) => (file === '' ? '' : ` (${line > 0 ? `${file}:${line}` : file})`);
  if (near !== undefined && flow.protocol !== 'ICMP') {
    return `Add {protocol: ${flow.protocol}, port: ${flow.port}} to the ports of ${near.rule.place.path} in ${near.key}${at(near.rule.place)}; that rule admits the ${direction === 'egress' ? 'destination' : 'source'} already.`;
  }
  const peer = peerText(judge, pod.namespace);
  const ports =
    flow.protocol === 'ICMP'
      ? 'without ports (ICMP is only allowed by a rule that names none)'
      : `with ports: [{protocol: ${flow.protocol}, port: ${flow.port}}]`;
  const place = `Add a rule to spec.${direction} of ${policy.policy}${at(policy.place)}, or of another policy that selects ${pod.namespace}/${pod.name}`;
  // No peer means it; the rule then admits everybody, which whoever adds it should know.
  if (judge.directory.forwardedBy(judge.address) !== undefined)
    return `${place}: without ${peersField} (which admits everybody) ${ports}; or have the host keep the client's address.`;
  return `${place}: ${peersField}: [${peer}] ${ports}.`;
}

function peerText({ peer, address }: Judge, ownNamespace: string): string {
  if (peer === undefined) return `{ipBlock: {cidr: ${address.text}/${address.family === 4 ? 32 : 128}}}`;
  const labels = [...peer.labels].slice(0, 2).map(([key, value]) => `${key}: ${JSON.stringify(value)}`);
  const pods = labels.length === 0 ? '{}' : `{matchLabels: {${labels.join(', ')}}}`;
  if (peer.namespace === ownNamespace) return `{podSelector: ${pods}}`;
  return `{namespaceSelector: {matchLabels: {${namespaceNameLabel}: ${peer.namespace}}}, podSelector: ${pods}}`;
}

function nameOfAddress(directory: Directory, address: Flow['source']): string {
  const pod = directory.podAt(address);
  if (pod !== undefined) return `${pod.namespace}/${pod.name}`;
  const host = directory.forwardedBy(address);
  if (host !== undefined) return `traffic masqueraded by the host ${host} (${address.text})`;
  const node = directory.nodeAt(address);
  return node === undefined ? address.text : `node ${node} (${address.text})`;
}

function namespaceLabels(directory: Directory, namespace: string): Labels {
  return (
    directory.world.get('namespace', keyOf('', namespace))?.labels ??
    new Map([[namespaceNameLabel, namespace]])
  );
}

function labelText(labels: Labels): string {
  return labels.size === 0 ? 'no labels' : [...labels].map(([key, value]) => `${key}=${value}`).join(', ');
}

function placeOf(source: SourceRef | undefined, path: string): Place {
  return { file: source?.file ?? '', line: source?.line ?? 0, path };
}
