/**
 * Commands from afar, through a real API server and a real kubelet: exec over WebSocket, its ends, and what becomes of a program whose client
 * has gone. The agent of the test's node runs beside its pods; a pod with the labels of weft's and the node's files stands for its own.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { PortRow } from '../../src/agent/protocol/answers.js';
import type { Machine } from '../support/machine.js';
import type { NodeWeft } from '../support/node-weft.js';
import { repositoryRoot } from '../support/repository.js';
import { until } from '../support/weft.js';
import {
  type Cluster,
  denyAll,
  type KubeObject,
  namespaceObject,
  podObject,
  type RunningPod,
} from './cluster.js';
import { kubectlProgram, lacksNode, nodeName } from './own-cluster.js';

const namespace = 'far';
const entry = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url));
const programs = '/run/machine/far';

/** A pod that stands for weft's own on a node: its labels, and the node's programs and files. */
export function agentPod(name: string, node: string): KubeObject {
  const shared = ['/usr', '/bin', '/lib', '/lib64', '/run/weft', programs, repositoryRoot];
  return podObject({
    namespace: 'kube-system',
    name,
    labels: { 'app.kubernetes.io/name': 'weft', 'app.kubernetes.io/component': 'agent' },
    container: {
      name: 'agent',
      env: [{ name: 'PATH', value: `${programs}:/usr/bin:/bin` }],
      volumeMounts: shared.map((path, index) => ({ name: `v${index}`, mountPath: path })),
    },
    spec: {
      nodeName: node,
      hostNetwork: true,
      volumes: shared.map((path, index) => ({ name: `v${index}`, hostPath: { path } })),
    },
  });
}

/** `weft` where such a pod looks for it. */
export function placeCommand(machine: Machine): void {
  machine.run('mkdir', '-p', programs);
  machine.write(`${programs}/weft`, `#!/bin/sh\nexec ${process.execPath} ${entry} "$@"\n`);
  machine.run('chmod', '755', `${programs}/weft`);
}

/** `weft ARGS` from a machine that is no node: all it has is a kubeconfig. */
export const fromAfar = (kubeconfig: string, ...args: readonly string[]): string[] => [
  process.execPath,
  entry,
  ...args,
  '--kubeconfig',
  kubeconfig,
];

export function far(cluster: () => Cluster, weft: () => NodeWeft, reason: string): void {
  const skip = reason !== '' ? reason : lacksNode;

  test('commands ask through the API server, and what they began ends with them', { skip }, async () => {
    const { machine, kubeconfigFile } = cluster().own!;
    placeCommand(machine);
    const ask = (...args: readonly string[]) => fromAfar(kubeconfigFile, ...args);
    await cluster().apply([
      namespaceObject(namespace),
      agentPod('weft-stand-in', nodeName),
      podObject({ namespace, name: 'server', serve: ['tcp/80'] }),
      podObject({ namespace, name: 'client' }),
    ]);
    const relays = () => machine.pids('main.js relay').length;
    try {
      const pods = await cluster().ready([namespace], 2);
      await cluster().kubectl(
        ['wait', '--for=condition=Ready', 'pod/weft-stand-in', '-n', 'kube-system', '--timeout=60s'],
        { seconds: 70 },
      );
      const server = pods.get(`${namespace}/server`) as RunningPod;
      const client = pods.get(`${namespace}/client`) as RunningPod;

      const status = await machine.ran(ask('status'));
      assert.equal(status.status, 0, status.stderr);
      assert.match(status.stdout, new RegExp(`^NODE[\\s\\S]*^${nodeName} +yes`, 'm'));
      const ports = await machine.ran(ask('ports', '-o', 'json'));
      const rows = JSON.parse(ports.stdout) as (PortRow & { node: string })[];
      assert.ok(rows.some((row) => row.node === nodeName && row.name === 'server' && row.status === 'live'));
      // What is asked from afar is what is asked there, and kubectl finds it as a plugin.
      const here = [process.execPath, entry];
      const json = async (words: readonly string[]) =>
        JSON.parse((await machine.ran([...words, '-o', 'json'])).stdout) as Record<string, unknown>[];
      for (const [question, field] of [
        [['ports'], 'mac'],
        [['doctor', '--preflight'], 'check'],
      ] as const) {
        const there = await json(ask(...question));
        const flat = there.flatMap((one) => (one.findings as Record<string, unknown>[] | undefined) ?? [one]);
        assert.deepEqual(
          flat.map((one) => one[field]),
          (await json([...here, ...question])).map((one) => one[field]),
          question.join(' '),
        );
      }
      const why = await machine.ran(ask('why', `${namespace}/client`, `${namespace}/server:80`));
      assert.match(
        why.stdout,
        /^ALLOWED: far\/client -> far\/server:80\/TCP\n {2}\(as the switch of node node /,
      );
      machine.run('ln', '-sf', `${repositoryRoot}/deploy/kubectl-weft.sh`, `${programs}/kubectl-weft`);
      const plugin = await machine.ran([
        ...['env', `PATH=${programs}:/usr/bin:/bin`, `KUBECONFIG=${kubeconfigFile}`],
        ...[kubectlProgram, 'weft', 'status'],
      ]);
      assert.equal(plugin.status, 0, plugin.stderr);
      assert.match(plugin.stdout, new RegExp(`^${nodeName} +yes`, 'm'));
      await until('no relay is left of commands that ended', 20, () => relays() === 0);

      // A trial, by a policy that would deny; the command is killed and tells nobody.
      machine.write(`${programs}/deny.json`, JSON.stringify(denyAll(namespace)));
      machine.spawn('far-try', ask('policy', 'try', '-f', `${programs}/deny.json`, '-o', 'json'));
      const trial = async () => (await weft().query('status')).trial;
      await until('the trial runs', 20, async () => (await trial()) !== 0);
      const target = `tcp/${server.ips[0]}/80`;
      const found = () => machine.log('far-try').includes('"change":"denied"');
      await until('it finds the flow that would be denied', 20, async () => {
        assert.equal((await cluster().probe(client, [target]))[0], `ok server ${client.ips[0]}`);
        return found();
      });
      assert.match(machine.log('far-try'), new RegExp(`"node":"${nodeName}"`));
      await machine.kill('far-try');
      await until('the trial ends with its command', 30, async () => (await trial()) === 0);
      await until('and so does the relay', 30, () => relays() === 0);
      assert.equal((await cluster().probe(client, [target]))[0], `ok server ${client.ips[0]}`);

      await cluster().kubectl(['delete', 'pod', 'weft-stand-in', '-n', 'kube-system', '--grace-period=0']);
      await until('an agent that is gone is named', 30, async () => {
        const without = await machine.ran(ask('status'));
        return without.status === 2 && /no pods with the labels/.test(without.stderr);
      });
    } finally {
      await cluster().delete('pod', 'weft-stand-in', '-n', 'kube-system', '--grace-period=0');
      await cluster().delete('namespace', namespace);
      await cluster().gone([namespace]);
    }
  });
}
