/**
 * weft on a test's machine, as on a node: switch under its supervisor, agent, and the CNI plugin where the runtime looks for it. Everything
 * is in its default place (/etc/weft, /run/weft, /opt/cni/bin, /etc/cni/net.d), since the machine's are its own.
 */
import { createConnection, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { PortRow, StatusAnswer } from '../../src/agent/protocol/answers.js';
import { maxLineBytes } from '../../src/agent/protocol.js';
import type { QueryAnswers } from '../../src/dataplane/protocol/answers.js';
import type { QueryName } from '../../src/dataplane/protocol/requests.js';
import { maximumFrameBytes } from '../../src/dataplane/protocol.js';
import { LineClient } from '../../src/lab/line-client.js';
import { nodeFlags } from '../../src/lab/node-processes.js';
import { type Machine, nodeAddress, nodeAddress6, type Ran } from './machine.js';
import { repositoryRoot } from './repository.js';
import { until } from './weft.js';

const entry = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url));
const supervisor = join(repositoryRoot, 'build', 'bin', 'weft-supervise');
const configFile = '/etc/weft/config.yaml';
const runFolder = '/run/weft';

export type Config = Readonly<Record<string, Readonly<Record<string, unknown>>>>;

export class NodeWeft {
  readonly machine: Machine;

  private constructor(machine: Machine) {
    this.machine = machine;
  }

  /** Configures, starts switch and agent, installs the plugin. Does not wait for the agent's sources. */
  static async start(machine: Machine, config: Config): Promise<NodeWeft> {
    const weft = new NodeWeft(machine);
    machine.run('mkdir', '-p', '/etc/weft', runFolder, `${runFolder}/manifests`);
    weft.configure(config);
    weft.startSwitch();
    await weft.switchUp();
    await weft.startAgent();
    weft.install();
    return weft;
  }

  configure(config: Config): void {
    const all = {
      ...config,
      node: { name: 'node', addresses: [nodeAddress, nodeAddress6], ...config.node },
      telemetry: { enabled: false, ...config.telemetry },
      log: { format: 'json', ...config.log },
      paths: { run: runFolder, ...config.paths },
    };
    this.machine.write(configFile, JSON.stringify(all));
  }

