/**
 * A K3s server on a machine of the test's own: its own kubelet, kube-proxy and controllers, containerd and runc as Debian packages them, no
 * network but what the test puts into the CNI folders.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { buildPodProgram, pauseImage, podProgram } from '../support/container-image.js';
import { Containerd, containerdSocket } from '../support/containerd.js';
import { Machine, nodeAddress, type Ran } from '../support/machine.js';
import { until } from '../support/weft.js';

export const nodeName = 'node';
export const kubeconfigFile = '/etc/rancher/k3s/k3s.yaml';
const kubectl = '/run/machine/kubectl';
export const clusterDns = '10.43.0.10';

/** What K3s' load balancer pulls; here it is a relay, which for the network is the same: pod → ClusterIP. */
const loadBalancerImages = ['docker.io/rancher/klipper-lb:v0.2.0'];

/** The binary to test with, by its absolute path; undefined where K3S_BIN is not set. Throws where it is no file. */
export function k3sBinary(): string | undefined {
  const wanted = process.env.K3S_BIN;
  if (wanted === undefined || wanted === '') return undefined;
  const path = resolve(wanted);
  if (!existsSync(path)) throw new Error(`K3S_BIN is ${wanted}, which is no file`);
  execFileSync(path, ['--version'], { stdio: 'ignore' });
  return path;
}

export class K3s {
  readonly machine: Machine;
  readonly containerd: Containerd;
  readonly #binary: string;

  private constructor(machine: Machine, containerd: Containerd, binary: string) {
    this.machine = machine;
    this.containerd = containerd;
    this.#binary = binary;
  }

  /** Resolves when the API server answers and the node is registered; it is not Ready before it has a network. */
  static async start(binary: string): Promise<K3s> {
    const machine = await Machine.start();
    try {
      const containerd = await Containerd.start(machine);
      for (const tag of loadBalancerImages)
        containerd.importImage({
          tag,
          command: [podProgram, 'relay'],
          files: { [podProgram]: buildPodProgram() },
        });
      machine.run('ln', '-s', binary, kubectl);
      const k3s = new K3s(machine, containerd, binary);
      await k3s.run();
      return k3s;
    } catch (error) {
      await machine.end();
      throw error;
    }
  }

  /** Starts the server (again). */
  async run(): Promise<void> {
    const server = [
      ...['--node-name', nodeName, '--node-ip', nodeAddress],
      ...[
        '--flannel-backend=none',
        '--disable-network-policy',
        '--disable-cloud-controller',
        '--disable-helm-controller',
      ],
      ...['--disable', 'traefik,metrics-server,coredns,local-storage'],
      ...['--container-runtime-endpoint', containerdSocket, '--pause-image', pauseImage],
      // In a network namespace of its own, kube-proxy may not set the machine's connection tracking.
      ...[
        'conntrack-max-per-core=0',
        'conntrack-tcp-timeout-established=0s',
        'conntrack-tcp-timeout-close-wait=0s',
      ].flatMap((setting) => ['--kube-proxy-arg', setting]),
      ...['fail-swap-on=false', 'cgroup-driver=cgroupfs', 'max-pods=250', 'sync-frequency=10s'].flatMap(
        (setting) => ['--kubelet-arg', setting],
      ),
    ];
    this.machine.spawn('k3s', [this.#binary, 'server', ...server]);
    let last = '';
    try {
      await until('the API server answers and knows the node', 60, async () => {
        if (!this.machine.runs('k3s')) throw new Error('K3s ended');
        const { status, stderr } = await this.kubectl(['get', 'node', nodeName]);
        last = stderr.trim();
        return status === 0;
      });
    } catch (error) {
      throw new Error(`${(error as Error).message}: ${last}\n${this.machine.words('k3s', 30)}`);
    }
  }

  /** The binary is kubectl when it is called so. */
  kubectl(
    args: readonly string[],
    options: { readonly input?: string; readonly seconds?: number } = {},
  ): Promise<Ran> {
    return this.machine.ran(['env', `KUBECONFIG=${kubeconfigFile}`, kubectl, ...args], options);
  }

  /**
   * What an agent in a pod has: the rights of its service account and nothing else. Writes a kubeconfig with its token to `file`.
   * Since Kubernetes 1.24 a token is asked for, before it is there by itself.
   */
  async serviceAccountKubeconfig(manifest: string, file: string): Promise<void> {
    const applied = await this.kubectl(['apply', '-f', manifest]);
    if (applied.status !== 0) throw new Error(`${manifest}: ${applied.stderr}`);
    const account = ['-n', 'kube-system', 'weft'];
    let token = '';
    await until('the service account has a token', 30, async () => {
      const named = await this.kubectl([
        'get',
        'serviceaccount',
        ...account,
        '-o',
        'jsonpath={.secrets[0].name}',
      ]);
      if (named.stdout === '') token = (await this.kubectl(['create', 'token', ...account])).stdout.trim();
      else {
        const path = ['get', 'secret', '-n', 'kube-system', named.stdout, '-o', 'jsonpath={.data.token}'];
        token = Buffer.from((await this.kubectl(path)).stdout, 'base64').toString();
      }
      return token !== '';
    });
    this.machine.run('mkdir', '-p', dirname(file));
    this.machine.write(
      file,
      JSON.stringify({
        apiVersion: 'v1',
        kind: 'Config',
        clusters: [
          {
            name: 'k3s',
            cluster: {
              server: 'https://127.0.0.1:6443',
              'certificate-authority': '/var/lib/rancher/k3s/server/tls/server-ca.crt',
            },
          },
        ],
        users: [{ name: 'weft', user: { token } }],
        contexts: [{ name: 'k3s', context: { cluster: 'k3s', user: 'weft' } }],
        'current-context': 'k3s',
      }),
    );
  }

  /** The server alone: pods stay. */
  async kill(): Promise<void> {
    await this.machine.kill('k3s');
  }

  async end(): Promise<void> {
    await this.machine.end();
  }
}

/** Whether pods can speak SCTP; loading its module is the host's business. */
export function kernelHasSctp(): boolean {
  return existsSync('/proc/net/sctp') || /^SCTP/m.test(readFileSync('/proc/net/protocols', 'utf8'));
}
