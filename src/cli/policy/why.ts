/** `weft why FROM TO[:PORT[/PROTO]]`: the verdict on one connection, told to a person. Exit status 0 allowed, 1 denied, 2 no answer. */
import { closestName } from '../../errors/closest.js';
import { WeftError } from '../../errors/problem.js';
import { nameOf, objectOf, objectsOf, textOf } from '../../manifests/plain.js';
import { describeAsked, explainFlow, type SideExplanation } from '../../policy/explain.js';
import type { Flow, FlowVerdict } from '../../policy/flow.js';
import { portsOf, serviceNamed } from '../../policy/stand-in.js';
import { type End, endGrammar, formatEnd, isMisread, parseSource, parseTarget, withPort } from '../ends.js';
import { type Answer, answerOne } from './answer.js';
import { type EngineOptions, referenceEngine } from './engine.js';
import type { PolicyWorld } from './load.js';
import { queryOf } from './query.js';

export interface Explanation {
  readonly from: string;
  readonly to: string;
  readonly allowed: boolean | null;
  readonly reason?: string;
  readonly notes: readonly string[];
  readonly flows: readonly FlowExplanation[];
}

export interface FlowExplanation {
  readonly source: string;
  readonly destination: string;
  readonly port: number;
  readonly protocol: string;
  readonly allowed: boolean;
  readonly sides: readonly SideExplanation[];
}

export function explainWhy(
  world: PolicyWorld,
  fromText: string,
  toText: string,
  options: EngineOptions & { readonly family?: 4 | 6 },
): Explanation {
  const notes: string[] = [];
  const fromEnd = parseSource(fromText);
  if (isMisread(fromEnd)) throw new WeftError('usage', fromEnd.error);
  const target = parseTarget(toText);
  if (isMisread(target)) throw new WeftError('usage', target.error);
  const from = knownEnd(world, fromEnd, notes);
  if (from.kind === 'service') {
    throw new WeftError(
      'usage',
      `A Service starts no connections; name a pod, a node or an address. Write ${endGrammar}.`,
    );
  }
  const end = knownEnd(world, target.end, notes);
  const asked = target.port === undefined && target.protocol !== 'ICMP' ? onlyPort(world, end) : undefined;
  if (asked !== undefined) notes.push(asked.note);
  const query = queryOf(
    from,
    {
      ...target,
      end,
      ...(asked === undefined ? {} : { port: asked.port, protocol: target.protocol ?? asked.protocol }),
    },
    options.family,
  );
  if (isMisread(query)) {
    const ports = portsOf(world.directory, end);
    throw new WeftError(
      'usage',
      `${query.error} Write ${toText}:PORT, or ${toText}:PORT/UDP.${ports === '' ? '' : ` ${formatEnd(end)} has ${ports}.`}`,
    );
  }
  let verdicts: readonly FlowVerdict[] = [];
  let flows: readonly Flow[] = [];
  const engine = referenceEngine(world, options);
  const { answer } = answerOne(
    world.directory,
    (asked) => {
      flows = asked;
      verdicts = engine(asked);
      return verdicts;
    },
    query,
    options,
  );
  return {
    from: formatEnd(from),
    to: `${query.port === undefined ? formatEnd(end) : withPort(formatEnd(end), query.port)}/${query.protocol}`,
    allowed: answer.allowed,
    ...reasonOf(answer),
    notes,
    flows: flows.map((flow, index) => explained(world, flow, verdicts[index]!)),
  };
}

function reasonOf(answer: Answer): { reason?: string } {
  return answer.reason === undefined ? {} : { reason: answer.reason };
}

function explained(world: PolicyWorld, flow: Flow, verdict: FlowVerdict): FlowExplanation {
  return {
    source: flow.source.text,
    destination: flow.destination.text,
    port: flow.port,
    protocol: flow.protocol,
    allowed: verdict.egress.allowed && verdict.ingress.allowed,
    sides: explainFlow(world.directory, flow, verdict),
  };
}

/** A pod that is there, a workload's first pod, or an error that names the nearest. */
function knownEnd(world: PolicyWorld, end: End, notes: string[]): End {
  if (end.kind === 'service') {
    if (world.directory.service(end.namespace, end.name) === undefined) {
      const names = world.model.services.map((service) => `svc/${service.namespace}/${service.name}`);
      throw unknownEnd('Service', formatEnd(end), names);
    }
    return end;
  }
  if (end.kind !== 'pod' || world.directory.pod(end.namespace, end.name) !== undefined) return end;
  const first = podsOfWorkload(world, end.namespace, end.name)[0];
  if (first === undefined) {
    const service = serviceNamed(world.directory, end);
    if (service !== undefined) {
      notes.push(`There is no pod ${formatEnd(end)}; the Service ${formatEnd(service)} stands for it.`);
      return service;
    }
    const names = world.model.pods.map((pod) => `${pod.namespace}/${pod.name}`);
    throw unknownEnd('pod', formatEnd(end), names);
  }
  notes.push(`${formatEnd(end)} is a workload; its pod ${first} stands for it.`);
  return { kind: 'pod', namespace: end.namespace, name: first };
}

