/** How the kernel weighs the thread that runs JavaScript against others of its cgroup. */
import { setPriority } from 'node:os';

/**
 * Gives the calling thread this nice value; threads that it starts later have it too, those that run already do not (setpriority(2) of
 * Linux means a thread). Null, or why the kernel refused, in which case everything goes on as before.
 */
export function reniceMainThread(nice: number): string | null {
  try {
    setPriority(0, nice);
    return null;
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException & { readonly info?: { readonly code?: string } };
    return `setpriority(${nice}) failed (${code ?? message}). Give the process CAP_SYS_NICE, or set agent.nice to 0.`;
  }
}
