/** A K3s server: its own kubelet, controllers and, unless WEFT_TEST_KUBE_PROXY names another, kube-proxy. */
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { buildPodProgram, type ImageWish, pauseImage, podProgram } from '../support/container-image.js';
import { Containerd, containerdSocket } from '../support/containerd.js';
import { Machine, nodeAddress, nodeAddress6 } from '../support/machine.js';
import { conntrackSettings, kubeProxyBinary, startKubeProxy } from './kube-proxy.js';
import {
  clusterDns,
  type Families,
  familiesOf,
  kubectlProgram,
  networkOf,
  nodeName,
  OwnCluster,
  secondName,
} from './own-cluster.js';

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

export class K3s extends OwnCluster {
  readonly kubeconfigFile = '/etc/rancher/k3s/k3s.yaml';
  protected readonly api = {
    server: 'https://127.0.0.1:6443',
    authority: '/var/lib/rancher/k3s/server/tls/server-ca.crt',
  };
  readonly serverFromAfar = `https://${nodeAddress}:6443`;
  readonly #binary: string;

  private constructor(machine: Machine, containerd: Containerd, binary: string, families: Families) {
    super(machine, containerd, families);
    this.#binary = binary;
  }

  /** Resolves when the API server answers and the node is registered; it is not Ready before it has a network. */
  static async start(binary: string, families: Families): Promise<K3s> {
    if (families === 'ipv6') throw new Error('K3s 1.21 knows no cluster without IPv4: use KUBERNETES_BIN');
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

  async run(): Promise<void> {
    // Nor one whose Services are IPv6 first: its API server advertises an IPv4 address, and the two have to be of one family.
    const { pods } = networkOf(familiesOf(this.families));
    const { services, node } = networkOf(familiesOf(this.families === 'dual6' ? 'dual' : this.families));
    const kubeProxy = kubeProxyBinary();
    const server = [
      ...['--cluster-cidr', pods, '--service-cidr', services],
      ...[
        '--flannel-backend=none',
        '--disable-network-policy',
        '--disable-cloud-controller',
        '--disable-helm-controller',
      ],
      ...['--disable', 'traefik,metrics-server,coredns,local-storage'],
      ...(kubeProxy === undefined ? [] : ['--disable-kube-proxy']),
      ...this.#nodeFlags(nodeName, node, nodeAddress6),
    ];
    this.machine.spawn('k3s', [this.#binary, 'server', ...server]);
    try {
      await this.nodeRegistered(() => {
        if (!this.machine.runs('k3s')) throw new Error('K3s ended');
      });
    } catch (error) {
      throw new Error(`${(error as Error).message}\n${this.machine.words('k3s', 30)}`);
    }
    if (kubeProxy !== undefined) await startKubeProxy(this.machine, kubeProxy, this.kubeconfigFile, pods);
  }

  async join(machine: Machine, addresses: readonly string[]): Promise<void> {
    // A link, which leads to the right file only from within.
    const token = this.machine.run('cat', '/var/lib/rancher/k3s/server/node-token').trim();
    const [sixth = ''] = addresses.filter((address) => address.includes(':'));
    const fourthFirst = [...addresses].sort((a, b) => Number(a.includes(':')) - Number(b.includes(':')));
    const server = ['--server', this.serverFromAfar, '--token', token];
    machine.spawn('k3s', [
      ...[this.#binary, 'agent', ...server],
      ...this.#nodeFlags(secondName, fourthFirst.join(','), sixth),
    ]);
  }

  /** What a server and an agent have in common. `address6`: the node's own of that family. */
  #nodeFlags(name: string, addresses: string, address6: string): readonly string[] {
    return [
      ...['--node-name', name, '--node-ip', addresses],
      ...['--container-runtime-endpoint', containerdSocket, '--pause-image', pauseImage],
      ...(kubeProxyBinary() === undefined
        ? conntrackSettings.flatMap((setting) => ['--kube-proxy-arg', setting])
        : []),
      ...[
        ...['fail-swap-on=false', 'cgroup-driver=cgroupfs', 'max-pods=250', 'sync-frequency=10s'],
        // The kubelet takes for a pod's primary address the one of this one's family.
        ...(this.families === 'dual6' ? [`node-ip=${address6}`, `cluster-dns=${clusterDns[6]}`] : []),
      ].flatMap((setting) => ['--kubelet-arg', setting]),
    ];
  }

  async kill(): Promise<void> {
    await this.machine.kill('k3s');
    await this.machine.kill('kube-proxy');
  }
}

/** Whether pods can speak SCTP; loading its module is the host's business. */
export function kernelHasSctp(): boolean {
  return existsSync('/proc/net/sctp') || /^SCTP/m.test(readFileSync('/proc/net/protocols', 'utf8'));
}
