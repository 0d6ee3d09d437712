/** The folder in which a command finds the host's file system. */
import { statSync } from 'node:fs';
import { WeftError } from '../errors/problem.js';

/** Throws `usage` where it is no folder: a mistyped one would be made, written to, and called a host. */
export function needHostRoot(root: string): string {
  if (root === '' || statSync(root, { throwIfNoEntry: false })?.isDirectory() === true) return root;
  throw new WeftError(
    'usage',
    `There is no folder ${root}. --host-root is where the host's file system is mounted: / on the host itself, such as /host in a container.`,
  );
}
