/**
 * An API server for tests: list and watch over real HTTP(S) as Kubernetes speaks them, on objects that a test puts and deletes. One
 * counter of versions for all kinds, lists in pages whose continue tokens hold a version, watches that begin at a version (or with all
 * objects where none is given), bookmarks, and a window of history beyond which a watch gets 410. It can be told to misbehave; what it
 * does wrong is always something that a real server, proxy or network does.
 *
 * Sources: kubernetes.io/docs/reference/using-api/api-concepts (watch, bookmarks, chunking), apiserver's etcd3 store for the messages.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createSecureServer, type ServerOptions } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import { type ApiObject, ApiStore, type Served, sixKinds } from './api-store.js';

export { type ApiObject, sixKinds } from './api-store.js';

export interface SeenRequest {
  readonly method: string;
  readonly path: string;
  readonly query: Readonly<Record<string, string>>;
  readonly authorization: string | undefined;
  /** Common name of the client certificate. */
  readonly certificate: string | undefined;
  readonly body: string;
}

/** What to do with a request instead of answering it. undefined: answer it. */
export type Misbehaviour = (request: SeenRequest) =>
  | undefined
  | { readonly status: number; readonly headers?: Readonly<Record<string, string>>; readonly body?: string }
  /** The right answer in so many pieces, with milliseconds between them. */
  | { readonly trickle: number; readonly pieces: number }
  /** Nothing is said at all, or the connection is cut. */
  | 'silence'
  | 'cut';

export interface ApiServerOptions {
  readonly tls?: ServerOptions;
  /** The six kinds by default. */
  readonly served?: Served;
  /** Milliseconds between bookmarks of a watch that asks for them; 0: none. */
  readonly bookmarks?: number;
  /** A fixed one, so that it can come back at the same place. */
  readonly port?: number;
}

interface OpenWatch {
  readonly resource: string;
  readonly response: ServerResponse;
  /** The next change to send is the first after this version. */
  version: number;
  readonly bookmarks: boolean;
  /** Nothing reaches its client any more, and nobody notices. */
  stalled: boolean;
}

export class ApiServer extends ApiStore {
  readonly seen: SeenRequest[] = [];
  misbehave: Misbehaviour = () => undefined;
  /** How an event becomes bytes; a test may damage, repeat, split or hold it. The default is one line. */
  encode: (line: string, resource: string) => readonly (string | Buffer)[] = (line) => [`${line}\n`];
  /** Takes connections that ask for another protocol, such as exec; null: there is nothing of the kind. */
  upgraded: ((seen: SeenRequest, request: IncomingMessage, socket: Duplex) => void) | null = null;
  /** Tokens that are accepted; null: anyone is. */
  tokens: Set<string> | null = null;
  readonly #options: ApiServerOptions;
  readonly #watches = new Set<OpenWatch>();
  readonly #sockets = new Set<Socket>();
  #server: Server | null = null;
  #port: number;
  #heldBack = new Set<string>();
  #bookmarking: NodeJS.Timeout | null = null;

  constructor(options: ApiServerOptions = {}) {
    super(options.served ?? sixKinds);
    this.#options = options;
    this.#port = options.port ?? 0;
  }

  static async start(options: ApiServerOptions = {}): Promise<ApiServer> {
    const server = new ApiServer(options);
    await server.up();
    return server;
  }

