/** What weft says of a real node, held against what kubectl, ip, ss and nft say of it; and that it says it where a person looks first. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { ConnectionRow, PortRow, StatusAnswer } from '../../src/agent/protocol/answers.js';
import type { FlowRecord, PacketRecord } from '../../src/agent/protocol/events.js';
import type { Finding } from '../../src/cli/doctor/finding.js';
import type { Family } from '../../src/net/address.js';
import { podProgram } from '../support/container-image.js';
import { type Machine, outsideAddress, outsideAddress6, outsideAddressOf } from '../support/machine.js';
import type { NodeWeft } from '../support/node-weft.js';
import { until } from '../support/weft.js';
import {
  addressOf,
  admit,
  type Cluster,
  denyAll,
  namespaceObject,
  podObject,
  podsOf,
  type RunningPod,
  serviceObject,
} from './cluster.js';
import { lacksNode } from './own-cluster.js';

const namespace = 'shop';
const dump = '/run/machine/dump.tar.gz';

export function commands(cluster: () => Cluster, weft: () => NodeWeft, reason: string): void {
  const skip = reason !== '' ? reason : lacksNode;

  describe('commands on the node', () => {
    let family: Family = 4;
    let web: RunningPod;
    let db: RunningPod;
    const machine = (): Machine => cluster().own!.machine;
    const said = async (...args: readonly string[]): Promise<string> => {
      const { status, stdout, stderr } = await weft().weft(args);
      assert.equal(status, 0, `weft ${args.join(' ')}: ${stderr}${stdout}`);
      return stdout;
    };
    const data = async <T>(...args: readonly string[]) => JSON.parse(await said(...args, '-o', 'json')) as T;
    const lines = async <T>(...args: readonly string[]) =>
      (await said(...args, '--json'))
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => JSON.parse(line) as T);
    const count = async (kind: string) =>
      (await cluster().get<{ items: unknown[] }>(kind, '-A')).items.length;

    before(async () => {
      if (skip !== false) return;
      family = cluster().families[0] ?? 4;
      await cluster().apply([
        namespaceObject(namespace),
        podObject({ namespace, name: 'web', labels: { app: 'web' }, serve: ['tcp/80'] }),
        podObject({ namespace, name: 'db', labels: { app: 'db' }, serve: ['tcp/80', 'echo/7'] }),
        serviceObject(namespace, 'db', { selector: { app: 'db' }, ports: [{ port: 80 }] }),
      ]);
      const pods = await cluster().ready([namespace], 2);
      [web, db] = [pods.get(`${namespace}/web`)!, pods.get(`${namespace}/db`)!];
      await cluster().apply([
        {
          ...denyAll(namespace),
          spec: { podSelector: { matchLabels: { app: 'db' } }, policyTypes: ['Ingress', 'Egress'] },
        },
      ]);
      await cluster().probesUntil('the policy is there', web, target(), (text) => text === 'timeout');
      await cluster().probe(db, [`tcp/${outsideAddressOf(family)}/80`]);
      const own = await machine().ran(['/run/machine/pod', 'probe', '700', target()]);
      assert.match(own.stdout, /^ok db /);
    });
    after(async () => {
      if (skip !== false) return;
      await cluster().delete('namespace', namespace);
      await cluster().gone([namespace]);
    });
    const target = () => `tcp/${addressOf(db, family)}/80`;

    test('status counts what kubectl counts, and is settled', { skip }, async () => {
      const status = await data<StatusAnswer>('status');
      assert.equal(status.ready, true);
      assert.equal(status.revision, status.acknowledged);
      assert.deepEqual(
        [status.counts.pods, status.counts.policies, status.counts.services, status.counts.namespaces],
        await Promise.all(['pods', 'networkpolicies', 'services', 'namespaces'].map(count)),
      );
      const { items } = await cluster().get<{ items: { spec: { podCIDRs: string[] } }[] }>('nodes');
      assert.deepEqual(status.addresses.map(({ cidr }) => cidr).sort(), [...items[0]!.spec.podCIDRs].sort());
      const text = await said('status');
      assert.match(text, /^Ready: +yes$/m);
      assert.match(text, /^Switch: +pid \d+, /m);
      for (const kind of ['pods', 'networkpolicies', 'endpointslices'])
        assert.match(text, new RegExp(`^${kind} +watching`, 'm'));
    });

    test('ports are the interfaces that ip shows in the pods, with the addresses that kubectl shows', {
      skip,
    }, async () => {
      const rows = await data<PortRow[]>('ports');
      const pods = await cluster().podObjects([namespace]);
      assert.deepEqual(
        rows
          .filter((row) => row.namespace === namespace)
          .map(({ name, status, addresses }) => [name, status, [...addresses]]),
        pods
          .map(({ metadata, status }) => [metadata.name, 'live', (status.podIPs ?? []).map(({ ip }) => ip)])
          .sort((one, other) => (String(one[0]) < String(other[0]) ? -1 : 1)),
      );
      for (const { netns, ifname, mac, mtu, addresses } of rows) {
        const inside = netns === '' ? [] : ['nsenter', `--net=${netns}`];
        const [link] = JSON.parse(machine().run(...inside, 'ip', '-j', 'addr', 'show', 'dev', ifname)) as [
          { address: string; mtu: number; addr_info: { local: string; scope: string; deprecated?: true }[] },
        ];
        assert.deepEqual([link.address, link.mtu], [mac, mtu]);
        assert.deepEqual(
          link.addr_info
            .filter(({ scope }) => scope === 'global')
            .map(({ local }) => local)
            .sort(),
          [...addresses].sort(),
          ifname,
        );
      }
    });

    test('flows and drops name ends, verdict and policy; the node’s own connection is not called unisolated', {
      skip,
    }, async () => {
      const flows = await lines<FlowRecord>('flows', `${namespace}/db`);
      const denied = flows.find(
        ({ verdict, source }) => verdict === 'denied' && source.name === `${namespace}/web`,
      );
      assert.deepEqual(
        [denied?.reason, denied?.isolatedBy, denied?.destination.name],
        ['policy-ingress', [`${namespace}/deny-all`], `${namespace}/db`],
      );
      const text = await said('flows', `${namespace}/db`);
      assert.match(text, /^[\d:.]{12} ALLOWED TCP node\/node:\d+ -> shop\/db:80 a pod and its own node$/m);
      const drops = await said('drops', `${namespace}/db`);
      assert.match(
        drops,
        /^[\d:.]{12} DENIED {2}TCP shop\/web:\d+ -> shop\/db:80 policy-ingress \(isolated by shop\/deny-all\)$/m,
      );
      const outside = family === 4 ? outsideAddress : `[${outsideAddress6}]`;
      assert.ok(
        drops
          .split('\n')
          .some(
            (line) =>
              /DENIED {2}TCP shop\/db:/.test(line) && line.includes(` -> ${outside}:80 policy-egress`),
          ),
      );
      assert.doesNotMatch(drops, /ALLOWED|multicast/);
      // What is counted is what ports have, and chatter is neither first nor among the drops of a port.
      const counts = await data<{ pod: string; reason: string; kind: string; packets: number }[]>(
        'drops',
        '--counts',
      );
      assert.ok(
        counts.some(
          ({ pod, reason, packets }) =>
            pod === `${namespace}/web` && reason === 'policy-ingress' && packets > 0,
        ),
      );
      const kinds = counts.map(({ kind }) => kind === 'noise');
      assert.deepEqual(kinds, [...kinds].sort(), 'noise last');
      const row =
        (await said('ports'))
          .split('\n')
          .find((line) => / web /.test(line))
          ?.trim()
          .split(/ +/) ?? [];
      const own = counts.filter(({ pod, kind }) => pod === `${namespace}/web` && kind !== 'noise');
      assert.equal(row.at(-1), String(own.reduce((sum, { packets }) => sum + packets, 0)), row.join(' '));
    });

    test('why agrees with what probes find, and says what would have to change', { skip }, async () => {
      for (const to of [`${namespace}/db:80`, `svc/${namespace}/db:80`]) {
        const answer = await weft().weft(['why', `${namespace}/web`, to]);
        assert.match(answer.stdout, /^DENIED: shop\/web -> /);
        assert.match(answer.stdout, /shop\/deny-all selects it/);
        assert.match(answer.stdout, /To allow it: .*podSelector: \{matchLabels: \{app: "web"\}\}/);
        assert.doesNotMatch(answer.stdout, /TCP\/[46]/);
      }
      assert.match((await weft().weft(['why', 'node/node', `${namespace}/db:80`])).stdout, /^ALLOWED: /);
      await cluster().apply([admit(namespace, 'web', 'db', podsOf('web'))]);
      try {
        await cluster().probesUntil('it is allowed', web, target(), (text) => text.startsWith('ok db'));
        const allowed = await said('why', `${namespace}/web`, `${namespace}/db:80`);
        assert.match(allowed, /^ALLOWED: /);
        assert.match(allowed, /shop\/web/);

        // A connection that lives: the same in the pod's kernel, in the switch, and in a capture.
        const talk = cluster().exec(web, [podProgram, 'talk', addressOf(db, family), '7', '20', '200'], 60);
        const port = (await data<PortRow[]>('ports')).find(({ name }) => name === 'web');
        let socket: RegExpExecArray | null = null;
        await until('ss shows the connection', 10, () => {
          const sockets = machine().run(
            'nsenter',
            `--net=${port?.netns}`,
            'ss',
            '-Htn',
            'state',
            'established',
          );
          socket = /:(\d+) +\S*:7\s*$/m.exec(sockets);
          return socket !== null;
        });
        const rows = await data<ConnectionRow[]>('conntrack', `${namespace}/web`);
        const found = rows.find(({ source }) => source.port === Number(socket?.[1]));
        assert.equal(found?.state, 'tcp-established');
        assert.equal(found?.destination.name, `${namespace}/db`);
        const packets = await lines<PacketRecord>('capture', `${namespace}/db`, '-c', '4');
        assert.equal(packets.length, 4);
        assert.ok(
          packets.every(
            ({ verdict, rules }) => verdict === 'allowed' && rules[0]?.policy === `${namespace}/web`,
          ),
        );
        await talk;
      } finally {
        await cluster().delete('networkpolicy', 'web', '-n', namespace);
      }
      await cluster().probesUntil('it is denied again', web, target(), (text) => text === 'timeout');
    });

    test('a capture of the pod that gets nothing shows what was dropped on its way there', {
      skip,
    }, async () => {
      const captured = weft().weft(['capture', `${namespace}/db`, '-c', '1', '--drops'], 20);
      let over = false;
      void captured.finally(() => {
        over = true;
      });
      await until('a packet is captured', 15, async () => {
        await cluster().probe(web, [target()], 300);
        return over;
      });
      assert.match((await captured).stdout, /<- TCP \S+ > \S+:80 \[S\].*: denied: policy-ingress/);
    });

    test('denied traffic shows as events of the pod', { skip }, async () => {
      await until('kubectl describe shows the denial', 30, async () =>
        /Warning +NetworkPolicyDenied .*weft +Denied ingress from pod shop\/web port 80\/TCP: no rule allows it \(isolated by shop\/deny-all\)/.test(
          await cluster().kubectl(['describe', 'pod', 'db', '-n', namespace]),
        ),
      );
    });

    test('the doctor finds a node of K3s well, and names what is not when it is not', { skip }, async () => {
      const findings = await data<Finding[]>('doctor');
      assert.deepEqual(
        findings.filter(({ level }) => level === 'error').map(({ check, seen }) => `${check}: ${seen}`),
        [],
      );
      for (const check of ['agent', 'switch', 'ports', 'source-kubernetes'])
        assert.equal(findings.find((finding) => finding.check === check)?.level, 'ok', check);
      const sysctl = (...args: readonly string[]) =>
        machine()
          .run('sysctl', ...args)
          .trim();
      // What somebody changes beneath the agent it brings back, and tells.
      const own = cluster().families[0] === 4 ? 'net.ipv4.ip_forward' : 'net.ipv6.conf.all.forwarding';
      sysctl('-qw', `${own}=0`);
      await until('forwarding is on again, and the doctor knows', 30, async () => {
        const { status, stdout } = await weft().weft(['doctor']);
        assert.equal(status, 0, stdout);
        return (
          sysctl('-n', own) === '1' &&
          new RegExp(`^WARNING problem: host-changed: .*${own}.*\n {8}remedy: `, 'm').test(stdout)
        );
      });
      await weft().killAgent();
      sysctl('-qw', 'net.ipv4.ip_forward=0');
      try {
        const { status, stdout } = await weft().weft(['doctor']);
        assert.equal(status, 1);
        assert.match(stdout, /^WARNING forwarding: IPv4 forwarding is off\n {8}remedy: /m);
        assert.match(stdout, /^ERROR {3}agent: .*\n {8}remedy: start `weft agent`/m);
      } finally {
        sysctl('-qw', 'net.ipv4.ip_forward=1');
        await weft().startAgent();
        await weft().agentSynced();
      }
    });

    test('a dump has what a report needs, and no token', { skip }, async () => {
      await said('sysdump', '-w', dump);
      const names = machine().run('tar', 'tzf', dump);
      for (const part of [/status/, /ports/, /doctor/, /flows/, /nft/]) assert.match(names, part);
      machine().run('sh', '-c', `mkdir -p /run/machine/dump && tar xzf ${dump} -C /run/machine/dump`);
      const { users } = JSON.parse(machine().read('/etc/weft/kubeconfig')) as {
        users: [{ user: { token: string } }];
      };
      for (const secret of [users[0].user.token, 'PRIVATE KEY'])
        assert.equal(
          machine().try(['grep', '-rqF', '--', secret, '/run/machine/dump']).status,
          1,
          'no secret',
        );
    });
  });
}
