/**
 * The inside of a lab: keeps pods as network namespaces with responders, tells the agent about them as a container runtime
 * would (attach, detach) and about the objects as an API server would (one manifest file), measures. Runs in the lab's first process.
 *
 * One change at a time: apply, delete and probe are queued, so that a measurement never sees half of a change.
 */
import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { maxLineBytes } from '../agent/protocol.js';
import type { Problem } from '../errors/problem.js';
import { WeftError } from '../errors/problem.js';
import type { ManifestObject } from '../manifests/object.js';
import { nameOf, objectOf } from '../manifests/plain.js';
import { parseAddress } from '../net/address.js';
import type { ReferenceOptions } from '../policy/evaluate.js';
import { type Changes, type Cluster, clusterDomain, nodeName } from './cluster.js';
import { DnsTable, resolvConf } from './dns.js';
import { dnsPodKey, dnsServiceAddress } from './dns-objects.js';
import { DnsServer } from './dns-server.js';
import { createNamespace, Responders, removeNamespace } from './engine.js';
import { Externals } from './externals.js';
import { LineClient } from './line-client.js';
import { type Cell, Expectations, type Party, type PlannedProbe, partyOfPod, planProbes } from './matrix.js';
import { measure, planQuestion } from './measure.js';
import type { LabPod } from './pod-lives.js';
import type {
  ExternalHost,
  LabPodStatus,
  LabStatusAnswer,
  PlaceAnswer,
  ProbeSelection,
  Question,
  SentObject,
} from './protocol.js';

export interface LabPlaces {
  /** Where pods' network namespaces are mounted. */
  readonly netns: string;
  /** The agent's manifest folder. */
  readonly manifests: string;
  /** resolv.conf files, one for each Kubernetes namespace. */
  readonly resolv: string;
  readonly agentSocket: string;
}

interface Running {
  readonly pod: LabPod;
  readonly netns: string;
  /** Why it is not attached. */
  error?: string;
  /** Ports that nobody answers on, with the reason. */
  unserved: readonly string[];
}

/** Attaching pods side by side lets the agent gather them into few publications. */
const attachesAtOnce = 64;
/** Milliseconds that a restarted agent gets to answer. */
const agentPatience = 10_000;

export class Lab {
  readonly cluster: Cluster;
  readonly #places: LabPlaces;
  readonly #reference: ReferenceOptions;
  readonly #responders = new Responders();
  readonly #externals: Externals;
  readonly #running = new Map<string, Running>();
  #dns: DnsServer | null = null;
  #agent: LineClient | null = null;
  #queue: Promise<unknown> = Promise.resolve();
  #namespaces = 0;

  /** `reference`: what the configuration decides that the expectation has to know. */
  constructor(cluster: Cluster, places: LabPlaces, reference: ReferenceOptions = {}) {
    this.cluster = cluster;
    this.#reference = reference;
    this.#places = places;
    for (const folder of [places.netns, places.manifests, places.resolv])
      mkdirSync(folder, { recursive: true });
    this.#externals = new Externals(this.#responders, places.netns);
    this.#writeManifests();
  }

