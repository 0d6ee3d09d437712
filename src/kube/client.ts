/**
 * A small client of the Kubernetes API over Node's own http and https: one JSON request, or one watch. No retries by itself but two: a
 * reused connection that the server had just closed, and a 401 after which the token file holds another token.
 *
 * Everything that comes back is bounded in size and time.
 */
import type { ClientRequest } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Access } from './access.js';
import { gather, parsed, refused } from './answer.js';
import { Connection } from './connection.js';
import { KubeError, shorten } from './error.js';

export interface RequestOptions {
  readonly query?: Readonly<Record<string, string | number | boolean>>;
  /** Milliseconds until the whole answer is there. */
  readonly timeout?: number;
  /** Milliseconds without a byte; a slow answer may take longer than that in all. */
  readonly silence?: number;
  /** Bytes of the answer. */
  readonly longest?: number;
  readonly signal?: AbortSignal;
}

export interface Sending extends RequestOptions {
  readonly body?: unknown;
  /** `application/json`; for PATCH `application/merge-patch+json`, where not given. */
  readonly contentType?: string;
}

export interface WatchHandlers {
  /** The server has begun to answer. */
  open(): void;
  data(chunk: Buffer): void;
  /** Once, last. null: the server ended the answer as it should. */
  end(error: KubeError | null): void;
}

export interface WatchOptions {
  readonly query: Readonly<Record<string, string | number | boolean>>;
  /** Milliseconds until the server begins to answer. */
  readonly patience: number;
}

const defaultTimeout = 30_000;
const defaultLongest = 64 << 20;
/** Of an answer that is only shown. */
const longestRefusal = 64 << 10;

/** A connection that has changed its protocol. */
export interface Upgraded {
  readonly socket: Duplex;
  /** What the server had sent behind its answer already. */
  readonly head: Buffer;
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
}

export class KubeClient {
  readonly #connection: Connection;

  /** Throws `kube-credentials` where the token would go out unencrypted. */
  constructor(access: Access, userAgent = 'weft') {
    this.#connection = new Connection(access, userAgent);
  }

  get access(): Access {
    return this.#connection.access;
  }

  /** Ends all connections, also those that are in use. */
  close(): void {
    this.#connection.close();
  }

  /** The parsed answer to a GET. Rejects with a KubeError, or a WeftError where credentials cannot be read. */
  get(path: string, options: RequestOptions = {}): Promise<unknown> {
    return this.send('GET', path, options);
  }

  async send(method: string, path: string, options: Sending = {}): Promise<unknown> {
    const token = this.#connection.token();
    try {
      return await this.#attempt(method, path, options, token);
    } catch (error) {
      if (!(error instanceof KubeError)) throw error;
      const renewed = error.code === 'kube-unauthorized' ? this.#connection.token() : token;
      if (renewed === token && !(error instanceof Reset && method === 'GET')) throw error;
      return await this.#attempt(method, path, options, renewed);
    }
  }

