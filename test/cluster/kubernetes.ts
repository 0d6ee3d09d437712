/**
 * Kubernetes by its own programs, of any release: what dl.k8s.io has of a server, in one folder (KUBERNETES_BIN), and etcd from there or from
 * this machine. As small as it gets: users have tokens in a file, one self-signed certificate is the API server's, the kubelet
 * trusts everybody. All of it ends with the machine.
 */
import { spawnSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { Containerd, containerdSocket } from '../support/containerd.js';
import { Machine, nodeAddress, nodeAddress6 } from '../support/machine.js';
import { until } from '../support/weft.js';
import { kubeProxyBinary, startKubeProxy } from './kube-proxy.js';
import {
  type ApiServer,
  clusterDns,
  type Families,
  familiesOf,
  kubectlProgram,
  networkOf,
  nodeName,
  OwnCluster,
  secondName,
} from './own-cluster.js';

const folder = '/etc/kubernetes';
const programs = ['kube-apiserver', 'kube-controller-manager', 'kube-scheduler', 'kubelet'] as const;
type Program = (typeof programs)[number];

/** Who has a token: name, and groups. */
const users = {
  admin: ['admin', 'system:masters'],
  'kube-controller-manager': ['system:kube-controller-manager', ''],
  'kube-scheduler': ['system:kube-scheduler', ''],
  kubelet: [`system:node:${nodeName}`, 'system:nodes'],
  'second-kubelet': [`system:node:${secondName}`, 'system:nodes'],
  'kube-proxy': ['system:kube-proxy', ''],
} as const;
const tokenOf = (user: keyof typeof users) => `token-of-${user}`;
const kubeconfigOf = (user: keyof typeof users) => `${folder}/${user}.conf`;

/** The folder to test with; undefined where KUBERNETES_BIN is not set. Throws where a program is missing. */
export function kubernetesFolder(): string | undefined {
  const wanted = process.env.KUBERNETES_BIN ?? '';
  if (wanted === '') return undefined;
  const path = resolve(wanted);
  for (const program of [...programs, 'kubectl', 'kube-proxy'])
    if (!existsSync(join(path, program)))
      throw new Error(`KUBERNETES_BIN is ${wanted}, which has no ${program}`);
  return path;
}

function etcdOf(path: string): string {
  const own = join(path, 'etcd');
  if (existsSync(own)) return own;
  const found = spawnSync('sh', ['-c', 'command -v etcd'], { encoding: 'utf8' }).stdout.trim();
  if (found === '')
    throw new Error(`there is no etcd, neither in ${path} nor on this machine (Debian: etcd-server)`);
  return found;
}

export class Kubernetes extends OwnCluster {
  readonly kubeconfigFile = kubeconfigOf('admin');
  protected readonly api: ApiServer;
  readonly serverFromAfar: string;
  readonly #folder: string;

  private constructor(machine: Machine, containerd: Containerd, path: string, families: Families) {
    super(machine, containerd, families);
    this.#folder = path;
    const [family] = familiesOf(families);
    // The certificate that the API server makes for itself has its own address in it, and no loopback one.
    const host = family === 6 ? `[${nodeAddress6}]` : nodeAddress;
    this.serverFromAfar = `https://${host}:6443`;
    this.api = { server: this.serverFromAfar, authority: `${folder}/apiserver.crt` };
  }

  /** Resolves when the API server answers and the node is registered; it is not Ready before it has a network. */
  static async start(path: string, families: Families): Promise<Kubernetes> {
    const machine = await Machine.start();
    try {
      // Where a family is not the cluster's, it is not the node's either.
      if (families === 'ipv6') machine.run('ip', '-4', 'address', 'flush', 'dev', 'up0');
      const containerd = await Containerd.start(machine);
      machine.run('ln', '-s', join(path, 'kubectl'), kubectlProgram);
      const kubernetes = new Kubernetes(machine, containerd, path, families);
      kubernetes.#prepare();
      machine.spawn('etcd', [etcdOf(path), '--data-dir', '/run/machine/etcd']);
      await kubernetes.run();
      return kubernetes;
    } catch (error) {
      await machine.end();
      throw error;
    }
  }

  #prepare(): void {
    const { machine } = this;
    machine.run('mkdir', '-p', folder);
    const tokens = Object.entries(users).map(
      ([user, [name, groups]]) => `${tokenOf(user as keyof typeof users)},${name},${user},"${groups}"\n`,
    );
    machine.write(`${folder}/tokens.csv`, tokens.join(''));
    for (const user of Object.keys(users) as (keyof typeof users)[])
      this.writeKubeconfig(kubeconfigOf(user), tokenOf(user));
    const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    machine.write(`${folder}/accounts.pub`, publicKey.export({ type: 'spki', format: 'pem' }).toString());
    machine.write(`${folder}/accounts.key`, privateKey.export({ type: 'pkcs1', format: 'pem' }).toString());
  }

  async run(): Promise<void> {
    const families = familiesOf(this.families);
    const { pods, services, node } = networkOf(families);
    const [primary] = node.split(',');
    this.#spawn('kube-apiserver', [
      ...['etcd-servers=http://127.0.0.1:2379', 'bind-address=::', `advertise-address=${primary}`],
      ...[`service-cluster-ip-range=${services}`, 'allow-privileged=true', `cert-dir=${folder}`],
      ...['authorization-mode=Node,RBAC', `token-auth-file=${folder}/tokens.csv`],
      'kubelet-preferred-address-types=InternalIP',
      'service-account-issuer=https://kubernetes.default.svc.cluster.local',
      `service-account-key-file=${folder}/accounts.pub`,
      `service-account-signing-key-file=${folder}/accounts.key`,
    ]);
    await until('the API server is ready', 60, async () => {
      this.#allRun(['kube-apiserver']);
      return (await this.kubectl(['get', '--raw', '/readyz'])).status === 0;
    });
    this.#spawn('kube-controller-manager', [
      ...[`kubeconfig=${kubeconfigOf('kube-controller-manager')}`, 'leader-elect=false'],
      ...[`root-ca-file=${this.api.authority}`, `service-account-private-key-file=${folder}/accounts.key`],
      ...['use-service-account-credentials=true', 'allocate-node-cidrs=true', `cluster-cidr=${pods}`],
      `service-cluster-ip-range=${services}`,
    ]);
    this.#spawn('kube-scheduler', [
      ...[`kubeconfig=${kubeconfigOf('kube-scheduler')}`, 'leader-elect=false'],
    ]);
    this.#kubelet(this.machine, nodeName, node);
    await this.nodeRegistered(() => this.#allRun(programs));
    await this.#kubeProxy(this.machine, nodeName);
  }

  async join(machine: Machine, addresses: readonly string[]): Promise<void> {
    machine.run('mkdir', '-p', folder);
    for (const file of [this.api.authority, kubeconfigOf('second-kubelet'), kubeconfigOf('kube-proxy')])
      machine.write(file, this.machine.read(file));
    this.#kubelet(machine, secondName, addresses.join(','));
    await this.#kubeProxy(machine, secondName);
  }

  #kubelet(machine: Machine, node: string, addresses: string): void {
    machine.write(`${folder}/kubelet.json`, JSON.stringify(kubeletConfiguration(this.families)));
    const user = node === nodeName ? 'kubelet' : 'second-kubelet';
    const settings = [
      ...[`kubeconfig=${kubeconfigOf(user)}`, `config=${folder}/kubelet.json`],
      ...[`hostname-override=${node}`, `node-ip=${addresses}`],
    ];
    this.#spawn('kubelet', settings, machine);
  }

  async #kubeProxy(machine: Machine, node: string): Promise<void> {
    const binary = kubeProxyBinary() ?? join(this.#folder, 'kube-proxy');
    const { pods } = networkOf(familiesOf(this.families));
    await startKubeProxy(machine, binary, kubeconfigOf('kube-proxy'), pods, node);
  }

  #spawn(program: Program, settings: readonly string[], machine = this.machine): void {
    machine.spawn(program, [join(this.#folder, program), ...settings.map((setting) => `--${setting}`)]);
  }

  #allRun(those: readonly Program[]): void {
    for (const program of those)
      if (!this.machine.runs(program))
        throw new Error(`${program} ended:\n${this.machine.words(program, 30)}`);
  }

  async kill(): Promise<void> {
    for (const program of [...programs, 'kube-proxy']) await this.machine.kill(program);
  }
}

function kubeletConfiguration(families: Families): object {
  return {
    apiVersion: 'kubelet.config.k8s.io/v1beta1',
    kind: 'KubeletConfiguration',
    containerRuntimeEndpoint: `unix://${containerdSocket}`,
    cgroupDriver: 'cgroupfs',
    failSwapOn: false,
    maxPods: 250,
    syncFrequency: '10s',
    clusterDomain: 'cluster.local',
    clusterDNS: [clusterDns[familiesOf(families)[0] ?? 4]],
    authentication: { anonymous: { enabled: true }, webhook: { enabled: false } },
    authorization: { mode: 'AlwaysAllow' },
  };
}
