/** Two nodes: what pods of one may do with pods of the other, what each node's own sockets may, and the commands for all nodes at once. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { PortRow } from '../../src/agent/protocol/answers.js';
import { podProgram } from '../support/container-image.js';
import { type Machine, nodeAddressOf } from '../support/machine.js';
import type { Config } from '../support/node-weft.js';
import { until } from '../support/weft.js';
import {
  addressOf,
  admit,
  type Cluster,
  denyAll,
  namespaceObject,
  type PodWish,
  podObject,
  podsOf,
  type RunningPod,
  serviceObject,
} from './cluster.js';
import { agentPod, fromAfar, placeCommand } from './far.js';
import { lacksNode, nodeName, secondName } from './own-cluster.js';
import { SecondNode, secondAddressOf } from './second-node.js';

const namespace = 'nodes';
/** Of agents, whose names are part of nothing. */
const agents = { [nodeName]: 'weft-first', [secondName]: 'weft-second' };

export function nodes(cluster: () => Cluster, reason: string, config: Config, kubeconfig: string): void {
  const skip = reason !== '' ? reason : lacksNode;

  describe('two nodes', () => {
    let second: SecondNode | null = null;
    let pods = new Map<string, RunningPod>();
    const first = (): Machine => cluster().own!.machine;
    const pod = (name: string): RunningPod => pods.get(`${namespace}/${name}`)!;
    const on = (node: string, name: string, wish: Partial<PodWish> = {}) =>
      podObject({ namespace, name, ...wish, spec: { nodeName: node } });

    before(async () => {
      if (skip !== false) return;
      second = await SecondNode.join(cluster(), config, kubeconfig);
      for (const machine of [first(), second.machine]) placeCommand(machine);
      const web = { labels: { app: 'web' }, serve: ['tcp/80', 'udp/80'] };
      await cluster().apply([
        namespaceObject(namespace),
        agentPod(agents[nodeName]!, nodeName),
        agentPod(agents[secondName]!, secondName),
        on(nodeName, 'web-1', web),
        on(secondName, 'web-2', web),
        on(nodeName, 'client-1', { labels: { app: 'client' } }),
        on(secondName, 'client-2', { labels: { app: 'client' } }),
        on(nodeName, 'stranger-1'),
        on(secondName, 'stranger-2'),
        serviceObject(namespace, 'web', {
          type: 'NodePort',
          selector: { app: 'web' },
          ports: [{ port: 80, nodePort: 30070 }],
        }),
      ]);
      pods = await cluster().ready([namespace], 6);
      for (const name of Object.values(agents))
        await cluster().kubectl(
          ['wait', '--for=condition=Ready', `pod/${name}`, '-n', 'kube-system', '--timeout=60s'],
          { seconds: 70 },
        );
    });
    after(async () => {
      if (skip !== false) return;
      await cluster().delete('pods', ...Object.values(agents), '-n', 'kube-system', '--grace-period=0');
      await cluster().delete('namespace', namespace);
      await cluster().gone([namespace]);
      await second?.leave(cluster());
    });

    async function probe(name: string, target: string): Promise<string> {
      const from = pod(name);
      if (name.endsWith('1')) return (await cluster().probe(from, [target]))[0] ?? '';
      const { stdout } = await second!.containerd.cri.exec(
        from.container,
        [podProgram, 'probe', '700', target],
        30,
      );
      return stdout.trim();
    }
    async function becomes(from: string, target: string, wanted: string | RegExp): Promise<void> {
      let said = '';
      const fits = () => (typeof wanted === 'string' ? said === wanted : wanted.test(said));
      await until(`${from} → ${target}`, 20, async () => {
        said = await probe(from, target);
        return fits();
      }).catch((error: Error) => assert.fail(`${error.message}: ${said}, and not ${wanted}`));
    }
    const byNode = async (machine: Machine, target: string) =>
      (await machine.ran(['/run/machine/pod', 'probe', '700', target])).stdout.trim();
    /** Every question that crosses from node to node, of each family. */
    const crossing = (clients: string) =>
      cluster().families.flatMap((family) =>
        [
          [`${clients}-1`, 'web-2'],
          [`${clients}-2`, 'web-1'],
        ].map(([from = '', to = '']) => ({ from, to, family, address: addressOf(pod(to), family) })),
      );

    test('pods of both reach each other by their own addresses, and a Service leads to both nodes', {
      skip,
    }, async () => {
      for (const { from, to, family, address } of crossing('client'))
        for (const protocol of ['tcp', 'udp'])
          await becomes(from, `${protocol}/${address}/80`, `ok ${to} ${addressOf(pod(from), family)}`);
      const { spec } = await cluster().get<{ spec: { clusterIP: string } }>(
        'service',
        'web',
        '-n',
        namespace,
      );
      const family = await cluster().serviceFamily();
      for (const target of [
        `tcp/${spec.clusterIP}/80`,
        `tcp/${nodeAddressOf(family)}/30070`,
        `tcp/${secondAddressOf(family)}/30070`,
      ])
        for (const from of ['client-1', 'client-2']) {
          const seen = new Set<string>();
          await until(`${from} → ${target} comes to both`, 30, async () => {
            seen.add(await probe(from, target));
            return seen.size >= 2;
          });
          const ip = pod(from).ips.find((own) => own.includes(':') === spec.clusterIP.includes(':'));
          assert.deepEqual([...seen].sort(), [`ok web-1 ${ip}`, `ok web-2 ${ip}`], `${from} → ${target}`);
        }
    });

    test('policy names pods of the other node by labels and by address; no other node is the node', {
      skip,
    }, async () => {
      await cluster().apply([denyAll(namespace), admit(namespace, 'client', 'web', podsOf('client'))]);
      try {
        for (const { from, address } of crossing('stranger'))
          await becomes(from, `tcp/${address}/80`, 'timeout');
        for (const { from, to, family, address } of crossing('client'))
          await becomes(from, `tcp/${address}/80`, `ok ${to} ${addressOf(pod(from), family)}`);
        const [one, two] = [pod('web-1').ips[0]!, pod('web-2').ips[0]!];
        assert.match(await byNode(first(), `tcp/${one}/80`), /^ok web-1 /, 'the pod’s own node');
        assert.match(await byNode(second!.machine, `tcp/${two}/80`), /^ok web-2 /, 'the pod’s own node');
        assert.equal(await byNode(first(), `tcp/${two}/80`), 'timeout', 'another node');
        assert.equal(await byNode(second!.machine, `tcp/${one}/80`), 'timeout', 'another node');

        // A label that is put on at one node, and taken off, is heard at the other.
        await cluster().kubectl(['label', 'pod', 'stranger-1', '-n', namespace, 'app=client']);
        await becomes('stranger-1', `tcp/${two}/80`, /^ok web-2 /);
        await cluster().kubectl(['label', 'pod', 'stranger-1', '-n', namespace, 'app-']);
        await becomes('stranger-1', `tcp/${two}/80`, 'timeout');

        const cidr = `${pod('stranger-2').ips[0]}/${one.includes(':') ? 128 : 32}`;
        await cluster().apply([admit(namespace, 'address', 'web', { ipBlock: { cidr } })]);
        await becomes('stranger-2', `tcp/${one}/80`, /^ok web-1 /);
        assert.equal(await probe('stranger-1', `tcp/${two}/80`), 'timeout');
      } finally {
        await cluster().delete('networkpolicies', '--all', '-n', namespace);
      }
      for (const { from, address } of crossing('stranger'))
        await becomes(from, `tcp/${address}/80`, /^ok web/);
    });

    test('an agent that dies on one node takes nothing from the other', { skip }, async () => {
      const [one, two] = [pod('web-1').ips[0]!, pod('web-2').ips[0]!];
      await second!.weft.killAgent();
      try {
        await cluster().apply([denyAll(namespace)]);
        await becomes('client-2', `tcp/${one}/80`, 'timeout');
        assert.match(await probe('client-1', `tcp/${two}/80`), /^ok web-2 /, 'what nobody told this node of');
      } finally {
        await second!.weft.startAgent();
      }
      await becomes('client-1', `tcp/${two}/80`, 'timeout');
      await cluster().delete('networkpolicies', '--all', '-n', namespace);
      await becomes('client-1', `tcp/${two}/80`, /^ok web-2 /);
      await becomes('client-2', `tcp/${one}/80`, /^ok web-1 /);
    });

    test('commands from afar ask both nodes, and why asks those of both ends', { skip }, async () => {
      const ask = async (...args: readonly string[]) => {
        const { status, stdout, stderr } = await first().ran(
          fromAfar(cluster().own!.kubeconfigFile, ...args),
        );
        assert.equal(stderr, '', `weft ${args.join(' ')}`);
        return { status, stdout };
      };
      await cluster().apply([denyAll(namespace), admit(namespace, 'client', 'web', podsOf('client'))]);
      try {
        await becomes('stranger-1', `tcp/${pod('web-2').ips[0]}/80`, 'timeout');
        await becomes('stranger-2', `tcp/${pod('web-1').ips[0]}/80`, 'timeout');
        await becomes('client-1', `tcp/${pod('web-2').ips[0]}/80`, /^ok web-2 /);

        const status = await ask('status');
        for (const name of [nodeName, secondName])
          assert.match(status.stdout, new RegExp(`^${name} +yes `, 'm'), status.stdout);
        const rows = JSON.parse((await ask('ports', '-o', 'json')).stdout) as (PortRow & { node: string })[];
        const lives = rows.filter((row) => row.namespace === namespace && row.status === 'live');
        assert.deepEqual(
          lives.map(({ node, name }) => `${node} ${name}`).sort(),
          ['client-1', 'stranger-1', 'web-1']
            .map((name) => `${nodeName} ${name}`)
            .concat(['client-2', 'stranger-2', 'web-2'].map((name) => `${secondName} ${name}`)),
        );
        const only = await ask('ports', '--node', secondName);
        assert.match(only.stdout, /web-2/);
        assert.doesNotMatch(only.stdout, /web-1/);

        const drops = (await ask('drops')).stdout;
        for (const [node, from, to] of [
          [secondName, 'stranger-1', 'web-2'],
          [nodeName, 'stranger-2', 'web-1'],
        ])
          assert.match(
            drops,
            new RegExp(
              `^${node} .* DENIED .*${namespace}/${from}:\\d+ -> ${namespace}/${to}:80 policy-ingress`,
              'm',
            ),
          );
        const flows = (await ask('flows')).stdout;
        for (const node of [nodeName, secondName])
          assert.match(
            flows,
            new RegExp(`^${node} .*${namespace}/client-1:\\d+ -> ${namespace}/web-2:80`, 'm'),
          );

        const denied = await ask('why', `${namespace}/stranger-1`, `${namespace}/web-2:80`);
        assert.match(denied.stdout, new RegExp(`as the switch of node ${nodeName} `));
        assert.match(
          denied.stdout,
          new RegExp(`^DENIED: .*\\n +\\(as the switch of node ${secondName} `, 'm'),
        );
        assert.equal(denied.status, 1, 'a denial at either end is one');
        const allowed = await ask('why', `${namespace}/client-1`, `${namespace}/web-2:80`);
        assert.equal(allowed.status, 0);
        assert.match(allowed.stdout, new RegExp(`allowed by ${namespace}/client spec.ingress\\[0\\]`));
      } finally {
        await cluster().delete('networkpolicies', '--all', '-n', namespace);
      }
    });
  });
}
