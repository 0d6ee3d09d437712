/**
 * Tells which files of a folder and the folders inside it were touched. One watch for each folder: Node.js' own recursive watch follows files
 * instead, and after a file was once renamed into place it watches the one that is gone.
 *
 * A notification is a hint. Whoever needs certainty looks at the folder now and then: events can be lost, and links lead elsewhere.
 */
import { type FSWatcher, statSync, watch } from 'node:fs';
import { join } from 'node:path';

export interface FolderWatchHandlers {
  /** Something happened to this path: a file's content, or that it came or went. May be a folder. */
  touched(path: string): void;
  /** Anything may be different: the system did not say what. */
  unknown(): void;
}

interface Watched {
  readonly watcher: FSWatcher;
  /** Of the folder that is watched: another one may have its name by now. */
  readonly inode: number;
}

export class FolderWatch {
  readonly #handlers: FolderWatchHandlers;
  readonly #watched = new Map<string, Watched>();

  constructor(handlers: FolderWatchHandlers) {
    this.#handlers = handlers;
  }

  has(folder: string): boolean {
    return this.#watched.has(folder);
  }

  /** Watches exactly these folders from now on; one that cannot be watched is tried again at the next call. */
  follow(folders: ReadonlySet<string>): void {
    for (const [folder, { watcher, inode }] of this.#watched) {
      if (folders.has(folder) && inode === inodeOf(folder)) continue;
      watcher.close();
      this.#watched.delete(folder);
    }
    for (const folder of folders) if (!this.#watched.has(folder)) this.#add(folder);
  }

  close(): void {
    this.follow(new Set());
  }

  #add(folder: string): void {
    try {
      const inode = inodeOf(folder);
      const watcher = watch(folder, { persistent: false }, (_event, name) => {
        if (name === null) this.#handlers.unknown();
        else this.#handlers.touched(join(folder, name));
      });
      watcher.on('error', () => {
        watcher.close();
        if (this.#watched.get(folder)?.watcher === watcher) this.#watched.delete(folder);
        this.#handlers.unknown();
      });
      this.#watched.set(folder, { watcher, inode });
    } catch {
      // Gone meanwhile, or the system has no more watches to give: the regular look remains.
    }
  }
}

/** -1: there is none. */
function inodeOf(folder: string): number {
  return statSync(folder, { throwIfNoEntry: false })?.ino ?? -1;
}
