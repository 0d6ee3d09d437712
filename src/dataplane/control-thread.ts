/** How the kernel schedules the thread that runs JavaScript, which brings changes into force, beside pods and other processes. */
import { readdirSync } from 'node:fs';
import { getPriority, setPriority } from 'node:os';
import type { Addon, AddonError } from './addon.js';

export interface ControlSchedule {
  readonly scheduling: 'normal' | 'first';
  readonly nice: number;
}

/**
 * Of the class `first`, milliseconds: two changes of a large cluster, and a quarter of a core. What takes longer (a first compile, a list of
 * everything, a collection of the whole heap) is not worth the cores of pods and packets, which wait meanwhile.
 */
const budget = { run: 25, within: 100 };

/**
 * For the calling thread. The nice value is also that of threads that it starts later in the class `normal` (setpriority(2) of Linux means
 * a thread). Returns what the kernel refused, with what to do; everything goes on without.
 */
export function scheduleControlThread(
  addon: Pick<Addon, 'scheduleControl'>,
  { scheduling, nice }: ControlSchedule,
): readonly string[] {
  const refused: string[] = [];
  try {
    setPriority(0, nice);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException & { readonly info?: { readonly code?: string } };
    refused.push(
      `setpriority(${nice}) failed (${code ?? message}). Give the process CAP_SYS_NICE, or set agent.nice to 0.`,
    );
  }
  if (scheduling === 'normal') return refused;
  try {
    addon.scheduleControl(budget.run, budget.within);
  } catch (error) {
    refused.push((error as AddonError).message);
  }
  return refused;
}

/**
 * Helper threads of Node.js (those that read files and resolve names, and V8's) began with the nice value that the supervisor starts the agent with,
 * for its loading. None of them is what a change waits for: they get on as those of any process. To be called once they are there, which
 * they are after the first file was read.
 */
export function leaveHelpersBehind(): void {
  for (const name of readdirSync('/proc/self/task')) {
    const thread = Number(name);
    if (thread === process.pid) continue;
    try {
      if (getPriority(thread) < 0) setPriority(thread, 0);
    } catch {
      // It has ended meanwhile.
    }
  }
}
