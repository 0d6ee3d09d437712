/**
 * The processor cgroups that a kubelet makes, `kubepods/burstable/podN/container` for pods with a request and `kubepods/besteffort/…` for those
 * without, with weights as it computes them from requests; in either version of cgroups. The tree has a name of its own beside a real
 * kubelet's, and is removed with its last user.
 *
 * The kubelet's rules (pkg/kubelet/cm: node allocatable, QOS and pod containers): all pods together have what the node can allocate, burstable
 * ones together the sum of their requests, best-effort ones together, each of their pods and each of those containers the least there is.
 *
 * Version 1 has `cpu.shares` (1,024 for a processor); version 2 has `cpu.weight`, into which the kubelet maps shares by
 * 1 + (shares - 2) · 9999 / 262142 (KEP 2254).
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';

const prefix = 'weft-bench-kubepods-';
const sharesOfProcessor = 1024;

export interface CpuController {
  readonly root: string;
  readonly version: 1 | 2;
}

/** Where processor cgroups are, from the text of /proc/mounts; null where there are none. `hasCpu` says of a version 2 root whether it has the controller. */
export function cpuController(mounts: string, hasCpu: (root: string) => boolean): CpuController | null {
  let second: string | null = null;
  for (const line of mounts.split('\n')) {
    const [, root, type, options] = line.split(' ');
    if (root === undefined || options === undefined) continue;
    if (type === 'cgroup' && options.split(',').includes('cpu')) return { root, version: 1 };
    if (type === 'cgroup2' && second === null && hasCpu(root)) second = root;
  }
  return second === null ? null : { root: second, version: 2 };
}

function findController(): CpuController | null {
  const hasCpu = (root: string) => {
    const file = join(root, 'cgroup.controllers');
    return existsSync(file) && readFileSync(file, 'utf8').trim().split(' ').includes('cpu');
  };
  return cpuController(readFileSync('/proc/mounts', 'utf8'), hasCpu);
}

/** What the kubelet writes for so many thousandths of a processor. */
export function weightOf(milli: number, version: 1 | 2): number {
  const shares = Math.max(2, Math.floor((milli * sharesOfProcessor) / 1000));
  return version === 1 ? shares : 1 + Math.floor(((shares - 2) * 9999) / 262_142);
}

/** Why there can be no pods' cgroups here, or null. */
export function cgroupsMissing(): string | null {
  if (findController() === null) return 'no processor cgroups are mounted';
  return process.geteuid?.() === 0 ? null : 'cgroups need root';
}

export class PodCgroups {
  readonly #controller: CpuController;
  readonly #top: string;
  readonly #made: string[] = [];
  readonly #containers = new Map<string, string>();

  /** `pods` have requests in thousandths of a processor; 0, none, makes a pod best effort. */
  constructor(pods: Readonly<Record<string, number>>) {
    const controller = findController();
    if (controller === null) throw new Error('no processor cgroups are mounted');
    this.#controller = controller;
    this.#top = join(controller.root, prefix + process.pid);
    sweep(controller.root);
    try {
      this.#make(this.#top, 1000 * availableParallelism());
      const requests = Object.values(pods).reduce((sum, milli) => sum + milli, 0);
      this.#make(join(this.#top, 'burstable'), requests);
      this.#make(join(this.#top, 'besteffort'), 0);
      for (const [pod, milli] of Object.entries(pods)) {
        const folder = join(this.#top, milli > 0 ? 'burstable' : 'besteffort', `pod${pod}`);
        this.#make(folder, milli);
        this.#make(join(folder, 'container'), milli);
        this.#containers.set(pod, join(folder, 'container'));
      }
    } catch (error) {
      for (const folder of this.#made.reverse()) rmdirSync(folder);
      throw error;
    }
  }

  /** A command in front of another: the other one runs in the pod's container. */
  inside(pod: string): readonly string[] {
    const container = this.#containers.get(pod);
    if (container === undefined) throw new Error(`there is no pod ${pod}`);
    const file = join(container, 'cgroup.procs');
    return ['sh', '-c', 'echo $$ >"$0" && exec "$@"', file];
  }

  /** When their processes have ended; a process that has just been killed may hold its cgroup for a moment. */
  async remove(): Promise<void> {
    for (const folder of this.#made.reverse()) {
      for (let tries = 0; existsSync(folder); ++tries) {
        try {
          rmdirSync(folder);
        } catch (error) {
          if (tries === 100) throw error;
          await pause(20);
        }
      }
    }
    this.#made.length = 0;
  }

  #make(folder: string, milli: number): void {
    const { version } = this.#controller;
    if (version === 2) {
      // A child has the controller where its parent hands it on.
      writeFileSync(join(folder, '..', 'cgroup.subtree_control'), '+cpu');
    }
    mkdirSync(folder);
    this.#made.push(folder);
    const file = join(folder, version === 1 ? 'cpu.shares' : 'cpu.weight');
    writeFileSync(file, String(weightOf(milli, version)));
  }
}

/** Removes trees of runs that are no more; their programs died with them. */
function sweep(root: string): void {
  for (const name of readdirSync(root)) {
    if (!name.startsWith(prefix) || existsSync(`/proc/${name.slice(prefix.length)}`)) continue;
    removeTree(join(root, name));
  }
}

function removeTree(folder: string): void {
  for (const entry of readdirSync(folder, { withFileTypes: true }))
    if (entry.isDirectory()) removeTree(join(folder, entry.name));
  rmdirSync(folder);
}
