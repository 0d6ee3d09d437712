/**
 * Takes weft off a host: what the agent, the switch and `weft install` have put there, and nothing else. Processes are not ended: whoever
 * started them has to, or they would put everything back; so it refuses while they answer.
 */
import { existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { recordPath, uninstall as uninstallCni } from '../cni/installation.js';
import type { Config } from '../config/options.js';
import { switchSocketName } from '../dataplane/protocol.js';
import { somebodyListens } from '../dataplane/socket.js';
import { WeftError } from '../errors/problem.js';
import { type Run, runCommand } from '../host/command.js';
import { type Removed, removeFromHost, removeTap } from '../host/removal.js';
import { Leases } from '../ipam/leases.js';
import type { AttachmentDetails } from './attachment.js';
import { agentSocketName } from './protocol.js';

/** What was removed and what was left, in this order. Throws `uninstall-running`. May be repeated. */
export async function uninstall(
  config: Config,
  root: string,
  run: Run = runCommand,
): Promise<readonly Removed[]> {
  const { run: runDirectory } = config.paths;
  for (const [name, process] of [
    [agentSocketName, 'agent'],
    [switchSocketName, 'switch'],
  ] as const) {
    if (await somebodyListens(join(runDirectory, name)))
      throw new WeftError(
        'uninstall-running',
        `The ${process} of ${runDirectory} is running and would put back what is removed. Stop agent and switch first: delete their DaemonSets, or stop the services that run \`weft agent\` and \`weft switch\`.`,
      );
  }
  const done: Removed[] = [];
  // First, so that the runtime calls nobody who is going.
  const cni = uninstallCni(root);
  for (const path of cni.removed) done.push({ what: path, state: 'removed' });
  for (const path of cni.kept) done.push({ what: path, state: 'left', why: 'it is not as weft wrote it' });
  removeEmpty(join(root, recordPath, '..'));

  for (const { details, owner } of leases(runDirectory)) {
    if (await removeTap(run, details.ifname, details.netns))
      done.push({ what: `interface ${details.ifname} of the pod ${owner}`, state: 'removed' });
  }
  const { hostInterface } = config.network;
  if (hostInterface !== '' && (await removeTap(run, hostInterface)))
    done.push({ what: `interface ${hostInterface} with its addresses and routes`, state: 'removed' });
  done.push(...(await removeFromHost(run, runDirectory, root, config.paths.sysctl)));
  done.push(...removeRunDirectory(runDirectory));
  return done;
}

function leases(runDirectory: string) {
  const file = join(runDirectory, 'leases.jsonl');
  return existsSync(file) ? new Leases<AttachmentDetails>(file, []).list() : [];
}

/** Manifests in it are somebody's own work and stay. */
function removeRunDirectory(folder: string): readonly Removed[] {
  if (!existsSync(folder)) return [];
  const mine = 'manifests';
  const others = readdirSync(folder).filter((name) => name !== mine);
  for (const name of others) rmSync(join(folder, name), { recursive: true, force: true });
  const manifests = join(folder, mine);
  if (existsSync(manifests) && readdirSync(manifests).length > 0)
    return [
      ...(others.length === 0 ? [] : [{ what: `run directory ${folder}`, state: 'removed' as const }]),
      { what: manifests, state: 'left', why: 'there are manifests in it' },
    ];
  removeEmpty(manifests);
  return removeEmpty(folder)
    ? [{ what: `run directory ${folder}`, state: 'removed' }]
    : [{ what: `run directory ${folder}`, state: 'left', why: 'it is a mount, and empty now' }];
}

/** true: it is not there any more. */
function removeEmpty(folder: string): boolean {
  try {
    if (existsSync(folder) && readdirSync(folder).length === 0) rmSync(folder, { recursive: true });
  } catch {
    // A mount point.
  }
  return !existsSync(folder);
}
