/**
 * The Kubernetes API as a source: one reflector for each of the six kinds, what they hold, and how it stands with the server.
 *
 * Synced once all six lists are in; from then on for good, since a server that is away takes nothing away. What was told before stays in
 * force, `watches` says how old it is, and the problems say why.
 */
import { type Problem, WeftError } from '../errors/problem.js';
import type { WorldEvent } from '../model/event.js';
import type { LookUp, Source, SourceSink, WatchState } from '../model/source.js';
import type { KubeClient } from './client.js';
import { Compactor } from './compact.js';
import { KubeError } from './error.js';
import { Reflector } from './reflector.js';
import { decode, objectPath, type Resource, resourceOf, resources, ruleFor } from './resource.js';
import { defaultSettings, type ReflectorSettings } from './settings.js';
import { Store } from './store.js';

export interface KubeSourceOptions {
  readonly client: KubeClient;
  readonly log: (level: 'info' | 'warn', message: string, fields?: Readonly<Record<string, unknown>>) => void;
  readonly settings?: Partial<ReflectorSettings>;
  readonly random?: () => number;
  /** Milliseconds of a clock that only goes forward. */
  readonly now?: () => number;
  /** How often the log says again that the server is away. Milliseconds. */
  readonly remindEvery?: number;
}

/** Of one pod asked for by name. Milliseconds. */
const lookUpPatience = 3000;
/** Problems of objects that are told; a cluster can hold more broken ones than anybody reads. */
const mostProblems = 200;
/** Milliseconds. */
const usualReminder = 300_000;

interface Watched {
  readonly resource: Resource;
  readonly reflector: Reflector;
  readonly store: Store;
  trouble: Error | null;
}

export class KubeSource implements Source {
  readonly name = 'kubernetes';
  readonly assignsAddresses = false;
  readonly #options: KubeSourceOptions;
  readonly #now: () => number;
  readonly #watched: readonly Watched[];
  readonly #compactor = new Compactor();
  #sink: SourceSink | null = null;
  #synced = false;
  #awaySince: number | null = null;
  #reminder: NodeJS.Timeout | null = null;

  constructor(options: KubeSourceOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
    this.#watched = resources.map((resource) => this.#watch(resource));
  }

  get size(): number {
    return this.#watched.reduce((sum, { store }) => sum + store.size, 0);
  }

  get watches(): readonly WatchState[] {
    return this.#watched.map(({ reflector, store }) => reflector.status(store.size));
  }

  start(sink: SourceSink): void {
    this.#sink = sink;
    for (const { reflector } of this.#watched) reflector.start();
    this.#reminder = setInterval(() => this.#remind(), this.#options.remindEvery ?? usualReminder);
    this.#reminder.unref();
  }

  /** Lists every kind anew. */
  async refresh(): Promise<void> {
    await Promise.all(this.#watched.map(({ reflector }) => reflector.refresh()));
  }

  stop(): void {
    this.#sink = null;
    if (this.#reminder !== null) clearInterval(this.#reminder);
    for (const { reflector } of this.#watched) reflector.stop();
    this.#options.client.close();
  }

  /** Also the pod's namespace where it is not known yet: without its labels no rule that asks for them admits the pod. */
  async lookUp(namespace: string, name: string): Promise<LookUp> {
    try {
      const wanted: Promise<boolean>[] = [this.#ask('pod', namespace, name)];
      if (!this.#of('namespace').store.has(namespace)) wanted.push(this.#ask('namespace', '', namespace));
      const [pod = false] = await Promise.all(wanted);
      return pod ? 'known' : 'absent';
    } catch (error) {
      this.#options.log('warn', 'the API server could not be asked for a pod', {
        pod: `${namespace}/${name}`,
        error: (error as Error).message,
      });
      return 'away';
    }
  }

  async #ask(kind: 'pod' | 'namespace', namespace: string, name: string): Promise<boolean> {
    const { resource, reflector, store } = this.#of(kind);
    let value: unknown;
    try {
      value = await this.#options.client.get(objectPath(resource, reflector.apiVersion, namespace, name), {
        timeout: lookUpPatience,
      });
    } catch (error) {
      if (error instanceof KubeError && error.code === 'kube-absent') return false;
      throw error;
    }
    const decoded = decode(resource, value, this.#compactor);
    if (decoded === undefined || this.#sink === null) return false;
    // The watch has seen all up to its version: what it does not hold and is older was deleted while the answer was on its way.
    if (!store.has(decoded.key) && decoded.version <= reflector.version) return false;
    this.#tell(store.put(decoded));
    return true;
  }

  #of(kind: Resource['kind']): Watched {
    return this.#watched[resources.indexOf(resourceOf(kind))]!;
  }

  #watch(resource: Resource): Watched {
    const store = new Store(resource.kind);
    const { client, random = Math.random, settings } = this.#options;
    const watched: Watched = {
      resource,
      store,
      trouble: null,
      reflector: new Reflector({
        client,
        resource,
        random,
        now: this.#now,
        settings: { ...defaultSettings, ...settings },
        sink: {
          decode: (value) => decode(resource, value, this.#compactor),
          replaced: (list, version, anew) => {
            if (anew) store.forgetVersions();
            this.#tell(store.replace(list, version));
            this.#tellProblems();
            this.#settle();
          },
          changed: (changes) => {
            const before = store.problemChanges;
            this.#tell(
              changes.flatMap(({ deleted, decoded }) =>
                deleted ? store.remove(decoded.key, decoded.uid) : store.put(decoded),
              ),
            );
            if (store.problemChanges !== before) this.#tellProblems();
          },
          trouble: (error) => this.#trouble(watched, error),
        },
      }),
    };
    return watched;
  }

  #tell(events: readonly WorldEvent[]): void {
    if (events.length > 0) this.#sink?.apply(events);
  }

