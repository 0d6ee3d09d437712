/**
 * A folder of manifests in place of the Kubernetes API. A change is seen by a watch, and by a look at the folder every few seconds, so
 * that a missed notification heals by itself.
 *
 * Files fail closed. A file that cannot be read or parsed keeps what it last held, because taking its policies away would open their
 * pods; if it never held anything, the source does not count as synced, and nothing is published until the file is mended or
 * removed. The same goes for a folder that is not there. A file that is deleted, on the other hand, is meant: its objects go.
 */
import { type FSWatcher, readFileSync, statSync, watch } from 'node:fs';
import type { Problem } from '../errors/problem.js';
import { decodeInto, type ModelObjects, noObjects } from '../manifests/decode.js';
import { expandWorkload } from '../manifests/expand.js';
import { recognise } from '../manifests/kinds.js';
import { type ManifestObject, parseManifests } from '../manifests/parse.js';
import { listFiles } from '../manifests/read.js';
import { validateObjects } from '../manifests/validate.js';
import { type Kind, keyOf, kinds, type Objects, type WorldEvent } from '../model/event.js';
import { sameObject } from './same-object.js';
import type { Source, SourceSink } from './source.js';

/** Milliseconds: editors write in several steps; the look that needs no notification. */
const settle = 20;
const lookAgain = 5000;

interface ReadFile {
  readonly text: string;
  readonly objects: ModelObjects;
  /** Findings that leave the objects usable. */
  readonly problems: readonly Problem[];
}

type Held = Map<string, { readonly kind: Kind; readonly object: Objects[Kind]; readonly file: string }>;

export class ManifestSource implements Source {
  readonly name = 'manifests';
  readonly assignsAddresses = true;
  readonly #folder: string;
  readonly #files = new Map<string, ReadFile>();
  #held: Held = new Map();
  /** Found when the files were last put together. */
  #duplicates: Problem[] = [];
  #sink: SourceSink | null = null;
  #watcher: FSWatcher | null = null;
  #soon: NodeJS.Timeout | null = null;
  #regularly: NodeJS.Timeout | null = null;

  constructor(folder: string) {
    this.#folder = folder;
  }

  get size(): number {
    return this.#held.size;
  }

