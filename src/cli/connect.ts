/** Options that every command has which talks to running agents, and the connections themselves. */
import { setMaxListeners } from 'node:events';
import { join } from 'node:path';
import { type Command, Option } from 'commander';
import { AgentClient } from '../agent/client.js';
import { agentSocketName } from '../agent/protocol.js';
import { loadLastGood } from '../config/last.js';
import { defaultConfig } from '../config/parse.js';
import { WeftError } from '../errors/problem.js';
import type { AgentPod } from '../kube/agents.js';
import { Cluster, type FarOptions, hasKubeconfig, meansCluster } from './far.js';

export interface RunOptions {
  readonly config?: string;
  readonly runDir?: string;
}

/** `--config` and `--run-dir`. */
export function withRunOptions(command: Command): Command {
  return command
    .addOption(
      new Option('--config <file>', 'configuration file (default: /etc/weft/config.yaml, if it is there)'),
    )
    .addOption(
      new Option('--run-dir <folder>', 'run directory, instead of paths.run of the configuration').env(
        'WEFT_RUN_DIR',
      ),
    );
}

/** What commands need that ask running agents: the node's, with `--lab` that of a lab, or those of a cluster. */
export interface AgentOptions extends RunOptions, FarOptions {
  readonly lab?: string | true;
}

export function withAgentOptions(command: Command): Command {
  return withRunOptions(command)
    .option('--lab [name]', "ask a lab's agent instead of the node's")
    .option('--kubeconfig <file>', 'ask the agents of a cluster, through its API server')
    .option('--context <name>', 'the same, by this context of the kubeconfig')
    .option('--node <name...>', 'the same, only these nodes');
}

/** The run directory of the agent that is asked. Throws what is in the way of knowing it. */
export async function runFolder(options: AgentOptions): Promise<string> {
  if (options.lab !== undefined) {
    const { findLabs, inside } = await import('../lab/launch.js');
    const labs = findLabs();
    const lab = labs.find(({ name }) => options.lab === true || name === options.lab);
    if (lab === undefined || (options.lab === true && labs.length > 1))
      throw new WeftError(
        'lab-none',
        labs.length === 0
          ? 'No lab is running. Start one with `weft lab up`.'
          : options.lab !== true
            ? `No lab called "${options.lab}" is running. There is ${labs.map(({ name }) => `--lab ${name}`).join(' and ')}.`
            : `Say which lab: ${labs.map(({ name }) => `--lab ${name}`).join(' or ')}.`,
      );
    return inside(lab, defaultConfig().paths.run);
  }
  const overrides = options.runDir === undefined ? {} : { paths: { run: options.runDir } };
  // Who asks what is going on, while the file is broken, is told both.
  const { config, refused } = await loadLastGood(options.config, overrides);
  if (refused !== undefined)
    process.stderr.write(`weft: ${refused.message}\n(agent and switch go on with the last good one)\n`);
  return config.paths.run;
}

export async function socketPath(options: AgentOptions): Promise<string> {
  return join(await runFolder(options), agentSocketName);
}

/** The agent of this node or of a lab, whatever cluster there may be. To be closed by the caller. */
export async function openAgent(options: AgentOptions): Promise<AgentClient> {
  return await AgentClient.open(await socketPath(options));
}

export interface NodeAnswer<Result> {
  /** '' where there is only one that could be meant: this node, or a lab. */
  readonly node: string;
  readonly value: Result;
}

export interface Answers<Result> {
  /** Of the nodes that answered, by name. */
  readonly answers: readonly NodeAnswer<Result>[];
  /** Nodes that did not, with the reason. It has been told on standard error. */
  readonly failures: readonly { readonly node: string; readonly error: WeftError }[];
}

/**
 * Connects to every agent that is meant, runs, and closes whatever happens: on this node, or from afar on all nodes of a cluster at once. Afar
 * one node's failure is its own; the exit status of the command becomes 2, and nothing is thrown unless every node fails.
 */
export async function withAgents<Result>(
  options: AgentOptions,
  run: (agent: AgentClient, node: string) => Promise<Result>,
): Promise<Answers<Result>> {
  const agent = await openLocal(options);
  if (agent === null) return await ofCluster(options, (cluster) => cluster.agents(), asking(run));
  return { answers: [{ node: '', value: await closing(agent, (open) => run(open, '')) }], failures: [] };
}

/** The same for a question that one node answers: afar that which hosts the pod, or the one that is named. */
export async function withPodAgent<Result>(
  options: AgentOptions,
  pod: { readonly namespace: string; readonly name: string },
  run: (agent: AgentClient, node: string) => Promise<Result>,
): Promise<Result> {
  const agent = await openLocal(options);
  if (agent !== null) return await closing(agent, (open) => run(open, ''));
  const { answers } = await ofCluster(
    options,
    async (cluster) => {
      if (options.node !== undefined) return await cluster.agents();
      const node = await cluster.nodeOf(pod.namespace, pod.name);
      const agents = (await cluster.agents()).filter((agent) => agent.node === node);
      if (agents.length > 0) return agents;
      throw new WeftError(
        'node-unknown',
        `The pod ${pod.namespace}/${pod.name} runs on the node ${node}, which has no agent of weft.`,
      );
    },
    asking(run),
  );
  return onlyOne(answers);
}

