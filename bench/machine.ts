/** What the figures were measured on: read from /proc and from the programs themselves; what cannot be read is null, never guessed. */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { cpus, loadavg, release, totalmem } from 'node:os';
import { setTimeout as pause } from 'node:timers/promises';

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  /** In a virtual machine the neighbours are part of the noise. */
  readonly virtual: boolean;
  readonly memoryMB: number;
  readonly architecture: string;
  readonly kernel: string;
  readonly system: string | null;
  readonly governor: string | null;
  /** Before anything was started: load of the last minute, and processor time used in one second, in percent of a core. */
  readonly load: number;
  readonly busy: number;
  /** Program → its own words; null: not there. */
  readonly versions: Readonly<Record<string, string | null>>;
  /** The commit that was measured; `dirty` when files differ from it. Null outside a checkout. */
  readonly commit: string | null;
}

const programs: Readonly<Record<string, readonly string[]>> = {
  iproute2: ['ip', '-V'],
  iptables: ['iptables', '--version'],
  ipset: ['ipset', '--version'],
  nftables: ['nft', '--version'],
  'Open vSwitch': ['ovs-vswitchd', '--version'],
  valgrind: ['valgrind', '--version'],
};

/** Where root's programs are, for whom they are not in the path. */
const environment = { ...process.env, PATH: `${process.env.PATH ?? ''}:/usr/sbin:/sbin`, LC_ALL: 'C' };

/** The first line that a command prints, or null. */
function firstLine(command: string, args: readonly string[], folder?: string): string | null {
  try {
    const printed = execFileSync(command, args, {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
      timeout: 10_000,
      env: environment,
      ...(folder === undefined ? {} : { cwd: folder }),
    });
    return printed.trim().split('\n')[0] || null;
  } catch {
    return null;
  }
}

function contents(path: string): string | null {
  return existsSync(path) ? readFileSync(path, 'utf8').trim() : null;
}

function commitOf(folder: string): string | null {
  const commit = firstLine('git', ['rev-parse', 'HEAD'], folder);
  if (commit === null) return null;
  return firstLine('git', ['status', '--porcelain', '--untracked-files=no'], folder) === null
    ? commit
    : `${commit} dirty`;
}

/** Fields of the first line of /proc/stat, clock ticks (10 ms) of all cores since the machine started. */
function ticks(...fields: readonly number[]): number {
  const line = (readFileSync('/proc/stat', 'utf8').split('\n')[0] ?? '').trim().split(/\s+/);
  return fields.reduce((total, field) => total + Number(line[field] ?? 0), 0);
}

/** User, nice, system, irq, softirq. */
const busyTicks = () => ticks(1, 2, 3, 6, 7);

/** Seconds that cores had work and the hypervisor gave them to somebody else, all cores, since the start of the machine. */
export const stolenSeconds = (): number => ticks(8) / 100;

/** Processor time that the machine uses over so many milliseconds, in percent of one core; interrupts included, waiting not. */
export async function busyShare(milliseconds: number): Promise<number> {
  const [before, begun] = [busyTicks(), performance.now()];
  await pause(milliseconds);
  return ((busyTicks() - before) * 10 * 100) / (performance.now() - begun);
}

/** `folder`: the checkout. */
export async function machineOf(folder: string): Promise<Machine> {
  const cpuinfo = contents('/proc/cpuinfo') ?? '';
  // Boards do not name the CPU there, but themselves in the device tree.
  const model =
    /^model name\s*:\s*(.+)$/m.exec(cpuinfo)?.[1] ??
    contents('/proc/device-tree/model')?.replaceAll('\0', '') ??
    cpus()[0]?.model;
  const versions = Object.entries(programs).map(
    ([name, [command, ...args]]) => [name, firstLine(command as string, args)] as const,
  );
  return {
    cpu: model ?? 'unknown',
    cores: cpus().length,
    virtual: /^flags\s*:.*\bhypervisor\b/m.test(cpuinfo),
    memoryMB: Math.round(totalmem() / 2 ** 20),
    architecture: process.arch,
    kernel: release(),
    system: /^PRETTY_NAME="?([^"\n]*)/m.exec(contents('/etc/os-release') ?? '')?.[1] ?? null,
    governor: contents('/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor'),
    load: loadavg()[0] ?? 0,
    busy: await busyShare(1000),
    versions: { node: process.version, ...Object.fromEntries(versions) },
    commit: commitOf(folder),
  };
}
