/**
 * What the files of a folder define, put together: files in the order of their names, and of two definitions of one object the last one
 * counts. Kept file by file, so that a changed file costs what is in it and not what is in the folder.
 */
import type { Problem } from '../errors/problem.js';
import type { ModelObjects } from '../manifests/decode.js';
import { type Kind, kinds, type Objects, type WorldEvent } from '../model/event.js';
import { sameObject } from '../model/same-object.js';
import { definitionsOf, type ManifestDefinition } from './manifest-definitions.js';
import { ManifestPlaces } from './manifest-places.js';

interface Definition extends ManifestDefinition {
  readonly file: string;
  /** In the file. */
  readonly position: number;
}

export class ManifestObjects {
  /** Keys that a file defines, with repeats where it does so twice. */
  readonly #files = new Map<string, readonly string[]>();
  /** Never empty lists, in the order in which definitions count. */
  readonly #definitions = new Map<string, Definition[]>();
  /** What was told last. */
  readonly #told = new Map<string, { readonly kind: Kind; readonly object: Objects[Kind] }>();
  readonly #repeated = new Set<string>();
  readonly #touched = new Set<string>();

  /** Objects that count. */
  get size(): number {
    return this.#told.size;
  }

  /** What the file defines from now on. */
  put(file: string, objects: ModelObjects): void {
    this.delete(file);
    const keys: string[] = [];
    for (const definition of definitionsOf(objects)) {
      this.#define({ ...definition, file, position: keys.length });
      keys.push(definition.key);
    }
    this.#files.set(file, keys);
  }

  delete(file: string): void {
    for (const key of this.#files.get(file) ?? []) {
      // A key that the file has twice is found gone the second time.
      const left = (this.#definitions.get(key) ?? []).filter((one) => one.file !== file);
      if (left.length > 0) this.#definitions.set(key, left);
      else this.#definitions.delete(key);
      if (left.length < 2) this.#repeated.delete(key);
      this.#touched.add(key);
    }
    this.#files.delete(file);
  }

  /** What became different since the last call. Additions in the order of kinds, removals last, each sorted by key. */
  settle(): WorldEvent[] {
    const upserts: [string, Kind, Objects[Kind]][] = [];
    const deletes: [string, Kind, Objects[Kind]][] = [];
    for (const key of this.#touched) {
      const told = this.#told.get(key);
      const now = this.#definitions.get(key)?.at(-1);
      if (now === undefined) {
        if (told !== undefined) deletes.push([key, told.kind, told.object]);
        this.#told.delete(key);
        // An object that means what it meant before stays the very object, so that nobody looks at it again.
      } else if (told === undefined || !sameObject(told.object, now.object)) {
        upserts.push([key, now.kind, now.object]);
        this.#told.set(key, { kind: now.kind, object: now.object });
      }
    }
    this.#touched.clear();
    return [
      ...upserts.sort(inOrder).map(([, kind, object]) => ({ type: 'upsert', kind, object }) as WorldEvent),
      ...deletes.sort(inOrder).map(
        ([, kind, object]): WorldEvent => ({
          type: 'delete',
          kind,
          namespace: 'namespace' in object ? object.namespace : '',
          name: object.name,
        }),
      ),
    ];
  }

  /** A finding for each definition that takes the place of another. */
  duplicates(): Problem[] {
    const places = new ManifestPlaces();
    return [...this.#repeated].sort().flatMap((key) =>
      this.#definitions
        .get(key)!
        .slice(1)
        .map(({ file, kind, name }, i): Problem => {
          const list = this.#definitions.get(key)!;
          const before = list[i]!;
          const nth = list.slice(0, i + 1).filter((other) => other.file === file).length;
          return {
            code: 'duplicate-object',
            severity: 'warning',
            message: `The ${kind} ${name} is defined twice; this one counts, the one in ${before.file} does not.`,
            fix: 'Remove one of the two.',
            source: places.of(file, key, nth),
          };
        }),
    );
  }

  #define(definition: Definition): void {
    const { key } = definition;
    const list = this.#definitions.get(key);
    if (list === undefined) this.#definitions.set(key, [definition]);
    else {
      list.push(definition);
      list.sort((a, b) => (a.file < b.file ? -1 : a.file > b.file ? 1 : a.position - b.position));
      this.#repeated.add(key);
    }
    this.#touched.add(key);
  }
}

function inOrder([a, one]: [string, Kind, unknown], [b, other]: [string, Kind, unknown]): number {
  return kinds.indexOf(one) - kinds.indexOf(other) || (a < b ? -1 : 1);
}
