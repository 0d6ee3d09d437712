/** A weft node for measures of the node itself: the contenders' cluster, and pods that are attached and silent. */
import type { Site } from '../contenders/contender.js';
import { onStage, type Stage } from '../contenders/site.js';
import { WeftNode, type WeftPod } from '../contenders/weft-node.js';
import { podObject, worldObjects } from '../contenders/weft-objects.js';
import { benchWorld, type WorldPod } from '../contenders/world.js';

export interface Standing {
  readonly node: WeftNode;
  /** In the order in which they are to be attached, or were. */
  readonly pods: readonly WeftPod[];
  readonly stop: () => Promise<void>;
}

/** A node with `policies`, and `pods` with a network namespace each, that are known but not attached yet. */
export function standNode(site: Site, policies: number, pods: number): Promise<Standing> {
  return onStage(site, async (stage) => {
    const world = benchWorld(policies);
    const chosen = choosePods(world.local, pods);
    const netns = await stage.namespace('node');
    const node = await WeftNode.start(stage, {
      netns,
      // Pods beyond those of the world have addresses outside of its node's own range.
      podCidr: '10.42.0.0/16',
      objects: [...worldObjects(world), ...chosen.slice(world.local.length).map(podObject)],
    });
    return { node, pods: await withNamespaces(stage, chosen), stop: () => stage.end() };
  });
}

/** The world's own pods first: policies select them. Others, beyond kubelet's 110, have no policy of their own. */
function choosePods(local: readonly WorldPod[], count: number): readonly WorldPod[] {
  const extra = Array.from({ length: Math.max(0, count - local.length) }, (_, i): WorldPod => {
    const namespace = local[0]?.namespace ?? 'default';
    return { namespace, name: `extra-${i}`, labels: {}, ipv4: `10.42.200.${i + 1}`, local: true };
  });
  return [...local, ...extra].slice(0, count);
}

async function withNamespaces(stage: Stage, pods: readonly WorldPod[]): Promise<readonly WeftPod[]> {
  const made: WeftPod[] = [];
  for (const [i, { namespace, name, ipv4 }] of pods.entries())
    made.push({ namespace, name, ipv4, netns: await stage.namespace(`p${i}`) });
  return made;
}
