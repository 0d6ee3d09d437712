/** `weft metrics`: what /metrics serves, over the agent's socket: also where the HTTP server is off. */
import type { Command } from 'commander';
import { type AgentOptions, withAgent, withAgentOptions } from '../connect.js';
import { print } from '../output.js';

export function register(program: Command): void {
  withAgentOptions(
    program.command('metrics').description("Print this node's metrics in the Prometheus text format."),
  ).action(async (options: AgentOptions) => {
    const { text } = await withAgent(options, (agent) => agent.request('metrics'));
    print(text);
  });
}
