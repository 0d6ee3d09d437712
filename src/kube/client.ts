/**
 * A small client of the Kubernetes API over Node's own http and https: one JSON request, or one watch. No retries by itself but two: a
 * reused connection that the server had just closed, and a 401 after which the token file holds another token.
 *
 * Everything that comes back is bounded in size and time. Connections keep themselves alive on TCP, so that a server that vanished
 * without a word (its power went) is noticed within half a minute also by a watch on which nothing happens.
 */
import {
  type ClientRequest,
  Agent as HttpAgent,
  type IncomingMessage,
  request as requestHttp,
} from 'node:http';
import { Agent as HttpsAgent, request as requestHttps } from 'node:https';
import type { Duplex } from 'node:stream';
import { type Access, read } from './access.js';
import { KubeError, refusal, shorten } from './error.js';

export interface RequestOptions {
  readonly query?: Readonly<Record<string, string | number | boolean>>;
  /** Milliseconds until the whole answer is there. */
  readonly timeout?: number;
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
/** Of silence on a connection until the kernel asks whether the other end lives; it then asks ten times, a second apart. */
const keepAliveAfter = 15_000;

/** A connection that has changed its protocol. */
export interface Upgraded {
  readonly socket: Duplex;
  /** What the server had sent behind its answer already. */
  readonly head: Buffer;
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
}

interface Wire {
  readonly agent: HttpAgent | HttpsAgent;
  readonly stamp: string;
}

export class KubeClient {
  readonly #access: Access;
  readonly #secure: boolean;
  readonly #userAgent: string;
  #wire: Wire | null = null;

  constructor(access: Access, userAgent = 'weft') {
    this.#access = access;
    this.#secure = access.server.startsWith('https:');
    this.#userAgent = userAgent;
  }

  get access(): Access {
    return this.#access;
  }

  /** Ends idle connections; what is under way goes on. */
  close(): void {
    this.#wire?.agent.destroy();
    this.#wire = null;
  }

  /** The parsed answer to a GET. Rejects with a KubeError, or a WeftError where credentials cannot be read. */
  get(path: string, options: RequestOptions = {}): Promise<unknown> {
    return this.send('GET', path, options);
  }

