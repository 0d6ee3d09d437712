/**
 * Who is meant where a client names a pod, the same for every request that does: the pod of that name, or where there is none, the pods of
 * the workload of that name. A name that nobody has is told so; silence would look like a pod without traffic.
 */
import { WeftError } from '../errors/problem.js';
import { keyOf } from '../model/event.js';
import { isFinished, type Pod } from '../model/pod.js';
import type { Directory } from '../policy/directory.js';
import { namedAlike } from '../policy/stand-in.js';
import type { Agent } from './agent.js';
import { ownerOf } from './owner.js';

export interface PodName {
  readonly namespace: string;
  readonly name: string;
}

/** Live pods of the workload of this name, by name. */
export function podsOfWorkload(directory: Directory, { namespace, name }: PodName): readonly Pod[] {
  const begins = directory.podsIn(namespace).filter((pod) => pod.name.startsWith(`${name}-`));
  const owned = begins.filter((pod) => ownerOf(pod) === name);
  // Nothing tells the owner of a pod that no known controller has made.
  return (owned.length > 0 ? owned : begins).sort((a, b) => (a.name < b.name ? -1 : 1));
}

export function unknownPod(directory: Directory, { namespace, name }: PodName): WeftError {
  const alike = namedAlike(directory, name);
  return new WeftError(
    'unknown-end',
    `The agent knows no pod ${namespace}/${name}, and none whose name begins with it.${
      alike.length === 0
        ? ' Is it deleted, or the API out of reach? `weft status` tells.'
        : ` There is ${alike.join(', ')}.`
    }`,
  );
}

/** Which keys (`namespace/name`) are meant. `remembered`: of pods that are gone and were heard of. Throws `unknown-end`. */
export function meantPods(
  directory: Directory,
  named: PodName,
  remembered: (key: string) => boolean,
): (key: string) => boolean {
  const { namespace, name } = named;
  const key = keyOf(namespace, name);
  if (directory.pod(namespace, name) !== undefined || remembered(key)) return (other) => other === key;
  if (podsOfWorkload(directory, named).length === 0) throw unknownPod(directory, named);
  // Also of those that come later, while it is followed.
  return (other) => other.startsWith(`${key}-`) && isOf(directory, other, name);
}

function isOf(directory: Directory, key: string, workload: string): boolean {
  const pod = directory.world.get('pod', key);
  if (pod === undefined) return true;
  const owner = ownerOf(pod);
  return owner === workload || owner === pod.name;
}

/**
 * Id of the port of the pod that is meant; of a workload that has one pod here, that one's. Throws `unknown-end`, and `port-unknown` where
 * the pod is another node's or the name is several pods'.
 */
export function portOf(agent: Agent, directory: Directory, named: PodName): string {
  const { namespace, name } = named;
  const { ports } = agent.attachments;
  const found = (wanted: string) =>
    ports.find((port) => port.kind === 'pod' && port.namespace === namespace && port.name === wanted);
  const exact = found(name);
  if (exact !== undefined) return exact.id;
  const pod = directory.pod(namespace, name);
  const meant = pod === undefined ? podsOfWorkload(directory, named) : [pod];
  if (meant.length === 0) throw unknownPod(directory, named);
  const here = meant.map((pod) => found(pod.name)).filter((port) => port !== undefined);
  const [only] = here;
  if (only !== undefined && here.length === 1) return only.id;
  if (here.length > 1)
    throw new WeftError(
      'port-unknown',
      `${namespace}/${name} is ${here.length} pods on this node; name one of them: ${some(here)}.`,
    );
  const nodes = new Set(meant.filter((pod) => !isFinished(pod)).map(({ nodeName }) => nodeName));
  nodes.delete('');
  const where = nodes.size === 0 ? '' : ` It runs on ${[...nodes].sort().slice(0, most).join(', ')}.`;
  throw new WeftError(
    'port-unknown',
    `No pod ${namespace}/${name} is attached to this node.${where} \`weft ports\` lists those that are.`,
  );
}

const most = 5;

function some(pods: readonly PodName[]): string {
  const names = pods.slice(0, most).map(({ namespace, name }) => keyOf(namespace, name));
  return names.join(', ') + (pods.length > most ? ' …' : '');
}
