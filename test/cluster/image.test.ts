/**
 * weft as its users get it: its container image and deploy/weft.yaml, applied to a K3s whose node has nothing of weft. WEFT_TEST_ARCHIVE is an
 * archive of the image; without it deploy/image.sh makes one. Nothing of the checkout runs on the node but commands that ask from afar.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { StatusAnswer } from '../../src/agent/protocol/answers.js';
import { cniBin, cniConf, containerdLacks } from '../support/containerd.js';
import { repositoryRoot } from '../support/repository.js';
import { until } from '../support/weft.js';
import { admit, Cluster, denyAll, namespaceObject, podObject, podsOf, type RunningPod } from './cluster.js';
import { fromAfar } from './far.js';
import { K3s, k3sBinary } from './k3s.js';
import { nodeName } from './own-cluster.js';

const namespace = 'image';
const deploy = (name: string) => join(repositoryRoot, 'deploy', name);
const manifests = ['-f', deploy('rbac.yaml'), '-f', deploy('weft.yaml')];
const skip =
  (process.env.K3S_BIN ?? '') === ''
    ? 'K3S_BIN is needed'
    : containerdLacks() === ''
      ? false
      : containerdLacks();

/** Sends datagrams of one flow, one every few milliseconds, and counts what is answered. */
const counting = fileURLToPath(new URL('../support/datagrams.js', import.meta.url));

interface Counted {
  readonly sent: number;
  readonly answered: number;
  /** Milliseconds. */
  readonly longestSilence: number;
}

interface WeftPod {
  readonly metadata: {
    readonly name: string;
    readonly uid: string;
    readonly labels: Readonly<Record<string, string>>;
    readonly deletionTimestamp?: string;
  };
  readonly status: {
    readonly conditions?: readonly { readonly type: string; readonly status: string }[];
    readonly containerStatuses?: readonly { readonly restartCount: number }[];
  };
}

