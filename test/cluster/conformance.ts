/**
 * The conformance cases with real objects: each case's namespaces (under a name of their own), its pods, its policies, and what reaches what
 * by probes from inside the pods. Cases with the same namespaces and pods share them. As upstream's suite does, a table is probed until
 * it fits, for a bounded time.
 *
 * An address that is no pod's is a host outside of the cluster; it is the machine's "outside", so that such cases need a machine.
 *
 * Where pods have both families every table is probed over both. A case with address blocks is of one family (a block never matches the
 * other), so it is played twice, the second time with the IPv6 addresses that stand for its own.
 */
import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { type Address, address, type Family } from '../../src/net/address.js';
import { blockOf } from '../../src/net/cidr.js';
import {
  type CasePod,
  type ConformanceCase,
  conformanceCases,
  type Expectation,
  type PolicyObject,
} from '../support/conformance.js';
import { podProgram } from '../support/container-image.js';
import {
  addressOf,
  type Cluster,
  type KubeObject,
  namespaceObject,
  podObject,
  type RunningPod,
} from './cluster.js';
import { lacksNode } from './own-cluster.js';

const ownNameLabel = 'kubernetes.io/metadata.name';
const patience = 20_000; // milliseconds until a table has to fit

type Labels = Readonly<Record<string, string>>;

/** Namespaces and pods of one or more cases, running. */
class World {
  readonly #cluster: Cluster;
  readonly #suffix: string;
  readonly #case: ConformanceCase;
  /** What is probed, and of which the addresses in policies are the first. */
  #families: readonly Family[] = [4];
  #pods = new Map<string, RunningPod>();

  constructor(cluster: Cluster, number: number, of: ConformanceCase) {
    this.#cluster = cluster;
    this.#suffix = `-w${number}`;
    this.#case = of;
  }

  get #namespaces(): string[] {
    return Object.keys(this.#case.namespaces).map((name) => this.#name(name));
  }

