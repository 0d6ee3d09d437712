/**
 * A second node of the test's cluster: a machine of its own beside the first, a kubelet, containerd, weft. A cable between the two, and by it a
 * route to each other's pods, which is what an administrator, or a router, sets up on nodes of one network.
 *
 *   first node (192.0.2.2) 198.51.100.1 ── 198.51.100.2 second node
 */
import { execFileSync } from 'node:child_process';
import type { Family } from '../../src/net/address.js';
import { buildPodProgram } from '../support/container-image.js';
import { Containerd } from '../support/containerd.js';
import { Machine, nodeAddress, nodeAddress6, outsideAddress, outsideAddress6 } from '../support/machine.js';
import { type Config, NodeWeft } from '../support/node-weft.js';
import { until } from '../support/weft.js';
import type { Cluster } from './cluster.js';
import { nodeName, type OwnCluster, secondName } from './own-cluster.js';

/** Of the cable: here the first node's end, there the second's, by which that node is known. */
const cable = {
  4: { here: '198.51.100.1', there: '198.51.100.2', bits: 24, gateway: nodeAddress, outside: outsideAddress },
  6: {
    here: '2001:db8:3::1',
    there: '2001:db8:3::2',
    bits: 64,
    gateway: nodeAddress6,
    outside: outsideAddress6,
  },
} as const;

export const secondAddressOf = (family: Family) => cable[family].there;

interface NodeObject {
  readonly metadata: { readonly name: string };
  readonly spec: { readonly podCIDRs?: readonly string[] };
  readonly status: { readonly conditions?: readonly { readonly type: string; readonly status: string }[] };
}

export class SecondNode {
  readonly machine: Machine;
  readonly containerd: Containerd;
  readonly weft: NodeWeft;

  private constructor(machine: Machine, containerd: Containerd, weft: NodeWeft) {
    this.machine = machine;
    this.containerd = containerd;
    this.weft = weft;
  }

  /** Resolves when it is Ready and the nodes have routes to each other's pods. `config`: of weft, with `kubeconfig` where both have it. */
  static async join(cluster: Cluster, config: Config, kubeconfig: string): Promise<SecondNode> {
    const own = cluster.own as OwnCluster;
    const first = own.machine;
    const machine = await Machine.start();
    try {
      plug(first, machine, cluster.families);
      const containerd = await Containerd.start(machine);
      machine.run('cp', buildPodProgram(), '/run/machine/pod');
      const addresses = cluster.families.map((family) => cable[family].there);
      await own.join(machine, addresses);
      share(own, machine, kubeconfig);
      const weft = await NodeWeft.start(machine, { ...config, node: { name: secondName, addresses } });
      const node = new SecondNode(machine, containerd, weft);
      await until('the second node is Ready', 90, async () => {
        const { items } = await cluster.get<{ items: NodeObject[] }>('nodes');
        const conditions = items.find(({ metadata }) => metadata.name === secondName)?.status.conditions;
        return conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') ?? false;
      });
      await weft.agentSynced();
      await route(cluster, first, machine);
      return node;
    } catch (error) {
      const words = ['k3s', 'kubelet'].map((program) => machine.words(program, 20)).join('\n');
      await machine.end();
      throw new Error(`${(error as Error).message}\n${words}`);
    }
  }

  async leave(cluster: Cluster): Promise<void> {
    await this.machine.end();
    await cluster.delete('node', secondName);
    cluster.own?.machine.try(['ip', 'link', 'del', 'cable']);
  }
}

function plug(first: Machine, second: Machine, families: readonly Family[]): void {
  const of = (machine: Machine) => machine.path('/').replace(/^(\/proc\/\d+)\/.*$/, '$1/ns/net');
  execFileSync('nsenter', [
    ...[`--net=${of(first)}`, 'ip', 'link', 'add', 'cable', 'type', 'veth'],
    ...['peer', 'name', 'cable', 'netns', of(second)],
  ]);
  first.run('ip', 'link', 'set', 'cable', 'up');
  // Both machines have an uplink of the same address, of which the second makes no use.
  second.run('ip', 'link', 'del', 'up0');
  second.run('ip', 'link', 'set', 'cable', 'up');
  for (const family of families) {
    const { here, there, bits, gateway, outside } = cable[family];
    const now = family === 6 ? ['nodad'] : [];
    first.run('ip', 'addr', 'add', `${here}/${bits}`, 'dev', 'cable', ...now);
    second.run('ip', 'addr', 'add', `${there}/${bits}`, 'dev', 'cable', ...now);
    second.run('ip', `-${family}`, 'route', 'replace', 'default', 'via', here);
    first.run(
      ...['ip', '-n', 'outside', `-${family}`, 'route', 'replace', `${there}/${family === 4 ? 32 : 128}`],
      ...['via', gateway, 'src', outside],
    );
  }
}

/** The agent's kubeconfig, with the server as it is reached from the other node. */
function share(own: OwnCluster, second: Machine, file: string): void {
  const first = own.machine;
  const held = JSON.parse(first.read(file)) as {
    clusters: [{ cluster: { server: string; 'certificate-authority': string } }];
  };
  const { cluster } = held.clusters[0];
  second.run('mkdir', '-p', '/etc/weft');
  second.write('/etc/weft/ca.crt', first.read(cluster['certificate-authority']));
  cluster['certificate-authority'] = '/etc/weft/ca.crt';
  cluster.server = own.serverFromAfar;
  second.write(file, JSON.stringify(held));
}

/** To each other's pods, by the cable. */
async function route(cluster: Cluster, first: Machine, second: Machine): Promise<void> {
  let cidrs = new Map<string, readonly string[]>();
  await until('both nodes have pod CIDRs', 30, async () => {
    const { items } = await cluster.get<{ items: NodeObject[] }>('nodes');
    cidrs = new Map(items.map(({ metadata, spec }) => [metadata.name, spec.podCIDRs ?? []]));
    return [nodeName, secondName].every((name) => (cidrs.get(name) ?? []).length > 0);
  });
  for (const [machine, of, end] of [
    [first, secondName, 'there'],
    [second, nodeName, 'here'],
  ] as const)
    for (const cidr of cidrs.get(of) ?? []) {
      const family = cidr.includes(':') ? 6 : 4;
      machine.run('ip', `-${family}`, 'route', 'replace', cidr, 'via', cable[family][end]);
    }
}