  /** Begins a watch; the returned function breaks it off without a call of `end`. Never throws. */
  watch(path: string, options: WatchOptions, handlers: WatchHandlers): () => void {
    let over = false;
    let request: ClientRequest | null = null;
    let patience: NodeJS.Timeout | undefined;
    const finish = (error: KubeError | null) => {
      if (over) return;
      over = true;
      clearTimeout(patience);
      request?.destroy();
      handlers.end(error);
    };
    const what = `watch ${path}`;
    const begin = (again: boolean) => {
      const token = this.#connection.token();
      const current = this.#connection.open('GET', path, options.query, token, {});
      request = current;
      current.on('error', (error) => finish(this.#connection.broken(what, error)));
      current.once('response', (response) => {
        if (over) return;
        if (response.statusCode === 200) {
          clearTimeout(patience);
          handlers.open();
          response.on('data', (chunk: Buffer) => {
            if (!over) handlers.data(chunk);
          });
          response.once('end', () => finish(null));
          response.on('error', (error) => finish(this.#connection.broken(what, error)));
          response.once('close', () =>
            finish(new KubeError('kube-away', `The answer to ${what} broke off.`)),
          );
          return;
        }
        gather(response, longestRefusal, what)
          .then((text) => {
            if (over) return;
            const renewed = again && response.statusCode === 401 && this.#connection.token() !== token;
            if (renewed) begin(false);
            else finish(refused(what, response, text));
          })
          .catch((error: Error) => finish(asKubeError(error)));
      });
      current.end();
    };
    patience = setTimeout(
      () =>
        finish(
          new KubeError(
            'kube-away',
            `The API server did not begin to answer ${what} within ${options.patience / 1000} s.`,
          ),
        ),
      options.patience,
    );
    try {
      begin(true);
    } catch (error) {
      // Not from within the call.
      setImmediate(() => finish(asKubeError(error)));
    }
    return () => {
      over = true;
      clearTimeout(patience);
      request?.destroy();
    };
  }

  /**
   * A GET that asks for another protocol on the connection, and the connection once the server has agreed. Rejects with a KubeError; a
   * server that answers without agreeing is `kube-failed`.
   */
  upgrade(
    path: string,
    headers: Readonly<Record<string, string>>,
    options: { readonly timeout?: number } = {},
  ): Promise<Upgraded> {
    const what = `GET ${path.split('?')[0]}`;
    const timeout = options.timeout ?? defaultTimeout;
    return new Promise((resolve, reject) => {
      const request = this.#connection.open('GET', path, {}, this.#connection.token(), headers);
      const timer = setTimeout(() => {
        reject(
          new KubeError('kube-away', `The API server did not answer ${what} within ${timeout / 1000} s.`),
        );
        request.destroy();
      }, timeout);
      request.on('error', (error) => {
        clearTimeout(timer);
        reject(this.#connection.broken(what, error));
      });
      request.once('upgrade', (response, socket, head) => {
        clearTimeout(timer);
        resolve({ socket, head, headers: response.headers });
      });
      request.once('response', (response) => {
        gather(response, longestRefusal, what).then(
          (text) => {
            clearTimeout(timer);
            reject(refused(what, response, text));
            request.destroy();
          },
          (error: KubeError) => {
            clearTimeout(timer);
            reject(error);
          },
        );
      });
      request.end();
    });
  }

  #attempt(method: string, path: string, options: Sending, token: string | null): Promise<unknown> {
    const what = `${method} ${path}`;
    const patch = method === 'PATCH' ? 'application/merge-patch+json' : 'application/json';
    const body = options.body === undefined ? null : Buffer.from(JSON.stringify(options.body));
    const headers: Record<string, string | number> =
      body === null ? {} : { 'content-type': options.contentType ?? patch, 'content-length': body.length };
    return new Promise((resolve, reject) => {
      const timeout = options.timeout ?? defaultTimeout;
      const request = this.#connection.open(method, path, options.query ?? {}, token, headers);
      const abort = () => request.destroy(new Error('it was broken off'));
      const timer = setTimeout(
        () =>
          settle(() =>
            reject(
              new KubeError('kube-away', `The API server did not answer ${what} within ${timeout / 1000} s.`),
            ),
          ),
        timeout,
      );
      const settle = (outcome: () => void) => {
        clearTimeout(timer);
        options.signal?.removeEventListener('abort', abort);
        outcome();
        request.destroy();
      };
      const { silence } = options;
      if (silence !== undefined)
        request.setTimeout(silence, () =>
          settle(() =>
            reject(
              new KubeError(
                'kube-away',
                `The API server did not answer ${what}: nothing came for ${silence / 1000} s.`,
              ),
            ),
          ),
        );
      if (options.signal?.aborted === true) abort();
      options.signal?.addEventListener('abort', abort, { once: true });
      request.on('error', (error) => {
        const reset = request.reusedSocket && (error as NodeJS.ErrnoException).code === 'ECONNRESET';
        settle(() =>
          reject(reset ? new Reset('kube-away', error.message) : this.#connection.broken(what, error)),
        );
      });
      request.once('response', (response) => {
        const status = response.statusCode ?? 0;
        const good = status >= 200 && status < 300;
        gather(response, good ? (options.longest ?? defaultLongest) : longestRefusal, what).then(
          (text) => {
            clearTimeout(timer);
            options.signal?.removeEventListener('abort', abort);
            if (!good) reject(refused(what, response, text));
            else {
              const value = parsed(text);
              if (value !== undefined) resolve(value);
              else
                reject(
                  new KubeError('kube-garbled', `The answer to ${what} is no JSON: ${shorten(text, 80)}`, {
                    status,
                  }),
                );
            }
          },
          (error: KubeError) => settle(() => reject(error)),
        );
      });
      request.end(body ?? undefined);
    });
  }
}

/** A connection that was idle and turned out to be closed: nothing has been asked yet. */
class Reset extends KubeError {}

function asKubeError(error: unknown): KubeError {
  if (error instanceof KubeError) return error;
  return new KubeError('kube-unauthorized', (error as Error).message, { cause: error });
}
