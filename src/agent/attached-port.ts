/** What a client's question needs of the agent before the switch can be asked: the connection to it, and the port of a pod. */
import { WeftError } from '../errors/problem.js';
import type { Agent } from './agent.js';
import type { SwitchLink } from './switch-link.js';

/** Throws `switch-away` where there is none. */
export function needLink(agent: Agent): SwitchLink {
  if (agent.link === null)
    throw new WeftError(
      'switch-away',
      'The agent has no connection to the switch. Start it with `weft switch`, or look into its log.',
    );
  return agent.link;
}

/** Id of the port of a pod that is attached here; throws `port-unknown`. */
export function portOf(agent: Agent, pod: { readonly namespace?: string; readonly name?: string }): string {
  const found = agent.attachments.ports.find(
    ({ namespace, name }) => namespace === pod.namespace && name === pod.name,
  );
  if (found === undefined)
    throw new WeftError(
      'port-unknown',
      `No pod ${pod.namespace}/${pod.name} is attached to this node. \`weft ports\` lists those that are.`,
    );
  return found.id;
}
