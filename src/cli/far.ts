/**
 * A cluster's agents from afar: through the API server, by a kubeconfig. In each agent's pod runs `weft relay`, which connects its standard
 * input and output with the agent's socket; so the commands speak the same protocol over it as they do on the node.
 */
import { existsSync } from 'node:fs';
import { AgentClient } from '../agent/client.js';
import { WeftError } from '../errors/problem.js';
import { type AgentPod, findAgents } from '../kube/agents.js';
import { KubeClient } from '../kube/client.js';
import { exec } from '../kube/exec.js';
import { defaultKubeconfigs, readKubeconfig } from '../kube/kubeconfig.js';
import { objectOf, textOf } from '../manifests/plain.js';

/** How often the relay hears of us while nothing is asked; an empty line is no request. Milliseconds. */
const relayBeat = 30_000;

export interface FarOptions {
  readonly kubeconfig?: string;
  readonly context?: string;
  readonly node?: readonly string[];
}

/** Whether a cluster is meant, and not this node: asked for, or the command is kubectl's. */
export function meansCluster({ kubeconfig, context, node }: FarOptions): boolean {
  return (
    kubeconfig !== undefined ||
    context !== undefined ||
    node !== undefined ||
    process.env.WEFT_KUBECTL_PLUGIN === '1'
  );
}

/** Whether there is a kubeconfig that could be taken where nobody named one. */
export function hasKubeconfig(): boolean {
  return defaultKubeconfigs(process.env).some((path) => existsSync(path));
}

export class Cluster {
  readonly #client: KubeClient;
  readonly #only: readonly string[] | undefined;

  /** Throws `kubeconfig-*`. */
  constructor({ kubeconfig, context, node }: FarOptions) {
    const access = readKubeconfig(
      kubeconfig ?? defaultKubeconfigs(process.env),
      context === undefined ? {} : { context },
    );
    for (const note of access.notes) process.stderr.write(`weft: ${note}\n`);
    this.#client = new KubeClient(access, 'weft-command');
    this.#only = node;
  }

  close(): void {
    this.#client.close();
  }

  /** Those of `--node`, or all. */
  async agents(): Promise<readonly AgentPod[]> {
    const all = await findAgents(this.#client);
    if (this.#only === undefined) return all;
    return this.#only.map((name) => {
      const found = all.find(({ node }) => node === name);
      if (found !== undefined) return found;
      throw new WeftError(
        'node-unknown',
        `No agent of weft is on a node "${name}". There is one on ${all.map(({ node }) => node).join(', ')}.`,
      );
    });
  }

  /** Throws a WeftError that does not name the node. */
  async open({ namespace, pod, container, away }: AgentPod): Promise<AgentClient> {
    const where = `the agent's pod ${namespace}/${pod}`;
    if (away !== null)
      throw new WeftError('agent-away', `No agent can be asked: ${where} does not run, ${away}.`);
    const stream = await exec(this.#client, { namespace, pod, container, command: ['weft', 'relay'] });
    const beating = setInterval(() => stream.write('\n'), relayBeat);
    stream.once('close', () => clearInterval(beating));
    return AgentClient.over(
      stream,
      (error) =>
        new WeftError(
          'agent-away',
          `The connection to ${where} has ended${error === null ? '' : ` (${error.message})`}.`,
          error === null ? {} : { cause: error },
        ),
    );
  }

  /** What a program in the agent's pod prints. Throws a WeftError where it cannot be run or ends with another status than 0. */
  async output({ namespace, pod, container, away }: AgentPod, command: readonly string[]): Promise<Buffer> {
    if (away !== null)
      throw new WeftError(
        'agent-away',
        `Nothing can be run there: the agent's pod ${namespace}/${pod} does not run, ${away}.`,
      );
    const stream = await exec(this.#client, { namespace, pod, container, command });
    const chunks: Buffer[] = [];
    for await (const chunk of stream) chunks.push(chunk as Buffer);
    return Buffer.concat(chunks);
  }

  /** The node that a pod runs on. */
  async nodeOf(namespace: string, name: string): Promise<string> {
    const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods/${encodeURIComponent(name)}`;
    const node = textOf(objectOf(objectOf(await this.#client.get(path)).spec).nodeName);
    if (node === '')
      throw new WeftError('node-unknown', `The pod ${namespace}/${name} has not been given a node yet.`);
    return node;
  }
}
