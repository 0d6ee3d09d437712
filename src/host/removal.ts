/** Takes away from the host what the adapter has put there. Each step is idempotent, and none depends on another. */
import type { Run } from './command.js';
import { removeForwarded } from './forward.js';
import { untellManagers } from './managers.js';
import { Nft } from './nft.js';
import { Sysctls } from './sysctl.js';
import { tableName } from './table.js';

/** One thing of the host. `left`: it is still there, and `why`. */
export interface Removed {
  readonly what: string;
  readonly state: 'removed' | 'restored' | 'left';
  readonly why?: string;
}

/** Nothing is said of what was not there. `root`: where the host's files are; `sysctl`: where /proc/sys is. */
export async function removeFromHost(
  run: Run,
  runDirectory: string,
  root: string,
  sysctl: string,
): Promise<readonly Removed[]> {
  const done: Removed[] = [];
  const { status, missing } = await run('nft', ['list', 'table', 'inet', tableName]);
  if (missing) done.push({ what: `nft table ${tableName}`, state: 'left', why: 'there is no program nft' });
  else if (status === 0) {
    const problem = await new Nft(run).remove();
    done.push({
      what: `nft table ${tableName}`,
      ...(problem === null
        ? { state: 'removed' as const }
        : { state: 'left' as const, why: problem.message }),
    });
  }
  for (const chain of await removeForwarded(run))
    done.push({ what: `rules of weft in the chain ${chain}`, state: 'removed' });
  const { restored, left } = new Sysctls(runDirectory, run, sysctl).restore();
  const dotted = (name: string) => `kernel setting ${name.replaceAll('/', '.')}`;
  for (const name of restored) done.push({ what: dotted(name), state: 'restored' });
  for (const name of left)
    done.push({ what: dotted(name), state: 'left', why: 'somebody has changed it since' });
  for (const file of untellManagers(root)) done.push({ what: file, state: 'removed' });
  return done;
}

/** Deletes a TAP by name, in a network namespace or where we are; false: there is none of that name. */
export async function removeTap(run: Run, name: string, netns?: string): Promise<boolean> {
  const inside = (args: readonly string[]) =>
    netns === undefined ? run('ip', args) : run('nsenter', [`--net=${netns}`, 'ip', ...args]);
  const { status, stdout } = await inside(['-d', 'link', 'show', 'dev', name]);
  if (status !== 0 || !/\btun type tap\b/.test(stdout)) return false;
  return (await inside(['link', 'del', 'dev', name])).status === 0;
}
