/**
 * A node for a test: the real `weft switch` (under `weft-supervise`, or alone) and the real `weft agent` on a run directory of their own, and
 * pods that are network namespaces with a TAP in each. Nothing is simulated; what a lab adds (namespaces of its own, DNS, a host port)
 * is left out, so that a test can kill, damage and look into every part.
 *
 * The node has no host port, so nothing of it is seen outside of the pods' namespaces. Everything ends with the test's process:
 * children get SIGKILL from the kernel when it dies; mounts of a test that was killed are swept by the next one.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { portId } from '../../src/agent/attachment.js';
import { AgentClient } from '../../src/agent/client.js';
import type { FlowRecord } from '../../src/agent/protocol/events.js';
import type { Bandwidth, HostPort } from '../../src/agent/protocol/requests.js';
import { maxLineBytes } from '../../src/agent/protocol.js';
import { loadAddon, type RawSocketHandle } from '../../src/dataplane/addon.js';
import type { PortCounters, QueryAnswers } from '../../src/dataplane/protocol/answers.js';
import type { QueryName } from '../../src/dataplane/protocol/requests.js';
import { maximumFrameBytes } from '../../src/dataplane/protocol.js';
import type { DropReasonName } from '../../src/errors/drop-reasons.js';
import {
  createNamespace,
  type Outcome,
  type Probe,
  type ProbePatience,
  type ProbeResult,
  Responders,
  removeNamespace,
  sendProbes,
} from '../../src/lab/engine.js';
import { LineClient } from '../../src/lab/line-client.js';
import { nodeFlags } from '../../src/lab/node-processes.js';
import type { Protocol } from '../../src/model/protocol.js';
import { parseAddress } from '../../src/net/address.js';
import type { ApiObject, ApiServer } from './api-server.js';
import { repositoryRoot } from './repository.js';
import { until } from './weft.js';

const entry = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url));
const folders = '/run';
const prefix = 'weft-test-node-';

export interface NodeOptions {
  /** false: the switch runs without `weft-supervise`, and the test starts it again itself. */
  readonly supervised?: boolean;
  /** false: no agent; the test publishes. */
  readonly agent?: boolean;
  /** Network namespace in which switch and agent run, by path; absent: the test's own. */
  readonly netns?: string;
  /** Where the objects are, in place of a folder of manifests; the configuration says how the agent reaches it. */
  readonly api?: ApiServer;
  /** As in config/default.yaml, over what the node needs. */
  readonly config?: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
}

export interface PodOptions {
  readonly labels?: Readonly<Record<string, string>>;
  /** Served by responders that answer with the pod's name, such as `80/TCP`. */
  readonly ports?: readonly `${number}/${Protocol}`[];
  readonly mtu?: number;
  readonly bandwidth?: Bandwidth;
  /** Ports of the host that lead to the pod. */
  readonly hostPorts?: readonly HostPort[];
}

export interface TestPod {
  readonly name: string;
  readonly netns: string;
  readonly v4: string;
  readonly v6: string;
  readonly mac: string;
  readonly port: string;
}

const chatter = new Set(['multicast-listener', 'router-solicitation']);

let nodes = 0;

export class TestNode {
  readonly folder: string;
  readonly run: string;
  readonly pods = new Map<string, TestPod>();
  readonly #options: NodeOptions;
  readonly #children = new Map<string, ChildProcess>();
  readonly #responders = new Responders();
  readonly #sockets: RawSocketHandle[] = [];
  readonly #podObjects = new Map<string, unknown>();
  #objects: readonly unknown[] = [];
  #agent: LineClient | null = null;
  #ending = false;

  private constructor(options: NodeOptions) {
    this.#options = options;
    this.folder = join(folders, `${prefix}${process.pid}-${++nodes}`);
    this.run = join(this.folder, 'run');
  }

