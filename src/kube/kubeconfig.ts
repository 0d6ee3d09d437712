/**
 * kubeconfig files: clusters, users and contexts as kubectl reads them, as far as a program without plugins can. A token or a client
 * certificate, inline or by file, is what K3s writes. What runs a program (`exec`) or needs a library of a cloud (`auth-provider`) is
 * refused with what to do instead.
 */
import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { parse } from 'yaml';
import { WeftError } from '../errors/problem.js';
import { isPlainObject, objectOf, objectsOf, type PlainObject, textOf } from '../manifests/plain.js';
import { type Access, type Material, withoutSlash } from './access.js';

export interface KubeconfigOptions {
  /** '' : the file's current-context. */
  readonly context?: string;
  /** URL in place of the cluster's. */
  readonly server?: string;
}

/** The file that kubectl would take: the first that exists of $KUBECONFIG's, else ~/.kube/config. */
export function defaultKubeconfig(environment: Readonly<Record<string, string | undefined>>): string {
  const first = (environment.KUBECONFIG ?? '').split(':').find((path) => path !== '');
  return first ?? join(environment.HOME ?? homedir(), '.kube', 'config');
}

/** Throws `kubeconfig-read`, `kubeconfig-invalid` or `kubeconfig-plugin`. */
export function readKubeconfig(path: string, options: KubeconfigOptions = {}): Access {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw new WeftError(
      'kubeconfig-read',
      `The kubeconfig ${path} cannot be read (${(error as NodeJS.ErrnoException).code}).`,
      { cause: error },
    );
  }
  return kubeconfigAccess(text, path, options);
}

/** `path`: for messages, and files that are named in it are relative to its folder. */
export function kubeconfigAccess(text: string, path: string, options: KubeconfigOptions = {}): Access {
  const wrong = (what: string): WeftError =>
    new WeftError('kubeconfig-invalid', `The kubeconfig ${path} ${what}`);
  let config: unknown;
  try {
    // Aliases are not needed in a kubeconfig, and a few lines of them can stand for gigabytes.
    config = parse(text, { maxAliasCount: 0 });
  } catch (error) {
    throw wrong(`is no valid YAML: ${(error as Error).message.split('\n')[0]}`);
  }
  if (!isPlainObject(config)) throw wrong('holds no mapping.');
  const contextName = options.context || textOf(config['current-context']);
  const named = (list: string, name: string, why: string): PlainObject => {
    const entries = objectsOf((config as PlainObject)[list]);
    const found = entries.find((entry) => entry.name === name);
    if (found !== undefined) return found;
    const names = entries.map((entry) => textOf(entry.name)).join(', ');
    throw wrong(`has no ${list.slice(0, -1)} "${name}"${why}. It has: ${names === '' ? 'none' : names}.`);
  };
  if (contextName === '') throw wrong('has no current-context; name a context.');
  const context = objectOf(named('contexts', contextName, '').context);
  const because = `, which its context "${contextName}" names`;
  const cluster = objectOf(named('clusters', textOf(context.cluster), because).cluster);
  const userName = textOf(context.user);
  const user = userName === '' ? {} : objectOf(named('users', userName, because).user);
  refusePlugins(user, userName, path);

  const folder = dirname(resolve(path));
  const server = withoutSlash(options.server || textOf(cluster.server));
  if (!/^https?:\/\/[^/]/.test(server))
    throw wrong(`has no http or https server in the cluster "${textOf(context.cluster)}".`);
  const material = (of: PlainObject, field: string): Material | null => {
    const inline = textOf(of[`${field}-data`]);
    if (inline !== '') return { kind: 'inline', bytes: Buffer.from(inline, 'base64') };
    const file = textOf(of[field]);
    return file === '' ? null : { kind: 'file', path: resolve(folder, file) };
  };
  const certificate = material(user, 'client-certificate');
  const key = material(user, 'client-key');
  if ((certificate === null) !== (key === null))
    throw wrong(`has only one half of the client certificate and key of the user "${userName}".`);
  const notes: string[] = [];
  if (textOf(cluster['proxy-url']) !== '')
    notes.push(`The kubeconfig ${path} names a proxy-url, which is not used: the server is asked directly.`);
  if (textOf(user.as) !== '')
    throw wrong(`impersonates "${textOf(user.as)}", which is not supported. Use credentials of that user.`);
  return {
    server,
    from: `the context "${contextName}" of ${path}`,
    ca: material(cluster, 'certificate-authority'),
    certificate: certificate === null || key === null ? null : { certificate, key },
    token: tokenOf(user, folder),
    serverName: textOf(cluster['tls-server-name']) || null,
    insecure: cluster['insecure-skip-tls-verify'] === true,
    notes,
  };
}

/** As in kubectl, a file wins over the text beside it. */
function tokenOf(user: PlainObject, folder: string): Material | null {
  const file = textOf(user.tokenFile);
  if (file !== '') return { kind: 'file', path: resolve(folder, file) };
  const token = textOf(user.token);
  return token === '' ? null : { kind: 'inline', bytes: Buffer.from(token) };
}

function refusePlugins(user: PlainObject, name: string, path: string): void {
  const plugin =
    user.exec !== undefined
      ? `runs the program ${textOf(objectOf(user.exec).command) || '(unnamed)'} to log in (exec)`
      : user['auth-provider'] !== undefined
        ? `logs in by the auth-provider ${textOf(objectOf(user['auth-provider']).name) || '(unnamed)'}`
        : user.username !== undefined || user.password !== undefined
          ? 'logs in by password'
          : null;
  if (plugin === null) return;
  throw new WeftError(
    'kubeconfig-plugin',
    `The user "${name}" of the kubeconfig ${path} ${plugin}, which weft does not do. Give it a token or a client certificate: for example \`kubectl create token SERVICEACCOUNT\`, and its output as \`token\` of that user.`,
  );
}
