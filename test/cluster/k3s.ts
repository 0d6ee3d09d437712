/**
 * A K3s server on a machine of the test's own: its own kubelet, kube-proxy and controllers, containerd and runc as Debian packages them, no
 * network but what the test puts into the CNI folders.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import type { Family } from '../../src/net/address.js';
import { buildPodProgram, type ImageWish, pauseImage, podProgram } from '../support/container-image.js';
import { Containerd, containerdSocket } from '../support/containerd.js';
import {
  Machine,
  nodeAddress,
  nodeAddress6,
  outsideAddress,
  outsideAddress6,
  type Ran,
} from '../support/machine.js';
import { until } from '../support/weft.js';

export const nodeName = 'node';
export const kubeconfigFile = '/etc/rancher/k3s/k3s.yaml';
export const kubectlProgram = '/run/machine/kubectl';
export const clusterDns = '10.43.0.10';
export const clusterDns6 = 'fd43::a';

/**
 * Which families pods and Services have, the first being a pod's primary one. K3s 1.21 knows no cluster without IPv4, nor one whose Services
 * are IPv6 first: its API server advertises an IPv4 address, and the two have to be of one family.
 */
const networks = {
  ipv4: { pods: '10.42.0.0/16', services: '10.43.0.0/16', node: nodeAddress },
  dual: {
    pods: '10.42.0.0/16,fd42::/56',
    services: '10.43.0.0/16,fd43::/112',
    node: `${nodeAddress},${nodeAddress6}`,
  },
  dual6: {
    pods: 'fd42::/56,10.42.0.0/16',
    services: '10.43.0.0/16,fd43::/112',
    node: `${nodeAddress},${nodeAddress6}`,
  },
} as const;
export type Families = keyof typeof networks;

/** Of pods, the primary one first. */
export function familiesOf(families: Families): readonly Family[] {
  return families === 'ipv4' ? [4] : families === 'dual' ? [4, 6] : [6, 4];
}

/** What WEFT_TEST_FAMILIES asks for; throws where it is something else. */
export function wantedFamilies(): Families {
  const wanted = process.env.WEFT_TEST_FAMILIES ?? 'ipv4';
  if (!Object.hasOwn(networks, wanted))
    throw new Error(`WEFT_TEST_FAMILIES is ${wanted}, and not one of ${Object.keys(networks).join(', ')}`);
  return wanted as Families;
}

/**
 * What K3s' load balancer pulls. Here it is a relay, which for the network is the same (pod → ClusterIP), or, with WEFT_TEST_KLIPPER,
 * its own program with this machine's iptables.
 */
const loadBalancerImage = 'docker.io/rancher/klipper-lb:v0.2.0';
export const klipper = process.env.WEFT_TEST_KLIPPER ?? '';

function loadBalancer(): ImageWish {
  const tag = loadBalancerImage;
  if (klipper === '')
    return { tag, command: [podProgram, 'relay'], files: { [podProgram]: buildPodProgram() } };
  const where = (command: string, ...args: readonly string[]) =>
    execFileSync(command, args, { encoding: 'utf8' }).trim();
  const iptables = where('readlink', '-f', '/usr/sbin/iptables-nft');
  const busybox = where('readlink', '-f', '/bin/busybox');
  const libraries = [...where('ldd', iptables).matchAll(/(\/\S+) \(/g)].map(([, path = '']) => path);
  const folder = dirname(libraries.find((path) => path.includes('libxtables')) ?? '');
  const plugins = readdirSync(join('/usr', folder, 'xtables')).filter((name) => /^lib(xt|ipt)_/.test(name));
  return {
    tag,
    command: ['/usr/bin/entry'],
    files: {
      '/usr/bin/entry': klipper,
      '/usr/sbin/iptables': iptables,
      ...Object.fromEntries(['sh', 'cat', 'mkfifo'].map((name) => [`/bin/${name}`, busybox])),
      ...Object.fromEntries(libraries.map((path) => [path, path])),
      ...Object.fromEntries(
        plugins.map((name) => join('/usr', folder, 'xtables', name)).map((path) => [path, path]),
      ),
    },
  };
}

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
  readonly families: Families;
  readonly #binary: string;

  private constructor(machine: Machine, containerd: Containerd, binary: string, families: Families) {
    this.families = families;
    this.machine = machine;
    this.containerd = containerd;
    this.#binary = binary;
  }

  /** Resolves when the API server answers and the node is registered; it is not Ready before it has a network. */
  static async start(binary: string, families: Families): Promise<K3s> {
    const machine = await Machine.start();
    try {
      const containerd = await Containerd.start(machine);
      containerd.importImage(loadBalancer());
      machine.run('ln', '-s', binary, kubectlProgram);
      const k3s = new K3s(machine, containerd, binary, families);
      await k3s.run();
      return k3s;
    } catch (error) {
      await machine.end();
      throw error;
    }
  }

  /** Starts the server (again). */
  async run(): Promise<void> {
    const { pods, services, node } = networks[this.families];
    const server = [
      ...['--node-name', nodeName, '--node-ip', node],
      ...['--cluster-cidr', pods, '--service-cidr', services],
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
      ...[
        ...['fail-swap-on=false', 'cgroup-driver=cgroupfs', 'max-pods=250', 'sync-frequency=10s'],
        // The kubelet takes for a pod's primary address the one of this one's family.
        ...(this.families === 'dual6' ? [`node-ip=${nodeAddress6}`, `cluster-dns=${clusterDns6}`] : []),
      ].flatMap((setting) => ['--kubelet-arg', setting]),
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

  /** How "outside" reaches pods: by the node, from this address. */
  routeFromOutside(family: Family, source = family === 4 ? outsideAddress : outsideAddress6): void {
    const [destination, via] = family === 4 ? ['10.42.0.0/16', nodeAddress] : ['fd42::/56', nodeAddress6];
    this.machine.run(
      ...['ip', '-n', 'outside', `-${family}`, 'route', 'replace', destination, 'via', via, 'src', source],
    );
  }

  /** The binary is kubectl when it is called so. */
  kubectl(
    args: readonly string[],
    options: { readonly input?: string; readonly seconds?: number } = {},
  ): Promise<Ran> {
    return this.machine.ran(['env', `KUBECONFIG=${kubeconfigFile}`, kubectlProgram, ...args], options);
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
