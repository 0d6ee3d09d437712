/**
 * The conformance cases (`netpol-cases/1`): worlds, steps that change them, and who may reach whom after each. Read from
 * ../shared/conformance where that is there (so that a newer copy counts), else from the copy in the repository.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { repositoryRoot } from './repository.js';

export interface CasePod {
  readonly namespace: string;
  readonly name: string;
  labels: Readonly<Record<string, string>>;
  readonly ips: readonly string[];
  readonly ports: readonly { readonly name?: string; readonly port: number; readonly protocol: string }[];
}

export interface PolicyObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly namespace: string; readonly name: string };
  readonly spec: unknown;
}

export interface Expectation {
  readonly from: string;
  readonly to: string;
  readonly port: number;
  readonly protocol: string;
  readonly allowed: boolean;
}

export type CaseStep =
  | { readonly do: 'createPolicy' | 'updatePolicy'; readonly policy: PolicyObject }
  | { readonly do: 'deletePolicy'; readonly namespace: string; readonly name: string }
  | {
      readonly do: 'setNamespaceLabels';
      readonly namespace: string;
      readonly labels: Readonly<Record<string, string>>;
    }
  | { readonly do: 'setPodLabels'; readonly pod: string; readonly labels: Readonly<Record<string, string>> }
  | {
      readonly do: 'expect';
      readonly expected?: readonly Expectation[];
      readonly list?: readonly Expectation[];
    };

export interface ConformanceCase {
  readonly id: string;
  readonly title: string;
  readonly namespaces: Readonly<Record<string, { readonly labels: Readonly<Record<string, string>> }>>;
  readonly pods: readonly CasePod[];
  readonly steps: readonly CaseStep[];
}

export interface ApiCase {
  readonly id: string;
  readonly valid: boolean;
  readonly policy: PolicyObject;
}

/** One `expect` step: the world as it is then, and what must hold in it. */
export interface Checkpoint {
  /** Place of the step in the case. */
  readonly step: number;
  readonly objects: readonly Readonly<Record<string, unknown>>[];
  readonly expectations: readonly Expectation[];
}

const shared = join(repositoryRoot, '..', 'shared', 'conformance');
export const casesFolder = existsSync(join(shared, 'scenario-cases.json'))
  ? shared
  : join(repositoryRoot, 'test', 'conformance', 'cases');

const files = ['netpol-e2e-cases.json', 'recipes-cases.json', 'scenario-cases.json'];

function readJson(name: string): { cases: ConformanceCase[]; apiCases?: ApiCase[] } {
  return JSON.parse(readFileSync(join(casesFolder, name), 'utf8'));
}

export function conformanceCases(): ConformanceCase[] {
  return files.flatMap((name) => readJson(name).cases);
}

export function apiCases(): ApiCase[] {
  return files.flatMap((name) => readJson(name).apiCases ?? []);
}

/** Plays a case's steps; gives the world at every `expect`. */
export function checkpoints(of: ConformanceCase): Checkpoint[] {
  const namespaces = new Map(Object.entries(of.namespaces).map(([name, { labels }]) => [name, labels]));
  const pods = new Map(of.pods.map((pod) => [`${pod.namespace}/${pod.name}`, { ...pod }]));
  const policies = new Map<string, PolicyObject>();
  const found: Checkpoint[] = [];
  for (const [step, change] of of.steps.entries()) {
    switch (change.do) {
      case 'createPolicy':
      case 'updatePolicy':
        policies.set(`${change.policy.metadata.namespace}/${change.policy.metadata.name}`, change.policy);
        break;
      case 'deletePolicy':
        policies.delete(`${change.namespace}/${change.name}`);
        break;
      case 'setNamespaceLabels':
        namespaces.set(change.namespace, change.labels);
        break;
      case 'setPodLabels':
        pods.get(change.pod)!.labels = change.labels;
        break;
      case 'expect':
        found.push({
          step,
          objects: [
            ...[...namespaces].map(([name, labels]) => ({ kind: 'Namespace', metadata: { name, labels } })),
            ...[...pods.values()].map(podObject),
            ...policies.values(),
          ] as Checkpoint['objects'],
          expectations: change.expected ?? change.list ?? [],
        });
        break;
    }
  }
  return found;
}

export function podObject(pod: CasePod): Readonly<Record<string, unknown>> {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { namespace: pod.namespace, name: pod.name, labels: pod.labels },
    spec: {
      containers: [
        {
          name: 'serve',
          ports: pod.ports.map(({ name, port, protocol }) => ({
            ...(name === undefined ? {} : { name }),
            containerPort: port,
            protocol,
          })),
        },
      ],
    },
    status: { phase: 'Running', podIPs: pod.ips.map((ip) => ({ ip })) },
  };
}
