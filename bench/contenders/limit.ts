/**
 * The limit of the design: a raw pump between two TAPs that are made by weft's own code (`bench/programs/pump.cc`). It looks nothing up, so it is
 * what a switch on TAPs could reach at best if it were only a simple pump.
 */
import { join } from 'node:path';
import { packageRoot } from '../../src/dataplane/package-root.js';
import type { Contender, Running, Site } from './contender.js';
import { ground, onStage } from './site.js';

/** The pump between the client's and the server's TAP; `options` as `bench/programs/pump.cc` lists them. */
export function startPump(site: Site, options: readonly string[]): Promise<Running> {
  return onStage(site, async (stage) => {
    const { node, client, server } = await ground(stage);
    const pods = [client, server].map(({ netns, ipv4 }) => `${netns},${ipv4}`);
    const pump = await stage.start(pumpProgram(), [...pods, ...options], { netns: node, ready: /^ready$/m });
    return {
      client,
      server,
      processes: () => (pump.running ? [pump.pid] : []),
      stop: () => stage.end(),
    };
  });
}

/** Built by `deploy/build.sh bench`. */
const pumpProgram = (): string => join(packageRoot(), 'build', 'bench', 'weft-pump');

function limit(name: string, description: string, options: readonly string[]): Contender {
  return {
    name,
    description,
    policies: 0,
    enforces: false,
    packages: [],
    unavailable: () => Promise.resolve(null),
    start: (site) => startPump(site, options),
  };
}

export const limits: readonly Contender[] = [
  limit(
    'limit',
    "A raw pump between two TAPs with weft's own interface settings: no parsing, no lookup, no counters, no policy; one thread, epoll, 64 frames a turn.",
    [],
  ),
  limit(
    'limit-coalescing',
    'The same pump joining successive UDP datagrams of one flow and one size within a turn into one USO write (IPv4), eth0 `noqueue`.',
    ['--coalesce', '--queue-discipline', 'noqueue'],
  ),
];