describe('the image and its manifests', () => {
  let k3s: K3s;
  let cluster: Cluster;
  let bare: readonly string[] = [];
  let server: RunningPod;
  let client: RunningPod;
  let denied: RunningPod;

  before(async () => {
    if (skip !== false) return;
    let archive = process.env.WEFT_TEST_ARCHIVE ?? '';
    if (archive === '') {
      archive = join(repositoryRoot, 'build', 'test-programs', 'weft-image.tar');
      mkdirSync(join(archive, '..'), { recursive: true });
      execFileSync('bash', [deploy('image.sh'), '--output', archive], { stdio: 'inherit' });
    }
    k3s = await K3s.start(k3sBinary() ?? '', 'ipv4');
    cluster = new Cluster(k3s, [4]);
    // As systemd leaves a host: containers mount folders of it with propagation, which the runtime refuses otherwise.
    k3s.machine.run('mount', '--make-rshared', '/');
    k3s.containerd.importArchive(archive);
    bare = await host();
  });
  after(async () => {
    if (skip === false) await k3s?.end();
  });

  /** What the node has: interfaces, nft tables, settings, files where weft puts some. */
  async function host(): Promise<readonly string[]> {
    const { machine } = k3s;
    const links = machine.run('ip', '-o', 'link').matchAll(/^\d+: ([^:@]+)/gm);
    const tables = machine.run('nft', 'list', 'tables').split('\n');
    return [
      ...[...links].map(([, name]) => `interface ${name}`),
      ...tables.filter((line) => /weft/.test(line)),
      ...['net.ipv4.ip_forward', 'net.ipv6.conf.all.forwarding'].map((name) =>
        machine.run('sysctl', name).trim(),
      ),
      ...[cniBin, cniConf, '/var/lib/weft', '/run/weft'].flatMap((folder) =>
        machine.list(folder).map((name) => `${folder}/${name}`),
      ),
      ...machine.list('/run').filter((name) => name === 'weft'),
      ...machine.list('/var/lib').filter((name) => name === 'weft'),
    ].sort();
  }

  async function weftPods(component: string): Promise<readonly WeftPod[]> {
    const { items } = await cluster.get<{ items: WeftPod[] }>('pods', '-n', 'kube-system');
    return items.filter(({ metadata }) => metadata.labels['app.kubernetes.io/component'] === component);
  }

  /** Waits until the component has one pod, Ready and not one of these. */
  async function ready(component: string, not = ''): Promise<WeftPod> {
    let found: WeftPod | undefined;
    let last: unknown;
    await until(`the pod of ${component} is Ready`, 240, async () => {
      const pods = await weftPods(component);
      last = pods.map(({ status }) => status);
      found = pods[0];
      return (
        pods.length === 1 &&
        found?.metadata.uid !== not &&
        found?.metadata.deletionTimestamp === undefined &&
        (found?.status.conditions?.some((one) => one.type === 'Ready' && one.status === 'True') ?? false)
      );
    }).catch(async (error: Error) => {
      const logs = await k3s.kubectl([
        ...['logs', '-n', 'kube-system', '--all-containers', '--tail=30'],
        ...['-l', `app.kubernetes.io/component=${component}`],
      ]);
      throw new Error(`${error.message}: ${JSON.stringify(last)}\n${logs.stdout}${logs.stderr}`);
    });
    return found!;
  }

  async function nodeReady(): Promise<void> {
    let last = '';
    await until('the node is Ready', 240, async () => {
      last = await cluster.kubectl([
        ...['get', 'node', nodeName, '-o', 'jsonpath={.status.conditions[?(@.type=="Ready")]}'],
      ]);
      return (JSON.parse(last) as { status: string }).status === 'True';
    }).catch(async (error: Error) => {
      const pods = await cluster.kubectl(['get', 'pods', '-A', '-o', 'wide']);
      const files = k3s.machine.list(cniConf).join(' ');
      throw new Error(
        `${error.message}: ${last}\n${pods}\n${cniConf}: ${files}\n${k3s.machine.words('containerd', 20)}`,
      );
    });
  }

  const ask = (...args: readonly string[]) => k3s.machine.ran(fromAfar(k3s.kubeconfigFile, ...args));

  async function status(): Promise<StatusAnswer> {
    const { stdout, stderr } = await ask('status', '-o', 'json');
    const [one] = JSON.parse(stdout === '' ? '[]' : stdout) as { node: string; status: StatusAnswer }[];
    if (one === undefined) throw new Error(stderr);
    return (one.status ?? one) as StatusAnswer;
  }

  async function netnsOf(pod: RunningPod): Promise<string> {
    const { cri } = k3s.containerd;
    const own = (await cri.sandboxes()).find(({ name, ready: up }) => name === pod.name && up);
    return cri.netns(own?.id ?? '');
  }

  const target = () => `tcp/${server.ips[0]}/80`;

  /** Datagrams and one TCP connection from client to server, and probes of who may not, all the while. */
  async function underTraffic(during: () => Promise<void>): Promise<Counted> {
    const netns = await netnsOf(client);
    const { machine } = k3s;
    machine.run('rm', '-f', '/run/machine/enough');
    const counted = machine.ran(
      [
        ...['nsenter', `--net=${netns}`, process.execPath, counting],
        ...[server.ips[0] ?? '', '80', '10', '/run/machine/enough'],
      ],
      { seconds: 240 },
    );
    let over = false;
    const watched = (async () => {
      let probes = 0;
      while (!over) {
        const [answer] = await cluster.probe(denied, [target()], 300);
        assert.equal(answer, 'timeout', 'the denied pod got through');
        probes++;
      }
      return probes;
    })();
    try {
      await during();
    } finally {
      over = true;
      machine.write('/run/machine/enough', '');
    }
    assert.ok((await watched) > 0);
    const { stdout, stderr } = await counted;
    assert.match(stdout, /^\{/, stderr);
    return JSON.parse(stdout) as Counted;
  }

  test('Applied to a node without a network they make it Ready, and pods get addresses', {
    skip,
  }, async (context) => {
    const before = await cluster.kubectl(['get', 'node', nodeName]);
    assert.match(before, /NotReady/);
    assert.deepEqual(k3s.machine.list(cniConf), []);
    const started = Date.now();
    await cluster.kubectl(['apply', ...manifests]);
    await nodeReady();
    context.diagnostic(
      `the node is Ready ${((Date.now() - started) / 1000).toFixed(1)} s after kubectl apply`,
    );
    await ready('switch');
    await ready('agent');
    assert.deepEqual(k3s.machine.list(cniBin), ['loopback', 'weft-cni']);
    assert.equal(k3s.machine.list(cniConf).length, 1);

    await cluster.apply([
      namespaceObject(namespace),
      podObject({
        namespace,
        name: 'server',
        labels: { app: 'server' },
        serve: ['echo/7', 'tcp/80', 'udp/80'],
      }),
      podObject({ namespace, name: 'client', labels: { app: 'client' } }),
      podObject({ namespace, name: 'denied' }),
    ]);
    const pods = await cluster.ready([namespace], 3);
    server = pods.get(`${namespace}/server`)!;
    client = pods.get(`${namespace}/client`)!;
    denied = pods.get(`${namespace}/denied`)!;
    for (const pod of [client, denied])
      await cluster.probesUntil('pods reach each other', pod, target(), (answer) => answer.startsWith('ok'));
  });

  test('The containers have the rights that the manifests list and no others', { skip }, async () => {
    const status = (name: string) => {
      const [pid] = k3s.machine.pids(`weft/dist/src/cli/main.js ${name}`);
      return k3s.machine.read(`/proc/${pid}/status`);
    };
    const bits = { NET_ADMIN: 12n, NET_RAW: 13n, SYS_ADMIN: 21n };
    const mask = (...names: (keyof typeof bits)[]) =>
      names
        .reduce((sum, name) => sum | (1n << bits[name]), 0n)
        .toString(16)
        .padStart(16, '0');
    assert.match(status('switch'), new RegExp(`^CapBnd:\\t${mask('NET_ADMIN', 'SYS_ADMIN')}$`, 'm'));
    assert.match(status('agent'), new RegExp(`^CapBnd:\\t${mask('NET_ADMIN', 'NET_RAW')}$`, 'm'));
    for (const name of ['switch', 'agent']) assert.match(status(name), /^Seccomp:\t2$/m, 'a filter');
  });

  test('A policy is enforced, and why is told', { skip }, async () => {
    await cluster.apply([denyAll(namespace), admit(namespace, 'client', 'server', podsOf('client'))]);
    await cluster.probesUntil('the other is denied', denied, target(), (answer) => answer === 'timeout');
    await cluster.probesUntil('the client is allowed', client, target(), (answer) => answer.startsWith('ok'));
    const why = await ask('why', `${namespace}/denied`, `${namespace}/server:80`);
    assert.equal(why.status, 1, why.stderr);
    assert.match(why.stdout, /^DENIED: /);
  });

  test('Commands from afar ask through the relay in the agent’s pod; the doctor finds no error', {
    skip,
  }, async () => {
    const table = await ask('status');
    assert.equal(table.status, 0, table.stderr + table.stdout);
    assert.match(table.stdout, new RegExp(`^${nodeName} +yes`, 'm'));
    const doctor = await ask('doctor', '--json');
    const [examined] = JSON.parse(doctor.stdout) as { findings: { level: string; check: string }[] }[];
    const errors = (examined?.findings ?? []).filter(({ level }) => level === 'error');
    assert.deepEqual(errors, [], doctor.stderr);
    assert.ok((examined?.findings ?? []).some(({ check }) => check === 'plugins'));
  });

  test('The agent’s DaemonSet restarted under traffic: not one datagram is lost', {
    skip,
  }, async (context) => {
    const old = await ready('agent');
    const { epoch } = await status();
    const counted = await underTraffic(async () => {
      await cluster.kubectl(['rollout', 'restart', 'daemonset', 'weft-agent', '-n', 'kube-system']);
      await ready('agent', old.metadata.uid);
      await until('the new agent has published', 60, async () => {
        const now = await status().catch(() => undefined);
        return now !== undefined && now.epoch > epoch && now.ready && now.revision === now.acknowledged;
      });
    });
    context.diagnostic(JSON.stringify(counted));
    assert.ok(counted.sent > 100);
    assert.equal(counted.answered, counted.sent);
  });

  test('The switch’s pod replaced under traffic: a gap, after which all goes on; nothing is opened', {
    skip,
  }, async (context) => {
    const old = await ready('switch');
    const counted = await underTraffic(async () => {
      await cluster.kubectl(['delete', 'pod', '-n', 'kube-system', old.metadata.name]);
      await ready('switch', old.metadata.uid);
      await cluster.probesUntil('pods are back', client, target(), (answer) => answer.startsWith('ok'));
    });
    context.diagnostic(JSON.stringify(counted));
    const { ports } = (await status()).switch ?? {};
    assert.deepEqual(ports, { live: 4, failed: 0 }, 'three pods and the host');
    await cluster.apply([podObject({ namespace, name: 'late', labels: { app: 'client' } })]);
    const pods = await cluster.ready([namespace], 4);
    await cluster.probesUntil(
      'a pod made after it is allowed',
      pods.get(`${namespace}/late`)!,
      target(),
      (answer) => answer.startsWith('ok'),
    );
  });

  test('What somebody deletes of the plugin is put back by the agent', { skip }, async () => {
    k3s.machine.run('rm', `${cniBin}/weft-cni`);
    await until('it is back', 90, () => k3s.machine.list(cniBin).includes('weft-cni'));
  });

  test('Uninstalling leaves nothing on the node and nothing in the cluster', { skip }, async (context) => {
    const inside = async () =>
      k3s.machine.try(['nsenter', `--net=${await netnsOf(client)}`, 'ip', '-o', 'link', 'show', 'eth0'])
        .status;
    assert.equal(await inside(), 0);
    await cluster.kubectl(['delete', 'daemonset', '-n', 'kube-system', 'weft-agent', 'weft-switch']);
    await cluster.kubectl(['apply', '-f', deploy('weft-uninstall.yaml')]);
    await ready('uninstall');
    const said = await cluster.kubectl([
      ...['logs', '-n', 'kube-system', '-l', 'app.kubernetes.io/component=uninstall', '-c', 'uninstall'],
    ]);
    context.diagnostic(said);
    assert.doesNotMatch(said, / left/);
    assert.notEqual(await inside(), 0, 'interfaces of pods that still run');
    await cluster.kubectl([
      'delete',
      '--ignore-not-found',
      '-f',
      deploy('weft-uninstall.yaml'),
      ...manifests,
    ]);
    await until('no pod of weft is left', 60, async () => {
      const pods = await cluster.get<{ items: unknown[] }>(
        ...['pods', '-n', 'kube-system', '-l', 'app.kubernetes.io/name=weft'],
      );
      return pods.items.length === 0;
    });
    assert.deepEqual(await host(), bare);
    for (const kind of ['daemonsets', 'configmaps', 'serviceaccounts'])
      assert.doesNotMatch(await cluster.kubectl(['get', kind, '-n', 'kube-system', '-o', 'name']), /weft/);
    for (const kind of ['clusterroles', 'clusterrolebindings'])
      assert.doesNotMatch(await cluster.kubectl(['get', kind, '-o', 'name']), /weft/);
  });
});