  get url(): string {
    return `${this.#options.tls === undefined ? 'http' : 'https'}://127.0.0.1:${this.#port}`;
  }
  get port(): number {
    return this.#port;
  }
  get watches(): readonly string[] {
    return [...this.#watches].map(({ resource }) => resource);
  }

  /** Listens, at the same port as before if there was one. Objects are still there. */
  async up(): Promise<void> {
    const handle = (request: IncomingMessage, response: ServerResponse) => {
      this.#handle(request, response).catch(() => response.destroy());
    };
    const server =
      this.#options.tls === undefined ? createServer(handle) : createSecureServer(this.#options.tls, handle);
    server.on('upgrade', (request: IncomingMessage, socket: Duplex) => this.#upgrade(request, socket));
    server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
    });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(this.#port, '127.0.0.1', resolve);
    });
    this.#port = (server.address() as AddressInfo).port;
    this.#server = server;
    const { bookmarks = 0 } = this.#options;
    if (bookmarks > 0) this.#bookmarking = setInterval(() => this.bookmark(), bookmarks);
  }

  /** As when its machine is switched off: connections are reset, nothing listens. */
  async down(): Promise<void> {
    if (this.#bookmarking !== null) clearInterval(this.#bookmarking);
    const server = this.#server;
    this.#server = null;
    for (const socket of this.#sockets) socket.destroy();
    this.#watches.clear();
    if (server !== null) await new Promise((resolve) => server.close(resolve));
  }

  // ---- open watches

  /** Events of the kind wait until `release`: kinds are not in order with each other. */
  holdBack(resource: string): void {
    this.#heldBack.add(resource);
  }

  release(): void {
    this.#heldBack.clear();
    for (const watch of this.#watches) this.#flush(watch);
  }

  bookmark(): void {
    for (const watch of this.#watches)
      if (watch.bookmarks && !this.#heldBack.has(watch.resource)) this.#bookmark(watch);
  }

  /** Ends the open watches: as they should end, in the middle of a line, by a reset, or with an ERROR event. */
  endWatches(how: 'end' | 'mid-line' | 'reset' | { readonly status: number }, resource?: string): void {
    for (const watch of [...this.#watches]) {
      if (resource !== undefined && watch.resource !== resource) continue;
      this.#watches.delete(watch);
      const { response } = watch;
      if (how === 'end') response.end();
      else if (how === 'reset') response.destroy();
      else if (how === 'mid-line')
        response.write('{"type":"MODIFIED","object":{"metadata":{"na', () => response.destroy());
      else
        response.end(
          `${JSON.stringify({ type: 'ERROR', object: statusObject(how.status, 'too old resource version: 1 (2)') })}\n`,
        );
    }
  }

  /** The open watches stay open and say nothing any more, as behind a proxy that lost the other side. */
  stall(): void {
    for (const watch of this.#watches) watch.stalled = true;
  }

  /** Sends raw bytes on the open watches of a kind. */
  say(resource: string, bytes: string | Buffer): void {
    for (const watch of this.#watches) if (watch.resource === resource) watch.response.write(bytes);
  }

  #bookmark(watch: OpenWatch): void {
    this.#flush(watch);
    watch.version = this.version;
    const [apiVersion, kind] = this.served(watch.resource);
    this.#write(watch, 'BOOKMARK', {
      apiVersion,
      kind,
      metadata: { resourceVersion: this.versionText(watch.version), creationTimestamp: null },
    });
  }

  protected override changed(resource: string): void {
    for (const watch of this.#watches) if (watch.resource === resource) this.#flush(watch);
  }

  #flush(watch: OpenWatch): void {
    if (this.#heldBack.has(watch.resource)) return;
    const [apiVersion, kind] = this.served(watch.resource);
    const { history } = this.collection(watch.resource);
    let next = history.length;
    while (next > 0 && history[next - 1]!.version > watch.version) next--;
    for (const { version, type, object } of history.slice(next)) {
      watch.version = version;
      this.#write(watch, type, { apiVersion, kind, ...object });
    }
  }

  #write(watch: OpenWatch, type: string, object: unknown): void {
    if (watch.stalled) return;
    for (const bytes of this.encode(JSON.stringify({ type, object }), watch.resource))
      watch.response.write(bytes);
  }

  // ---- requests

  #note(request: IncomingMessage, url: URL, body: string): SeenRequest {
    const seen = {
      method: request.method ?? '',
      path: url.pathname,
      query: Object.fromEntries(url.searchParams),
      authorization: request.headers.authorization,
      certificate: certificateName(request.socket),
      body,
    };
    this.seen.push(seen);
    return seen;
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'http://server');
    const parts: Buffer[] = [];
    for await (const part of request) parts.push(part as Buffer);
    const seen = this.#note(request, url, Buffer.concat(parts).toString());
    const wrong = this.misbehave(seen);
    if (wrong === 'silence') return;
    if (wrong === 'cut') {
      request.socket.destroy();
      return;
    }
    if (wrong !== undefined && 'pieces' in wrong) trickle(response, wrong);
    else if (wrong !== undefined) {
      response.writeHead(wrong.status, wrong.headers);
      response.end(
        wrong.body ??
          JSON.stringify(statusObject(wrong.status, `the server was told to answer ${wrong.status}`)),
      );
      return;
    }
    const token = /^Bearer (.*)$/.exec(seen.authorization ?? '')?.[1];
    if (this.tokens !== null && (token === undefined || !this.tokens.has(token))) {
      refuse(response, 401, 'Unauthorized');
      return;
    }
    const found = this.#find(url.pathname);
    if (found === null) refuse(response, 404, 'the server could not find the requested resource');
    else if (found.name !== '') this.#one(found.resource, found.key, found.name, response);
    else if (url.searchParams.has('watch')) this.#watch(found.resource, url.searchParams, response);
    else this.#list(found.resource, found.key.slice(0, -1), url.searchParams, response);
  }

  #upgrade(request: IncomingMessage, socket: Duplex): void {
    const url = new URL(request.url ?? '/', 'http://server');
    const seen = this.#note(request, url, '');
    const refuseIt = (status: number, message: string) => {
      const body = JSON.stringify(statusObject(status, message));
      socket.end(
        `HTTP/1.1 ${status} No\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
      );
    };
    const wrong = this.misbehave(seen);
    const token = /^Bearer (.*)$/.exec(seen.authorization ?? '')?.[1];
    if (wrong === 'silence') return;
    if (wrong === 'cut') socket.destroy();
    else if (wrong !== undefined && 'status' in wrong)
      refuseIt(
        wrong.status,
        wrong.body === undefined ? `the server was told to answer ${wrong.status}` : wrong.body,
      );
    else if (this.tokens !== null && (token === undefined || !this.tokens.has(token)))
      refuseIt(401, 'Unauthorized');
    else if (this.upgraded === null) refuseIt(404, 'the server could not find the requested resource');
    else this.upgraded(seen, request, socket);
  }

  /** `/api/v1/pods`, `/api/v1/namespaces/NS/pods/NAME`, `/apis/GROUP/VERSION/…`. */
  #find(path: string): { readonly resource: string; readonly key: string; readonly name: string } | null {
    const parts = path.split('/').slice(1).map(decodeURIComponent);
    const groupVersion =
      parts[0] === 'api' ? parts[1] : parts[0] === 'apis' ? `${parts[1]}/${parts[2]}` : undefined;
    let rest = parts.slice(parts[0] === 'api' ? 2 : 3);
    let namespace = '';
    if (rest[0] === 'namespaces' && rest.length > 2) {
      namespace = rest[1] ?? '';
      rest = rest.slice(2);
    }
    const [resource = '', name = ''] = rest;
    const served = this.kinds[resource];
    if (served === undefined || served[0] !== groupVersion || rest.length > 2) return null;
    return { resource, name, key: namespace === '' ? name : `${namespace}/${name}` };
  }

  #one(resource: string, key: string, name: string, response: ServerResponse): void {
    const object = this.collection(resource).objects.get(key);
    const [apiVersion, kind] = this.served(resource);
    if (object === undefined) refuse(response, 404, `${resource} "${name}" not found`);
    else answer(response, 200, { apiVersion, kind, ...object });
  }

  /** `namespace`: '' for all. */
  #list(resource: string, namespace: string, query: URLSearchParams, response: ServerResponse): void {
    const { objects, kind, compacted } = this.collection(resource);
    const limit = Number(query.get('limit') ?? 0);
    const token = query.get('continue');
    let version = this.version;
    let after = '';
    if (token !== null) {
      const held = JSON.parse(Buffer.from(token, 'base64url').toString()) as {
        version: number;
        after: string;
      };
      ({ version, after } = held);
      if (version < compacted) {
        refuse(
          response,
          410,
          'The provided continue parameter is too old to display a consistent list result.',
          'Expired',
        );
        return;
      }
    }
    const all = [...this.at(resource, version)]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .filter(([key]) => key > after)
      .filter(([, { metadata }]) => namespace === '' || metadata.namespace === namespace)
      .filter(([, object]) => selected(object, query.get('labelSelector') ?? ''));
    const page = limit > 0 ? all.slice(0, limit) : all;
    const last = page.at(-1)?.[0];
    const more = all.length > page.length && last !== undefined;
    const [apiVersion] = this.served(resource);
    answer(response, 200, {
      apiVersion,
      kind: `${kind}List`,
      metadata: {
        resourceVersion: this.versionText(version),
        ...(more
          ? {
              continue: Buffer.from(JSON.stringify({ version, after: last })).toString('base64url'),
              remainingItemCount: all.length - page.length,
            }
          : {}),
      },
      // As Go writes an empty list of some versions.
      items: objects.size === 0 && all.length === 0 ? null : page.map(([, object]) => object),
    });
  }

  #watch(resource: string, query: URLSearchParams, response: ServerResponse): void {
    const { compacted, objects } = this.collection(resource);
    const asked = query.get('resourceVersion') ?? '';
    const initial = asked === '' || asked === '0';
    const from = initial ? this.version : this.versionOf(asked);
    response.writeHead(200, { 'content-type': 'application/json', 'transfer-encoding': 'chunked' });
    response.flushHeaders();
    if (from < compacted) {
      // A watch cache says it in the stream; etcd behind it as an answer. The first is more common.
      response.end(
        `${JSON.stringify({ type: 'ERROR', object: statusObject(410, `too old resource version: ${from} (${compacted})`, 'Expired') })}\n`,
      );
      return;
    }
    const watch: OpenWatch = {
      resource,
      response,
      version: from,
      bookmarks: query.get('allowWatchBookmarks') === 'true',
      stalled: false,
    };
    const [apiVersion, kind] = this.served(resource);
    if (initial)
      for (const object of objects.values()) this.#write(watch, 'ADDED', { apiVersion, kind, ...object });
    this.#watches.add(watch);
    this.#flush(watch);
    const seconds = Number(query.get('timeoutSeconds') ?? 0);
    const timer =
      seconds > 0
        ? setTimeout(() => {
            this.#watches.delete(watch);
            response.end();
          }, seconds * 1000)
        : undefined;
    response.once('close', () => {
      clearTimeout(timer);
      this.#watches.delete(watch);
    });
  }
}

/** Equality only: `a=b,c=d`. */
function selected({ metadata }: ApiObject, selector: string): boolean {
  const labels = metadata.labels as Readonly<Record<string, string>> | undefined;
  return selector
    .split(',')
    .filter((term) => term !== '')
    .every((term) => labels?.[term.split('=')[0]!] === term.split('=')[1]);
}

/** What ends the response is sent piece by piece. */
function trickle(
  response: ServerResponse,
  { trickle: pause, pieces }: { readonly trickle: number; readonly pieces: number },
): void {
  const whole = response.end.bind(response);
  response.end = ((body: string) => {
    const size = Math.ceil(body.length / pieces);
    let sent = 0;
    const next = () => {
      if (response.destroyed) return;
      if (sent >= body.length) {
        whole();
        return;
      }
      response.write(body.slice(sent, sent + size));
      sent += size;
      setTimeout(next, pause);
    };
    next();
    return response;
  }) as ServerResponse['end'];
}

function certificateName(socket: Socket): string | undefined {
  const name = (socket as Partial<TLSSocket>).getPeerCertificate?.()?.subject?.CN;
  return typeof name === 'string' ? name : undefined;
}

export function statusObject(code: number, message: string, reason = ''): object {
  return { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Failure', message, reason, code };
}

function answer(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(`${JSON.stringify(body)}\n`);
}

function refuse(response: ServerResponse, status: number, message: string, reason = ''): void {
  answer(response, status, statusObject(status, message, reason));
}