  #name(namespace: string): string {
    return namespace + this.#suffix;
  }

  /** Makes the world as the case begins; does nothing to what is so already. */
  async begin(families: readonly Family[]): Promise<void> {
    this.#families = families;
    await this.#cluster.apply([
      ...Object.entries(this.#case.namespaces).map(([name, { labels }]) => this.#namespace(name, labels)),
      ...this.#case.pods.map((pod) => this.#pod(pod, pod.labels)),
    ]);
    if (this.#pods.size === 0)
      this.#pods = await this.#cluster.ready(this.#namespaces, this.#case.pods.length);
  }

  async withoutPolicies(): Promise<void> {
    for (const namespace of this.#namespaces)
      await this.#cluster.delete('networkpolicies', '--all', '-n', namespace);
  }

  async end(): Promise<void> {
    await this.#cluster.delete('namespaces', ...this.#namespaces);
    await this.#cluster.gone(this.#namespaces);
  }

  #namespace(name: string, labels: Labels): KubeObject {
    // The API server sets the one with the name itself.
    const { [ownNameLabel]: _, ...others } = labels;
    return namespaceObject(this.#name(name), others);
  }

  #pod(pod: CasePod, labels: Labels): KubeObject {
    return podObject({
      namespace: this.#name(pod.namespace),
      name: pod.name,
      labels,
      serve: pod.ports.map(({ port, protocol }) => `${protocol.toLowerCase()}/${port}`),
      ports: pod.ports.map(({ name, port, protocol }) => ({
        ...(name === undefined ? {} : { name }),
        containerPort: port,
        protocol,
      })),
    });
  }

  pod(key: string): RunningPod | undefined {
    const [namespace = '', name = ''] = key.split('/');
    return this.#pods.get(`${this.#name(namespace)}/${name}`);
  }

  async do(step: ConformanceCase['steps'][number]): Promise<void> {
    switch (step.do) {
      case 'createPolicy':
      case 'updatePolicy':
        await this.#cluster.apply([this.#policy(step.policy, (step as Bound).bindings ?? [])]);
        return;
      case 'deletePolicy':
        await this.#cluster.delete('networkpolicy', step.name, '-n', this.#name(step.namespace));
        return;
      case 'setNamespaceLabels':
        await this.#cluster.apply([this.#namespace(step.namespace, step.labels)]);
        return;
      case 'setPodLabels': {
        const pod = this.#case.pods.find(({ namespace, name }) => `${namespace}/${name}` === step.pod);
        assert.ok(pod);
        await this.#cluster.apply([this.#pod(pod, step.labels)]);
        return;
      }
      case 'expect':
        await this.#expect(step.expected ?? step.list ?? []);
    }
  }

  /** With our namespaces' names, and pods' addresses where the case refers to them. */
  #policy(policy: PolicyObject, bindings: readonly Binding[]): KubeObject {
    const [family = 4] = this.#families;
    const named = renamed(policy, (name) => (name in this.#case.namespaces ? this.#name(name) : name));
    const copy = (family === 4 ? named : inIpv6(named)) as PolicyObject;
    for (const { path, pod, prefix } of bindings) {
      const address = this.#addressOf(pod, family);
      set(
        copy,
        path.split('.'),
        blockOf(address, prefix === 'host' ? (family === 4 ? 32 : 128) : prefix).text,
      );
    }
    const { namespace, name } = copy.metadata;
    return { ...copy, metadata: { ...copy.metadata, namespace: this.#name(namespace), name } };
  }

  async #expect(expected: readonly Expectation[]): Promise<void> {
    const deadline = Date.now() + patience;
    for (;;) {
      const wrong = await this.#wrong(expected);
      if (wrong.length === 0) return;
      if (Date.now() > deadline) assert.fail(`${wrong.length} of ${expected.length}:\n${wrong.join('\n')}`);
    }
  }

  async #wrong(expected: readonly Expectation[]): Promise<string[]> {
    const sources = [...new Set(expected.map(({ from }) => from))];
    const runs = sources.flatMap((source) => this.#families.map((family) => ({ source, family })));
    const found = await Promise.all(
      runs.map(async ({ source, family }) => {
        const asked = expected.filter(({ from }) => from === source);
        const targets = asked.map(
          ({ to, port, protocol }) => `${protocol.toLowerCase()}/${this.#addressOf(to, family).text}/${port}`,
        );
        const answers = await this.#probe(source, family, targets);
        return asked.flatMap(({ to, port, protocol, allowed }, index) => {
          const answer = answers[index] ?? 'nothing';
          // Nobody needs to listen there: a refusal has reached its destination.
          const reached = answer.startsWith('ok ') || answer === 'refused';
          if (answer.startsWith('ok ') && to.includes('/'))
            assert.equal(answer.split(' ')[1], to.split('/')[1], `${source} → ${to} was answered by another`);
          return reached === allowed
            ? []
            : [
                `${source} → ${to} ${protocol} ${port} over IPv${family}: ${answer}, should be ${allowed ? 'allowed' : 'denied'}`,
              ];
        });
      }),
    );
    return found.flat();
  }

  /** Of a pod, or of a host outside of the cluster. */
  #addressOf(end: string, family: Family): Address {
    const text = end.includes('/') ? addressOf(this.pod(end), family) : family === 4 ? end : mapped(end);
    return address(text);
  }

  async #probe(source: string, family: Family, targets: readonly string[]): Promise<string[]> {
    const pod = this.pod(source);
    if (pod !== undefined) return this.#cluster.probe(pod, targets);
    const { own } = this.#cluster;
    assert.ok(own);
    // From this address; to pods only, so that the route to the node itself stays.
    own.routeFromOutside(family, this.#addressOf(source, family).text);
    const command = ['ip', 'netns', 'exec', 'outside', '/run/machine/pod', 'probe', '700', ...targets];
    const { stdout } = await own.machine.ran(command);
    own.routeFromOutside(family);
    return stdout.trim().split('\n');
  }
}

interface Binding {
  readonly path: string;
  readonly pod: string;
  readonly prefix: number | 'host';
}

interface Bound {
  readonly bindings?: readonly Binding[];
}

