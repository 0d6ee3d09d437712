/**
 * A folder of manifests in place of the Kubernetes API. A change is seen by a watch, and by a look at the folder every few seconds, so
 * that a missed notification heals by itself. What the watch names is read alone; a look reads what `stat` tells apart.
 *
 * A file is read at once when nobody has it open for writing, as after a rename into place; half a file can parse and mean less than
 * the whole. Where that is not known, or somebody writes, it is given a moment.
 *
 * Files fail closed. A file that cannot be read or parsed keeps what it last held, because taking its policies away would open their
 * pods; if it never held anything, the source does not count as synced, and nothing is published until the file is mended or
 * removed. The same goes for a folder that is not there. A file that is deleted, on the other hand, is meant: its objects go.
 */
import { lstatSync, statSync } from 'node:fs';
import { basename } from 'node:path';
import type { Problem } from '../errors/problem.js';
import { isManifestName, listFolder } from '../manifests/read.js';
import type { Source, SourceSink } from '../model/source.js';
import { FolderWatch } from './folder-watch.js';
import { ManifestFile } from './manifest-file.js';
import { ManifestObjects } from './manifest-objects.js';

/** Milliseconds: editors write in several steps; the look that needs no notification. */
const settle = 20;
const lookAgain = 5000;
/** A file that somebody writes without end is read as it is after this. Milliseconds. */
const patience = 1000;
/** A timer may fire so much early by the other clock. Milliseconds. */
const timerGrain = 1;
/** The regular look takes no longer in one go: a change that comes meanwhile must not wait for thousands of files. Milliseconds. */
const longestTurn = 1;

/** Whether some process has the file open for writing; null: it is not there, or the system cannot tell. */
export type HasWriter = (path: string) => boolean | null;

export class ManifestSource implements Source {
  readonly name = 'manifests';
  readonly assignsAddresses = true;
  readonly #folder: string;
  readonly #hasWriter: HasWriter;
  readonly #watch: FolderWatch;
  readonly #files = new Map<string, ManifestFile>();
  readonly #objects = new ManifestObjects();
  /** Files that were named by the watch and are not read yet, with the time of the first mention. */
  readonly #touched = new Map<string, number>();
  #lookAtAll = false;
  #folderProblems: Problem[] = [];
  /** The folder has been read as a whole, and could be the last time. */
  #listed = false;
  #sink: SourceSink | null = null;
  #now: NodeJS.Immediate | null = null;
  #soon: NodeJS.Timeout | null = null;
  #regularly: NodeJS.Timeout | null = null;
  /** What the regular look has still to do. */
  #next: NodeJS.Immediate | null = null;

