/**
 * Memory of supervisor, switch and agent together. Reported is what the three would have as PSS on a node where nothing else runs Node.js: the
 * distinct page frames that any of them maps. The kernel's own PSS (smaps_rollup) divides Node.js' code and libraries by the bench's process
 * too, which runs the same program, and would make weft look smaller than it is.
 */
import { closeSync, openSync, readFileSync, readSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import type { NodeMeasure } from '../node-measure.js';
import { standNode } from './standing.js';

const pageBytes = 4096;
const usualPolicies = 1_000;

function memory(name: string, pods: number, policies: number): NodeMeasure {
  return {
    name,
    description: `Memory of supervisor, switch and agent with ${pods} pods attached and ${policies.toLocaleString('en')} policies.`,
    measures: [{ name: 'pss', unit: 'MB', better: 'lower' }],
    subjects: ['weft'],
    packages: [],
    repeat: 'rounds',
    estimate: { start: 10 + pods / 10 + policies / 1000, sample: 1 },
    unavailable: async () => null,
    async start(_subject, site) {
      const { node, pods: known, stop } = await standNode(site, policies, pods);
      for (const pod of known) await node.attach(pod);
      await pause(5000);
      return {
        sample: async () => ({ pss: distinctBytes(Object.values(node.processes)) / 1e6 }),
        stop,
      };
    },
  };
}

export const memories: readonly NodeMeasure[] = [
  memory('memory-0-pods', 0, usualPolicies),
  memory('memory-100-pods', 100, usualPolicies),
  memory('memory-250-pods', 250, usualPolicies),
  memory('memory-10000-policies', 100, 10_000),
];

/** Page frames that are mapped by at least one of the processes, each counted once. Needs CAP_SYS_ADMIN: others read frame number 0. */
function distinctBytes(pids: readonly number[]): number {
  const frames = new Set<number>();
  for (const pid of pids) collectFrames(pid, frames);
  if (frames.size === 0) throw new Error('/proc/PID/pagemap shows no page frames; run the bench as root');
  return frames.size * pageBytes;
}

function collectFrames(pid: number, frames: Set<number>): void {
  const pagemap = openSync(`/proc/${pid}/pagemap`, 'r');
  try {
    for (const line of readFileSync(`/proc/${pid}/maps`, 'utf8').split('\n')) {
      const [, from, to] = /^([0-9a-f]+)-([0-9a-f]+) /.exec(line) ?? [];
      // The vsyscall page is the kernel's.
      if (from === undefined || to === undefined || from.startsWith('ffff')) continue;
      const first = Number.parseInt(from, 16) / pageBytes;
      collectRange(pagemap, first, Number.parseInt(to, 16) / pageBytes, frames);
    }
  } finally {
    closeSync(pagemap);
  }
}

const batch = Buffer.alloc(8 * 65_536);

/** 8 bytes a page: bit 63 present, bits 0 to 54 the frame (Documentation/admin-guide/mm/pagemap.rst). */
function collectRange(pagemap: number, first: number, end: number, frames: Set<number>): void {
  for (let page = first; page < end; ) {
    const wanted = Math.min(batch.length, (end - page) * 8);
    const got = readSync(pagemap, batch, 0, wanted, page * 8);
    if (got <= 0) return;
    for (let at = 0; at < got; at += 8) {
      const high = batch.readUInt32LE(at + 4);
      if (high >>> 31 === 0) continue;
      const frame = (high & 0x7fffff) * 2 ** 32 + batch.readUInt32LE(at);
      if (frame !== 0) frames.add(frame);
    }
    page += got / 8;
  }
}
