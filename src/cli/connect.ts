/** Options that every command has which talks to a running agent, and the connection itself. */
import { join } from 'node:path';
import { type Command, Option } from 'commander';
import { AgentClient } from '../agent/client.js';
import { agentSocketName } from '../agent/process.js';
import { loadConfig } from '../config/load.js';
import type { Config } from '../config/options.js';
import type { Overrides } from '../config/parse.js';

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

/** What the flags say, over the file. */
export function runOverrides(options: RunOptions): Overrides<Config> {
  return options.runDir === undefined ? {} : { paths: { run: options.runDir } };
}

/** The configuration of a process that `withRunOptions` was given to. */
export function loadRunConfig(options: RunOptions): Promise<Config> {
  return loadConfig(options.config, runOverrides(options));
}

/** Connects to the agent, runs, and closes whatever happens. */
export async function withAgent<Result>(
  options: RunOptions,
  run: (agent: AgentClient) => Promise<Result>,
): Promise<Result> {
  const config = await loadRunConfig(options);
  const agent = await AgentClient.open(join(config.paths.run, agentSocketName));
  try {
    return await run(agent);
  } finally {
    agent.close();
  }
}