  constructor(folder: string, hasWriter: HasWriter = () => null) {
    this.#folder = folder;
    this.#hasWriter = hasWriter;
    this.#watch = new FolderWatch({
      touched: (path) => this.#pathTouched(path),
      unknown: () => {
        this.#lookAtAll = true;
        this.#later();
      },
    });
  }

  get size(): number {
    return this.#objects.size;
  }

  start(sink: SourceSink): void {
    this.#sink = sink;
    this.#look();
    this.#regularly = setInterval(() => this.#lookAround(), lookAgain);
    this.#regularly.unref();
  }

  async refresh(): Promise<void> {
    this.#look();
  }

  stop(): void {
    this.#sink = null;
    this.#watch.close();
    if (this.#now !== null) clearImmediate(this.#now);
    if (this.#soon !== null) clearTimeout(this.#soon);
    if (this.#next !== null) clearImmediate(this.#next);
    if (this.#regularly !== null) clearInterval(this.#regularly);
  }

  #pathTouched(path: string): void {
    const name = basename(path);
    if (isManifestName(name) && !this.#watch.has(path)) {
      if (!this.#touched.has(path)) this.#touched.set(path, performance.now());
      // Not from within: the same notification may hold more names.
      this.#now ??= setImmediate(() => {
        this.#now = null;
        this.#readTouched();
      });
    } else if (name.startsWith('..') || this.#watch.has(path) || isFolder(path)) {
      // `..data` is what Kubernetes exchanges when a mounted ConfigMap changes; other names with a dot are drafts of editors.
      this.#lookAtAll = true;
      this.#later();
    }
  }

  #later(): void {
    this.#soon ??= setTimeout(() => {
      this.#soon = null;
      if (this.#lookAtAll) this.#look();
      else this.#readTouched();
    }, settle);
  }

  /** Reads the files that were named, as far as nobody is writing them. */
  #readTouched(): void {
    const now = performance.now();
    let different = false;
    for (const [path, since] of this.#touched) {
      const writer = this.#hasWriter(path);
      const age = now - since;
      if (writer === false || (writer === null && age >= settle - timerGrain) || age >= patience)
        this.#touched.delete(path);
      else continue;
      if (isFolder(path)) this.#lookAtAll = true;
      else if (isThere(path)) different = this.#read(path) || different;
      else different = this.#forget(path) || different;
    }
    if (this.#touched.size > 0 || this.#lookAtAll) this.#later();
    if (different) this.#tell();
  }

  /**
   * Asks every file, a few at a time, whether it is another than was read. Only then everything is looked at, at once: an object may have
   * moved from one file to another, and must not be gone in between.
   */
  #lookAround(): void {
    if (this.#sink === null || this.#next !== null) return;
    const found = this.#list();
    const known = found?.every((name) => this.#files.has(name)) && found.length === this.#files.size;
    if (found === null || !known || !this.#listed) {
      this.#look();
      return;
    }
    let at = 0;
    const turn = () => {
      this.#next = null;
      const end = performance.now() + longestTurn;
      for (; at < found.length && performance.now() < end; at++) {
        const name = found[at]!;
        // What the watch has named is read when nobody writes it any more; what it has told to be gone is forgotten.
        if (this.#touched.has(name) || this.#files.get(name)?.isOther() !== true) continue;
        this.#look();
        return;
      }
      if (at < found.length) this.#next = setImmediate(turn);
    };
    turn();
  }

  /** Looks at every file and folder, at once. */
  #look(): void {
    if (this.#sink === null) return;
    this.#lookAtAll = false;
    if (this.#next !== null) clearImmediate(this.#next);
    this.#next = null;
    const found = this.#list();
    if (found === null) {
      this.#sink.problems(this.#problems());
      return;
    }
    this.#touched.clear();
    let different = !this.#listed;
    this.#listed = true;
    const there = new Set(found);
    for (const name of this.#files.keys()) {
      if (there.has(name)) continue;
      this.#forget(name);
      different = true;
    }
    for (const name of found) different = this.#read(name) || different;
    if (different) this.#tell();
  }

  /** The files of the folder; null: the folder cannot be read, and what it last held stays. */
  #list(): readonly string[] | null {
    const before = this.#folderProblems.length;
    this.#folderProblems = [];
    try {
      if (!statSync(this.#folder).isDirectory()) throw new Error('it is no folder');
    } catch (error) {
      this.#watch.close();
      this.#folderProblems.push({
        code: 'unreadable',
        severity: 'error',
        message: `The manifest folder ${this.#folder} cannot be read (${(error as NodeJS.ErrnoException).code ?? (error as Error).message}); what it last held stays in force.`,
        fix: 'Make the folder, or set paths.manifests to the right one.',
        source: { file: this.#folder },
      });
      return null;
    }
    const { files, folders } = listFolder(this.#folder, this.#folderProblems);
    this.#watch.follow(new Set(folders));
    if (before > 0 || this.#folderProblems.length > 0) this.#listed = false;
    return this.#folderProblems.length > 0 ? null : files;
  }

  /** True: what the file holds, or what is wrong with it, is different now. */
  #read(name: string): boolean {
    const file = this.#files.get(name) ?? new ManifestFile(name);
    const before = file.objects;
    const different = file.refresh();
    this.#files.set(name, file);
    if (file.objects !== before && file.objects !== null) this.#objects.put(name, file.objects);
    return different;
  }

  /** False: there was no such file. */
  #forget(name: string): boolean {
    this.#objects.delete(name);
    return this.#files.delete(name);
  }

  #tell(): void {
    const sink = this.#sink;
    if (sink === null) return;
    const events = this.#objects.settle();
    sink.problems(this.#problems());
    if (events.length > 0) sink.apply(events);
    const complete = [...this.#files.values()].every(({ objects }) => objects !== null);
    if (complete && this.#listed) sink.synced();
  }

  #problems(): Problem[] {
    const wrong = [...this.#files.values()].filter(({ problems }) => problems.length > 0);
    wrong.sort((a, b) => (a.name < b.name ? -1 : 1));
    return [
      ...this.#folderProblems,
      ...wrong.flatMap(({ problems }) => problems),
      ...this.#objects.duplicates(),
    ];
  }
}

/** A link that leads nowhere is there, and unreadable. */
function isThere(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false }) !== undefined;
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}