  #command(...args: readonly string[]): string[] {
    return [process.execPath, ...nodeFlags(), entry, ...args, '--config', configFile];
  }

  /** The command line, on the node. */
  weft(args: readonly string[], seconds = 60): Promise<Ran> {
    return this.machine.ran(this.#command(...args), { seconds });
  }

  install(): void {
    this.machine.run(...this.#command('install'));
  }

  // -------------------------------------------------------------------------------------------------------- processes

  startSwitch(): void {
    this.machine.spawn('switch', [supervisor, '--', ...this.#command('switch')]);
  }

  async startAgent(): Promise<void> {
    this.machine.spawn('agent', [supervisor, '--restart-only', '--', ...this.#command('agent')]);
    await until('the agent answers', 20, async () => {
      if (!this.machine.runs('agent')) throw new Error(`the agent ended: ${this.machine.words('agent')}`);
      return (await this.status().catch(() => undefined)) !== undefined;
    });
  }

  /** SIGKILL of the agent's supervisor, and with it of the agent: none runs when this resolves. */
  async killAgent(): Promise<void> {
    const agent = this.pid('agent');
    await this.machine.kill('agent');
    await until('the agent is gone', 20, () => agent === 0 || !this.machine.lives(agent));
  }

  /** SIGKILL of the agent; its supervisor starts another. Resolves when that has everything from its sources in force. */
  async crashAgent(): Promise<void> {
    const { epoch } = await this.status();
    this.machine.run('kill', '-KILL', String(this.pid('agent')));
    await until('another agent answers', 30, async () => {
      const now = await this.status().catch(() => undefined);
      return now !== undefined && now.epoch !== epoch && now.ready && now.revision === now.acknowledged;
    });
  }

  /** SIGKILL of the switch's supervisor, and with it of the switch; both are started again. */
  async crashSupervisor(): Promise<void> {
    const child = this.pid('switch');
    await this.machine.kill('switch');
    await until('the switch is gone', 20, () => child === 0 || !this.machine.lives(child));
    this.startSwitch();
    await this.switchUp();
  }

  /** Id of the process under its supervisor, as the machine numbers it; 0: there is none. */
  pid(of: 'agent' | 'switch'): number {
    if (!this.machine.runs(of)) return 0;
    const parent = this.machine.read(`/run/machine/${of}.pid`).trim();
    return Number(this.machine.try(['pgrep', '-P', parent]).stdout.trim());
  }

  /** SIGKILL of the switch; its supervisor starts another. Resolves when the first is gone. */
  async killSwitch(): Promise<void> {
    const { pid } = await this.query('status');
    this.machine.run('kill', '-KILL', String(pid));
    await until('another switch answers', 20, async () => {
      const now = await this.query('status').catch(() => undefined);
      return now !== undefined && now.pid !== pid;
    });
  }

  async switchUp(): Promise<void> {
    await until(`the switch answers\n${this.machine.words('switch')}`, 20, async () => {
      return (await this.query('status').catch(() => undefined)) !== undefined;
    });
  }

  /** The agent has what its sources know, and the switch has it too. */
  async agentSynced(): Promise<void> {
    let status: StatusAnswer | undefined;
    try {
      await until('the agent is ready', 30, async () => {
        status = await this.status().catch(() => undefined);
        return status?.ready === true && status.revision === status.acknowledged;
      });
    } catch (error) {
      throw new Error(
        `${(error as Error).message}: ${JSON.stringify(status?.sources)}\n${this.machine.words('agent')}`,
      );
    }
  }

  // ---------------------------------------------------------------------------------------------------------- looking

  async status(): Promise<StatusAnswer> {
    return (await this.#ask('agent.sock', 'status', maxLineBytes)) as unknown as StatusAnswer;
  }

  async ports(): Promise<readonly PortRow[]> {
    return (await this.#ask('agent.sock', 'ports', maxLineBytes)).ports as readonly PortRow[];
  }

  async #ask(socket: string, type: string, maximumLine: number): Promise<Record<string, unknown>> {
    const client = await LineClient.connect(this.machine.path(`${runFolder}/${socket}`), { maximumLine });
    try {
      return await client.request(type, {});
    } finally {
      client.close();
    }
  }

  async query<What extends QueryName>(what: What, fields: object = {}): Promise<QueryAnswers[What]> {
    const link = await LineClient.connect(this.machine.path(`${runFolder}/switch.sock`), {
      maximumLine: maximumFrameBytes,
    });
    try {
      await link.request('hello', { role: 'observer' });
      return (await link.request('query', { what, ...fields })).data as QueryAnswers[What];
    } finally {
      link.close();
    }
  }

  /**
   * What pods could leave behind on the node: network namespaces, addresses, ports of agent and switch, mounts, interfaces, rules for host
   * ports, and processes of the runtime. Sorted lines without numbers that change by themselves.
   */
  async footprint(): Promise<readonly string[]> {
    const { machine } = this;
    const status = await this.status();
    const ports = await this.ports();
    const mounts = machine
      .read('/proc/1/mounts')
      .split('\n')
      .map((line) => line.split(' ')[1] ?? '');
    // What is above its own /run was the host's when the machine began, namespaces of other tests among it: they go when they like.
    const own = mounts.slice(mounts.lastIndexOf('/run') + 1);
    // Each by its command line: of one that is left, which pod's it is.
    const processes = machine.run('ps', '-e', '-ww', '-o', 'comm=', '-o', 'args=').split('\n');
    const ofPods = processes.filter((line) => /^(containerd-shim|runc|weft-cni|pod(?= ))/.test(line));
    const links = machine.run('ip', '-o', 'link').matchAll(/^\d+: ([^:@]+)/gm);
    return [
      ...machine.list('/run/netns').map((name) => `netns ${name}`),
      ...machine.list('/var/lib/cni/results').map((name) => `cni ${name}`),
      ...status.addresses.map(({ cidr, used }) => `${used} addresses of ${cidr}`),
      ...ports.map(({ namespace, name, ifname }) => `port ${namespace}/${name} ${ifname}`),
      ...own.filter((path) => /netns|containerd|kubelet/.test(path)).map((path) => `mount ${path}`),
      ...[...links].map(([, name]) => `interface ${name}`),
      ...machine
        .try(['nft', 'list', 'ruleset'])
        .stdout.split('\n')
        .filter((line) => /dnat|hostport/i.test(line))
        .map((line) => `nft ${line.trim()}`),
      ...ofPods.map((line) => `process ${line.replace(/^\S+\s+/, '').trim()}`),
    ].sort();
  }
}

/**
 * Makes a server of the test's process reachable at 127.0.0.1:PORT of the machine, which is another network: a relay there hands each
 * connection to a unix socket, which both sides see.
 */
export async function bridgeInto(machine: Machine, port: number, insidePort: number): Promise<Server> {
  const path = `/run/machine/bridge-${insidePort}.sock`;
  const server = createServer((socket) => {
    const onward = createConnection({ host: '127.0.0.1', port });
    const end = () => {
      socket.destroy();
      onward.destroy();
    };
    socket.on('error', end).on('close', end);
    onward.on('error', end).on('close', end);
    socket.pipe(onward);
    onward.pipe(socket);
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(machine.path(path), resolve);
  });
  const relay = `
    const net = require('node:net');
    net.createServer((socket) => {
      const onward = net.createConnection(${JSON.stringify(path)});
      const end = () => { socket.destroy(); onward.destroy(); };
      socket.on('error', end).on('close', end); onward.on('error', end).on('close', end);
      socket.pipe(onward); onward.pipe(socket);
    }).listen(${insidePort}, '127.0.0.1');`;
  machine.spawn(`bridge-${insidePort}`, [process.execPath, '-e', relay]);
  await until(
    'the relay listens',
    10,
    () => machine.try(['bash', '-c', `: >/dev/tcp/127.0.0.1/${insidePort}`]).status === 0,
  );
  return server;
}
