/**
 * `weft policy audit`: what an auditor asks of a set of manifests. Which pods and namespaces no policy isolates, which rules are open to the
 * whole world, which policies do nothing. It reports, it does not judge: the exit status is 0 whatever it finds.
 */
import { type Command, Option } from 'commander';
import type { Problem } from '../../errors/problem.js';
import { type Manifests, readManifests } from '../../manifests/read.js';
import { validateObjects } from '../../manifests/validate.js';
import { isFinished, type Pod } from '../../model/pod.js';
import type { NetworkPolicy, PolicyRule } from '../../model/policy.js';
import { describeSelector, matches } from '../../model/selector.js';
import { counted } from '../output.js';
import { worldOf } from './load.js';
import { refuseUnreadable } from './problems.js';

export interface AuditPlace {
  readonly file: string;
  readonly line: number;
  readonly path: string;
}

export interface NamespaceAudit {
  readonly namespace: string;
  readonly pods: number;
  readonly policies: number;
  /** Pods that some policy isolates, per direction. */
  readonly isolatedIngress: number;
  readonly isolatedEgress: number;
  /** A policy that selects every pod isolates the direction, so that new pods start closed. */
  readonly defaultDenyIngress: boolean;
  readonly defaultDenyEgress: boolean;
}

export interface Audit {
  readonly namespaces: readonly NamespaceAudit[];
  /** `namespace/name`, sorted. */
  readonly openIngress: readonly string[];
  readonly openEgress: readonly string[];
  /** Pods in their node's network, which policies do not reach. */
  readonly hostNetwork: readonly string[];
  readonly worldRules: readonly (AuditPlace & {
    readonly policy: string;
    readonly direction: 'ingress' | 'egress';
    readonly ports: string;
    readonly why: string;
  })[];
  readonly unusedPolicies: readonly (AuditPlace & { readonly policy: string; readonly why: string })[];
  /** Objects that the API server would refuse; they are enforced closed. */
  readonly invalid: readonly Problem[];
  /** Objects of kinds that weft does not read. */
  readonly skipped: readonly string[];
}

export function audit(manifests: Manifests): Audit {
  const world = worldOf(manifests.model);
  const all = [...world.all('pod').values()].filter((pod) => !isFinished(pod));
  const pods = all.filter((pod) => !pod.hostNetwork);
  const policies = [...world.all('policy').values()].sort((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1));
  const selected = new Map(policies.map((policy) => [policy, pods.filter((pod) => selects(policy, pod))]));
  const isolated = { ingress: new Set<Pod>(), egress: new Set<Pod>() };
  for (const [policy, own] of selected) {
    for (const direction of ['ingress', 'egress'] as const) {
      if (policy[direction] !== null) for (const pod of own) isolated[direction].add(pod);
    }
  }
  const namespaces = new Set([
    ...world.all('namespace').keys(),
    ...all.map((pod) => pod.namespace),
    ...policies.map((policy) => policy.namespace),
  ]);
  return {
    namespaces: [...namespaces].sort().map((namespace): NamespaceAudit => {
      const own = pods.filter((pod) => pod.namespace === namespace);
      const here = policies.filter((policy) => policy.namespace === namespace);
      const denies = (direction: 'ingress' | 'egress') =>
        here.some((policy) => policy.podSelector.requirements.length === 0 && policy[direction] !== null);
      return {
        namespace,
        pods: own.length,
        policies: here.length,
        isolatedIngress: own.filter((pod) => isolated.ingress.has(pod)).length,
        isolatedEgress: own.filter((pod) => isolated.egress.has(pod)).length,
        defaultDenyIngress: denies('ingress'),
        defaultDenyEgress: denies('egress'),
      };
    }),
    openIngress: names(pods.filter((pod) => !isolated.ingress.has(pod))),
    openEgress: names(pods.filter((pod) => !isolated.egress.has(pod))),
    hostNetwork: names(all.filter((pod) => pod.hostNetwork)),
    worldRules: policies.flatMap(worldRules),
    unusedPolicies: policies.flatMap((policy) => unused(policy, selected.get(policy) ?? [])),
    invalid: validateObjects(manifests.written).filter((problem) => problem.severity === 'error'),
    skipped: manifests.skipped.map(
      ({ kind, namespace, name }) => `${kind} ${namespace === '' ? '' : `${namespace}/`}${name}`,
    ),
  };
}

const nameOf = (object: { readonly namespace: string; readonly name: string }) =>
  `${object.namespace}/${object.name}`;
const names = (pods: readonly Pod[]) => pods.map(nameOf).sort();

function selects(policy: NetworkPolicy, pod: Pod): boolean {
  return policy.namespace === pod.namespace && matches(policy.podSelector, pod.labels);
}

function worldRules(policy: NetworkPolicy): Audit['worldRules'][number][] {
  return (['ingress', 'egress'] as const).flatMap((direction) =>
    (policy[direction] ?? []).flatMap((rule, index) => {
      const why = openTo(rule, direction);
      if (why === undefined) return [];
      return {
        policy: nameOf(policy),
        direction,
        ports: portsText(rule),
        why,
        ...placeOf(rule, `spec.${direction}[${index}]`),
      };
    }),
  );
}

function openTo(rule: PolicyRule, direction: 'ingress' | 'egress'): string | undefined {
  if (rule.peers === null) return `no ${direction === 'ingress' ? 'from' : 'to'}, which is everybody`;
  const block = rule.peers.find((peer) => peer.kind === 'block' && peer.cidr.length === 0);
  if (block?.kind !== 'block') return undefined;
  return block.except.length === 0
    ? block.cidr.text
    : `${block.cidr.text} except ${block.except.length} blocks`;
}

