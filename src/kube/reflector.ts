/**
 * Keeps what a server holds of one kind in step: list once, then watch from the list's version on (client-go's Reflector is the model).
 *
 *     list ─► watch ─┬─ the stream ends, breaks or falls silent ──► watch from the last version seen
 *       ▲            └─ 410, or a line that cannot be read ───────► list again, compared with what is held
 *       └─ every failure waits: longer each time, spread, and as long as the server asks
 *
 * No gap: a version is only moved forward by an event or bookmark that was taken in, and a list replaces what is held in one step. No flap:
 * what is held stays while the server is away or a list is under way. A line that cannot be read does not stop those after it; the list
 * that makes it good follows soon.
 *
 * Nothing waits without a bound of our own: each page, and whatever a stream does (watch-stream.ts), however well the connection looks.
 */
import type { WatchState } from '../model/source.js';
import { Backoff } from './backoff.js';
import type { KubeClient } from './client.js';
import { KubeError } from './error.js';
import { Lister } from './list.js';
import { type Decoded, type Resource, versionNumber } from './resource.js';
import type { ReflectorSettings } from './settings.js';
import { type Change, type WatchEnd, WatchStream } from './watch-stream.js';

export interface ReflectorSink {
  /** undefined: nobody can say what the object is. */
  decode(value: unknown): Decoded | undefined;
  /** All there is, as of `version`. `anew`: the server's versions have begun again; what was held says nothing about age. */
  replaced(list: readonly Decoded[], version: number, anew: boolean): void;
  /** What a piece of the stream told, in order; `deleted` tells the two apart. */
  changed(changes: readonly Change[]): void;
  /** The server fails us; null: it is well again. */
  trouble(error: Error | null): void;
}

interface Waiter {
  resolve(): void;
  reject(error: Error): void;
}

export interface ReflectorOptions {
  readonly client: KubeClient;
  readonly resource: Resource;
  readonly sink: ReflectorSink;
  readonly settings: ReflectorSettings;
  readonly random: () => number;
  /** Milliseconds of a clock that only goes forward. */
  readonly now: () => number;
}

export class Reflector {
  readonly resource: Resource;
  readonly #options: ReflectorOptions;
  readonly #sink: ReflectorSink;
  readonly #lister: Lister;
  readonly #backoff: Backoff;
  /** Of lists after versions that were too old: the server answers, so how long it was away before says nothing. */
  readonly #expiry: Backoff;
  /** Where the next watch begins; '' before the first list. */
  #version = '';
  #state: WatchState['state'] = 'listing';
  #contact: number | null = null;
  #lists = 0;
  #failures = 0;
  #garbled = 0;
  /** What is held may not be all there is: an old version, a line that could not be read. Only a list makes it good. */
  #mustList = true;
  /** The server was out of reach since the last stream: its history may not be the one we know. */
  #wasAway = false;
  #waiters: Waiter[] = [];
  #stopped = false;
  #pausing = false;
  /** Ends what is being waited for: a pause, a page or a stream. */
  #interrupt: () => void = () => {};