  static async start(options: NodeOptions = {}): Promise<TestNode> {
    sweep();
    const node = new TestNode(options);
    for (const folder of [node.folder, node.run, join(node.run, 'manifests'), join(node.folder, 'netns')])
      mkdirSync(folder, { recursive: true, mode: 0o700 });
    try {
      const config = {
        ...options.config,
        node: { name: 'node', addresses: ['192.0.2.1', '2001:db8::1'], ...options.config?.node },
        network: { podCIDRs: ['10.99.0.0/24', 'fd99::/112'], hostInterface: '', ...options.config?.network },
        kubernetes: { mode: 'off', ...options.config?.kubernetes },
        telemetry: { enabled: false },
        log: { format: 'json' },
        paths: { run: node.run },
      };
      writeFileSync(join(node.folder, 'config.yaml'), JSON.stringify(config));
      node.#writeObjects();
      node.startSwitch();
      await node.switchUp();
      if (options.agent !== false) await node.startAgent();
    } catch (error) {
      await node.end();
      throw error;
    }
    return node;
  }

  /** Ends what the node started and removes what it made; safe to call twice, and when starting had failed. */
  async end(): Promise<void> {
    this.#ending = true;
    this.#agent?.close();
    for (const socket of this.#sockets) socket.close();
    this.#responders.close();
    for (const child of this.#children.values()) await ended(child, 'SIGTERM');
    for (const { netns } of this.pods.values()) removeNamespace(netns);
    rmSync(this.folder, { recursive: true, force: true });
  }

  // -------------------------------------------------------------------------------------------------------- processes

  startSwitch(): void {
    const command = [
      process.execPath,
      ...nodeFlags(),
      entry,
      'switch',
      '--config',
      join(this.folder, 'config.yaml'),
    ];
    const supervisor = join(repositoryRoot, 'build', 'bin', 'weft-supervise');
    this.#spawn('switch', this.#options.supervised === false ? command : [supervisor, '--', ...command]);
  }

  async startAgent(): Promise<void> {
    this.#agent?.close();
    this.#agent = null;
    this.#spawn('agent', [
      process.execPath,
      ...nodeFlags(),
      entry,
      'agent',
      '--config',
      join(this.folder, 'config.yaml'),
    ]);
    const path = join(this.run, 'agent.sock');
    this.#agent = await LineClient.connect(path, { patience: 15_000, maximumLine: maxLineBytes });
  }

  /** The process that was started: the supervisor where there is one. */
  child(name: 'switch' | 'agent'): ChildProcess {
    const child = this.#children.get(name);
    assert.ok(child, `the ${name} was started`);
    return child;
  }

  /** SIGKILL, and waits for the end. */
  async killAgent(): Promise<void> {
    this.#agent?.close();
    this.#agent = null;
    await ended(this.child('agent'), 'SIGKILL');
  }

  /** Waits until the switch answers, and another process than `not` if it is given. */
  async switchUp(not = 0): Promise<QueryAnswers['status']> {
    let status: QueryAnswers['status'] | undefined;
    await until(`the switch answers\n${this.words('switch')}`, 15, async () => {
      try {
        status = await this.query('status');
        return status.pid !== not;
      } catch {
        return false;
      }
    });
    return status!;
  }

  log(name: 'switch' | 'agent'): string {
    const file = join(this.folder, `${name}.log`);
    return existsSync(file) ? readFileSync(file, 'utf8') : '';
  }

  words(name: 'switch' | 'agent'): string {
    return this.log(name).trim().split('\n').slice(-6).join('\n');
  }

  #spawn(name: 'switch' | 'agent', command: readonly string[]): void {
    assert.ok(!this.#ending);
    const log = openSync(join(this.folder, `${name}.log`), 'a');
    const { netns } = this.#options;
    const within = netns === undefined ? [] : ['nsenter', `--net=${netns}`, '--'];
    const child = spawn('setpriv', ['--pdeathsig', 'KILL', '--', ...within, ...command], {
      stdio: ['ignore', log, log],
    });
    closeSync(log);
    this.#children.set(name, child);
  }

