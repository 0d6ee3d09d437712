/**
 * A kube-proxy of the user's own choice (WEFT_TEST_KUBE_PROXY), in one of its modes (WEFT_TEST_KUBE_PROXY_MODE), beside weft. It ends with the
 * machine.
 */
import assert from 'node:assert/strict';
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

/** Starts it. Resolves when it has written its rules; throws where they are not of the mode that was asked for. */
export async function startKubeProxy(
  machine: Machine,
  binary: string,
  kubeconfig: string,
  podBlocks: string,
): Promise<void> {
  const gates = kubeProxyMode === 'nftables' ? ['feature-gates=NFTablesProxyMode=true'] : [];
  const settings = [
    ...[`kubeconfig=${kubeconfig}`, `hostname-override=${nodeName}`, `cluster-cidr=${podBlocks}`],
    ...[`proxy-mode=${kubeProxyMode}`, ...gates, ...conntrackSettings],
  ];
  machine.spawn('kube-proxy', [binary, ...settings.map((setting) => `--${setting}`)]);
  try {
    await until('kube-proxy is ready', 60, () => {
      if (!machine.runs('kube-proxy')) throw new Error('kube-proxy ended');
      // Ready is who has synchronised its rules once.
      const asked = machine.try(['bash', '-c', healthz]);
      return asked.stdout.includes('200 OK');
    });
  } catch (error) {
    throw new Error(`${(error as Error).message}\n${machine.words('kube-proxy', 30)}`);
  }
  const tables = machine.run('nft', 'list', 'tables');
  assert.equal(/ kube-proxy$/m.test(tables), kubeProxyMode === 'nftables', `${kubeProxyMode}: ${tables}`);
}

const healthz = `exec 3<>/dev/tcp/127.0.0.1/10256 && printf 'GET /healthz HTTP/1.0\\r\\n\\r\\n' >&3 && head -n 1 <&3`;
