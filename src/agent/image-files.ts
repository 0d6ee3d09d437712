/**
 * Image files in the run directory. A file is written beside its name and renamed, so that the switch never reads half of one; it
 * is never changed afterwards. The last acknowledged one stays, for a switch that restarts while the agent is away.
 */
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export class ImageFiles {
  readonly #folder: string;
  readonly #epoch: number;
  #count = 0;

  constructor(runDirectory: string, epoch: number) {
    this.#folder = join(runDirectory, 'images');
    this.#epoch = epoch;
    mkdirSync(this.#folder, { recursive: true, mode: 0o700 });
  }

  /** Absolute path of a new file with these bytes. Throws what the file system says. */
  write(bytes: Uint8Array): string {
    this.#count++;
    const path = join(this.#folder, `${this.#epoch}-${this.#count}.image`);
    mkdirSync(this.#folder, { recursive: true, mode: 0o700 });
    writeFileSync(`${path}.new`, bytes, { mode: 0o600 });
    renameSync(`${path}.new`, path);
    return path;
  }

  /** Whether a file that was written is still there. */
  has(path: string): boolean {
    return existsSync(path);
  }

  /** Removes every file but these: called once the switch has acknowledged one of them. */
  keepOnly(paths: readonly (string | null)[]): void {
    if (!existsSync(this.#folder)) return;
    for (const name of readdirSync(this.#folder)) {
      const path = join(this.#folder, name);
      if (!paths.includes(path)) rmSync(path, { force: true });
    }
  }
}
