/**
 * The cluster under test, as its user has it: kubectl, and commands inside of pods. Either one of the test's own (K3S_BIN, KUBERNETES_BIN),
 * whose node can be looked into and broken, or one that is there already (KUBECONFIG), which has to have weft as its network and
 * the image of the tests on its nodes (WEFT_TEST_IMAGE; its program is test/support/pod-program.c, as /pod).
 */
import { execFileSync, spawn } from 'node:child_process';
import type { Family } from '../../src/net/address.js';
import { podImage, podProgram } from '../support/container-image.js';
import type { Ran } from '../support/machine.js';
import { until } from '../support/weft.js';
import type { OwnCluster } from './own-cluster.js';

export interface KubeObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string; readonly [key: string]: unknown };
  readonly [field: string]: unknown;
}

/** A pod that runs, by what the API says of it. */
export interface RunningPod {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly ips: readonly string[];
  readonly container: string;
  readonly labels: Readonly<Record<string, string>>;
}

export interface PodWish {
  readonly namespace: string;
  readonly name: string;
  readonly labels?: Readonly<Record<string, string>>;
  /** What it serves, as `pod serve` takes it: `tcp/80`. */
  readonly serve?: readonly string[];
  readonly ports?: readonly object[];
  readonly container?: object;
  readonly spec?: object;
  readonly annotations?: Readonly<Record<string, string>>;
}

export const testImage = process.env.WEFT_TEST_IMAGE ?? podImage;

export function podObject(wish: PodWish): KubeObject {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      namespace: wish.namespace,
      name: wish.name,
      labels: wish.labels ?? {},
      annotations: wish.annotations ?? {},
    },
    spec: {
      terminationGracePeriodSeconds: 0,
      automountServiceAccountToken: false,
      enableServiceLinks: false,
      containers: [
        {
          name: 'serve',
          image: testImage,
          imagePullPolicy: 'IfNotPresent',
          command: [podProgram, 'serve', wish.name, ...(wish.serve ?? [])],
          ports: wish.ports ?? [],
          ...wish.container,
        },
      ],
      ...wish.spec,
    },
  };
}

export function namespaceObject(name: string, labels: Readonly<Record<string, string>> = {}): KubeObject {
  return { apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels } };
}

export const serviceObject = (namespace: string, name: string, spec: object): KubeObject => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { namespace, name },
  spec,
});

export const policyObject = (namespace: string, name: string, spec: unknown): KubeObject => ({
  apiVersion: 'networking.k8s.io/v1',
  kind: 'NetworkPolicy',
  metadata: { namespace, name },
  spec,
});

export const denyAll = (namespace: string): KubeObject =>
  policyObject(namespace, 'deny-all', { podSelector: {}, policyTypes: ['Ingress'] });

/** Lets these peers in to the pods of an app. */
export const admit = (namespace: string, name: string, app: string, ...from: object[]): KubeObject =>
  policyObject(namespace, name, { podSelector: { matchLabels: { app } }, ingress: [{ from }] });

/** A peer. */
export const podsOf = (app: string): object => ({ podSelector: { matchLabels: { app } } });

/** The pod's address of the family; throws where it has none. */
export function addressOf(pod: RunningPod | undefined, family: Family): string {
  const found = pod?.ips.find((ip) => ip.includes(':') === (family === 6));
  if (found === undefined)
    throw new Error(`${pod?.name ?? 'a pod that is not there'} has no IPv${family} address`);
  return found;
}

export class Cluster {
  /** null: a cluster that is only reached by its API. */
  readonly own: OwnCluster | null;
  /** What pods have, the primary one first. */
  readonly families: readonly Family[];

  constructor(own: OwnCluster | null, families: readonly Family[]) {
    this.own = own;
    this.families = families;
  }

  /** Families are those of the nodes' pod CIDRs. */
  static async byKubeconfig(): Promise<Cluster> {
    const { items } = await new Cluster(null, []).get<{ items: { spec: { podCIDRs?: string[] } }[] }>(
      'nodes',
    );
    const cidrs = items[0]?.spec.podCIDRs ?? [];
    return new Cluster(null, cidrs.length === 0 ? [4] : cidrs.map((cidr) => (cidr.includes(':') ? 6 : 4)));
  }

  /** Of Services that do not say which they want. */
  async serviceFamily(): Promise<Family> {
    const { spec } = await this.get<{ spec: { clusterIP: string } }>(
      'service',
      'kubernetes',
      '-n',
      'default',
    );
    return spec.clusterIP.includes(':') ? 6 : 4;
  }

  async kubectl(
    args: readonly string[],
    options: { readonly input?: string; readonly seconds?: number } = {},
  ): Promise<string> {
    const { status, stdout, stderr } =
      this.own === null ? await runKubectl(args, options) : await this.own.kubectl(args, options);
    if (status !== 0) throw new Error(`kubectl ${args.join(' ')} (status ${status}): ${stderr}${stdout}`);
    return stdout;
  }

