/** Whether a network namespace is (still) mounted at a path. */
import { statfsSync } from 'node:fs';

export type NamespaceState = 'there' | 'gone' | 'unknown';

/** NSFS_MAGIC of linux/magic.h. */
const nsfs = 0x6e736673;

/**
 * `gone`: nothing is at the path, or the empty file that a mounted namespace leaves behind. Any other failure says nothing about the
 * namespace: a pod must not be taken for gone because this process may not look.
 */
export function namespaceAt(path: string): NamespaceState {
  try {
    const { type } = statfsSync(path);
    return type === nsfs ? 'there' : 'gone';
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return code === 'ENOENT' || code === 'ENOTDIR' ? 'gone' : 'unknown';
  }
}