  async send(method: string, path: string, options: Sending = {}): Promise<unknown> {
    const token = this.#token();
    try {
      return await this.#attempt(method, path, options, token);
    } catch (error) {
      if (!(error instanceof KubeError)) throw error;
      const renewed = error.code === 'kube-unauthorized' ? this.#token() : token;
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
    const begin = (token: string | null, again: boolean) => {
      const current = this.#open('GET', path, options.query, token, {});
      request = current;
      current.on('error', (error) => finish(this.#broken(what, error)));
      current.once('response', (response) => {
        if (over) return;
        if (response.statusCode === 200) {
          clearTimeout(patience);
          handlers.open();
          response.on('data', (chunk: Buffer) => {
            if (!over) handlers.data(chunk);
          });
          response.once('end', () => finish(null));
          response.on('error', (error) => finish(this.#broken(what, error)));
          response.once('close', () =>
            finish(new KubeError('kube-away', `The answer to ${what} broke off.`)),
          );
          return;
        }
        gather(response, longestRefusal, what).then(
          (text) => {
            if (over) return;
            const renewed = response.statusCode === 401 && again ? this.#tokenOrNull() : token;
            if (renewed !== token) begin(renewed, false);
            else finish(refused(what, response, text));
          },
          (error: KubeError) => finish(error),
        );
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
      begin(this.#token(), true);
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
      const request = this.#open('GET', path, {}, this.#token(), headers);
      const timer = setTimeout(() => {
        reject(
          new KubeError('kube-away', `The API server did not answer ${what} within ${timeout / 1000} s.`),
        );
        request.destroy();
      }, timeout);
      request.on('error', (error) => {
        clearTimeout(timer);
        reject(this.#broken(what, error));
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
      const request = this.#open(method, path, options.query ?? {}, token, headers);
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
      if (options.signal?.aborted === true) abort();
      options.signal?.addEventListener('abort', abort, { once: true });
      request.on('error', (error) => {
        const reset = request.reusedSocket && (error as NodeJS.ErrnoException).code === 'ECONNRESET';
        settle(() => reject(reset ? new Reset('kube-away', error.message) : this.#broken(what, error)));
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

  #open(
    method: string,
    path: string,
    query: Readonly<Record<string, string | number | boolean>>,
    token: string | null,
    headers: Readonly<Record<string, string | number>>,
  ): ClientRequest {
    const search = new URLSearchParams();
    for (const [name, value] of Object.entries(query)) search.set(name, String(value));
    const url = `${this.#access.server}${path}${search.size === 0 ? '' : `?${search}`}`;
    const send = this.#secure ? requestHttps : requestHttp;
    const request = send(url, {
      method,
      agent: this.#connection().agent,
      headers: {
        accept: 'application/json',
        'user-agent': this.#userAgent,
        ...(token === null ? {} : { authorization: `Bearer ${token}` }),
        ...headers,
      },
    });
    request.once('socket', (socket) => socket.setKeepAlive(true, keepAliveAfter));
    return request;
  }

  /** The pool of connections; a new one where CA or certificate have changed. */
  #connection(): Wire {
    const { ca, certificate, serverName, insecure } = this.#access;
    const given = this.#secure
      ? {
          ...(ca === null ? {} : { ca: read(ca, 'CA') }),
          ...(certificate === null
            ? {}
            : {
                cert: read(certificate.certificate, 'client certificate'),
                key: read(certificate.key, 'client key'),
              }),
        }
      : {};
    const stamp = Object.values(given).join('\n');
    if (this.#wire?.stamp === stamp) return this.#wire;
    // Watches on the former connections go on: destroying the pool would cut them.
    const common = { keepAlive: true };
    this.#wire = {
      stamp,
      agent: this.#secure
        ? new HttpsAgent({
            ...common,
            ...given,
            rejectUnauthorized: !insecure,
            ...(serverName === null ? {} : { servername: serverName }),
          })
        : new HttpAgent(common),
    };
    return this.#wire;
  }

  #token(): string | null {
    const { token } = this.#access;
    if (token === null) return null;
    const text = read(token, 'token').toString('latin1').trim();
    // What cannot stand in a header would be thrown by Node.js, with the token in the message.
    if (!/^[\x21-\x7e]+$/.test(text))
      throw new KubeError(
        'kube-unauthorized',
        `The token of ${this.#access.from} is empty or holds characters that no token has.`,
      );
    return text;
  }

  #tokenOrNull(): string | null {
    try {
      return this.#token();
    } catch {
      return null;
    }
  }

  #broken(what: string, error: Error): KubeError {
    const { code = '' } = error as NodeJS.ErrnoException;
    const { server } = this.#access;
    // OpenSSL's and Node's words for certificates that do not fit.
    if (/CERT|SIGNATURE|ALTNAME|^ERR_(TLS|SSL)|^ERR_OSSL/.test(code))
      return new KubeError(
        'kube-tls',
        `The certificate of the API server ${server} is not believed (${code}): ${shorten(error.message, 200)}.`,
        { cause: error },
      );
    return new KubeError(
      'kube-away',
      `The API server ${server} cannot be reached (${code || shorten(error.message, 200)}) to ${what}.`,
      { cause: error },
    );
  }
}

/** A connection that was idle and turned out to be closed: nothing has been asked yet. */
class Reset extends KubeError {}

function refused(what: string, response: IncomingMessage, text: string): KubeError {
  return refusal(what, response.statusCode ?? 0, parsed(text) ?? text, response.headers['retry-after']);
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function asKubeError(error: unknown): KubeError {
  if (error instanceof KubeError) return error;
  return new KubeError('kube-unauthorized', (error as Error).message, { cause: error });
}

/** The whole answer as text; rejects where it is longer than `longest` bytes or breaks off. */
function gather(response: IncomingMessage, longest: number, what: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const parts: Buffer[] = [];
    let size = 0;
    response.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size <= longest) parts.push(chunk);
      else {
        parts.length = 0;
        reject(new KubeError('kube-too-large', `The answer to ${what} is longer than ${longest} bytes.`));
        response.destroy();
      }
    });
    response.once('end', () => resolve(Buffer.concat(parts).toString()));
    const broken = () => reject(new KubeError('kube-away', `The answer to ${what} broke off.`));
    response.once('error', broken);
    response.once('close', broken);
  });
}
