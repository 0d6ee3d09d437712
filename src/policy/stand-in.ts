/** Who is meant by the name of a pod that is not there. */
import { keyOf } from '../model/event.js';
import { isFinished } from '../model/pod.js';
import type { Directory } from './directory.js';
import { type End, formatEnd } from './end.js';

const most = 5;

/** A Service of that name, or of the name that DNS has for it within the cluster (NAME.NAMESPACE). */
export function serviceNamed(
  directory: Directory,
  { namespace, name }: { readonly namespace: string; readonly name: string },
): End | undefined {
  if (directory.service(namespace, name) !== undefined) return { kind: 'service', namespace, name };
  const [first = '', second, ...rest] = name.split('.');
  if (second === undefined || rest.length > 0 || directory.service(second, first) === undefined)
    return undefined;
  return { kind: 'service', namespace: second, name: first };
}

/** Pods, or workloads' pods, and Services of that name in every namespace, as they are to be written; sorted, a few of them. */
export function namedAlike(directory: Directory, name: string): readonly string[] {
  const { world } = directory;
  const pods = [...world.all('pod').values()]
    .filter((pod) => !isFinished(pod) && (pod.name === name || pod.name.startsWith(`${name}-`)))
    .map((pod) => keyOf(pod.namespace, pod.name));
  const services = [...world.all('service').values()]
    .filter((service) => service.name === name)
    .map(({ namespace }) => formatEnd({ kind: 'service', namespace, name }));
  return [...pods.sort(), ...services.sort()].slice(0, most);
}

/** The ports of an end, as they may be asked for: `8080/TCP (http), 53/UDP`; '' where it tells none. */
export function portsOf(directory: Directory, end: End): string {
  const ports =
    end.kind === 'pod'
      ? directory.pod(end.namespace, end.name)?.ports
      : end.kind === 'service'
        ? directory.service(end.namespace, end.name)?.ports
        : undefined;
  return (ports ?? [])
    .map(
      ({ name, port, protocol }) =>
        `${port}/${protocol}${name === undefined || name === '' ? '' : ` (${name})`}`,
    )
    .join(', ');
}
