/**
 * Everything that sources have told us, as one value. What is compiled from a World depends on its contents only, never on the
 * order in which events came, so a test may apply them forwards, backwards or squashed and must get the same bytes.
 *
 * Objects go by namespace and name. The uid tells lives of one name apart: the later created life wins whichever arrives first, and a
 * deletion that names a uid removes that life only.
 *
 * A journal of touched keys lets a compiler that has seen revision N ask what to look at again; it is bounded, and a reader that fell
 * behind looks at everything.
 */
import { type Kind, keyOf, kinds, type Objects, type WorldEvent } from './event.js';
import { type Namespace, namespaceNameLabel } from './namespace.js';

export interface Touched {
  readonly kind: Kind;
  readonly key: string;
}

const journalLimit = 65_536;

type Stores = { readonly [K in Kind]: Map<string, Objects[K]> };

function withNameLabel(namespace: Namespace): Namespace {
  if (namespace.labels.get(namespaceNameLabel) === namespace.name) return namespace;
  return { ...namespace, labels: new Map(namespace.labels).set(namespaceNameLabel, namespace.name) };
}

function namespaceOf(object: Objects[Kind]): string {
  return 'namespace' in object ? object.namespace : '';
}

/** Whether a stale event for an earlier life of the same name came after a later one. */
function outlives(held: Objects[Kind], arriving: Objects[Kind]): boolean {
  if (!('created' in held) || !('created' in arriving)) return false;
  return held.uid !== arriving.uid && held.created > arriving.created;
}

export class World {
  readonly #stores: Stores = {
    namespace: new Map(),
    node: new Map(),
    pod: new Map(),
    policy: new Map(),
    service: new Map(),
    slice: new Map(),
  };
  #journal: Touched[] = [];
  /** Revision before the first journal entry. */
  #journalStart = 0;

  static of(events: Iterable<WorldEvent>): World {
    const world = new World();
    for (const event of events) world.apply(event);
    return world;
  }

  /** Grows by one with every event that changed something; says nothing about contents. */
  get revision(): number {
    return this.#journalStart + this.#journal.length;
  }

  /** Takes one event in; false where it changed nothing. */
  apply(event: WorldEvent): boolean {
    return event.type === 'upsert' ? this.#upsert(event.kind, event.object) : this.#delete(event);
  }

  /** Adds or replaces an object; shorthand for the event. */
  put<K extends Kind>(kind: K, object: Objects[K]): boolean {
    return this.#upsert(kind, object);
  }

  get<K extends Kind>(kind: K, key: string): Objects[K] | undefined {
    return this.#stores[kind].get(key);
  }

  /** Objects of one kind in no particular order; sort by key before the order can show. */
  all<K extends Kind>(kind: K): ReadonlyMap<string, Objects[K]> {
    return this.#stores[kind];
  }

  /** Keys touched after `revision`, possibly with repeats, or undefined where the journal no longer reaches back: look at all. */
  touchedSince(revision: number): readonly Touched[] | undefined {
    if (revision < this.#journalStart) return undefined;
    return this.#journal.slice(revision - this.#journalStart);
  }

  /** A World with the same contents and its own future. Objects are shared; they are never changed. */
  copy(): World {
    const world = new World();
    for (const kind of kinds) {
      for (const object of this.#stores[kind].values()) world.#upsert(kind, object);
    }
    return world;
  }

  #upsert(kind: Kind, given: Objects[Kind]): boolean {
    const object = kind === 'namespace' ? withNameLabel(given as Namespace) : given;
    const key = keyOf(namespaceOf(object), object.name);
    const store = this.#stores[kind] as Map<string, Objects[Kind]>;
    const held = store.get(key);
    if (held === object || (held !== undefined && outlives(held, object))) return false;
    store.set(key, object);
    this.#touch(kind, key);
    return true;
  }

  #delete(event: WorldEvent & { type: 'delete' }): boolean {
    const key = keyOf(event.namespace, event.name);
    const store = this.#stores[event.kind];
    const held = store.get(key);
    if (held === undefined) return false;
    if (event.uid !== undefined && 'uid' in held && held.uid !== event.uid) return false;
    store.delete(key);
    this.#touch(event.kind, key);
    return true;
  }

  #touch(kind: Kind, key: string): void {
    if (this.#journal.length >= journalLimit) {
      const dropped = this.#journal.length >> 1;
      this.#journal = this.#journal.slice(dropped);
      this.#journalStart += dropped;
    }
    this.#journal.push({ kind, key });
  }
}