  // ------------------------------------------------------------------------------------------------- pods and objects

  /** Makes pods and has them attached, all at once; resolves when they are live. */
  async addPods(wanted: Readonly<Record<string, PodOptions>>): Promise<void> {
    for (const [name, { labels = {}, ports = [], hostPorts = [] }] of Object.entries(wanted)) {
      const number = this.#podObjects.size + 10;
      const v4 = `10.99.0.${number}`;
      const v6 = `fd99::${number.toString(16)}`;
      const netns = join(this.folder, 'netns', name);
      createNamespace(netns);
      const port = portId({ namespace: 'test', name, ifname: 'eth0', containerId: '' });
      this.pods.set(name, { name, netns, v4, v6, port, mac: '' });
      const split = ports.map((text) => {
        const [number, protocol] = text.split('/') as [string, Protocol];
        return { port: Number(number), protocol };
      });
      const unserved = this.#responders.serve({
        key: name,
        name,
        netns,
        ports: split,
        sharesNamespace: false,
      });
      assert.deepEqual(unserved, []);
      this.#podObjects.set(name, {
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: { namespace: 'test', name, labels: { name, ...labels } },
        spec: {
          nodeName: 'node',
          containers: [
            {
              name: 'c',
              image: 'none',
              ports: [
                ...split.map(({ port, protocol }) => ({ containerPort: port, protocol })),
                ...hostPorts.map(({ hostIP, ...port }) => (hostIP === '' ? port : { ...port, hostIP })),
              ],
            },
          ],
        },
        status: { phase: 'Running', podIP: v4, podIPs: [{ ip: v4 }, { ip: v6 }] },
      });
    }
    await this.#sync();
    await Promise.all(
      Object.entries(wanted).map(async ([name, { mtu, bandwidth, hostPorts }]) => {
        const { netns, v4, v6, port } = this.pod(name);
        const answer = await this.agent.request('attach', {
          namespace: 'test',
          name,
          uid: '',
          netns,
          ifname: 'eth0',
          addresses: [v4, v6],
          ...(mtu === undefined ? {} : { mtu }),
          ...(bandwidth === undefined ? {} : { bandwidth }),
          ...(hostPorts === undefined ? {} : { hostPorts }),
        });
        assert.equal(answer.port, port);
        this.pods.set(name, { ...this.pod(name), mac: String(answer.mac) });
      }),
    );
  }

  /** As a pod is deleted: its interface goes, then its object. Its namespace stays for what runs in it. */
  async removePod(name: string): Promise<void> {
    await this.agent.request('detach', { namespace: 'test', name, ifname: 'eth0' });
    this.#podObjects.delete(name);
    await this.#sync();
  }

  /** The objects beside the pods: policies and services, whole. Resolves when they are in force. */
  async apply(objects: readonly unknown[]): Promise<void> {
    this.#objects = objects;
    await this.#sync();
  }

  pod(name: string): TestPod {
    const pod = this.pods.get(name);
    assert.ok(pod, `there is a pod ${name}`);
    return pod;
  }

  get agent(): LineClient {
    assert.ok(this.#agent, 'the agent runs');
    return this.#agent;
  }

  async #sync(): Promise<void> {
    this.#writeObjects();
    const answer = await this.agent.request('sync', {});
    assert.deepEqual(answer.problems, [], 'the objects are valid');
    assert.deepEqual(answer.failedPorts, []);
  }

  #writeObjects(): void {
    const namespace = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'test' } };
    const items = [namespace, ...this.#podObjects.values(), ...this.#objects];
    if (this.#options.api !== undefined) {
      this.#options.api.become(items as readonly ApiObject[]);
      return;
    }
    const draft = join(this.run, 'manifests', '.objects.json');
    writeFileSync(draft, JSON.stringify({ apiVersion: 'v1', kind: 'List', items }));
    renameSync(draft, join(this.run, 'manifests', 'objects.json'));
  }

  // ---------------------------------------------------------------------------------------------------------- looking

  async query<What extends QueryName>(what: What, fields: object = {}): Promise<QueryAnswers[What]> {
    const link = await LineClient.connect(join(this.run, 'switch.sock'), { maximumLine: maximumFrameBytes });
    try {
      await link.request('hello', { role: 'observer' });
      const answer = await link.request('query', { what, ...fields });
      return answer.data as QueryAnswers[What];
    } finally {
      link.close();
    }
  }

  /** Follows the flow events that the agent tells; the answer ends it. */
  async flows(flow: (flow: FlowRecord) => void): Promise<() => void> {
    const client = await AgentClient.open(join(this.run, 'agent.sock'));
    const followed = client.subscribe({ type: 'flows', follow: true }, (event) => {
      if (event.event === 'flow') flow(event.flow);
    });
    // Ended by closing the connection.
    followed.catch(() => {});
    return () => client.close();
  }

  async counters(pod: string): Promise<PortCounters> {
    const { ports } = await this.query('counters', { port: this.pod(pod).port });
    assert.ok(ports[0], `${pod} is live`);
    return ports[0];
  }

  /** Drops of a pod's port that happen while `during` runs, by reason; without what a pod's stack says by itself now and then. */
  async dropsDuring(
    pod: string,
    during: () => Promise<unknown> | unknown,
  ): Promise<Partial<Record<DropReasonName, number>>> {
    const before = (await this.counters(pod)).drops;
    await during();
    // The frames are in the TAP's queue; the worker takes them within a moment.
    await new Promise((resolve) => setTimeout(resolve, 60));
    const after: Partial<Record<string, number>> = (await this.counters(pod)).drops;
    const grown = Object.entries(after).map(([name, count]) => [
      name,
      (count ?? 0) - (before[name as DropReasonName] ?? 0),
    ]);
    return Object.fromEntries(
      grown.filter(([name, count]) => count !== 0 && !chatter.has(name as string)),
    ) as Partial<Record<DropReasonName, number>>;
  }

  /** A packet socket on the pod's eth0, as a root process in the pod may have. */
  rawSocket(pod: string, vnetHeader = false): RawSocketHandle {
    const options = { netns: this.pod(pod).netns, ifname: 'eth0', vnetHeader };
    const socket = new (loadAddon().RawSocket)(options);
    this.#sockets.push(socket);
    return socket;
  }

  probe(
    from: string,
    to: string,
    port: number,
    protocol: Protocol = 'TCP',
    patience?: ProbePatience,
  ): Promise<ProbeResult> {
    const pod = this.pods.get(to);
    const destination = parseAddress(pod?.v4 ?? to);
    assert.ok(destination, to);
    const probe: Probe = { netns: this.pod(from).netns, protocol, destination, port };
    return sendProbes([probe], patience).then(([result]) => result!);
  }

  async outcome(from: string, to: string, port: number, protocol: Protocol = 'TCP'): Promise<Outcome> {
    return (await this.probe(from, to, port, protocol)).outcome;
  }
}

async function ended(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, 'exit');
  child.kill(signal);
  const insist = setTimeout(() => child.kill('SIGKILL'), 5000);
  await exit;
  clearTimeout(insist);
}

/** Removes what tests left that were killed. */
function sweep(): void {
  for (const name of readdirSync(folders)) {
    const pid = /^weft-test-node-(\d+)-\d+$/.exec(name)?.[1];
    if (pid === undefined || existsSync(`/proc/${pid}`)) continue;
    const netns = join(folders, name, 'netns');
    if (existsSync(netns)) for (const file of readdirSync(netns)) removeNamespace(join(netns, file));
    rmSync(join(folders, name), { recursive: true, force: true });
  }
}
