/**
 * What an API server holds: objects of its kinds under one counter of versions, with the history that watches and pages of earlier versions
 * are told from.
 */

export interface ApiObject {
  readonly apiVersion?: string;
  readonly kind?: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly uid?: string;
    readonly resourceVersion?: string;
    readonly [field: string]: unknown;
  };
  readonly [field: string]: unknown;
}

export interface Change {
  readonly version: number;
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED';
  readonly object: ApiObject;
}

export interface Collection {
  readonly kind: string;
  readonly objects: Map<string, ApiObject>;
  /** Everything, since open watches may have some of it still to come. */
  history: Change[];
  /** Nobody is told of changes up to this version any more. */
  compacted: number;
}

/** resource → [group and version, Kind]. */
export type Served = Readonly<Record<string, readonly [groupVersion: string, kind: string]>>;

export const sixKinds: Served = {
  namespaces: ['v1', 'Namespace'],
  nodes: ['v1', 'Node'],
  pods: ['v1', 'Pod'],
  networkpolicies: ['networking.k8s.io/v1', 'NetworkPolicy'],
  services: ['v1', 'Service'],
  endpointslices: ['discovery.k8s.io/v1', 'EndpointSlice'],
};

export class ApiStore {
  /** Versions are opaque to clients; a test of that may change how they look. */
  versionText: (version: number) => string = (version) => String(version);
  protected readonly kinds: Served;
  readonly #collections = new Map<string, Collection>();
  #version = 100;
  #uids = 0;

  constructor(kinds: Served) {
    this.kinds = kinds;
    for (const [resource, [, kind]] of Object.entries(kinds))
      this.#collections.set(resource, { kind, objects: new Map(), history: [], compacted: 0 });
  }

  get version(): number {
    return this.#version;
  }

  /** Adds or changes an object; returns it as the server has it. */
  put(resource: string, object: ApiObject): ApiObject {
    const collection = this.collection(resource);
    const key = keyOf(object);
    const before = collection.objects.get(key);
    const stored: ApiObject = {
      ...object,
      metadata: {
        ...object.metadata,
        uid: object.metadata.uid ?? before?.metadata.uid ?? `uid-${++this.#uids}`,
        resourceVersion: this.versionText(++this.#version),
      },
    };
    collection.objects.set(key, stored);
    this.#record(resource, {
      version: this.#version,
      type: before === undefined ? 'ADDED' : 'MODIFIED',
      object: stored,
    });
    return stored;
  }

  delete(resource: string, name: string, namespace = ''): boolean {
    const collection = this.collection(resource);
    const key = namespace === '' ? name : `${namespace}/${name}`;
    const object = collection.objects.get(key);
    if (object === undefined) return false;
    collection.objects.delete(key);
    const metadata = { ...object.metadata, resourceVersion: this.versionText(++this.#version) };
    this.#record(resource, { version: this.#version, type: 'DELETED', object: { ...object, metadata } });
    return true;
  }

  /** Makes the objects those of a list of manifests; what is the same already stays untouched. */
  become(items: readonly ApiObject[]): void {
    const wanted = new Map<string, Map<string, ApiObject>>();
    for (const resource of this.#collections.keys()) wanted.set(resource, new Map());
    for (const item of items) {
      const found = [...this.#collections].find(([, { kind }]) => kind === item.kind);
      if (found === undefined) throw new Error(`the double serves no ${item.kind}`);
      wanted.get(found[0])?.set(keyOf(item), item);
    }
    for (const [resource, objects] of wanted) {
      for (const { metadata } of this.list(resource))
        if (!objects.has(keyOf({ metadata }))) this.delete(resource, metadata.name, metadata.namespace);
      for (const [key, object] of objects) {
        const held = this.collection(resource).objects.get(key);
        const { uid: _uid, resourceVersion: _version, ...metadata } = held?.metadata ?? { name: '' };
        if (JSON.stringify({ ...held, metadata }) !== JSON.stringify(object)) this.put(resource, object);
      }
    }
  }

  list(resource: string): readonly ApiObject[] {
    return [...this.collection(resource).objects.values()];
  }

  /** Forgets history: watches that begin before now, and continue tokens of lists before now, get 410. Open watches lose nothing. */
  compact(): void {
    for (const collection of this.#collections.values()) collection.compacted = this.#version;
  }

  /** As after a datastore was put back from a backup: versions begin again at `version`. */
  turnBack(version: number): void {
    this.#version = version;
    for (const collection of this.#collections.values()) {
      collection.history = [];
      collection.compacted = 0;
      for (const [key, object] of collection.objects)
        collection.objects.set(key, {
          ...object,
          metadata: { ...object.metadata, resourceVersion: this.versionText(Math.min(version, 10)) },
        });
    }
  }

  /** The objects as they were at a version that is not compacted. */
  protected at(resource: string, version: number): ReadonlyMap<string, ApiObject> {
    const { objects, history } = this.collection(resource);
    if (version >= this.#version) return objects;
    const then = new Map(objects);
    const touched = new Set(
      history.filter((change) => change.version > version).map(({ object }) => keyOf(object)),
    );
    for (const key of touched) {
      const last = history
        .filter((change) => change.version <= version && keyOf(change.object) === key)
        .at(-1);
      if (last === undefined || last.type === 'DELETED') then.delete(key);
      else then.set(key, last.object);
    }
    return then;
  }

  protected versionOf(text: string): number {
    for (let version = this.#version; version >= 0; version--)
      if (this.versionText(version) === text) return version;
    // From another history: a server begins where it is.
    return this.#version;
  }

  protected served(resource: string): readonly [string, string] {
    return this.kinds[resource]!;
  }

  protected collection(resource: string): Collection {
    const collection = this.#collections.get(resource);
    if (collection === undefined) throw new Error(`the double serves no ${resource}`);
    return collection;
  }

  /** Something was added to the history of a kind. */
  protected changed(_resource: string): void {}

  #record(resource: string, change: Change): void {
    this.collection(resource).history.push(change);
    this.changed(resource);
  }
}

function keyOf({ metadata }: ApiObject): string {
  return metadata.namespace === undefined ? metadata.name : `${metadata.namespace}/${metadata.name}`;
}