/** A copy in which selectors that name a namespace name ours. */
function renamed(value: unknown, rename: (name: string) => string, named = false): unknown {
  if (typeof value === 'string') return named ? rename(value) : value;
  if (Array.isArray(value)) return value.map((item) => renamed(item, rename, named));
  if (typeof value !== 'object' || value === null) return value;
  const expression = (value as { key?: unknown }).key === ownNameLabel;
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [
      key,
      renamed(item, rename, key === ownNameLabel || (expression && key === 'values')),
    ]),
  );
}

function set(object: unknown, path: readonly string[], value: string): void {
  let at = object as Record<string, unknown>;
  for (const step of path.slice(0, -1)) at = at[step] as Record<string, unknown>;
  assert.ok(path.at(-1)! in at, `${path.join('.')} is there`);
  at[path.at(-1)!] = value;
}

/** The IPv6 address or block that stands for an IPv4 one. */
function mapped(text: string): string {
  const [address = '', length] = text.split('/');
  return `2001:db8:77::${address}${length === undefined ? '' : `/${96 + Number(length)}`}`;
}

/** A copy with the blocks of IPv6 that stand for those in it. */
function inIpv6(value: unknown, block = false): unknown {
  if (typeof value === 'string') return block ? mapped(value) : value;
  if (Array.isArray(value)) return value.map((item) => inIpv6(item, block));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [key, inIpv6(item, block || key === 'ipBlock')]),
  );
}

function externals(of: ConformanceCase): string[] {
  const ends = of.steps.flatMap((step) =>
    step.do === 'expect' ? (step.expected ?? step.list ?? []).flatMap(({ from, to }) => [from, to]) : [],
  );
  return [...new Set(ends.filter((end) => !end.includes('/')))];
}

/** Lists of families: the case is played once for each list, and probed over all that are in it. */
function plays(of: ConformanceCase, families: readonly Family[]): readonly (readonly Family[])[] {
  return JSON.stringify(of.steps).includes('"ipBlock"') ? families.map((family) => [family]) : [families];
}

function uses(of: ConformanceCase, protocol: string): boolean {
  return of.steps.some(
    (step) =>
      step.do === 'expect' && (step.expected ?? step.list ?? []).some((one) => one.protocol === protocol),
  );
}

/** Why the case cannot run on this cluster; false where it can. */
function lacks(of: ConformanceCase, sctp: boolean): string | false {
  if (uses(of, 'SCTP') && !sctp) return 'the kernel has no SCTP';
  if (externals(of).length > 0 && lacksNode !== false)
    return `a host outside of the cluster is needed: ${lacksNode}`;
  return false;
}

/** Registers the tests. `cluster` is called when they run. */
export function conformance(cluster: () => Cluster, reason: string, sctp: boolean): void {
  const groups = new Map<string, ConformanceCase[]>();
  for (const one of conformanceCases()) {
    const key = JSON.stringify([one.namespaces, one.pods]);
    groups.set(key, [...(groups.get(key) ?? []), one]);
  }
  let number = 0;
  for (const cases of groups.values()) {
    const mine = ++number;
    describe(`conformance, world ${mine}`, () => {
      let world: World | null = null;
      after(() => world?.end());
      for (const one of cases) {
        const skip = reason !== '' ? reason : lacks(one, sctp);
        test(`${one.id}: ${one.title}`, { skip }, async () => {
          const { own, families } = cluster();
          for (const address of externals(one))
            for (const text of families.map((family) =>
              family === 4 ? `${address}/32` : mapped(`${address}/32`),
            ))
              own?.machine.run('ip', '-n', 'outside', 'addr', 'replace', text, 'dev', 'lo');
          world ??= new World(cluster(), mine, cases[0]!);
          for (const play of plays(one, families)) {
            await world.begin(play);
            try {
              for (const step of one.steps) await world.do(step);
            } finally {
              await world.withoutPolicies();
            }
          }
        });
      }
    });
  }
}

/** What the outside hosts of the cases serve. */
export const outsideServer = [podProgram, 'serve', 'outside', 'tcp/80', 'udp/53', 'tcp/443', 'udp/80'];
