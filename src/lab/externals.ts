/**
 * Hosts outside of the cluster: for each address a network namespace behind the node, joined to the node's by a veth pair, so that
 * its traffic takes the way of a real outside client or server: through the node's own routing and the switch's host port. The one part of
 * the lab that needs more of the kernel than TAPs (veth), and only when it is asked for.
 */
import { spawnSync } from 'node:child_process';
import { WeftError } from '../errors/problem.js';
import { type Address, parseAddress } from '../net/address.js';
import { createNamespace, type Responders, removeNamespace } from './engine.js';
import { type Party, partyOfAddress } from './matrix.js';
import type { ExternalHost } from './protocol.js';

/** The node's end of every pair: reached over the link, never routed. */
const nodeSide = { 4: '169.254.77.1', 6: 'fe80::77' } as const;

export function ip(...args: readonly string[]): void {
  const run = spawnSync('ip', args, { encoding: 'utf8' });
  if (run.status === 0) return;
  const said = run.error?.message ?? run.stderr.trim();
  throw new WeftError('lab-ip', `\`ip ${args.join(' ')}\` failed: ${said}. Is iproute2 installed?`);
}

interface Held {
  readonly party: Party;
  readonly link: string;
}

export class Externals {
  readonly #held = new Map<string, Held>();
  readonly #responders: Responders;
  readonly #folder: string;
  #count = 0;

  /** Namespaces are made in `folder`. */
  constructor(responders: Responders, folder: string) {
    this.#responders = responders;
    this.#folder = folder;
  }

  get parties(): readonly Party[] {
    return [...this.#held.values()].map(({ party }) => party);
  }

  /** Makes the hosts that are listed and ends those that are not. */
  set(hosts: readonly ExternalHost[]): void {
    const wanted = new Map<string, ExternalHost>();
    for (const host of hosts) {
      const address = parseAddress(host.address);
      if (address === undefined)
        throw new WeftError(
          'lab-external',
          `"${host.address}" is no IP address, so it cannot be an external host.`,
        );
      wanted.set(address.text, host);
    }
    for (const [key, held] of this.#held) if (!wanted.has(key)) this.#end(key, held);
    for (const [key, host] of wanted) {
      const netns = this.#held.get(key)?.party.netns ?? this.#make(parseAddress(key)!);
      const party = partyOfAddress(key, netns, host.ports)!;
      this.#held.set(key, { party, link: linkOf(netns) });
      this.#responders.serve({
        key: `external ${key}`,
        name: key,
        netns,
        ports: host.ports,
        sharesNamespace: false,
      });
    }
  }

  #make(address: Address): string {
    this.#count++;
    const link = `ext${this.#count}`;
    const name = `external-${this.#count}`;
    const netns = `${this.#folder}/${name}`;
    const family = address.family === 4 ? '-4' : '-6';
    const gateway = nodeSide[address.family];
    const length = address.family === 4 ? 32 : 128;
    createNamespace(netns);
    ip('link', 'add', link, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', name);
    ip('addr', 'add', `${gateway}/${length}`, 'dev', link, ...(family === '-6' ? ['nodad'] : []));
    ip('link', 'set', link, 'up');
    ip(
      '-n',
      name,
      'addr',
      'add',
      `${address.text}/${length}`,
      'dev',
      'eth0',
      ...(family === '-6' ? ['nodad'] : []),
    );
    ip('-n', name, 'link', 'set', 'eth0', 'up');
    ip('-n', name, family, 'route', 'add', gateway, 'dev', 'eth0');
    ip('-n', name, family, 'route', 'add', 'default', 'via', gateway, 'dev', 'eth0', 'onlink');
    ip(family, 'route', 'add', `${address.text}/${length}`, 'dev', link);
    return netns;
  }

  #end(key: string, held: Held): void {
    this.#held.delete(key);
    this.#responders.stop(`external ${key}`);
    ip('link', 'del', held.link);
    removeNamespace(held.party.netns);
  }
}

/** `…/external-3` and `ext3` are made together. */
function linkOf(netns: string): string {
  return `ext${netns.slice(netns.lastIndexOf('-') + 1)}`;
}
