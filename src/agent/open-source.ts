/** Which source the agent reads: the Kubernetes API, or a folder of manifests in its place. */
import type { Config } from '../config/options.js';
import { inCluster, inClusterAccess, withoutSlash } from '../kube/access.js';
import { KubeClient } from '../kube/client.js';
import { readKubeconfig } from '../kube/kubeconfig.js';
import { KubeSource } from '../kube/source.js';
import type { Source } from '../model/source.js';
import type { Logger } from '../telemetry/log.js';
import { type HasWriter, ManifestSource } from './manifest-source.js';

export type Environment = Readonly<Record<string, string | undefined>>;

export interface OpenedSource {
  readonly source: Source;
  /** The same server, for what is written to it; null where there is none. */
  readonly client: KubeClient | null;
}

export function readsApi({ kubernetes }: Config, environment: Environment): boolean {
  if (kubernetes.mode !== 'auto') return kubernetes.mode === 'on';
  return kubernetes.kubeconfig !== '' || inCluster(environment);
}

/** Throws WeftErrors for what the operator can mend. `manifests`: the folder, where it is used. */
export function openSource(
  config: Config,
  manifests: string,
  hasWriter: HasWriter | undefined,
  environment: Environment,
  log: Logger,
  version: string,
): OpenedSource {
  if (!readsApi(config, environment))
    return { source: new ManifestSource(manifests, hasWriter), client: null };
  const { kubeconfig, server } = config.kubernetes;
  const access =
    kubeconfig === ''
      ? inClusterAccess(environment, server)
      : readKubeconfig(kubeconfig, server === '' ? {} : { server: withoutSlash(server) });
  for (const note of access.notes) log.warn(note);
  if (config.paths.manifests !== '')
    log.warn(
      { folder: config.paths.manifests },
      'the manifest folder is not read: objects come from the Kubernetes API',
    );
  log.info({ server: access.server, by: access.from }, 'watching the Kubernetes API');
  const client = new KubeClient(access, `weft/${version}`);
  return {
    client,
    source: new KubeSource({ client, log: (level, message, fields) => log[level](fields ?? {}, message) }),
  };
}
