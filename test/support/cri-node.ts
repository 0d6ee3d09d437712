/**
 * A node whose pods are real containers: containerd and runc call weft by CNI, and an API server double tells the agent of pods and policies.
 * The test is the kubelet: it puts the pod's object first, then asks the runtime for the sandbox, then starts its container.
 */
import assert from 'node:assert/strict';
import type { Server } from 'node:net';
import { type ApiObject, ApiServer } from './api-server.js';
import { buildPodProgram, podImage, podProgram } from './container-image.js';
import { Containerd } from './containerd.js';
import type { Cri, SandboxWish } from './cri.js';
import { Machine, nodeAddress, nodeAddress6, outsideAddress, outsideAddress6 } from './machine.js';
import { bridgeInto, type Config, NodeWeft } from './node-weft.js';

export const podCidrs = ['10.42.0.0/24', 'fd42::/112'];
const apiPort = 6443;

export interface CriPod {
  readonly wish: SandboxWish;
  readonly sandbox: string;
  readonly container: string;
  readonly v4: string;
  readonly v6: string;
}

export interface PodWish extends Partial<SandboxWish> {
  readonly labels?: Readonly<Record<string, string>>;
  /** As `pod serve` takes them. */
  readonly serve?: readonly string[];
}

export class CriNode {
  readonly machine: Machine;
  readonly containerd: Containerd;
  readonly api: ApiServer;
  readonly weft: NodeWeft;
  readonly #bridge: Server;
  #uids = 0;

  private constructor(
    machine: Machine,
    containerd: Containerd,
    api: ApiServer,
    weft: NodeWeft,
    bridge: Server,
  ) {
    this.machine = machine;
    this.containerd = containerd;
    this.api = api;
    this.weft = weft;
    this.#bridge = bridge;
  }

  static async start(config: Config = {}): Promise<CriNode> {
    const machine = await Machine.start();
    const api = await ApiServer.start();
    try {
      const containerd = await Containerd.start(machine);
      machine.run('cp', buildPodProgram(), '/run/machine/pod');
      const bridge = await bridgeInto(machine, api.port, apiPort);
      for (const [family, cidr, node, outside] of [
        ['-4', podCidrs[0]!, nodeAddress, outsideAddress],
        ['-6', podCidrs[1]!, nodeAddress6, outsideAddress6],
      ] as const)
        machine.run('ip', family, '-n', 'outside', 'route', 'add', cidr, 'via', node, 'src', outside);
      api.put('namespaces', {
        metadata: { name: 'test', labels: { 'kubernetes.io/metadata.name': 'test' } },
      });
      api.put('nodes', {
        metadata: { name: 'node' },
        spec: { podCIDRs: podCidrs },
        status: {
          addresses: [nodeAddress, nodeAddress6].map((address) => ({ type: 'InternalIP', address })),
        },
      });
      machine.run('mkdir', '-p', '/etc/weft');
      machine.write('/etc/weft/kubeconfig', kubeconfig);
      const weft = await NodeWeft.start(machine, {
        ...config,
        network: { podCIDRs: [], ...config.network },
        kubernetes: { mode: 'on', kubeconfig: '/etc/weft/kubeconfig' },
      });
      await weft.agentSynced();
      await containerd.networkReady();
      return new CriNode(machine, containerd, api, weft, bridge);
    } catch (error) {
      await api.down();
      await machine.end();
      throw error;
    }
  }

  async end(): Promise<void> {
    this.containerd.cri.close();
    this.#bridge.close();
    await this.api.down();
    await this.machine.end();
  }

  get cri(): Cri {
    return this.containerd.cri;
  }

  /** The pod as the scheduler leaves it: bound to the node, without an address. */
  putPod(name: string, wish: PodWish = {}): SandboxWish {
    const uid = wish.uid ?? `pod-${++this.#uids}`;
    this.api.put('pods', podObject(name, uid, wish.labels ?? {}, 'Pending', []));
    const { labels: _, serve: __, ...rest } = wish;
    return { namespace: 'test', name, uid, ...rest };
  }

