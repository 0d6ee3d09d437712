/**
 * The kernel's connections of UDP ports of the host. UDP has no end that the kernel could see: a client that keeps sending keeps its
 * translation alive, to a pod that is gone, or to none from before the port was there.
 */
import type { Problem } from '../errors/problem.js';
import type { Address } from '../net/address.js';
import type { Run } from './command.js';
import type { HostPort } from './host-port.js';

const keyOf = ({ protocol, port, at, to, toPort }: HostPort): string =>
  `${protocol} ${at?.text ?? '*'} ${port} ${to.text} ${toPort}`;

/** Ends what `before` had and `after` has not, and what stands in the way of what is new. `node`: the host's addresses. */
export async function endUdp(
  run: Run,
  before: readonly HostPort[],
  after: readonly HostPort[],
  node: readonly Address[],
): Promise<Problem | null> {
  const [had, has] = [new Set(before.map(keyOf)), new Set(after.map(keyOf))];
  const udp = (list: readonly HostPort[]) => list.filter(({ protocol }) => protocol === 'UDP');
  const calls: (readonly string[])[] = [];
  for (const port of udp(before))
    if (!has.has(keyOf(port))) calls.push([...select(port), '--reply-src', port.to.text]);
  for (const port of udp(after)) {
    if (had.has(keyOf(port))) continue;
    const at = port.at === null ? node.filter(({ family }) => family === port.to.family) : [port.at];
    for (const { text } of at) calls.push([...select(port), '--orig-dst', text]);
  }
  for (const args of calls) {
    const { missing } = await run('conntrack', args);
    // Its status also tells that there was nothing to delete.
    if (missing) return conntrackMissing;
  }
  return null;
}

function select({ to, port }: HostPort): readonly string[] {
  return ['-D', '-f', to.family === 4 ? 'ipv4' : 'ipv6', '-p', 'udp', '--orig-port-dst', String(port)];
}

const conntrackMissing: Problem = {
  code: 'host-conntrack-missing',
  severity: 'warning',
  message:
    'There is no program conntrack, so UDP clients of a hostPort go on to the pod that had it before, until they pause.',
  fix: 'Install the package conntrack; the image of weft has it.',
};
