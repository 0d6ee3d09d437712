/**
 * How an API server is reached: where it is and what proves who we are. What comes from files is read again for every request, since a
 * mounted token is replaced before it expires (the kubelet writes a new one about every hour) and certificates are renewed in place.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { WeftError } from '../errors/problem.js';

/** PEM or token: in the configuration itself, or a file that may change. */
export type Material =
  | { readonly kind: 'inline'; readonly bytes: Buffer }
  | { readonly kind: 'file'; readonly path: string };

export interface Access {
  /** `https://HOST:PORT`, perhaps with a path; no slash at its end. */
  readonly server: string;
  /** For messages: `the service account`, `the context "x" of FILE`. */
  readonly from: string;
  /** null: the system's. */
  readonly ca: Material | null;
  readonly certificate: { readonly certificate: Material; readonly key: Material } | null;
  readonly token: Material | null;
  /** Name that the server's certificate is for, where it is not the URL's host. */
  readonly serverName: string | null;
  /** Asked for by the kubeconfig: whoever answers is believed. */
  readonly insecure: boolean;
  /** What the kubeconfig asks for and is not done; for a log line each. */
  readonly notes: readonly string[];
}

/** Throws `kube-credentials` where a file cannot be read. */
export function read(material: Material, what: string): Buffer {
  if (material.kind === 'inline') return material.bytes;
  try {
    return readFileSync(material.path);
  } catch (error) {
    throw new WeftError(
      'kube-credentials',
      `The ${what} ${material.path} cannot be read (${(error as NodeJS.ErrnoException).code}).`,
      { cause: error },
    );
  }
}

const serviceAccount = '/var/run/secrets/kubernetes.io/serviceaccount';

export function inCluster(environment: Readonly<Record<string, string | undefined>>): boolean {
  return (environment.KUBERNETES_SERVICE_HOST ?? '') !== '';
}

/**
 * What a pod is given: server in its environment, token and CA in a mounted folder. `server` takes the place of the Service address, which
 * nothing reaches before the pod network is up.
 */
export function inClusterAccess(
  environment: Readonly<Record<string, string | undefined>>,
  server = '',
  folder = serviceAccount,
): Access {
  const host = environment.KUBERNETES_SERVICE_HOST ?? '';
  if (server === '' && host === '')
    throw new WeftError(
      'kube-credentials',
      'KUBERNETES_SERVICE_HOST is not set, so this is no pod of a cluster. Set kubernetes.kubeconfig, or kubernetes.server.',
    );
  const port = environment.KUBERNETES_SERVICE_PORT ?? '443';
  return {
    server:
      server === '' ? `https://${host.includes(':') ? `[${host}]` : host}:${port}` : withoutSlash(server),
    from: 'the service account',
    ca: { kind: 'file', path: join(folder, 'ca.crt') },
    certificate: null,
    token: { kind: 'file', path: join(folder, 'token') },
    serverName: null,
    insecure: false,
    notes: [],
  };
}

/** A token that travels in the clear is everybody's. Loopback is the node itself. Throws `kube-credentials`. */
export function refuseInTheClear({ server, token, from }: Access): void {
  if (token === null || !server.startsWith('http:')) return;
  if (/^http:\/\/(localhost|127(\.\d+){3}|\[::1\])([:/]|$)/.test(server)) return;
  throw new WeftError(
    'kube-credentials',
    `The token of ${from} would go to ${server} unencrypted. Use https.`,
  );
}

export function withoutSlash(url: string): string {
  return url.replace(/\/+$/, '');
}
