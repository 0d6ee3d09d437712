/** Services, DNS, probes and host ports on a real node, without policies and under a deny-all: from pods, from outside, from the node. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { Family } from '../../src/net/address.js';
import { podProgram } from '../support/container-image.js';
import { type Machine, nodeAddressOf, outsideAddressOf } from '../support/machine.js';
import { until } from '../support/weft.js';
import {
  addressOf,
  admit,
  type Cluster,
  denyAll,
  type KubeObject,
  namespaceObject,
  podObject,
  podsOf,
  policyObject,
  type RunningPod,
  serviceObject,
} from './cluster.js';
import { lacksNode } from './own-cluster.js';

const namespace = 'services';
const other = 'elsewhere';
/** Of the node, and of no Service. */
const secondAddress = '192.0.2.77';
const pause = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

function service(name: string, selector: object, ports: readonly object[], spec: object = {}): KubeObject {
  return serviceObject(namespace, name, { selector, ports, ...spec });
}

/** What an outside host gets, once `fits` or the time is over. */
async function fromOutside(
  machine: Machine,
  target: string,
  fits: (answer: string) => boolean,
  seconds = 15,
): Promise<string> {
  return fromNetns(machine, ['ip', 'netns', 'exec', 'outside'], target, fits, seconds);
}

async function fromNode(
  machine: Machine,
  target: string,
  fits: (answer: string) => boolean,
): Promise<string> {
  return fromNetns(machine, [], target, fits);
}

async function fromNetns(
  machine: Machine,
  into: readonly string[],
  target: string,
  fits: (answer: string) => boolean,
  seconds = 15,
): Promise<string> {
  let answer = '';
  try {
    await until('the answer fits', seconds, async () => {
      const { stdout } = await machine.ran([...into, '/run/machine/pod', 'probe', '700', target]);
      answer = stdout.trim();
      return fits(answer);
    });
  } catch {
    // The assertion shows the last answer.
  }
  return answer;
}

/** The balancer's pod forwards. On a node it inherits that from the host's first namespace, which the machine's is not. */
function letPodsForward(machine: Machine): void {
  for (const name of machine.list('/run/netns').filter((one) => one.startsWith('cni-')))
    machine.try(['ip', 'netns', 'exec', name, 'sysctl', '-qw', 'net.ipv4.ip_forward=1']);
}

const isWeb = (answer: string) => answer.startsWith('ok web-');
const isDenied = (answer: string) => answer === 'timeout';

