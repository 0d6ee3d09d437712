/**
 * weft as a node has it, for contenders and node measures: `weft-supervise` with `weft switch`, and `weft agent`, on a run directory of
 * their own, with the objects of a cluster in a folder of manifests. Options are the defaults of config/default.yaml unless named here.
 *
 * The processes run in the node's network namespace. It has no port on the switch (`hostInterface` is empty): no workload talks to the node.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { AgentClient } from '../../src/agent/client.js';
import type { AgentAnswers } from '../../src/agent/protocol.js';
import { loadAddon } from '../../src/dataplane/addon.js';
import { packageRoot } from '../../src/dataplane/package-root.js';
import { nodeFlags } from '../../src/lab/node-processes.js';
import type { Program, Stage } from './site.js';
import { weftNodeName } from './weft-objects.js';

export interface WeftNodeOptions {
  /** Path of the namespace that the processes run in. */
  readonly netns: string;
  /** The pods' network. */
  readonly podCidr: string;
  readonly objects: readonly object[];
  /** As in config/default.yaml. */
  readonly config?: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
}

export interface WeftPod {
  readonly namespace: string;
  readonly name: string;
  readonly netns: string;
  readonly ipv4: string;
}

const entry = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url));
/** 10,000 policies take seconds to read and compile on a small board. Milliseconds. */
const patience = 120_000;

export class WeftNode {
  readonly run: string;
  readonly #supervisor: Program;
  readonly #agentProgram: Program;
  readonly #agent: AgentClient;

  private constructor(runDirectory: string, supervisor: Program, agentProgram: Program, agent: AgentClient) {
    this.run = runDirectory;
    this.#supervisor = supervisor;
    this.#agentProgram = agentProgram;
    this.#agent = agent;
  }

  /** Resolves when every object is in force. What it makes is undone by the stage. */
  static async start(stage: Stage, options: WeftNodeOptions): Promise<WeftNode> {
    const { netns, podCidr, objects, config } = options;
    const runDirectory = join(stage.site.folder, 'run');
    mkdirSync(join(runDirectory, 'manifests'), { recursive: true, mode: 0o700 });
    const configFile = join(stage.site.folder, 'config.yaml');
    const settings = {
      ...config,
      node: { name: weftNodeName, addresses: ['192.0.2.1'] },
      network: { podCIDRs: [podCidr], hostInterface: '', ...config?.network },
      kubernetes: { mode: 'off' },
      log: { format: 'json' },
      paths: { run: runDirectory },
    };
    writeFileSync(configFile, JSON.stringify(settings));
    writeObjects(runDirectory, objects);
    const supervise = join(packageRoot(), 'build', 'bin', 'weft-supervise');
    const command = (name: string) => [process.execPath, ...nodeFlags(), entry, name, '--config', configFile];
    const supervisor = await stage.start(supervise, ['--', ...command('switch')], {
      netns,
      ready: /the switch is up/,
      patience,
    });
    const [program, ...args] = command('agent') as [string, ...string[]];
    const agentProgram = await stage.start(program, args, { netns });
    const agent = await connect(join(runDirectory, 'agent.sock'), agentProgram);
    stage.undo(() => agent.close());
    const node = new WeftNode(runDirectory, supervisor, agentProgram, agent);
    await node.sync();
    return node;
  }

  /** Milliseconds that it took from the request to the answer. */
  async attach(pod: WeftPod): Promise<number> {
    const { namespace, name, netns, ipv4 } = pod;
    const started = performance.now();
    await this.#agent.request('attach', {
      namespace,
      name,
      netns,
      uid: '',
      ifname: 'eth0',
      addresses: [ipv4],
      timeoutMilliseconds: patience,
    });
    return performance.now() - started;
  }

  /** The same as a container runtime has it: milliseconds from starting the CNI plugin for ADD to its end. */
  async add(pod: WeftPod): Promise<number> {
    const started = performance.now();
    await this.#plugin('ADD', pod);
    return performance.now() - started;
  }

  async delete(pod: WeftPod): Promise<void> {
    await this.#plugin('DEL', pod);
  }

  async #plugin(command: 'ADD' | 'DEL', { namespace, name, netns }: WeftPod): Promise<void> {
    const child = spawn(join(packageRoot(), 'build', 'bin', 'weft-cni'), [], {
      env: {
        CNI_COMMAND: command,
        CNI_CONTAINERID: `${namespace}.${name}`,
        CNI_NETNS: netns,
        CNI_IFNAME: 'eth0',
        CNI_PATH: '/nowhere',
        CNI_ARGS: `IgnoreUnknown=1;K8S_POD_NAMESPACE=${namespace};K8S_POD_NAME=${name}`,
      },
      stdio: ['pipe', 'pipe', 'ignore'],
    });
    let said = '';
    child.stdout.on('data', (chunk: Buffer) => {
      said += chunk.toString();
    });
    child.stdin.end(
      JSON.stringify({ cniVersion: '1.1.0', name: 'weft', type: 'weft-cni', runDir: this.run }),
    );
    const [status] = await once(child, 'close');
    if (status !== 0) throw new Error(`weft-cni ${command} failed: ${said}`);
  }

  async detach(pod: WeftPod): Promise<void> {
    await this.#agent.request('detach', { namespace: pod.namespace, name: pod.name, ifname: 'eth0' });
  }

  /** The objects, whole; resolves when they are in force. */
  async apply(objects: readonly object[]): Promise<void> {
    writeObjects(this.run, objects);
    await this.sync();
  }

  async sync(): Promise<void> {
    const answer = await this.#agent.request('sync', { timeoutMilliseconds: patience });
    const wrong = [...answer.problems, ...answer.failedPorts];
    if (wrong.length > 0)
      throw new Error(`weft does not take its objects: ${JSON.stringify(wrong).slice(0, 2000)}`);
  }

  status(): Promise<AgentAnswers['status']> {
    return this.#agent.request('status');
  }

  /** Policies that the image in the switch holds: those of its rules, and those that isolate without one. */
  async policiesInForce(): Promise<number> {
    const image = new (loadAddon().Image)(readFileSync(join(this.run, 'switch-image')));
    const names = new Set(image.ruleNames().map(({ policy }) => policy));
    const { programs } = (await this.status()).counts;
    for (let program = 0; program < programs; program++)
      for (const direction of ['egress', 'ingress'] as const)
        for (const name of image.isolatingPolicies(program, direction)) names.add(name);
    return names.size;
  }

  /** Supervisor, switch, agent. The switch is another process after it was started again. */
  get processes(): { readonly supervisor: number; readonly switch: number; readonly agent: number } {
    const supervisor = this.#supervisor.pid;
    const children = readFileSync(`/proc/${supervisor}/task/${supervisor}/children`, 'utf8');
    return { supervisor, switch: Number(children.trim().split(' ')[0]), agent: this.#agentProgram.pid };
  }
}

/** The agent opens its socket before anything else; until then there is nobody to connect to. */
async function connect(socket: string, agent: Program): Promise<AgentClient> {
  const until = performance.now() + patience;
  for (;;) {
    try {
      return await AgentClient.open(socket);
    } catch (error) {
      if (!agent.running || performance.now() > until)
        throw new Error(`${(error as Error).message}: ${agent.said.slice(-2000)}`);
      await pause(10);
    }
  }
}

/** Renamed into place, so that the agent never reads half of it. */
function writeObjects(runDirectory: string, objects: readonly object[]): void {
  const draft = join(runDirectory, 'manifests', '.objects.json');
  writeFileSync(draft, JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects }));
  renameSync(draft, join(runDirectory, 'manifests', 'objects.json'));
}
