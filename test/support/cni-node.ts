/**
 * A node (real switch, real agent) whose pods come through the CNI plugin: a test says which pods the manifests have, makes a network namespace
 * as a runtime does, and calls the plugin. Namespaces that are made here end with `end`.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { createNamespace, Responders, removeNamespace, sendProbes } from '../../src/lab/engine.js';
import type { Protocol } from '../../src/model/protocol.js';
import { parseAddress } from '../../src/net/address.js';
import { type CniOutput, type Outcome, podArguments, type StartedCall, startPlugin } from './cni.js';
import { type NodeOptions, TestNode } from './node.js';

export type Command = 'ADD' | 'DEL' | 'CHECK' | 'STATUS' | 'GC';

export interface CallOptions {
  /** Over what the call has by itself. */
  readonly environment?: Readonly<Record<string, string>>;
  readonly configuration?: object;
}

export class CniNode {
  readonly node: TestNode;
  readonly #namespaces = new Set<string>();
  readonly #responders = new Responders();
  #pods: readonly object[] = [];
  #policies: readonly object[] = [];

  private constructor(node: TestNode) {
    this.node = node;
  }

  static async start(options: NodeOptions = {}): Promise<CniNode> {
    return new CniNode(await TestNode.start(options));
  }

  async end(): Promise<void> {
    this.#responders.close();
    // Their mounts are in the node's folder, which goes with it.
    for (const path of this.#namespaces) removeNamespace(path);
    await this.node.end();
  }

  /** The pods of the manifests, by name, with their labels; all in the namespace `test`, without addresses. */
  async pods(pods: Readonly<Record<string, Readonly<Record<string, string>>>>): Promise<void> {
    this.#pods = Object.entries(pods).map(([name, labels]) => ({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { namespace: 'test', name, labels: { name, ...labels } },
      spec: { nodeName: 'node', containers: [{ name: 'c', image: 'none' }] },
    }));
    await this.node.apply([...this.#pods, ...this.#policies]);
  }

  async policies(policies: readonly object[]): Promise<void> {
    this.#policies = policies;
    await this.node.apply([...this.#pods, ...this.#policies]);
  }

  /** Path of the pod's namespace. */
  netns(name: string): string {
    return join(this.node.folder, 'netns', name);
  }

  /** As a runtime does before ADD. */
  namespace(name: string): string {
    const path = this.netns(name);
    createNamespace(path);
    this.#namespaces.add(path);
    return path;
  }

  removeNamespace(name: string): void {
    const path = this.netns(name);
    if (this.#namespaces.delete(path) && existsSync(path)) removeNamespace(path);
  }

  start(command: Command, name: string, options: CallOptions = {}): StartedCall {
    const container = ['ADD', 'DEL', 'CHECK'].includes(command)
      ? {
          CNI_CONTAINERID: `container-${name}`,
          CNI_NETNS: this.netns(name),
          CNI_IFNAME: 'eth0',
          CNI_ARGS: podArguments('test', name),
        }
      : {};
    return startPlugin(
      'weft-cni',
      { CNI_COMMAND: command, CNI_PATH: '/nowhere', ...container, ...options.environment },
      {
        cniVersion: '1.1.0',
        name: 'weft',
        type: 'weft-cni',
        runDir: this.node.run,
        ...options.configuration,
      },
    );
  }

  call(command: Command, name: string, options: CallOptions = {}): Promise<Outcome> {
    return this.start(command, name, options).done;
  }

  /** A namespace and an ADD that has to succeed. */
  async add(name: string, options: CallOptions = {}): Promise<CniOutput> {
    if (!existsSync(this.netns(name))) this.namespace(name);
    const { status, stdout, json } = await this.call('ADD', name, options);
    assert.equal(status, 0, stdout);
    return json;
  }

  /** A command inside the pod. */
  inside(name: string, ...command: readonly string[]): string {
    return execFileSync('nsenter', [`--net=${this.netns(name)}`, ...command], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  }

  serve(name: string, port: number, protocol: Protocol = 'TCP'): void {
    const unserved = this.#responders.serve({
      key: name,
      name,
      netns: this.netns(name),
      ports: [{ port, protocol }],
      sharesNamespace: false,
    });
    assert.deepEqual(unserved, []);
  }

  async probe(from: string, address: string, port: number, protocol: Protocol = 'TCP'): Promise<string> {
    const destination = parseAddress(address);
    assert.ok(destination, address);
    const [result] = await sendProbes([{ netns: this.netns(from), protocol, destination, port }]);
    return result!.outcome;
  }

  /** Owners of the attachments that the agent has. */
  async attached(): Promise<readonly string[]> {
    const { ports } = await this.node.agent.request('ports', {});
    return (ports as { name: string; namespace: string }[])
      .map((port) => `${port.namespace}/${port.name}`)
      .sort();
  }
}

/** Bare IPv4 address of a result. */
export function v4Of(result: CniOutput): string {
  const address = result.ips?.map((one) => one.address).find((text) => !text.includes(':'));
  assert.ok(address, 'the pod has an IPv4 address');
  return address.split('/')[0]!;
}
