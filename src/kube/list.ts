/** Everything of one kind that a server holds, page by page, in the version of its API that the server has. */
import { isPlainObject, objectOf, textOf } from '../manifests/plain.js';
import type { KubeClient } from './client.js';
import { KubeError } from './error.js';
import { type Decoded, listPath, type Resource, versionNumber } from './resource.js';
import type { ReflectorSettings } from './settings.js';

export interface Listed {
  readonly list: readonly Decoded[];
  /** As of which the list is. */
  readonly version: string;
}

export interface ListerOptions {
  readonly client: KubeClient;
  readonly resource: Resource;
  readonly settings: ReflectorSettings;
  /** undefined: nobody can say what the object is. */
  readonly decode: (value: unknown) => Decoded | undefined;
  /** The server has answered. */
  readonly heard: () => void;
}

/** A server that hands out continue tokens without end. */
const mostPages = 20_000;

export class Lister {
  /** Items that could not be read at all. */
  unreadable = 0;
  readonly #options: ListerOptions;
  #versionIndex = 0;
  #pageSize: number;

  constructor(options: ListerOptions) {
    this.#options = options;
    this.#pageSize = options.settings.page;
  }

  /** Of the kind's group, as the server has it. */
  get apiVersion(): string {
    return this.#options.resource.versions[this.#versionIndex]!;
  }

  get path(): string {
    return listPath(this.#options.resource, this.apiVersion);
  }

  /** The server's version now, as a number; NaN where it is none. */
  async versionNow(signal: AbortSignal): Promise<number> {
    const page = await this.#ask(signal, { limit: 1 });
    return versionNumber(objectOf(page.metadata).resourceVersion);
  }

  /** All pages. A continue token that has expired begins the list again, at last without pages, which cannot expire. */
  async list(signal: AbortSignal): Promise<Listed> {
    const { versions } = this.#options.resource;
    for (let attempt = 0; ; attempt++) {
      try {
        return await this.#pages(signal, attempt < 2 ? this.#pageSize : 0);
      } catch (error) {
        if (!(error instanceof KubeError)) throw error;
        if (error.code === 'kube-expired' && attempt < 2) continue;
        if (error.code === 'kube-too-large' && this.#pageSize > 1 && attempt < 12) {
          this.#pageSize = Math.max(1, this.#pageSize >> 2);
          attempt = -1;
          continue;
        }
        if (error.code === 'kube-absent' && attempt < versions.length - 1) {
          this.#versionIndex = (this.#versionIndex + 1) % versions.length;
          continue;
        }
        throw error;
      }
    }
  }

  async #pages(signal: AbortSignal, size: number): Promise<Listed> {
    const { resource } = this.#options;
    const list: Decoded[] = [];
    let token = '';
    for (let pages = 0; pages < mostPages; pages++) {
      const page = await this.#ask(signal, {
        ...(size > 0 ? { limit: size } : {}),
        ...(token === '' ? {} : { continue: token }),
      });
      const metadata = objectOf(page.metadata);
      const version = textOf(metadata.resourceVersion);
      // Go writes an empty list as null.
      const items = page.items ?? [];
      if (!Array.isArray(items) || version === '')
        throw new KubeError('kube-garbled', `The answer to the list of ${resource.resource} is no list.`);
      for (const item of items) {
        const decoded = this.#options.decode(item);
        if (decoded === undefined) this.unreadable++;
        else list.push(decoded);
      }
      token = textOf(metadata.continue);
      if (token === '') return { list, version };
    }
    throw new KubeError('kube-garbled', `The list of ${resource.resource} has no end.`);
  }

  async #ask(
    signal: AbortSignal,
    query: Readonly<Record<string, string | number>>,
  ): Promise<Record<string, unknown>> {
    const { client, resource, settings, heard } = this.#options;
    const { patience, longestPage } = settings;
    const answer = await client.get(this.path, {
      query,
      silence: patience,
      // A page over a slow line is fine as long as it comes.
      timeout: 10 * patience,
      longest: longestPage,
      signal,
    });
    heard();
    if (!isPlainObject(answer))
      throw new KubeError('kube-garbled', `The answer to the list of ${resource.resource} is no object.`);
    return answer;
  }
}
