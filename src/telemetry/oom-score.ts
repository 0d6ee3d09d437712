/**
 * Whom the kernel ends first when memory runs out. Without a word from us it is whoever is largest for what the kubelet says of him: a pod
 * that has requests is at most 999 and may be at 2, and the network of all pods is larger than that pod.
 */
import { readFileSync, writeFileSync } from 'node:fs';

/**
 * Gives the processes this oom_score_adj, where theirs is higher: who was told something better by whoever started it keeps that. 0 leaves
 * them as they are. Null, or why the kernel refused, in which case everything goes on as before. `root`: where /proc is.
 */
export function spareFromOom(adjust: number, pids: readonly number[], root = '/proc'): string | null {
  if (adjust === 0) return null;
  for (const pid of pids) {
    const file = `${root}/${pid}/oom_score_adj`;
    try {
      if (Number(readFileSync(file, 'utf8')) > adjust) writeFileSync(file, `${adjust}`);
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      return `${file} cannot be set to ${adjust} (${code ?? message}). Give the process CAP_SYS_RESOURCE, or set oomScoreAdjust to 0.`;
    }
  }
  return null;
}

/** This process, after `weft-supervise` where that is its parent: without it, nobody starts this one again. */
export function withSupervisor(root = '/proc'): readonly number[] {
  try {
    const parent = readFileSync(`${root}/${process.ppid}/comm`, 'utf8').trim();
    return parent === 'weft-supervise' ? [process.ppid, process.pid] : [process.pid];
  } catch {
    return [process.pid];
  }
}