function unknownEnd(what: string, asked: string, known: readonly string[]): WeftError {
  const near = closestName(asked, known);
  const some = [...known].sort().slice(0, 10).join(', ');
  return new WeftError(
    'unknown-end',
    `There is no ${what} ${asked} in the manifests.${near === null ? (some === '' ? '' : ` There are ${some}.`) : ` Did you mean ${near}?`}`,
  );
}

function podsOfWorkload(world: PolicyWorld, namespace: string, name: string): string[] {
  return world.manifests
    .filter(({ value }) => {
      const owners = objectsOf(objectOf(value.metadata).ownerReferences);
      return (
        value.kind === 'Pod' &&
        nameOf(value)?.namespace === namespace &&
        owners.some((owner) => owner.name === name)
      );
    })
    .map(({ value }) => textOf(objectOf(value.metadata).name))
    .sort();
}

/** Without a port asked for: the only one there is. */
function onlyPort(
  world: PolicyWorld,
  end: End,
): { port: number; protocol: 'TCP' | 'UDP' | 'SCTP'; note: string } | undefined {
  const ports =
    end.kind === 'pod'
      ? world.directory.pod(end.namespace, end.name)?.ports
      : end.kind === 'service'
        ? world.directory.service(end.namespace, end.name)?.ports
        : undefined;
  const only = ports?.[0];
  if (ports === undefined || only === undefined || ports.length > 1) return undefined;
  return {
    port: only.port,
    protocol: only.protocol,
    note: `No port was asked for; ${only.port}/${only.protocol} is the only one of ${formatEnd(end)}.`,
  };
}

/** The explanation as text. */
export function printWhy(explanation: Explanation): string {
  const lines: string[] = [];
  const word = explanation.allowed === null ? 'NO ANSWER' : explanation.allowed ? 'ALLOWED' : 'DENIED';
  lines.push(`${word}: ${explanation.from} -> ${explanation.to}`);
  if (explanation.reason !== undefined) lines.push(`  ${explanation.reason}`);
  for (const note of explanation.notes) lines.push(`  (${note})`);
  for (const flow of explanation.flows) {
    if (explanation.flows.length > 1 || explanation.to.startsWith('svc/')) {
      lines.push(
        '',
        `  backend ${withPort(flow.destination, flow.port)}: ${flow.allowed ? 'allowed' : 'denied'}`,
      );
    }
    for (const side of flow.sides) lines.push('', ...sideLines(side, flow));
  }
  return `${lines.join('\n')}\n`;
}

/** One direction, as lines. `flow` is what was asked. */
export function sideLines(
  side: SideExplanation,
  flow: { readonly port: number; readonly protocol: string },
): string[] {
  const head =
    side.direction === 'egress'
      ? `  Leaving ${side.subject} (egress)`
      : `  Entering ${side.subject} (ingress)`;
  const { verdict } = side;
  if (verdict.reason === 'no-pod') return [`${head}: not judged, ${side.subject} is no pod.`];
  if (verdict.reason === 'elsewhere')
    return [`${head}: not judged here, the switch of its own node does that.`];
  if (verdict.reason === 'unknown')
    return [`${head}: denied, the policy in force does not know the pod yet.`];
  if (verdict.reason === 'self') return [`${head}: allowed, a pod may always reach itself.`];
  if (verdict.reason === 'own-node') return [`${head}: allowed, a pod and its own node may always talk.`];
  if (verdict.reason === 'not-isolated')
    return [`${head}: allowed, no policy isolates it in this direction.`];
  const lines = [
    verdict.allowed
      ? `${head}: allowed by ${verdict.policy} spec.${side.direction}[${verdict.rule}].`
      : `${head}: denied, no rule of the policies that isolate it allows ${side.direction === 'egress' ? 'the destination' : 'the source'} on ${describeAsked(flow)}.`,
  ];
  for (const policy of side.policies) {
    lines.push(`    ${policy.policy} selects it${where(policy.place)}`);
    if (policy.rules.length === 0) lines.push(`      has no ${side.direction} rules, so it allows nothing`);
    for (const rule of policy.rules) {
      if (rule.matched) lines.push(`      ${rule.place.path} matches${where(rule.place)}`);
      else {
        lines.push(`      ${rule.place.path} does not match${where(rule.place)}`);
        for (const reason of rule.reasons) lines.push(`        - ${reason}`);
      }
    }
  }
  if (side.change !== undefined) lines.push(`    To allow it: ${side.change}`);
  return lines;
}

function where(place: { file: string; line: number }): string {
  return place.file === '' ? '' : `  (${place.file}${place.line > 0 ? `:${place.line}` : ''})`;
}
