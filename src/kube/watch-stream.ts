/**
 * One watch from its request to its end. Each line is an event: a change, a bookmark of how far the server has told, or the server's
 * own error. A line that cannot be read does not stop those after it, but what is told is no longer all there is; such a stream is
 * ended soon, for a list.
 *
 * Nothing waits without a bound of our own: the beginning, the whole stream, and, once the server has sent a bookmark, its silence.
 */
import { isPlainObject, objectOf, textOf } from '../manifests/plain.js';
import type { KubeClient } from './client.js';
import { refusal } from './error.js';
import { LineCutter } from './lines.js';
import type { Decoded } from './resource.js';
import type { ReflectorSettings } from './settings.js';

export interface Change {
  readonly deleted: boolean;
  readonly decoded: Decoded;
}

export interface WatchEnd {
  /** Why the server refused or broke it; null: it is over as streams are. */
  readonly error: Error | null;
  /** Nothing of it could not be read, and it brought something or lived as long as a stream of a healthy server does. */
  readonly well: boolean;
  /** A line could not be read. */
  readonly broken: boolean;
}

export interface WatchStreamOptions {
  readonly client: KubeClient;
  readonly path: string;
  /** For messages. */
  readonly what: string;
  readonly settings: ReflectorSettings;
  readonly random: () => number;
  /** Milliseconds of a clock that only goes forward. */
  readonly now: () => number;
  /** The resource version to go on from. */
  readonly after: string;
  /** undefined: nobody can say what the object is. */
  decode(value: unknown): Decoded | undefined;
  /** The server has agreed. */
  opened(): void;
  /** It has said something. */
  heard(): void;
  /** Whether what has this version was taken in before. */
  isOld(version: number): boolean;
  /** Told up to this version. */
  advance(version: string): void;
  /** What a piece of the stream told, in order. */
  changed(changes: readonly Change[]): void;
  /** A line could not be read. */
  garbled(): void;
  /** For how long the stream goes on after such a line. Milliseconds. */
  patienceWithGarbage(): number;
  /** Once. */
  ended(end: WatchEnd): void;
}

/** Beyond what the server was asked to end the stream after. Milliseconds. */
const graceAfterEnd = 15_000;

export class WatchStream {
  readonly #options: WatchStreamOptions;
  readonly #lines: LineCutter;
  readonly #watchTime: number;
  readonly #began: number;
  #bookmarked = false;
  /** It brought something that could be read. */
  #told = false;
  #broken = false;
  #over = false;
  /** Whatever the stream brings, however slowly. */
  #life: NodeJS.Timeout | undefined;
  #silence: NodeJS.Timeout | undefined;
  #soon: NodeJS.Timeout | undefined;
  #breakOff: () => void = () => {};
  #batch: Change[] = [];

  constructor(options: WatchStreamOptions) {
    const { settings, random, now } = options;
    this.#options = options;
    this.#began = now();
    this.#watchTime = settings.watchTime * (1 + random());
    this.#lines = new LineCutter(
      settings.longestEvent,
      (line) => this.#take(line),
      () => this.#garbage(),
    );
  }

  begin(): void {
    const { client, path, after, settings, heard, opened } = this.#options;
    this.#life = setTimeout(() => this.end(), this.#watchTime + Math.min(graceAfterEnd, this.#watchTime));
    this.#breakOff = client.watch(
      path,
      {
        query: {
          watch: 1,
          resourceVersion: after,
          allowWatchBookmarks: true,
          timeoutSeconds: Math.max(1, Math.round(this.#watchTime / 1000)),
        },
        patience: settings.patience,
      },
      {
        open: () => {
          heard();
          opened();
          this.#listen();
        },
        data: (chunk) => this.#hear(chunk),
        end: (error) => this.end(error),
      },
    );
  }

  /** Breaks it off where it is not over yet. */
  end(error: Error | null = null): void {
    if (this.#over) return;
    this.#over = true;
    for (const timer of [this.#life, this.#silence, this.#soon]) clearTimeout(timer);
    this.#breakOff();
    const { now, settings, ended } = this.#options;
    const well = !this.#broken && (this.#told || now() - this.#began >= settings.healthy);
    ended({ error, well, broken: this.#broken });
  }

  #hear(chunk: Buffer): void {
    this.#options.heard();
    this.#listen();
    this.#lines.push(chunk);
    const changes = this.#batch;
    this.#batch = [];
    if (changes.length > 0) this.#options.changed(changes);
  }

  #listen(): void {
    clearTimeout(this.#silence);
    if (this.#bookmarked && !this.#over)
      this.#silence = setTimeout(() => this.end(), this.#options.settings.silence);
  }

  #garbage(): void {
    this.#options.garbled();
    this.#broken = true;
    this.#soon ??= setTimeout(() => this.end(), this.#options.patienceWithGarbage());
  }

  #take(line: string): void {
    if (this.#over) return;
    const event = parseEvent(line);
    if (event === null || !this.#understood(event.type, event.object)) this.#garbage();
  }

  /** False: nobody can say what was meant. */
  #understood(type: string, object: unknown): boolean {
    const version = textOf(objectOf(objectOf(object).metadata).resourceVersion);
    switch (type) {
      case 'BOOKMARK':
        if (version === '') return false;
        this.#bookmarked = true;
        this.#told = true;
        this.#options.advance(version);
        return true;
      case 'ERROR': {
        const status = objectOf(object);
        const code = typeof status.code === 'number' ? status.code : 500;
        this.end(refusal(this.#options.what, code, status));
        return true;
      }
      case 'ADDED':
      case 'MODIFIED':
      case 'DELETED':
        return this.#changed(type === 'DELETED', object, version);
      default:
        return false;
    }
  }

  #changed(deleted: boolean, object: unknown, version: string): boolean {
    const { decode, isOld, advance } = this.#options;
    const decoded = decode(object);
    if (decoded === undefined || version === '') return false;
    // A repeated event of the past; a deletion is known by its uid, since servers differ in the version that it carries.
    if (!deleted && isOld(decoded.version)) return true;
    this.#told = true;
    this.#batch.push({ deleted, decoded });
    advance(version);
    return true;
  }
}

function parseEvent(line: string): { readonly type: string; readonly object: unknown } | null {
  try {
    const value: unknown = JSON.parse(line);
    if (!isPlainObject(value) || typeof value.type !== 'string' || !isPlainObject(value.object)) return null;
    return { type: value.type, object: value.object };
  } catch {
    return null;
  }
}
