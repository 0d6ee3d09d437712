/** Where the files are that weft is installed with. */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/**
 * Absolute path of the folder with `build`, `config` and `deploy` in it: the nearest one above this file that holds binding.gyp, which
 * is right from a checkout's `dist` and from an installed package.
 */
export function packageRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, 'binding.gyp')) && dirname(folder) !== folder) folder = dirname(folder);
  return folder;
}