  #settle(): void {
    if (this.#synced || !this.#watched.every(({ reflector }) => reflector.listed)) return;
    this.#synced = true;
    this.#sink?.synced();
  }

  #trouble(watched: Watched, error: Error | null): void {
    // The same trouble in other words (a list refused, then a watch) is not told again.
    if (kindOf(watched.trouble) === kindOf(error)) return;
    watched.trouble = error;
    this.#tellProblems();
    if (error === null) this.#wake();
    const away = this.#watched.some(({ trouble }) => trouble !== null);
    if (away && this.#awaySince === null) this.#awaySince = this.#now();
    else if (!away && this.#awaySince !== null) {
      const seconds = Math.round((this.#now() - this.#awaySince) / 1000);
      this.#awaySince = null;
      this.#options.log('info', 'the API server is back', { seconds });
    }
  }

  /** The server was heard: who waits for it to come back need not wait longer. */
  #wake(): void {
    for (const { trouble, reflector } of this.#watched)
      if (trouble instanceof KubeError && trouble.code === 'kube-away') reflector.wake();
  }

  #remind(): void {
    if (this.#awaySince === null) return;
    this.#options.log('warn', 'the API server is still away; the last state stays in force', {
      seconds: Math.round((this.#now() - this.#awaySince) / 1000),
      watches: this.watches.filter(({ state }) => state === 'away').map(({ resource }) => resource),
    });
  }

  #tellProblems(): void {
    const troubles = this.#watched.flatMap(({ trouble, resource, reflector }) =>
      trouble === null ? [] : [problemOf(trouble, resource, reflector.listed)],
    );
    const objects = this.#watched.flatMap(({ store }) => store.problems);
    const more = objects.length - mostProblems;
    this.#sink?.problems([
      ...merged(troubles),
      ...objects.slice(0, mostProblems),
      ...(more > 0
        ? [
            {
              code: 'kube-object',
              severity: 'warning' as const,
              message: `${more} more problems of objects of the API are not listed.`,
            },
          ]
        : []),
    ]);
  }
}

function kindOf(error: Error | null): string | null {
  return error instanceof WeftError ? error.code : (error?.message ?? null);
}

function problemOf(error: Error, resource: Resource, listed: boolean): Problem {
  const code = error instanceof WeftError ? error.code : 'kube-failed';
  const common = { code, severity: 'error' as const };
  switch (code) {
    case 'kube-forbidden':
      return {
        ...common,
        message: `weft may not watch ${resource.resource}: ${error.message}`,
        fix: `Add this rule to weft's ClusterRole: ${ruleFor(resource)}.`,
      };
    case 'kube-unauthorized':
      return {
        ...common,
        message: `The API server does not know who weft is: ${error.message}`,
        fix: 'Look whether the token or client certificate is expired, or of another cluster.',
      };
    case 'kube-absent':
      return {
        ...common,
        message: `The API server has no ${resource.resource} of a version that weft knows: ${error.message}`,
      };
    default:
      return {
        ...common,
        message: `${error.message} ${listed ? 'What was known before stays in force.' : 'Nothing is published before all has been read once.'}`,
      };
  }
}

/** A server that is away is away for all six kinds: one problem says so. */
function merged(problems: readonly Problem[]): readonly Problem[] {
  const first = problems.find(({ code }) => code === 'kube-away');
  return problems.filter((problem) => problem.code !== 'kube-away' || problem === first);
}
