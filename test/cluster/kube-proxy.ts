/**
 * A kube-proxy of the user's own choice (WEFT_TEST_KUBE_PROXY), in one of its modes (WEFT_TEST_KUBE_PROXY_MODE), beside weft. It ends with the
 * machine.
 */
import { execFileSync } from 'node:child_process';
import { resolve } from 'node:path';
import type { Machine } from '../support/machine.js';
import { until } from '../support/weft.js';
import { nodeName } from './own-cluster.js';

export const kubeProxyMode = process.env.WEFT_TEST_KUBE_PROXY_MODE ?? 'iptables';

/** In a network namespace of its own, kube-proxy may not set the machine's connection tracking. */
export const conntrackSettings = [
  'conntrack-max-per-core=0',
  'conntrack-tcp-timeout-established=0s',
  'conntrack-tcp-timeout-close-wait=0s',
];

/** The program to test with; undefined where none is named. Throws where it cannot be run. */
export function kubeProxyBinary(): string | undefined {
  const wanted = process.env.WEFT_TEST_KUBE_PROXY ?? '';
  if (wanted === '') return undefined;
  const path = resolve(wanted);
  execFileSync(path, ['--version'], { stdio: 'ignore' });
  return path;
}

/** Starts it. Resolves when it has written the rules of its mode, which it does some time after it calls itself healthy. */
export async function startKubeProxy(
  machine: Machine,
  binary: string,
  kubeconfig: string,
  podBlocks: string,
  node = nodeName,
): Promise<void> {
  const gates = kubeProxyMode === 'nftables' ? ['feature-gates=NFTablesProxyMode=true'] : [];
  const settings = [
    ...[`kubeconfig=${kubeconfig}`, `hostname-override=${node}`, `cluster-cidr=${podBlocks}`],
    ...[`proxy-mode=${kubeProxyMode}`, ...gates, ...conntrackSettings],
  ];
  machine.spawn('kube-proxy', [binary, ...settings.map((setting) => `--${setting}`)]);
  const [list, rules] =
    kubeProxyMode === 'nftables'
      ? ['nft list tables', / kube-proxy$/m]
      : ['iptables-save', /^:KUBE-SERVICES /m];
  try {
    await until(`kube-proxy has written its rules for ${kubeProxyMode}`, 60, () => {
      if (!machine.runs('kube-proxy')) throw new Error('kube-proxy ended');
      return rules.test(machine.try(['sh', '-c', list]).stdout);
    });
  } catch (error) {
    throw new Error(`${(error as Error).message}\n${machine.words('kube-proxy', 30)}`);
  }
}
