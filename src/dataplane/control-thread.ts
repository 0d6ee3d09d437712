/** How the kernel schedules the thread that runs JavaScript, which brings changes into force, beside pods and other processes. */
import { setPriority } from 'node:os';
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
