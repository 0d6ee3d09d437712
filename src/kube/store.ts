/**
 * The objects of one kind as they were last told, and what becomes different. A list replaces everything in one step: what is equal makes
 * no event, so that a new list after a gap neither flaps nor loses what went away meanwhile.
 *
 * The server's order within a kind counts. Where resource versions are numbers, what is older than what is held is passed over: a repeated
 * event, or one that lags behind an object that was asked for by name.
 */
import type { Problem } from '../errors/problem.js';
import type { Kind, Objects, WorldEvent } from '../model/event.js';
import { sameObject } from '../model/same-object.js';
import type { Decoded } from './resource.js';

interface Held {
  /** undefined: it is there and cannot be read. */
  object: Objects[Kind] | undefined;
  version: number;
}

export class Store {
  readonly #kind: Kind;
  readonly #held = new Map<string, Held>();
  readonly #problems = new Map<string, readonly Problem[]>();
  #problemChanges = 0;

  constructor(kind: Kind) {
    this.#kind = kind;
  }

  get size(): number {
    return this.#held.size;
  }

  has(key: string): boolean {
    return this.#held.get(key)?.object !== undefined;
  }

  /** Grows when `problems` are others: looking at all of them at every event would cost as much as there are. */
  get problemChanges(): number {
    return this.#problemChanges;
  }

  /** Of the objects that are held, by key. */
  get problems(): readonly Problem[] {
    if (this.#problems.size === 0) return [];
    return [...this.#problems].sort(([a], [b]) => (a < b ? -1 : 1)).flatMap(([, problems]) => problems);
  }

  /** An object that was added or changed. */
  put(decoded: Decoded): readonly WorldEvent[] {
    const { key, version, object, problems } = decoded;
    const held = this.#held.get(key);
    if (held !== undefined && version < held.version) return [];
    this.#note(key, problems);
    const before = held?.object;
    if (held !== undefined && before !== undefined && object !== undefined && sameObject(before, object)) {
      held.version = version;
      return [];
    }
    this.#held.set(key, { object, version });
    if (object !== undefined) return [{ type: 'upsert', kind: this.#kind, object } as WorldEvent];
    return before === undefined ? [] : [deletion(this.#kind, before)];
  }

  /** The object was deleted; another life of its name stays. */
  remove(key: string, uid: string): readonly WorldEvent[] {
    const object = this.#held.get(key)?.object;
    if (object !== undefined && uid !== '' && 'uid' in object && object.uid !== '' && object.uid !== uid)
      return [];
    return this.#drop(key);
  }

  /** All there is, as of `version`. What was put later than that (by name) stays. */
  replace(list: readonly Decoded[], version: number): readonly WorldEvent[] {
    const events: WorldEvent[] = [];
    const there = new Set<string>();
    for (const decoded of list) {
      there.add(decoded.key);
      for (const event of this.put(decoded)) events.push(event);
    }
    for (const [key, held] of this.#held) {
      if (there.has(key) || held.version > version) continue;
      for (const event of this.#drop(key)) events.push(event);
    }
    return events;
  }

  /** Forgets how old things are: the server's history has begun anew, and what it says next counts. */
  forgetVersions(): void {
    for (const held of this.#held.values()) held.version = Number.NaN;
  }

  #drop(key: string): readonly WorldEvent[] {
    const object = this.#held.get(key)?.object;
    this.#held.delete(key);
    this.#note(key, []);
    return object === undefined ? [] : [deletion(this.#kind, object)];
  }

  #note(key: string, problems: readonly Problem[]): void {
    const before = this.#problems.get(key);
    if (before === undefined && problems.length === 0) return;
    if (JSON.stringify(before) === JSON.stringify(problems)) return;
    if (problems.length > 0) this.#problems.set(key, problems);
    else this.#problems.delete(key);
    this.#problemChanges++;
  }
}

function deletion(kind: Kind, object: Objects[Kind]): WorldEvent {
  return {
    type: 'delete',
    kind,
    namespace: 'namespace' in object ? object.namespace : '',
    name: object.name,
    ...('uid' in object && object.uid !== '' ? { uid: object.uid } : {}),
  };
}
