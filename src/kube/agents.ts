/** weft's agents in a cluster, found by their labels. */
import { WeftError } from '../errors/problem.js';
import { objectOf, objectsOf, textOf } from '../manifests/plain.js';
import type { KubeClient } from './client.js';
import { KubeError } from './error.js';

export const agentLabels = 'app.kubernetes.io/name=weft,app.kubernetes.io/component=agent';
/** Where weft is installed unless somebody chose otherwise. */
const usualNamespace = 'kube-system';

export interface AgentPod {
  readonly node: string;
  readonly namespace: string;
  readonly pod: string;
  readonly container: string;
  /** Why it cannot be asked; null: it runs. */
  readonly away: string | null;
}

/** Sorted by node, one for each. Throws `agents-none` where there are none, and KubeErrors. */
export async function findAgents(client: KubeClient): Promise<readonly AgentPod[]> {
  const query = { labelSelector: agentLabels };
  let list: unknown;
  try {
    list = await client.get('/api/v1/pods', { query });
  } catch (error) {
    if (!(error instanceof KubeError) || error.code !== 'kube-forbidden') throw error;
    // Who may not see every namespace may be allowed to see weft's.
    list = await client
      .get(`/api/v1/namespaces/${usualNamespace}/pods`, { query })
      .catch((again: unknown) => {
        if (!(again instanceof KubeError) || again.code !== 'kube-forbidden') throw again;
        throw new KubeError(
          'kube-forbidden',
          `${again.message} Let this user find weft's pods: a Role in the namespace ${usualNamespace} with the rule {apiGroups: [""], resources: [pods], verbs: [list]}, bound to it.`,
          { status: again.status, cause: again },
        );
      });
  }
  const byNode = new Map<string, AgentPod>();
  for (const item of objectsOf(objectOf(list).items)) {
    const pod = agentPod(item);
    if (pod.node === '') continue;
    const held = byNode.get(pod.node);
    // While one is replaced there are two for a moment.
    if (held === undefined || (held.away !== null && pod.away === null)) byNode.set(pod.node, pod);
  }
  if (byNode.size === 0)
    throw new WeftError(
      'agents-none',
      `The cluster of ${client.access.from} has no pods with the labels ${agentLabels}. Is weft installed there, or is another context meant (--context)?`,
    );
  return [...byNode.values()].sort((a, b) => (a.node < b.node ? -1 : 1));
}

function agentPod(item: Readonly<Record<string, unknown>>): AgentPod {
  const metadata = objectOf(item.metadata);
  const spec = objectOf(item.spec);
  const status = objectOf(item.status);
  const containers = objectsOf(spec.containers).map(({ name }) => textOf(name));
  const container = containers.find((name) => name === 'agent') ?? containers[0] ?? '';
  const state = objectsOf(status.containerStatuses).find(({ name }) => name === container);
  const waiting = textOf(objectOf(objectOf(state?.state).waiting).reason);
  const phase = textOf(status.phase);
  const away =
    metadata.deletionTimestamp !== undefined
      ? 'it is being deleted'
      : phase !== 'Running'
        ? `it is ${phase || 'not scheduled'}`
        : waiting !== ''
          ? `its container waits: ${waiting}`
          : null;
  return {
    node: textOf(spec.nodeName),
    namespace: textOf(metadata.namespace),
    pod: textOf(metadata.name),
    container,
    away,
  };
}
