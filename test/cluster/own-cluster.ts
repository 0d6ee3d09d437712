/**
 * A cluster of one node on a machine of the test's own: containerd and runc as Debian packages them, no network but what the test puts into the
 * CNI folders, and a control plane that can be killed and started again. Which one: k3s.ts (K3S_BIN) or kubernetes.ts (KUBERNETES_BIN).
 */
import { dirname } from 'node:path';
import type { Family } from '../../src/net/address.js';
import type { Containerd } from '../support/containerd.js';
import {
  type Machine,
  nodeAddress,
  nodeAddress6,
  outsideAddress,
  outsideAddress6,
  type Ran,
} from '../support/machine.js';
import { until } from '../support/weft.js';

export const nodeName = 'node';
/** Of a node that joins (second-node.ts). */
export const secondName = 'second';
export const kubectlProgram = '/run/machine/kubectl';
export const clusterDns: Readonly<Record<Family, string>> = { 4: '10.43.0.10', 6: 'fd43::a' };

const blocks = {
  4: { pods: '10.42.0.0/16', services: '10.43.0.0/16', node: nodeAddress },
  6: { pods: 'fd42::/56', services: 'fd43::/112', node: nodeAddress6 },
} as const;

/** Which families pods and Services have, the first being the primary one. */
const kinds = { ipv4: [4], dual: [4, 6], dual6: [6, 4], ipv6: [6] } as const;
export type Families = keyof typeof kinds;

/** Of pods, the primary one first. */
export function familiesOf(families: Families): readonly Family[] {
  return kinds[families];
}

/** What WEFT_TEST_FAMILIES asks for; throws where it is something else. */
export function wantedFamilies(): Families {
  const wanted = process.env.WEFT_TEST_FAMILIES ?? 'ipv4';
  if (!Object.hasOwn(kinds, wanted))
    throw new Error(`WEFT_TEST_FAMILIES is ${wanted}, and not one of ${Object.keys(kinds).join(', ')}`);
  return wanted as Families;
}

/** Blocks of pods and Services and the node's addresses, as the programs of Kubernetes take them: the primary family first. */
export function networkOf(families: readonly Family[]): Readonly<Record<keyof (typeof blocks)[4], string>> {
  const list = (what: keyof (typeof blocks)[4]) => families.map((family) => blocks[family][what]).join(',');
  return { pods: list('pods'), services: list('services'), node: list('node') };
}

/** Why there is no node that can be looked into and broken; false where there is one, by K3S_BIN or KUBERNETES_BIN. */
export const lacksNode: string | false =
  (process.env.K3S_BIN ?? '') === '' && (process.env.KUBERNETES_BIN ?? '') === ''
    ? 'K3S_BIN or KUBERNETES_BIN is needed'
    : false;

/** How a kubeconfig on the node names the API server: where it is, and the file with whom its certificate is from. */
export interface ApiServer {
  readonly server: string;
  readonly authority: string;
}

export abstract class OwnCluster {
  readonly machine: Machine;
  readonly containerd: Containerd;
  readonly families: Families;
  /** On the machine; may do everything. */
  abstract readonly kubeconfigFile: string;
  protected abstract readonly api: ApiServer;

  constructor(machine: Machine, containerd: Containerd, families: Families) {
    this.machine = machine;
    this.containerd = containerd;
    this.families = families;
  }

  /** Starts what `kill` ends (again). Resolves when the API server answers and the node is registered. */
  abstract run(): Promise<void>;

  /** API server, controllers, kubelet and kube-proxy: pods stay, and so does what the API server has stored. */
  abstract kill(): Promise<void>;

  /** The API server, for who is on another machine. */
  abstract readonly serverFromAfar: string;

  /** Starts what makes another machine a node, `secondName`, beside its containerd. `addresses`: of the node, the primary family's first. */
  abstract join(machine: Machine, addresses: readonly string[]): Promise<void>;

  async end(): Promise<void> {
    await this.machine.end();
  }

  kubectl(
    args: readonly string[],
    options: { readonly input?: string; readonly seconds?: number } = {},
  ): Promise<Ran> {
    return this.machine.ran(['env', `KUBECONFIG=${this.kubeconfigFile}`, kubectlProgram, ...args], options);
  }

  /** `runs` throws where one of the programs has ended. */
  protected async nodeRegistered(runs: () => void): Promise<void> {
    let last = '';
    try {
      await until('the API server answers and knows the node', 90, async () => {
        runs();
        const { status, stderr } = await this.kubectl(['get', 'node', nodeName]);
        last = stderr.trim();
        return status === 0;
      });
    } catch (error) {
      throw new Error(`${(error as Error).message}: ${last}`);
    }
  }

  /** How "outside" reaches pods: by the node, from this address. */
  routeFromOutside(family: Family, source = family === 4 ? outsideAddress : outsideAddress6): void {
    const { pods, node } = blocks[family];
    this.machine.run(
      ...['ip', '-n', 'outside', `-${family}`, 'route', 'replace', pods, 'via', node, 'src', source],
    );
  }

  /** Writes a kubeconfig of a user with a token. */
  protected writeKubeconfig(file: string, token: string): void {
    const { server, authority } = this.api;
    this.machine.run('mkdir', '-p', dirname(file));
    this.machine.write(
      file,
      JSON.stringify({
        apiVersion: 'v1',
        kind: 'Config',
        clusters: [{ name: 'own', cluster: { server, 'certificate-authority': authority } }],
        users: [{ name: 'own', user: { token } }],
        contexts: [{ name: 'own', context: { cluster: 'own', user: 'own' } }],
        'current-context': 'own',
      }),
    );
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
    this.writeKubeconfig(file, token);
  }
}
