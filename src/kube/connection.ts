/**
 * Connections to an API server: addressed, authenticated, kept alive. TCP itself asks whether the other end lives, so that a server that
 * vanished without a word (its power went) is noticed within half a minute also by a watch on which nothing happens.
 */

import { lookup as lookupName } from 'node:dns';
import { type ClientRequest, Agent as HttpAgent, request as requestHttp } from 'node:http';
import { Agent as HttpsAgent, request as requestHttps } from 'node:https';
import type { LookupFunction } from 'node:net';
import { type Access, read, refuseInTheClear } from './access.js';
import { KubeError, shorten } from './error.js';

/** Of silence on a connection until the kernel asks whether the other end lives; it then asks ten times, a second apart. */
const keepAliveAfter = 15_000;

/**
 * `localhost`, and every name below it, is this machine whatever the resolver would say (RFC 6761 section 6.3): a host of IPv6 alone whose
 * /etc/hosts has no `::1 localhost` resolves it to where nobody listens, or not at all. Both addresses are tried, in turn.
 */
const lookup: LookupFunction = (name, options, callback) => {
  if (!/^(.+\.)?localhost\.?$/i.test(name)) {
    lookupName(name, options, (error, address, family) => callback(error, address, family));
    return;
  }
  const all = [
    { address: '127.0.0.1', family: 4 },
    { address: '::1', family: 6 },
  ].filter(({ family }) => ![4, 6].includes(Number(options.family)) || family === options.family);
  const [{ address, family } = { address: '', family: 0 }] = all;
  if (options.all === true) callback(null, all);
  else callback(null, address, family);
};

interface Pool {
  readonly agent: HttpAgent | HttpsAgent;
  /** The CA and certificate that it was made with. */
  readonly stamp: string;
}

export class Connection {
  readonly access: Access;
  readonly #secure: boolean;
  readonly #userAgent: string;
  #pool: Pool | null = null;

  /** Throws `kube-credentials` where the token would go out unencrypted. */
  constructor(access: Access, userAgent: string) {
    refuseInTheClear(access);
    this.access = access;
    this.#secure = access.server.startsWith('https:');
    this.#userAgent = userAgent;
  }

  close(): void {
    this.#pool?.agent.destroy();
    this.#pool = null;
  }

  /** A request that has not been sent off yet. Throws where credentials cannot be read. */
  open(
    method: string,
    path: string,
    query: Readonly<Record<string, string | number | boolean>>,
    token: string | null,
    headers: Readonly<Record<string, string | number>>,
  ): ClientRequest {
    const search = new URLSearchParams();
    for (const [name, value] of Object.entries(query)) search.set(name, String(value));
    const url = `${this.access.server}${path}${search.size === 0 ? '' : `?${search}`}`;
    const send = this.#secure ? requestHttps : requestHttp;
    const request = send(url, {
      method,
      agent: this.#connections(),
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
  #connections(): HttpAgent | HttpsAgent {
    const { ca, certificate, serverName, insecure } = this.access;
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
    if (this.#pool?.stamp === stamp) return this.#pool.agent;
    // Watches on the former connections go on: destroying the pool would cut them.
    const common = { keepAlive: true, lookup, autoSelectFamily: true };
    this.#pool = {
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
    return this.#pool.agent;
  }

  /** As the file has it now; null: there is none. Throws `kube-credentials`, or `kube-unauthorized` where it can be no token. */
  token(): string | null {
    const { token } = this.access;
    if (token === null) return null;
    const text = read(token, 'token').toString('latin1').trim();
    // What cannot stand in a header would be thrown by Node.js, with the token in the message.
    if (!/^[\x21-\x7e]+$/.test(text))
      throw new KubeError(
        'kube-unauthorized',
        `The token of ${this.access.from} is empty or holds characters that no token has.`,
      );
    return text;
  }

  /** What an error of the connection means. */
  broken(what: string, error: Error): KubeError {
    const { code = '' } = error as NodeJS.ErrnoException;
    const { server } = this.access;
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