/** Connects to the one agent that is meant, runs, and closes whatever happens. Afar a node has to be named if there are several. */
export async function withAgent<Result>(
  options: AgentOptions,
  run: (agent: AgentClient) => Promise<Result>,
): Promise<Result> {
  const agent = await openLocal(options);
  if (agent !== null) return await closing(agent, run);
  const choose = async (cluster: Cluster) => {
    const agents = await cluster.agents();
    if (agents.length === 1) return agents;
    throw new WeftError(
      'usage',
      `This command asks one node; name it: ${agents.map(({ node }) => `--node ${node}`).join(' or ')}.`,
    );
  };
  return onlyOne((await ofCluster(options, choose, asking(run))).answers);
}

/**
 * What a program prints in the agents' pods of a cluster, one for each node; failures as of withAgents. For commands that look at more
 * than the agent: their local half runs over there.
 */
export async function runAfar(options: FarOptions, command: readonly string[]): Promise<Answers<Buffer>> {
  return await ofCluster(
    options,
    (cluster) => cluster.agents(),
    (cluster, pod) => cluster.output(pod, command),
  );
}

type Asking<Result> = (cluster: Cluster, pod: AgentPod) => Promise<Result>;

function asking<Result>(run: (agent: AgentClient, node: string) => Promise<Result>): Asking<Result> {
  return async (cluster, pod) => closing(await cluster.open(pod), (agent) => run(agent, pod.node));
}

/** The agent of this node or of a lab; null: a cluster is meant. */
async function openLocal(options: AgentOptions): Promise<AgentClient | null> {
  const { lab, runDir, config } = options;
  if (lab === undefined && meansCluster(options)) return null;
  try {
    return await openAgent(options);
  } catch (error) {
    // Not a node: whoever has a kubeconfig means its cluster.
    const named = lab !== undefined || runDir !== undefined || config !== undefined;
    if (!named && error instanceof WeftError && error.code === 'agent-away' && hasKubeconfig()) {
      process.stderr.write(
        'weft: no agent answers on this machine; the cluster of the kubeconfig is asked\n',
      );
      return null;
    }
    throw error;
  }
}

async function closing<Result>(
  agent: AgentClient,
  run: (agent: AgentClient) => Promise<Result>,
): Promise<Result> {
  try {
    return await run(agent);
  } finally {
    agent.close();
  }
}

function onlyOne<Result>(answers: readonly NodeAnswer<Result>[]): Result {
  const [first] = answers;
  if (first === undefined) throw new WeftError('agent-away', 'No agent answered.');
  return first.value;
}

async function ofCluster<Result>(
  options: FarOptions,
  choose: (cluster: Cluster) => Promise<readonly AgentPod[]>,
  ask: Asking<Result>,
): Promise<Answers<Result>> {
  const cluster = new Cluster(options);
  try {
    const pods = await choose(cluster);
    const settled = await Promise.all(
      pods.map(async (pod): Promise<{ node: string; value: Result } | { node: string; error: WeftError }> => {
        const { node } = pod;
        try {
          return { node, value: await ask(cluster, pod) };
        } catch (error) {
          if (!(error instanceof WeftError)) throw error;
          return { node, error };
        }
      }),
    );
    const answers = settled.flatMap((one) => ('value' in one ? [one] : []));
    const failures = settled.flatMap((one) => ('error' in one ? [one] : []));
    const [first] = failures;
    if (first !== undefined && answers.length === 0 && failures.length === 1) throw first.error;
    for (const { node, error } of failures) process.stderr.write(`weft: ${node}: ${error.message}\n`);
    if (first !== undefined && answers.length === 0)
      throw new WeftError('agent-away', `None of the ${failures.length} nodes answered.`);
    if (first !== undefined) process.exitCode = 2;
    return { answers, failures };
  } finally {
    cluster.close();
  }
}

/** Exit status of a command that asked nodes: its own, unless a node did not answer. */
export function exitStatus({ failures }: Answers<unknown>, own: 0 | 1): 0 | 1 | 2 {
  return failures.length > 0 ? 2 : own;
}

const interrupted = new AbortController();
let listening = false;

/**
 * Runs what goes on until the user ends it (Ctrl-C, SIGTERM), which then closes the agent's connection. False: it was ended so.
 */
export async function untilInterrupted(agent: AgentClient, run: () => Promise<void>): Promise<boolean> {
  if (!listening) {
    listening = true;
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => interrupted.abort());
    setMaxListeners(0, interrupted.signal);
  }
  const end = () => agent.close();
  if (interrupted.signal.aborted) end();
  interrupted.signal.addEventListener('abort', end, { once: true });
  try {
    await run();
    return true;
  } catch (error) {
    if (!interrupted.signal.aborted) throw error;
    return false;
  } finally {
    interrupted.signal.removeEventListener('abort', end);
  }
}
