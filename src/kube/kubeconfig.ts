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

/** The files that kubectl would take: all of $KUBECONFIG's, or ~/.kube/config. */
export function defaultKubeconfigs(environment: Readonly<Record<string, string | undefined>>): string[] {
  const named = (environment.KUBECONFIG ?? '').split(':').filter((path) => path !== '');
  return named.length > 0 ? named : [join(environment.HOME ?? homedir(), '.kube', 'config')];
}

/** One file, and what it holds. */
interface Part {
  readonly path: string;
  readonly config: PlainObject;
}

/** An entry of one of the lists, with the file that it is from. */
interface Entry {
  readonly value: PlainObject;
  readonly path: string;
}

/**
 * Several files are merged as kubectl does: of entries with one name the first is taken whole, and of current-contexts the first that is
 * set. Files that do not exist are passed over as long as there is one. Throws `kubeconfig-read`, `kubeconfig-invalid` or
 * `kubeconfig-plugin`.
 */
export function readKubeconfig(paths: string | readonly string[], options: KubeconfigOptions = {}): Access {
  const all = typeof paths === 'string' ? [paths] : paths;
  const parts: Part[] = [];
  for (const path of all) {
    try {
      parts.push(parsed(readFileSync(path, 'utf8'), path));
    } catch (error) {
      if (error instanceof WeftError) throw error;
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'ENOENT' && all.length > 1) continue;
      throw new WeftError('kubeconfig-read', `The kubeconfig ${path} cannot be read (${code}).`, {
        cause: error,
      });
    }
  }
  if (parts.length === 0)
    throw new WeftError('kubeconfig-read', `None of the kubeconfigs ${all.join(', ')} is there (ENOENT).`);
  return merged(parts, options);
}

/** `path`: for messages, and files that are named in it are relative to its folder. */
export function kubeconfigAccess(text: string, path: string, options: KubeconfigOptions = {}): Access {
  return merged([parsed(text, path)], options);
}

function wrong(path: string, what: string): WeftError {
  return new WeftError('kubeconfig-invalid', `The kubeconfig ${path} ${what}`);
}

function parsed(text: string, path: string): Part {
  let config: unknown;
  try {
    // Aliases are not needed in a kubeconfig, and a few lines of them can stand for gigabytes.
    config = parse(text, { maxAliasCount: 0 });
  } catch (error) {
    throw wrong(path, `is no valid YAML: ${(error as Error).message.split('\n')[0]}`);
  }
  // An empty file is what `kubectl config` starts from.
  if (config === null) return { path, config: {} };
  if (!isPlainObject(config)) throw wrong(path, 'holds no mapping.');
  return { path, config };
}

function merged(parts: readonly Part[], options: KubeconfigOptions): Access {
  const everywhere = parts.map(({ path }) => path).join(':');
  const named = (list: string, name: string, why = ''): Entry => {
    const entries = parts.flatMap(({ path, config }) =>
      objectsOf(config[list]).map((value) => ({ value, path })),
    );
    const found = entries.find(({ value }) => value.name === name);
    if (found !== undefined) return { ...found, value: objectOf(found.value[list.slice(0, -1)]) };
    const names = [...new Set(entries.map(({ value }) => textOf(value.name)))].join(', ');
    throw wrong(
      everywhere,
      `has no ${list.slice(0, -1)} "${name}"${why}. It has: ${names === '' ? 'none' : names}.`,
    );
  };
  const contextName =
    options.context ||
    (parts.map(({ config }) => textOf(config['current-context'])).find((name) => name !== '') ?? '');
  if (contextName === '') throw wrong(everywhere, 'has no current-context; name a context.');
  const { value: context, path: from } = named('contexts', contextName);
  const because = `, which its context "${contextName}" names`;
  const clusterEntry = named('clusters', textOf(context.cluster), because);
  const cluster = clusterEntry.value;
  const userName = textOf(context.user);
  const userEntry = userName === '' ? { value: {}, path: from } : named('users', userName, because);
  const user: PlainObject = userEntry.value;
  refusePlugins(user, userName, userEntry.path);

  const server = withoutSlash(options.server || textOf(cluster.server));
  if (!/^https?:\/\/[^/]/.test(server))
    throw wrong(
      clusterEntry.path,
      `has no http or https server in the cluster "${textOf(context.cluster)}".`,
    );
  const material = ({ value, path }: Entry, field: string): Material | null => {
    const inline = textOf(value[`${field}-data`]);
    if (inline !== '') return { kind: 'inline', bytes: Buffer.from(inline, 'base64') };
    const file = textOf(value[field]);
    return file === '' ? null : { kind: 'file', path: resolve(dirname(resolve(path)), file) };
  };
  const certificate = material(userEntry, 'client-certificate');
  const key = material(userEntry, 'client-key');
  if ((certificate === null) !== (key === null))
    throw wrong(
      userEntry.path,
      `has only one half of the client certificate and key of the user "${userName}".`,
    );
  const ca = material(clusterEntry, 'certificate-authority');
  const insecure = cluster['insecure-skip-tls-verify'] === true;
  if (insecure && ca !== null)
    throw wrong(
      clusterEntry.path,
      `names a certificate authority for the cluster "${textOf(context.cluster)}" and insecure-skip-tls-verify, which would pass it over. Remove one of the two.`,
    );
  const notes: string[] = [];
  if (textOf(cluster['proxy-url']) !== '')
    notes.push(
      `The kubeconfig ${clusterEntry.path} names a proxy-url, which is not used: the server is asked directly.`,
    );
  if (textOf(user.as) !== '')
    throw wrong(
      userEntry.path,
      `impersonates "${textOf(user.as)}", which is not supported. Use credentials of that user.`,
    );
  return {
    server,
    from: `the context "${contextName}" of ${from}`,
    ca,
    certificate: certificate === null || key === null ? null : { certificate, key },
    token: tokenOf(user, dirname(resolve(userEntry.path))),
    serverName: textOf(cluster['tls-server-name']) || null,
    insecure,
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