  start(sink: SourceSink): void {
    this.#sink = sink;
    this.#watch();
    this.#load();
    this.#regularly = setInterval(() => {
      if (this.#watcher === null) this.#watch();
      this.#load();
    }, lookAgain);
    this.#regularly.unref();
  }

  async refresh(): Promise<void> {
    this.#load();
  }

  stop(): void {
    this.#sink = null;
    this.#watcher?.close();
    this.#watcher = null;
    if (this.#soon !== null) clearTimeout(this.#soon);
    if (this.#regularly !== null) clearInterval(this.#regularly);
  }

  #watch(): void {
    try {
      this.#watcher = watch(this.#folder, { recursive: true, persistent: false }, () => this.#changed());
      this.#watcher.on('error', () => {
        this.#watcher?.close();
        this.#watcher = null;
      });
    } catch {
      this.#watcher = null; // Not there yet; the regular look finds it.
    }
  }

  #changed(): void {
    this.#soon ??= setTimeout(() => {
      this.#soon = null;
      this.#load();
    }, settle);
  }

  /** Reads the folder and tells the sink what is different. Unchanged files are not parsed again. */
  #load(): void {
    const sink = this.#sink;
    if (sink === null) return;
    const problems: Problem[] = [];
    const names = this.#list(problems);
    if (names === null) {
      sink.problems(problems);
      return;
    }
    let complete = true;
    let changed = false;
    for (const name of this.#files.keys()) {
      if (names.has(name)) continue;
      this.#files.delete(name);
      changed = true;
    }
    for (const name of names) {
      const before = this.#files.get(name);
      const found = this.#read(name);
      for (const problem of found.problems) problems.push(problem);
      if (!found.usable) complete &&= this.#files.has(name);
      changed ||= this.#files.get(name) !== before;
    }
    const events: WorldEvent[] = [];
    if (changed) {
      this.#duplicates = [];
      const next = keepSame(this.#held, this.#merge(names, this.#duplicates));
      for (const event of changes(this.#held, next)) events.push(event);
      this.#held = next;
    }
    for (const problem of this.#duplicates) problems.push(problem);
    sink.problems(problems);
    if (events.length > 0) sink.apply(events);
    if (complete) sink.synced();
  }

  /** The files of the folder; null: the folder cannot be read, and what it last held stays. */
  #list(problems: Problem[]): ReadonlySet<string> | null {
    try {
      if (!statSync(this.#folder).isDirectory()) throw new Error('it is no folder');
    } catch (error) {
      problems.push({
        code: 'unreadable',
        severity: 'error',
        message: `The manifest folder ${this.#folder} cannot be read (${(error as NodeJS.ErrnoException).code ?? (error as Error).message}); what it last held stays in force.`,
        fix: 'Make the folder, or set paths.manifests to the right one.',
        source: { file: this.#folder },
      });
      return null;
    }
    const before = problems.length;
    const files = listFiles(this.#folder, problems);
    return problems.length > before ? null : new Set(files);
  }

  #read(name: string): { readonly usable: boolean; readonly problems: readonly Problem[] } {
    let text: string;
    try {
      text = readFileSync(name, 'utf8');
    } catch (error) {
      return {
        usable: false,
        problems: [
          {
            code: 'unreadable',
            severity: 'error',
            message: `${name} cannot be read (${(error as NodeJS.ErrnoException).code}); ${this.#instead(name)}`,
            source: { file: name },
          },
        ],
      };
    }
    const known = this.#files.get(name);
    if (known?.text === text) return { usable: true, problems: known.problems };
    const parsed = parseManifests(text, name);
    if (parsed.problems.length > 0) {
      const problems = parsed.problems.map((problem) => ({
        ...problem,
        message: `${problem.message} The whole file waits: ${this.#instead(name)}`,
      }));
      return { usable: false, problems };
    }
    const objects = noObjects();
    const problems = validateObjects(parsed.objects);
    for (const object of parsed.objects) decodeObject(object, objects, problems);
    this.#files.set(name, { text, objects, problems });
    return { usable: true, problems };
  }

  #instead(name: string): string {
    return this.#files.has(name)
      ? 'what it last held stays in force.'
      : 'nothing is published before it can be read.';
  }

  /** Files in the order of their names; of two objects with one name the last counts. */
  #merge(names: ReadonlySet<string>, problems: Problem[]): Held {
    const merged: Held = new Map();
    for (const file of names) {
      const read = this.#files.get(file);
      if (read === undefined) continue;
      for (const [kind, list] of objectLists(read.objects)) {
        for (const object of list) {
          const name = keyOf('namespace' in object ? object.namespace : '', object.name);
          const key = `${kind} ${name}`;
          const before = merged.get(key);
          if (before !== undefined)
            problems.push({
              code: 'duplicate-object',
              severity: 'warning',
              message: `The ${kind} ${name} is defined twice; this one counts, the one in ${before.file} does not.`,
              fix: 'Remove one of the two.',
              ...(object.source === undefined ? {} : { source: object.source }),
            });
          merged.set(key, { kind, object, file });
        }
      }
    }
    return merged;
  }
}

/** Workloads stand for the pods that their controllers would make. */
function decodeObject(object: ManifestObject, objects: ModelObjects, problems: Problem[]): void {
  if (decodeInto(objects, object.value, object)) return;
  if (recognise(object.value)?.kind.use === 'expand') {
    const expansion = expandWorkload(object);
    problems.push(...expansion.problems);
    for (const pod of expansion.pods) decodeInto(objects, pod.value, pod);
    return;
  }
  problems.push({
    code: 'kind-skipped',
    severity: 'info',
    message: `${String(object.value.kind)} objects are not used.`,
    source: object.locate(['kind']),
  });
}

function objectLists(objects: ModelObjects): readonly (readonly [Kind, readonly Objects[Kind][]])[] {
  return [
    ['namespace', objects.namespaces],
    ['node', objects.nodes],
    ['pod', objects.pods],
    ['policy', objects.policies],
    ['service', objects.services],
    ['slice', objects.slices],
  ];
}

/** An object that means what it meant before stays the very object, so that nobody looks at it again. */
function keepSame(before: Held, after: Held): Held {
  for (const [key, entry] of after) {
    const held = before.get(key);
    if (held !== undefined && held.object !== entry.object && sameObject(held.object, entry.object))
      after.set(key, { ...entry, object: held.object });
  }
  return after;
}

/** What turns one set of objects into the other. Additions in the order of kinds, removals last, each sorted by key. */
function changes(before: Held, after: Held): WorldEvent[] {
  const events: WorldEvent[] = [];
  const order = (kind: Kind) => kinds.indexOf(kind);
  const sorted = (held: Held) =>
    [...held].sort(([a, one], [b, other]) => order(one.kind) - order(other.kind) || (a < b ? -1 : 1));
  for (const [key, { kind, object }] of sorted(after)) {
    if (before.get(key)?.object !== object) events.push({ type: 'upsert', kind, object } as WorldEvent);
  }
  for (const [key, { kind, object }] of sorted(before)) {
    if (after.has(key)) continue;
    const namespace = 'namespace' in object ? object.namespace : '';
    events.push({ type: 'delete', kind, namespace, name: object.name });
  }
  return events;
}
