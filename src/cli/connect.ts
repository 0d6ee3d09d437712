/** Options that every command has which talks to a running agent, and the connection itself. */
import { join } from 'node:path';
import { type Command, Option } from 'commander';
import { AgentClient } from '../agent/client.js';
import { agentSocketName } from '../agent/process.js';
import { loadConfig } from '../config/load.js';
import { defaultConfig } from '../config/parse.js';
import { WeftError } from '../errors/problem.js';

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

/** What commands need that ask a running agent: the node's, or with `--lab` that of a lab. */
export interface AgentOptions extends RunOptions {
  readonly lab?: string | true;
}

export function withAgentOptions(command: Command): Command {
  return withRunOptions(command).option('--lab [name]', "ask a lab's agent instead of the node's");
}

async function socketPath(options: AgentOptions): Promise<string> {
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
    return inside(lab, join(defaultConfig().paths.run, agentSocketName));
  }
  const overrides = options.runDir === undefined ? {} : { paths: { run: options.runDir } };
  const config = await loadConfig(options.config, overrides);
  return join(config.paths.run, agentSocketName);
}

/** Connects to the agent, runs, and closes whatever happens. */
export async function withAgent<Result>(
  options: AgentOptions,
  run: (agent: AgentClient) => Promise<Result>,
): Promise<Result> {
  const agent = await AgentClient.open(await socketPath(options));
  try {
    return await run(agent);
  } finally {
    agent.close();
  }
}