export function services(cluster: () => Cluster, reason: string): void {
  const needsMachine = reason !== '' ? reason : lacksNode;
  const skip = reason === '' ? false : reason;
  // It knows a node by its first address, and leads IPv4 Services there.
  const noBalancer =
    process.env.WEFT_TEST_FAMILIES === 'dual6'
      ? 'the load balancer of K3s 1.21 is for IPv4 nodes'
      : (process.env.K3S_BIN ?? '') === ''
        ? 'the load balancer is K3s’'
        : false;

  describe('services', () => {
    let pods = new Map<string, RunningPod>();
    /** Of Services that do not say. */
    let family: Family = 4;
    const node = () => nodeAddressOf(family);
    const outsider = () => outsideAddressOf(family);
    const pod = (name: string): RunningPod => {
      const found = pods.get(name);
      assert.ok(found, `there is a pod ${name}`);
      return found;
    };
    const machine = (): Machine => {
      const { own } = cluster();
      assert.ok(own);
      return own.machine;
    };

    before(async () => {
      if (reason !== '') return;
      family = await cluster().serviceFamily();
      const web = (name: string) =>
        podObject({
          namespace,
          name,
          labels: { app: 'web' },
          serve: ['tcp/80', 'udp/80', 'tcp/8080'],
          ports: [{ name: 'http', containerPort: 8080 }],
        });
      await cluster().apply([
        namespaceObject(namespace),
        namespaceObject(other),
        web('web-1'),
        web('web-2'),
        podObject({ namespace, name: 'friend', labels: { app: 'friend' } }),
        podObject({ namespace: other, name: 'stranger' }),
        service('web', { app: 'web' }, [
          { name: 'number', port: 80, targetPort: 80 },
          { name: 'named', port: 81, targetPort: 'http' },
          { name: 'datagrams', port: 80, protocol: 'UDP' },
        ]),
        service('node-port', { app: 'web' }, [{ port: 80, nodePort: 30080 }], { type: 'NodePort' }),
        service('node-port-local', { app: 'web' }, [{ port: 80, nodePort: 30081 }], {
          type: 'NodePort',
          externalTrafficPolicy: 'Local',
        }),
        service('empty', { app: 'nobody' }, [{ port: 80 }]),
      ]);
      pods = await cluster().ready([namespace, other], 4);
    });
    after(async () => {
      if (reason !== '') return;
      await cluster().delete('namespaces', namespace, other);
      await cluster().gone([namespace, other]);
    });

    const clusterIp = async (name: string): Promise<string> =>
      (await cluster().get<{ spec: { clusterIP: string } }>('service', name, '-n', namespace)).spec.clusterIP;

    test('A ClusterIP spreads connections over its pods: by number, by name, UDP too', { skip }, async () => {
      const ip = await clusterIp('web');
      for (const target of [`tcp/${ip}/80`, `tcp/${ip}/81`, `udp/${ip}/80`]) {
        await cluster().probesUntil(
          'the Service answers',
          pod('other/stranger'.replace('other', other)),
          target,
          isWeb,
        );
        // A pod is ready before its endpoint is in the slice.
        await until(`both pods answer at ${target}`, 20, async () => {
          const answers = await cluster().probe(pod(`${other}/stranger`), Array<string>(24).fill(target));
          return new Set(answers.filter(isWeb).map((answer) => answer.split(' ')[1])).size === 2;
        });
      }
    });

    test('A pod sees the client, and reaches itself through its own Service', { skip }, async () => {
      const ip = await clusterIp('web');
      const [seen] = await cluster().probe(pod(`${other}/stranger`), [`tcp/${ip}/80`]);
      assert.equal(seen?.split(' ')[2], addressOf(pod(`${other}/stranger`), family));
      const answers = await cluster().probe(
        pod(`${namespace}/web-1`),
        Array<string>(12).fill(`tcp/${ip}/80`),
      );
      assert.ok(answers.every(isWeb), answers.join(', '));
      assert.ok(
        answers.some((answer) => answer.startsWith('ok web-1 ')),
        answers.join(', '),
      );
    });

    test('A Service port without endpoints, and a port that is none, are no way to anything', {
      skip,
    }, async () => {
      const targets = [`tcp/${await clusterIp('empty')}/80`, `tcp/${await clusterIp('web')}/99`];
      for (const answer of await cluster().probe(pod(`${other}/stranger`), targets))
        assert.ok(!answer.startsWith('ok'), answer);
    });

    test('A removed endpoint gets no more connections, and a Service that loses its last one none at all', {
      skip,
    }, async () => {
      const ip = await clusterIp('web');
      await cluster().kubectl(['label', '--overwrite', 'pod', 'web-2', '-n', namespace, 'app=gone']);
      try {
        await until('only one endpoint answers', 15, async () => {
          const answers = await cluster().probe(
            pod(`${other}/stranger`),
            Array<string>(16).fill(`tcp/${ip}/80`),
          );
          return answers.every((answer) => answer.startsWith('ok web-1 '));
        });
      } finally {
        await cluster().kubectl(['label', '--overwrite', 'pod', 'web-2', '-n', namespace, 'app=web']);
      }
    });

    test('A pod reaches the API server by its Service, the node, and the world, which sees the node', {
      skip: needsMachine,
    }, async () => {
      const [api, own, world] = await cluster().probe(pod(`${other}/stranger`), [
        `tcp/${(await cluster().get<{ spec: { clusterIP: string } }>('service', 'kubernetes')).spec.clusterIP}/443`,
        `tcp/${node()}/6443`,
        `tcp/${outsider()}/80`,
      ]);
      assert.match(api ?? '', /^ok Client sent an HTTP request to an HTTPS server/);
      assert.match(own ?? '', /^ok Client sent an HTTP request to an HTTPS server/);
      assert.equal(world, `ok outside ${node()}`);
    });

    test('A NodePort is reached from outside, from a pod and from the node', {
      skip: needsMachine,
    }, async () => {
      for (const port of [30080, 30081]) {
        const target = `tcp/${node()}/${port}`;
        const outside = await fromOutside(machine(), target, isWeb);
        assert.ok(isWeb(outside), `${port} from outside: ${outside}`);
        // kube-proxy masquerades, and towards pods of this node that is avoided: policy has to know who it is.
        assert.equal(outside.split(' ')[2], outsider(), `${port}: the client's address is kept`);
        const fromPod = await cluster().probesUntil('a pod gets in', pod(`${other}/stranger`), target, isWeb);
        assert.equal(
          fromPod.split(' ')[2],
          addressOf(pod(`${other}/stranger`), family),
          `${port}: the pod's address is kept`,
        );
      }
      const own = await fromNode(machine(), `tcp/${node()}/30080`, isWeb);
      assert.ok(isWeb(own), `from the node: ${own}`);
    });

    test('Under deny-all nobody gets in by a NodePort or a ClusterIP but the node itself', {
      skip: needsMachine,
    }, async () => {
      const ip = await clusterIp('web');
      await cluster().apply([denyAll(namespace)]);
      try {
        for (const target of [`tcp/${node()}/30080`, `tcp/${node()}/30081`]) {
          const outside = await fromOutside(machine(), target, isDenied);
          assert.equal(outside, 'timeout', `${target} from outside`);
          await cluster().probesUntil('a stranger is denied', pod(`${other}/stranger`), target, isDenied);
          await cluster().probesUntil(
            'a pod of the namespace is denied',
            pod(`${namespace}/friend`),
            target,
            isDenied,
          );
        }
        await cluster().probesUntil(
          'the ClusterIP is denied',
          pod(`${other}/stranger`),
          `tcp/${ip}/80`,
          isDenied,
        );
        const direct = await fromNode(
          machine(),
          `tcp/${addressOf(pod(`${namespace}/web-1`), family)}/80`,
          isWeb,
        );
        assert.ok(isWeb(direct), `the node reaches its pod: ${direct}`);
      } finally {
        await cluster().delete('networkpolicies', '--all', '-n', namespace);
      }
    });

    test('A policy for the client’s address and one for a pod open the NodePort to just these', {
      skip: needsMachine,
    }, async () => {
      await cluster().apply([
        denyAll(namespace),
        admit(namespace, 'outside', 'web', { ipBlock: { cidr: `${outsider()}/${family === 4 ? 32 : 128}` } }),
        admit(namespace, 'friend', 'web', podsOf('friend')),
      ]);
      try {
        for (const target of [`tcp/${node()}/30080`, `tcp/${node()}/30081`]) {
          await cluster().probesUntil('a stranger is denied', pod(`${other}/stranger`), target, isDenied);
          await cluster().probesUntil('the friend is allowed', pod(`${namespace}/friend`), target, isWeb);
          const outside = await fromOutside(machine(), target, isWeb);
          assert.ok(isWeb(outside), `${target} from outside: ${outside}`);
        }
      } finally {
        await cluster().delete('networkpolicies', '--all', '-n', namespace);
      }
    });

    test('Kubelet’s probes pass under deny-all, so that a pod becomes ready', { skip }, async () => {
      const probed = 'probed';
      const often = { periodSeconds: 1, initialDelaySeconds: 0 };
      await cluster().apply([namespaceObject(probed), { ...denyAll(probed) }]);
      try {
        await cluster().apply([
          podObject({
            namespace: probed,
            name: 'probed',
            serve: ['tcp/80'],
            container: {
              readinessProbe: { httpGet: { path: '/', port: 80 }, ...often },
              livenessProbe: { tcpSocket: { port: 80 }, ...often },
              startupProbe: { exec: { command: [podProgram, 'probe', '300', 'tcp/127.0.0.1/80'] }, ...often },
            },
          }),
        ]);
        const [ready] = (await cluster().ready([probed], 1)).values();
        assert.ok(ready);
        await cluster().probesUntil(
          'others are denied',
          pod(`${other}/stranger`),
          `tcp/${addressOf(ready, family)}/80`,
          isDenied,
        );
      } finally {
        await cluster().delete('namespace', probed);
      }
    });

    test('A load balancer’s Service is served by the node, and closed by deny-all', {
      skip: needsMachine || noBalancer,
    }, async () => {
      await cluster().apply([
        service('balanced', { app: 'web' }, [{ port: 8081, targetPort: 80 }], { type: 'LoadBalancer' }),
      ]);
      try {
        const target = `tcp/${node()}/8081`;
        await until('the balancer has an address', 60, async () => {
          letPodsForward(machine());
          const { status } = await cluster().get<{
            status: { loadBalancer: { ingress?: { ip: string }[] } };
          }>('service', 'balanced', '-n', namespace);
          return status.loadBalancer.ingress?.[0]?.ip === node();
        });
        const open = await fromOutside(machine(), target, isWeb);
        assert.ok(isWeb(open), `from outside: ${open}`);
        assert.equal(open.split(' ')[2], outsider(), 'straight to the endpoints');
        await cluster().probesUntil('a pod gets in', pod(`${other}/stranger`), target, isWeb);
        // At an address that is not the Service's the balancer's own host port answers, and its pod is the client.
        const balancer = async () => {
          const { items } = await cluster().get<{ items: { status: { podIPs?: { ip: string }[] } }[] }>(
            ...['pods', '-n', namespace, '-l', 'app=svclb-balanced'],
          );
          return items[0]?.status.podIPs?.find(({ ip }) => !ip.includes(':'))?.ip;
        };
        machine().run('ip', 'addr', 'replace', `${secondAddress}/32`, 'dev', 'lo');
        machine().run('ip', '-n', 'outside', 'route', 'replace', secondAddress, 'via', node());
        const second = `tcp/${secondAddress}/8081`;
        const through = await fromOutside(machine(), second, isWeb, 45);
        assert.ok(isWeb(through), `through the balancer: ${through}`);
        assert.equal(through.split(' ')[2], await balancer());
        await cluster().apply([denyAll(namespace)]);
        assert.equal(
          await fromOutside(machine(), second, isDenied),
          'timeout',
          'through the balancer under deny-all',
        );
        // Open to the balancer alone: it is let in, and what it passes on is denied where it leads to.
        await cluster().apply([
          policyObject(namespace, 'balancer', {
            podSelector: { matchLabels: { app: 'svclb-balanced' } },
            ingress: [{}],
          }),
        ]);
        await pause(1500);
        assert.doesNotMatch(
          await fromOutside(machine(), second, isDenied),
          /^ok/,
          'the balancer is no way around',
        );
        await cluster().apply([admit(namespace, 'by-balancer', 'web', podsOf('svclb-balanced'))]);
        const named = await fromOutside(machine(), second, isWeb);
        assert.ok(isWeb(named), `who allows the balancer allows all its clients: ${named}`);
        const closed = await fromOutside(machine(), target, isDenied);
        assert.equal(closed, 'timeout', 'from outside under deny-all');
        await cluster().probesUntil('a stranger is denied', pod(`${other}/stranger`), target, isDenied);
      } finally {
        await cluster().delete('networkpolicies', '--all', '-n', namespace);
        await cluster().delete('service', 'balanced', '-n', namespace);
      }
    });
  });
}
