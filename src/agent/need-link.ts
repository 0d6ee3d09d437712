/** What a question needs of the agent before the switch can be asked: the connection to it. */
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
