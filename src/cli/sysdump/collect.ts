/**
 * What goes into a dump, entry by entry. Nothing here reads Secrets, manifests, kubeconfigs, service account tokens or the environment;
 * each text passes `redact` all the same. An entry that cannot be had is no failure of the dump: `collected.json` says why.
 */
import { execFile } from 'node:child_process';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import type { AgentClient } from '../../agent/client.js';
import { decode } from '../../image/decode.js';
import { redact } from './redact.js';
import { type TarFile, tar } from './tar.js';

export interface Entry {
  readonly name: string;
  /** Rejects with the reason why there is nothing. */
  readonly gather: () => Promise<string>;
}

export interface Gathered {
  readonly name: string;
  readonly bytes: number;
  /** Why there is nothing, or what was left out. */
  readonly note?: string;
}

/** Bytes of one entry; of a longer one the end is kept, which is where logs say what happened last. */
const longest = 8 * 1024 * 1024;
const commandPatience = 10_000; // milliseconds

/** The archive, compressed, everything below `folder`, and what became of each entry. */
export async function pack(
  entries: readonly Entry[],
  folder: string,
  now: Date,
): Promise<{ archive: Buffer; gathered: readonly Gathered[] }> {
  const files: TarFile[] = [];
  const gathered: Gathered[] = [];
  const modified = now.getTime() / 1000;
  for (const { name, gather } of entries) {
    try {
      const text = redact(await gather());
      const cut = text.length > longest;
      const content = Buffer.from(cut ? text.slice(-longest) : text);
      files.push({ name: `${folder}/${name}`, content, modified });
      gathered.push({ name, bytes: content.length, ...(cut ? { note: 'only its end' } : {}) });
    } catch (error) {
      gathered.push({ name, bytes: 0, note: redact((error as Error).message) });
    }
  }
  const index = Buffer.from(`${JSON.stringify({ time: now.toISOString(), entries: gathered }, null, 2)}\n`);
  files.unshift({ name: `${folder}/collected.json`, content: index, modified });
  return { archive: gzipSync(tar(files)), gathered };
}

const json = (value: unknown): string => `${JSON.stringify(value, null, 2)}\n`;

/** What the running agent tells. `agent` rejects where there is none. */
export function agentEntries(agent: () => Promise<AgentClient>): readonly Entry[] {
  const flows = (drops: boolean) => async () => {
    const lines: string[] = [];
    await (await agent()).subscribe({ type: 'flows', follow: false, drops }, (event) => {
      if (event.event === 'flow') lines.push(JSON.stringify(event.flow));
    });
    return lines.map((line) => `${line}\n`).join('');
  };
  return [
    { name: 'status.json', gather: async () => json(await (await agent()).request('status')) },
    { name: 'ports.json', gather: async () => json((await (await agent()).request('ports')).ports) },
    {
      name: 'conntrack.json',
      gather: async () => json((await (await agent()).request('connections', { limit: 10_000 })).connections),
    },
    { name: 'metrics.txt', gather: async () => (await (await agent()).request('metrics')).text },
    { name: 'flows.jsonl', gather: flows(false) },
    { name: 'drops.jsonl', gather: flows(true) },
  ];
}

/** What lies in the run directory: names and sizes of all, leases, and the image that the switch enforces, decoded. */
export function runEntries(run: string): readonly Entry[] {
  return [
    { name: 'run/files.txt', gather: async () => listing(run) },
    { name: 'run/leases.jsonl', gather: async () => readFileSync(join(run, 'leases.jsonl'), 'utf8') },
    {
      name: 'run/switch-state.json',
      gather: async () => readFileSync(join(run, 'switch-state.json'), 'utf8'),
    },
    { name: 'image.json', gather: async () => json(imageSummary(readFileSync(join(run, 'switch-image')))) },
  ];
}

function listing(folder: string): string {
  return readdirSync(folder, { withFileTypes: true })
    .map((entry) => {
      const size = entry.isFile() ? statSync(join(folder, entry.name)).size : '-';
      return `${size}\t${entry.name}${entry.isDirectory() ? '/' : ''}\n`;
    })
    .sort()
    .join('');
}

/** Sizes, settings and names of an image; not its addresses one by one. Exported for its test. */
export function imageSummary(bytes: Uint8Array): unknown {
  const decoded = decode(bytes);
  if ('problem' in decoded) return { bytes: bytes.byteLength, problem: decoded.problem };
  const { image } = decoded;
  return {
    bytes: bytes.byteLength,
    settings: image.settings,
    sections: image.counts,
    policies: image.policies,
  };
}

/** Commands whose output shows how the host's network stands. */
const hostCommands: readonly (readonly [name: string, command: readonly string[]])[] = [
  ['host/uname.txt', ['uname', '-a']],
  ['host/addresses.txt', ['ip', '-details', '-statistics', 'address', 'show']],
  ['host/rules.txt', ['ip', 'rule', 'show']],
  ['host/routes4.txt', ['ip', '-4', 'route', 'show', 'table', 'all']],
  ['host/routes6.txt', ['ip', '-6', 'route', 'show', 'table', 'all']],
  ['host/nft.txt', ['nft', 'list', 'ruleset']],
  ['host/iptables.txt', ['iptables-save']],
  ['host/ip6tables.txt', ['ip6tables-save']],
  ['host/sysctl.txt', ['sysctl', '-a', '--pattern', '^(net\\.|kernel\\.(osrelease|version))']],
  ['host/sockets.txt', ['ss', '-s']],
  ['host/memory.txt', ['free', '-m']],
  ['host/modules.txt', ['lsmod']],
];

export function hostEntries(): readonly Entry[] {
  return hostCommands.map(([name, command]) => ({ name, gather: () => output(command) }));
}

/** Logs of weft's units and pods, as far as they are kept here. `root`: where the host's files are. */
export function logEntries(root: string): readonly Entry[] {
  const journal: Entry = {
    name: 'logs/journal.txt',
    gather: () =>
      output([
        'journalctl',
        '--no-pager',
        '--lines',
        '5000',
        '-u',
        'weft*',
        ...(root === '' ? [] : ['--root', root]),
      ]),
  };
  return [journal, ...podLogs(join(root === '' ? '/' : root, 'var/log/pods'))];
}

/** `NAMESPACE_POD_UID/CONTAINER/N.log`: those of pods that are called weft. */
function podLogs(folder: string): readonly Entry[] {
  const inside = (path: string): readonly string[] => {
    try {
      return readdirSync(path).sort();
    } catch {
      return [];
    }
  };
  return inside(folder)
    .filter((pod) => /^[^_]*_[^_]*weft[^_]*_/.test(pod))
    .flatMap((pod) =>
      inside(join(folder, pod)).flatMap((container) =>
        inside(join(folder, pod, container))
          .filter((file) => file.endsWith('.log'))
          .map((file) => ({
            name: `logs/${pod.split('_')[1]?.slice(0, 60)}/${container.slice(0, 40)}-${file}`,
            gather: async () => readFileSync(join(folder, pod, container, file), 'utf8'),
          })),
      ),
    );
}

function output([program, ...args]: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const options = {
      timeout: commandPatience,
      maxBuffer: 4 * longest,
      env: { PATH: searchPath(), LC_ALL: 'C' },
    };
    execFile(program!, args, options, (error, stdout, stderr) => {
      if (error === null) resolve(stdout);
      else reject(new Error(stderr.trim().split('\n')[0] || error.message));
    });
  });
}

const searchPath = (): string => `${process.env.PATH ?? ''}:/usr/sbin:/sbin`;