  constructor(options: ReflectorOptions) {
    this.resource = options.resource;
    this.#options = options;
    this.#sink = options.sink;
    const { client, resource, settings, sink } = options;
    this.#lister = new Lister({
      client,
      resource,
      settings,
      decode: (value) => sink.decode(value),
      heard: () => this.#heard(),
    });
    const { firstPause, longestPause } = options.settings;
    this.#backoff = new Backoff(firstPause, longestPause, options.random);
    this.#expiry = new Backoff(firstPause, longestPause, options.random);
  }

  get listed(): boolean {
    return this.#version !== '';
  }

  /** What has been taken in up to now, as a number; NaN before the first list. */
  get version(): number {
    return versionNumber(this.#version);
  }

  /** As of the group's version that the server has. */
  get apiVersion(): string {
    return this.#lister.apiVersion;
  }

  status(objects: number): WatchState {
    return {
      resource: this.resource.resource,
      state: this.#state,
      secondsSinceContact:
        this.#contact === null ? null : Math.max(0, Math.round((this.#options.now() - this.#contact) / 1000)),
      lists: this.#lists,
      failures: this.#failures,
      garbled: this.#garbled + this.#lister.unreadable,
      objects,
    };
  }

  start(): void {
    this.#run().catch((error: Error) => {
      // A bug. The others go on, and this one shows as away with its reason.
      this.#state = 'away';
      this.#sink.trouble(error);
      for (const { reject } of this.#waiters.splice(0)) reject(error);
    });
  }

  stop(): void {
    this.#stopped = true;
    this.#interrupt();
    for (const { reject } of this.#waiters.splice(0))
      reject(new KubeError('kube-away', 'The agent is ending.'));
  }

  /** The server was heard by somebody else: a pause need not be waited out. */
  wake(): void {
    if (!this.#pausing) return;
    this.#backoff.reset();
    this.#interrupt();
  }

  /** Resolves when a list that began after this call has been taken in; rejects where it fails. */
  refresh(): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#stopped) {
        reject(new KubeError('kube-away', 'The agent is ending.'));
        return;
      }
      this.#waiters.push({ resolve, reject });
      if (this.#state !== 'listing') this.#interrupt();
    });
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      try {
        if (this.#mustList || this.#waiters.length > 0) await this.#list();
        else if (this.#wasAway && (await this.#beganAnew())) this.#mustList = true;
        else await this.#watch();
      } catch (error) {
        if (this.#stopped) return;
        if (error instanceof KubeError && (error.code === 'kube-expired' || error.code === 'kube-absent'))
          this.#mustList = true;
        await this.#failed(error as Error);
      }
    }
  }

  /** Says what is wrong and waits as long as is due. */
  async #failed(error: Error): Promise<void> {
    const expired = error instanceof KubeError && error.code === 'kube-expired';
    this.#failures++;
    this.#state = expired ? 'listing' : 'away';
    if (error instanceof KubeError && (error.status === 0 || error.status >= 500)) this.#wasAway = true;
    // An old version is nobody's fault, and nothing to tell anyone about.
    if (!expired) this.#sink.trouble(error);
    const asked = error instanceof KubeError ? error.retryAfter : 0;
    await this.#pause(Math.max(asked, (expired ? this.#expiry : this.#backoff).next()));
  }

  #pause(milliseconds: number): Promise<void> {
    return new Promise((resolve) => {
      const end = () => {
        clearTimeout(timer);
        this.#pausing = false;
        resolve();
      };
      const timer = setTimeout(end, milliseconds);
      this.#pausing = true;
      this.#interrupt = end;
    });
  }

  #heard(): void {
    this.#contact = this.#options.now();
  }

  // ---- list

  async #list(): Promise<void> {
    const waiters = this.#waiters;
    this.#waiters = [];
    this.#state = 'listing';
    try {
      const { list, version } = await this.#lister.list(this.#breakOff());
      if (this.#stopped) return;
      const before = this.version;
      const now = versionNumber(version);
      this.#version = version;
      this.#mustList = false;
      this.#wasAway = false;
      this.#lists++;
      this.#sink.replaced(list, now, now < before);
      this.#sink.trouble(null);
      for (const { resolve } of waiters) resolve();
    } catch (error) {
      for (const { reject } of waiters) reject(error as Error);
      throw error;
    }
  }

  /** Whether the server's versions lie before what we have seen: a datastore put back from a backup, or another cluster. */
  async #beganAnew(): Promise<boolean> {
    const version = await this.#lister.versionNow(this.#breakOff());
    this.#wasAway = false;
    return version < this.version;
  }

  /** Ends a request when the reflector stops; nothing else is worth breaking it off. */
  #breakOff(): AbortSignal {
    const breaking = new AbortController();
    this.#interrupt = () => {
      if (this.#stopped) breaking.abort();
    };
    return breaking.signal;
  }

  // ---- watch

  /** Resolves when the stream is over as streams are; rejects where the server refuses or breaks it. */
  async #watch(): Promise<void> {
    const { error, well, broken } = await new Promise<WatchEnd>((resolve) => {
      const { client, settings, random, now } = this.#options;
      const stream = new WatchStream({
        client,
        path: this.#lister.path,
        what: `watch ${this.resource.resource}`,
        settings,
        random,
        now,
        after: this.#version,
        decode: (value) => this.#sink.decode(value),
        opened: () => {
          this.#state = 'watching';
          this.#sink.trouble(null);
        },
        heard: () => this.#heard(),
        isOld: (version) => version <= this.version,
        advance: (version) => this.#advance(version),
        changed: (changes) => this.#sink.changed(changes),
        garbled: () => {
          this.#garbled++;
          this.#mustList = true;
        },
        // What comes after it is not held up for longer.
        patienceWithGarbage: () => this.#backoff.next(),
        ended: (end) => {
          this.#interrupt = () => {};
          resolve(end);
        },
      });
      this.#interrupt = () => stream.end();
      stream.begin();
    });
    if (well) {
      this.#backoff.reset();
      this.#expiry.reset();
    }
    if (error !== null) throw error;
    // A server that ends each stream at once must not be asked without a pause; a broken one has had it.
    if (well || broken || this.#stopped || this.#waiters.length > 0) return;
    await this.#pause(this.#backoff.next());
  }

  /** Never backwards, where versions can be compared. */
  #advance(version: string): void {
    if (versionNumber(version) < this.version) return;
    this.#version = version;
  }
}