  /** Makes a pod and waits until its container serves. */
  async addPod(name: string, wish: PodWish = {}): Promise<CriPod> {
    return this.startPod(this.putPod(name, wish), wish);
  }

  /** As the kubelet does for a pod whose object is there. */
  async startPod(sandboxWish: SandboxWish, wish: PodWish = {}): Promise<CriPod> {
    const sandbox = await this.cri.runSandbox(sandboxWish);
    return this.serve(sandbox, sandboxWish, wish);
  }

  async serve(sandbox: string, sandboxWish: SandboxWish, wish: PodWish = {}): Promise<CriPod> {
    const { name, uid } = sandboxWish;
    const command = [podProgram, 'serve', name, ...(wish.serve ?? ['tcp/80', 'udp/80'])];
    const container = await this.cri.startContainer(sandbox, sandboxWish, 'serve', podImage, command);
    const addresses = await this.cri.addresses(sandbox);
    const v4 = addresses.find((address) => !address.includes(':')) ?? '';
    const v6 = addresses.find((address) => address.includes(':')) ?? '';
    this.api.put('pods', podObject(name, uid, wish.labels ?? {}, 'Running', addresses));
    return { wish: sandboxWish, sandbox, container, v4, v6 };
  }

  async removePod(pod: CriPod): Promise<void> {
    await this.cri.stopSandbox(pod.sandbox);
    await this.cri.removeSandbox(pod.sandbox);
    this.api.delete('pods', pod.wish.name, pod.wish.namespace);
  }

  label(pod: CriPod, labels: Readonly<Record<string, string>>): void {
    this.api.put('pods', podObject(pod.wish.name, pod.wish.uid, labels, 'Running', [pod.v4, pod.v6]));
  }

  policy(name: string, spec: object): void {
    this.api.put('networkpolicies', { metadata: { namespace: 'test', name }, spec });
  }

  /** One line for each target. */
  async probe(pod: CriPod, targets: readonly string[], milliseconds = 700): Promise<string[]> {
    const answer = await this.cri.exec(pod.container, [
      podProgram,
      'probe',
      String(milliseconds),
      ...targets,
    ]);
    assert.equal(answer.exitCode, 0, answer.stderr);
    return answer.stdout.trim().split('\n');
  }

  async probeFromOutside(targets: readonly string[], milliseconds = 700): Promise<string[]> {
    const into = ['ip', 'netns', 'exec', 'outside', '/run/machine/pod', 'probe', String(milliseconds)];
    return (await this.machine.ran([...into, ...targets])).stdout.trim().split('\n');
  }

  async probeFromNode(targets: readonly string[], milliseconds = 700): Promise<string[]> {
    const command = ['/run/machine/pod', 'probe', String(milliseconds), ...targets];
    return (await this.machine.ran(command)).stdout.trim().split('\n');
  }
}

function podObject(
  name: string,
  uid: string,
  labels: Readonly<Record<string, string>>,
  phase: string,
  addresses: readonly string[],
): ApiObject {
  return {
    metadata: { namespace: 'test', name, uid, labels: { name, ...labels } },
    spec: { nodeName: 'node', containers: [{ name: 'serve', image: podImage }] },
    status: {
      phase,
      hostIP: nodeAddress,
      ...(addresses.length === 0 ? {} : { podIP: addresses[0], podIPs: addresses.map((ip) => ({ ip })) }),
    },
  };
}

const kubeconfig = JSON.stringify({
  apiVersion: 'v1',
  kind: 'Config',
  clusters: [{ name: 'test', cluster: { server: `http://127.0.0.1:${apiPort}` } }],
  users: [{ name: 'test', user: {} }],
  contexts: [{ name: 'test', context: { cluster: 'test', user: 'test' } }],
  'current-context': 'test',
});