  /** Creates or updates; tried again while a new namespace has no service account yet, without which it takes no pods. */
  async apply(objects: readonly KubeObject[]): Promise<void> {
    if (objects.length === 0) return;
    const input = JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects });
    await until('the objects are accepted', 30, async () => {
      try {
        await this.kubectl(['apply', '-f', '-'], { input });
        return true;
      } catch (error) {
        if (!/serviceaccount "default" not found/.test((error as Error).message)) throw error;
        return false;
      }
    });
  }

  /** Does not wait until they are gone; what does not exist is no error. */
  async delete(...args: readonly string[]): Promise<void> {
    await this.kubectl(['delete', '--ignore-not-found', '--wait=false', ...args]);
  }

  async get<T>(...args: readonly string[]): Promise<T> {
    return JSON.parse(await this.kubectl(['get', '-o', 'json', ...args])) as T;
  }

  /** All pods of the namespaces, in whatever state. */
  async podObjects(namespaces: readonly string[]): Promise<ApiPod[]> {
    const { items } = await this.get<{ items: ApiPod[] }>('pods', '--all-namespaces');
    return items.filter(({ metadata }) => namespaces.includes(metadata.namespace));
  }

  /** Waits until exactly `count` pods run in the namespaces, all ready; by `namespace/name`. */
  async ready(namespaces: readonly string[], count: number, seconds = 90): Promise<Map<string, RunningPod>> {
    const found = new Map<string, RunningPod>();
    let states = '';
    try {
      await until(`${count} pods are ready in ${namespaces.join(', ')}`, seconds, async () => {
        const pods = await this.podObjects(namespaces);
        states = pods.map((pod) => `${pod.metadata.name}: ${stateOf(pod)}`).join('\n');
        found.clear();
        for (const pod of pods) {
          const running = runningPod(pod);
          if (running !== undefined) found.set(`${running.namespace}/${running.name}`, running);
        }
        return found.size === count && pods.length === count;
      });
    } catch (error) {
      const events = await this.kubectl(['get', 'events', '-A', '--sort-by=.lastTimestamp']).catch(String);
      const last = events.trim().split('\n').slice(-12).join('\n');
      throw new Error(`${(error as Error).message}\n${states}\n${last}`);
    }
    return found;
  }

  async gone(namespaces: readonly string[], seconds = 60): Promise<void> {
    await until(`no pods are left in ${namespaces.join(', ')}`, seconds, async () => {
      return (await this.podObjects(namespaces)).length === 0;
    });
  }

  /** Standard output of a command in the pod's container. */
  async exec(pod: RunningPod, command: readonly string[], seconds = 30): Promise<string> {
    if (this.own === null)
      return this.kubectl(['exec', '-n', pod.namespace, pod.name, '--', ...command], { seconds });
    // As the kubelet does it, without the two processes that kubectl is.
    const { stdout } = await this.own.containerd.cri.exec(pod.container, command, seconds);
    return stdout;
  }

  /** What a pod gets from each target (`tcp/10.42.0.5/80`): `ok NAME CLIENT`, `refused`, `timeout`, `error …`. */
  async probe(from: RunningPod, targets: readonly string[], milliseconds = 700): Promise<string[]> {
    if (targets.length === 0) return [];
    const said = await this.exec(from, [podProgram, 'probe', String(milliseconds), ...targets]);
    return said.trim().split('\n');
  }

  /** Probes until the answer fits, since a change in the API takes its time; then that answer. The last one in the error. */
  async probesUntil(
    what: string,
    from: RunningPod,
    target: string,
    fits: (answer: string) => boolean,
    seconds = 15,
  ): Promise<string> {
    let last = '';
    try {
      await until(what, seconds, async () => {
        [last = ''] = await this.probe(from, [target]);
        return fits(last);
      });
    } catch (error) {
      throw new Error(`${(error as Error).message}; ${from.name} → ${target}: ${last}`);
    }
    return last;
  }
}

interface ApiPod {
  readonly metadata: {
    readonly namespace: string;
    readonly name: string;
    readonly uid: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly deletionTimestamp?: string;
  };
  readonly status: {
    readonly phase?: string;
    readonly podIPs?: readonly { readonly ip: string }[];
    readonly conditions?: readonly { readonly type: string; readonly status: string }[];
    readonly containerStatuses?: readonly {
      readonly containerID?: string;
      readonly state?: { readonly waiting?: { readonly reason?: string } };
    }[];
  };
}

function runningPod({ metadata, status }: ApiPod): RunningPod | undefined {
  const ready = status.conditions?.some(
    (condition) => condition.type === 'Ready' && condition.status === 'True',
  );
  const container = status.containerStatuses?.[0]?.containerID?.replace(/^\w+:\/\//, '');
  if (ready !== true || metadata.deletionTimestamp !== undefined || container === undefined) return undefined;
  return {
    namespace: metadata.namespace,
    name: metadata.name,
    uid: metadata.uid,
    ips: (status.podIPs ?? []).map(({ ip }) => ip),
    container,
    labels: metadata.labels ?? {},
  };
}

function stateOf({ metadata, status }: ApiPod): string {
  const waiting = status.containerStatuses?.[0]?.state?.waiting?.reason;
  return `${status.phase} ${waiting ?? ''}${metadata.deletionTimestamp === undefined ? '' : ' terminating'}`;
}

/** Whether there is a cluster to test with a kubeconfig: why not, or ''. */
export function kubeconfigLacks(): string {
  if ((process.env.KUBECONFIG ?? '') === '') return 'none of K3S_BIN, KUBERNETES_BIN and KUBECONFIG is set';
  try {
    execFileSync('kubectl', ['get', 'nodes'], { stdio: 'pipe', timeout: 15_000 });
    return '';
  } catch (error) {
    return `KUBECONFIG is set, but \`kubectl get nodes\` fails: ${(error as Error).message}`;
  }
}

async function runKubectl(
  args: readonly string[],
  options: { readonly input?: string; readonly seconds?: number },
): Promise<Ran> {
  const child = spawn('kubectl', [...args], { stdio: ['pipe', 'pipe', 'pipe'] });
  const timer = setTimeout(() => child.kill('SIGKILL'), (options.seconds ?? 60) * 1000);
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (data: Buffer) => {
    stdout += data.toString();
  });
  child.stderr.on('data', (data: Buffer) => {
    stderr += data.toString();
  });
  child.stdin.on('error', () => {});
  child.stdin.end(options.input ?? '');
  const status = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  clearTimeout(timer);
  return { status, stdout, stderr };
}