  /** Runs `work` when everything before it is done. */
  #alone<T>(work: () => Promise<T>): Promise<T> {
    const next = this.#queue.then(work, work);
    this.#queue = next.catch(() => {});
    return next;
  }

  /** Brings up what the lab itself needs (the DNS pod). */
  start(): Promise<void> {
    return this.#alone(() => this.#settle());
  }

  apply(objects: readonly SentObject[], kind: 'apply' | 'delete' | 'replace'): Promise<Changes> {
    return this.#alone(async () => {
      const given: ManifestObject[] = objects.map(({ value, file }) => ({
        value,
        file,
        locate: () => ({ file }),
      }));
      const changes = this.cluster[kind](given);
      const problems: Problem[] = [...changes.problems];
      await this.#settle();
      for (const { pod, error, unserved } of this.#running.values()) {
        if (error !== undefined)
          problems.push({ code: 'lab-pod', severity: 'error', message: `${pod.key} is not up: ${error}` });
        for (const text of unserved)
          problems.push({
            code: 'lab-port',
            severity: 'warning',
            message: `${pod.key} does not answer on ${text}. Pods on the host network share its ports.`,
          });
      }
      return { changes: changes.changes, problems };
    });
  }

  setExternals(hosts: readonly ExternalHost[]): Promise<void> {
    return this.#alone(async () => this.#externals.set(hosts));
  }

  probe(selection: ProbeSelection): Promise<Cell[]> {
    return this.#alone(() => {
      const asked = { from: this.#named(selection.from), to: this.#named(selection.to) };
      const wants = (patterns: readonly string[] | undefined) => (key: string) =>
        patterns === undefined
          ? selection.all === true || key !== dnsPodKey
          : patterns.some((pattern) => covers(pattern, key));
      const pods = this.#parties();
      const extras = [this.#nodeParty(), ...this.#externals.parties].filter(
        ({ key }) => asked.from?.some((pattern) => covers(pattern, key)) === true,
      );
      const plan = planProbes(
        [...pods, ...extras],
        [...pods, ...this.#externals.parties],
        this.cluster.objects,
        {
          ...selection,
          services:
            selection.services === true || asked.to?.some((pattern) => pattern.startsWith('svc/')) === true,
          from: wants(asked.from),
          to: (key) => key !== 'svc/kube-system/kube-dns' && wants(asked.to)(key),
        },
      );
      return this.#measure(plan);
    });
  }

  /** Ends as a person may write them, in the words of this lab; throws where one covers nobody, for a typing error is no empty matrix. */
  #named(patterns: readonly string[] | undefined): readonly string[] | undefined {
    const known = [
      ...[...this.#parties(), this.#nodeParty(), ...this.#externals.parties].map(({ key }) => key),
      ...this.status().services.map(({ service }) => `svc/${service}`),
    ];
    return patterns?.map((pattern) => {
      const key = endKey(pattern);
      if (known.some((one) => covers(key, one))) return key;
      throw new WeftError(
        'lab-no-end',
        `Nobody here is called ${pattern}: neither a pod, a Service nor an external host.`,
      );
    });
  }

  ask(questions: readonly Question[]): Promise<Cell[]> {
    return this.#alone(() => {
      const everybody = [...this.#parties(), this.#nodeParty(), ...this.#externals.parties];
      return this.#measure(questions.flatMap((one) => planQuestion(one, everybody, this.cluster.objects)));
    });
  }

  /** Where commands of `exec` run. */
  place(key: string): Omit<PlaceAnswer, 'type' | 'id'> {
    const running = this.#running.get(key.includes('/') ? key : `default/${key}`);
    if (running === undefined) {
      const known = [...this.#running.keys()].sort();
      throw new WeftError(
        'lab-no-pod',
        `There is no pod ${key} in this lab. It has ${known.length === 0 ? 'none' : known.slice(0, 10).join(', ')}${known.length > 10 ? ', …' : ''}.`,
      );
    }
    const { pod, netns } = running;
    return { pod: pod.key, netns, resolvConf: this.#resolvFile(pod.namespace) };
  }

  status(): Pick<LabStatusAnswer, 'pods' | 'services' | 'policies' | 'externals'> {
    const named = (kind: string) => this.cluster.objects.filter((object) => object.kind === kind);
    const keyOf = (object: unknown) => {
      const found = nameOf(objectOf(object));
      return `${found?.namespace}/${found?.name}`;
    };
    const pods: LabPodStatus[] = [...this.#running.values()]
      .sort((a, b) => (a.pod.key < b.pod.key ? -1 : 1))
      .map(({ pod, error }) => ({
        pod: pod.key,
        addresses: pod.addresses.map(({ text }) => text),
        ports: pod.ports.map(({ protocol, port }) => `${port}/${protocol}`),
        hostNetwork: pod.hostNetwork,
        state: error === undefined ? ('enforced' as const) : ('failed' as const),
        ...(error === undefined ? {} : { error }),
      }));
    return {
      pods,
      services: named('Service').map((object) => ({
        service: keyOf(object),
        addresses: (objectOf(object.spec).clusterIPs as string[] | undefined) ?? [],
      })),
      policies: named('NetworkPolicy').map(keyOf),
      externals: this.#externals.parties.map(({ key }) => key),
    };
  }

  // ---------------------------------------------------------------------------------------------------------- pods

  /** Makes pods what the cluster says: removes what is gone, makes what is new, waits until all of it is enforced. */
  async #settle(): Promise<void> {
    this.#writeManifests();
    const wanted = new Map(this.cluster.pods.map((pod) => [pod.key, pod]));
    const gone = [...this.#running.values()].filter(({ pod }) => wanted.get(pod.key)?.uid !== pod.uid);
    const fresh: Running[] = [];
    const agent = await this.#connect();
    await agent.request('sync', {});
    await inParallel(gone, attachesAtOnce, (running) => this.#end(agent, running));
    for (const pod of wanted.values()) {
      let running = this.#running.get(pod.key);
      if (running === undefined) {
        running = this.#make(pod);
        if (!pod.hostNetwork) fresh.push(running);
      } else {
        running = Object.assign(running, { pod });
      }
      this.#serve(running);
      this.#running.set(pod.key, running);
    }
    // A pod that failed is tried again with every change: what stood in its way may be gone.
    const retry = [...this.#running.values()].filter(
      (running) => running.error !== undefined && !running.pod.hostNetwork && !fresh.includes(running),
    );
    await inParallel([...fresh, ...retry], attachesAtOnce, (running) => this.#attach(agent, running));
    if (gone.length + fresh.length + retry.length > 0) await agent.request('sync', {});
    await this.#settleDns();
  }

  #make(pod: LabPod): Running {
    if (pod.hostNetwork) return { pod, netns: '', unserved: [] };
    this.#namespaces++;
    // Names of pods and namespaces can be longer together than a file name may be; the number keeps them apart.
    const netns = `${this.#places.netns}/${`${pod.namespace}_${pod.name}`.slice(0, 200)}_${this.#namespaces}`;
    createNamespace(netns);
    return { pod, netns, unserved: [] };
  }

  #serve(running: Running): void {
    const { pod, netns } = running;
    if (pod.key === dnsPodKey && this.cluster.options.dns) return;
    const { key, ports } = pod;
    const unserved = this.#responders.serve({
      key,
      name: key,
      netns,
      ports,
      sharesNamespace: pod.hostNetwork,
    });
    running.unserved = unserved.map(({ port, message }) => `port ${port}: ${message}`);
  }

  async #attach(agent: LineClient, running: Running): Promise<void> {
    const { pod, netns } = running;
    try {
      await agent.request('attach', {
        namespace: pod.namespace,
        name: pod.name,
        uid: pod.uid,
        netns,
        ifname: 'eth0',
        containerId: pod.uid,
        addresses: pod.addresses.map(({ text }) => text),
      });
      delete running.error;
    } catch (error) {
      if (!(error instanceof WeftError)) throw error;
      running.error = error.message;
    }
  }

  async #end(agent: LineClient, { pod, netns }: Running): Promise<void> {
    this.#running.delete(pod.key);
    this.#responders.stop(pod.key);
    if (pod.key === dnsPodKey) {
      this.#dns?.close();
      this.#dns = null;
    }
    if (pod.hostNetwork) return;
    await agent.request('detach', { namespace: pod.namespace, name: pod.name, containerId: pod.uid });
    removeNamespace(netns);
  }

  async #settleDns(): Promise<void> {
    const running = this.#running.get(dnsPodKey);
    if (!this.cluster.options.dns || running === undefined) return;
    const table = new DnsTable(this.cluster.objects, clusterDomain);
    if (this.#dns === null) this.#dns = await DnsServer.start(running.netns, table);
    else this.#dns.update(table);
  }

  // ---------------------------------------------------------------------------------------------------------- agent

  async #connect(): Promise<LineClient> {
    if (this.#agent?.open) return this.#agent;
    this.#agent = await this.#dial();
    return this.#agent;
  }

  #dial(): Promise<LineClient> {
    return LineClient.connect(this.#places.agentSocket, {
      patience: agentPatience,
      maximumLine: maxLineBytes,
    });
  }

  /** One file, replaced at once, so that the agent never reads half of a change. */
  #writeManifests(): void {
    const list = { apiVersion: 'v1', kind: 'List', items: this.cluster.objects };
    // A name that starts with a dot is no manifest until it is renamed.
    const draft = `${this.#places.manifests}/.lab.json`;
    writeFileSync(draft, JSON.stringify(list));
    renameSync(draft, `${this.#places.manifests}/lab.json`);
  }

  #resolvFile(namespace: string): string {
    const file = `${this.#places.resolv}/${namespace}`;
    writeFileSync(file, resolvConf(namespace, dnsServiceAddress, clusterDomain));
    return file;
  }

  // ---------------------------------------------------------------------------------------------------------- measuring

  #parties(): Party[] {
    return [...this.#running.values()]
      .map(({ pod, netns }) => partyOfPod(pod, netns))
      .sort((a, b) => (a.key < b.key ? -1 : 1));
  }

  #nodeParty(): Party {
    const addresses = this.cluster.options.nodeAddresses;
    return { key: `node/${nodeName}`, netns: '', addresses, ports: [], answer: '', usesServices: false };
  }

  async #measure(plan: readonly PlannedProbe[]): Promise<Cell[]> {
    // A connection of its own: closing it ends the subscription.
    const events = await this.#dial();
    try {
      return await measure(plan, new Expectations(this.cluster.objects, this.#reference), events);
    } finally {
      events.close();
    }
  }
}

/** `web` → `default/web`, `svc:shop/web` → `svc/shop/web`: the grammar of ends on the command line. */
function endKey(pattern: string): string {
  const address = parseAddress(pattern)?.text;
  if (address !== undefined) return address;
  const [, kind, rest] = /^(svc|node)[:/](.+)$/.exec(pattern) ?? [];
  if (kind === 'node') return `node/${rest}`;
  if (kind === 'svc' && rest !== undefined) return `svc/${rest.includes('/') ? rest : `default/${rest}`}`;
  return pattern.includes('/') || pattern === '*' ? pattern : `default/${pattern}`;
}

/** `web/*` covers every pod of a namespace, `*` everybody. */
function covers(pattern: string, key: string): boolean {
  return (
    pattern === '*' || pattern === key || (pattern.endsWith('/*') && key.startsWith(pattern.slice(0, -1)))
  );
}

async function inParallel<T>(
  items: readonly T[],
  width: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const waiting = [...items];
  const worker = async () => {
    for (let item = waiting.shift(); item !== undefined; item = waiting.shift()) await work(item);
  };
  await Promise.all(Array.from({ length: Math.min(width, items.length) }, worker));
}
