/** The bounds of this node that fill up, with how much of each is used. */
import type { SwitchStatus } from '../dataplane/protocol/answers.js';
import type { Agent } from './agent.js';
import type { LimitUse } from './protocol/answers.js';

/** `status`: the switch's own; null while it is away, and what only it knows is left out. */
export function limitsInUse(agent: Agent, status: SwitchStatus | null): readonly LimitUse[] {
  const { limits } = agent.config;
  const { figures } = agent;
  const rows = [
    { limit: 'ports', used: agent.attachments.count, most: limits.ports },
    { limit: 'identities', used: figures.identities, most: limits.identities },
    { limit: 'classes', used: figures.classes, most: limits.classes },
    { limit: 'services', used: figures.services, most: limits.services },
  ];
  if (status === null) return rows;
  const { used, capacity } = status.connections;
  return [...rows, { limit: 'connections', used, most: capacity }];
}