function portsText(rule: PolicyRule): string {
  if (rule.ports === null) return 'every port';
  return rule.ports
    .map((port) => {
      if (port.kind === 'nothing') return 'nothing';
      if (port.kind === 'protocol') return `every ${port.protocol} port`;
      if (port.kind === 'named') return `${port.name}/${port.protocol}`;
      return `${port.first === port.last ? port.first : `${port.first}-${port.last}`}/${port.protocol}`;
    })
    .join(', ');
}

function unused(policy: NetworkPolicy, pods: readonly Pod[]): Audit['unusedPolicies'][number][] {
  const why =
    pods.length === 0
      ? `no pod of ${policy.namespace} matches ${describeSelector(policy.podSelector)}`
      : policy.ingress === null && policy.egress === null
        ? 'it isolates no direction'
        : undefined;
  return why === undefined ? [] : [{ policy: nameOf(policy), why, ...placeOf(policy, 'metadata.name') }];
}

function placeOf(of: { readonly source?: { file: string; line?: number } }, path: string): AuditPlace {
  return { file: of.source?.file ?? '', line: of.source?.line ?? 0, path };
}

export function printMarkdown(found: Audit): string {
  const pods = found.namespaces.reduce((sum, { pods }) => sum + pods, 0);
  const closed = (direction: 'isolatedIngress' | 'isolatedEgress') =>
    found.namespaces.reduce((sum, namespace) => sum + namespace[direction], 0);
  return [
    '# Network policy audit',
    '',
    `${counted(pods, 'pod')} in ${counted(found.namespaces.length, 'namespace')}. Isolated for ingress: ${closed('isolatedIngress')}, for egress: ${closed('isolatedEgress')}.`,
    '',
    '## Namespaces',
    '',
    table(
      [
        'Namespace',
        'Pods',
        'Policies',
        'Isolated ingress',
        'Isolated egress',
        'Default deny ingress',
        'Default deny egress',
      ],
      found.namespaces.map((row) => [
        row.namespace,
        row.pods,
        row.policies,
        `${row.isolatedIngress} of ${row.pods}`,
        `${row.isolatedEgress} of ${row.pods}`,
        row.defaultDenyIngress ? 'yes' : 'no',
        row.defaultDenyEgress ? 'yes' : 'no',
      ]),
    ),
    ...section('Pods that anybody may connect to (no ingress isolation)', bullets(found.openIngress)),
    ...section('Pods that may connect anywhere (no egress isolation)', bullets(found.openEgress)),
    ...section('Pods in their node’s network (out of reach of policies)', bullets(found.hostNetwork)),
    ...section(
      'Rules open to the world',
      table(
        ['Policy', 'Rule', 'Ports', 'Why', 'Place'],
        found.worldRules.map((rule) => [
          rule.policy,
          rule.path,
          rule.ports,
          rule.why,
          `${rule.file}:${rule.line}`,
        ]),
      ),
    ),
    ...section(
      'Policies that do nothing',
      table(
        ['Policy', 'Why', 'Place'],
        found.unusedPolicies.map((policy) => [policy.policy, policy.why, `${policy.file}:${policy.line}`]),
      ),
    ),
    ...section(
      'Objects that an API server would refuse (enforced closed)',
      table(
        ['Place', 'What'],
        found.invalid.map((problem) => [
          `${problem.source?.file ?? ''}:${problem.source?.line ?? 0}`,
          `${problem.message} ${problem.fix ?? ''}`,
        ]),
      ),
    ),
    ...section('Objects of kinds that were not looked at', bullets(found.skipped)),
    '',
  ].join('\n');
}

function section(title: string, body: string): string[] {
  return ['', `## ${title}`, '', body === '' ? 'None.' : body];
}

function bullets(items: readonly string[]): string {
  return items.map((item) => `- ${item}`).join('\n');
}

function table(head: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  if (rows.length === 0) return '';
  const line = (cells: readonly (string | number)[]) =>
    `| ${cells.map((cell) => String(cell).replace(/\|/g, '\\|').replace(/\n/g, ' ')).join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}

interface AuditOptions {
  readonly file?: string[];
  readonly output?: 'json' | 'yaml' | 'markdown';
  readonly json?: boolean;
}

export function registerAudit(policy: Command): void {
  policy
    .command('audit')
    .description('Report pods without isolation, rules open to the world and unused policies.')
    .argument('[path...]', 'files, folders, - for standard input')
    .option('-f, --file <path...>', 'the same as naming the path')
    .addOption(
      new Option('-o, --output <format>', 'how to print')
        .choices(['markdown', 'json', 'yaml'])
        .default('markdown'),
    )
    .option('--json', 'print JSON (the same as -o json)')
    .action(async (paths: string[], options: AuditOptions, command: Command) => {
      const all = [...paths, ...(options.file ?? [])];
      if (all.length === 0)
        command.error('error: name at least one file or folder, or - for standard input', { exitCode: 2 });
      const manifests = readManifests(all);
      refuseUnreadable(manifests);
      const found = audit(manifests);
      if (options.json === true || options.output === 'json')
        process.stdout.write(`${JSON.stringify(found, null, 2)}\n`);
      else if (options.output === 'yaml') process.stdout.write((await import('yaml')).stringify(found));
      else process.stdout.write(printMarkdown(found));
    });
}
