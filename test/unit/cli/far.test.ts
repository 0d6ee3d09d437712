/** Commands from afar: two nodes, asked through kubeconfigs. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseAllDocuments } from 'yaml';
import type { FlowRecord } from '../../../src/agent/protocol/events.js';
import type { TrialLine } from '../../../src/cli/trial-lines.js';
import { eventually, policyManifest } from '../../support/agent-fixture.js';
import { authority } from '../../support/certificate.js';
import { agentPod, farCluster, start } from '../../support/far-cluster.js';
import { repositoryRoot } from '../../support/repository.js';

test('status, ports and connections of all nodes at once, told apart; one node by name', async (t) => {
  const { weft, endpoint } = await farCluster(t, true);
  const [status, json, ports, rows, conntrack, one] = [
    weft('status'),
    weft('status', '-o', 'json'),
    weft('ports'),
    weft('ports', '-o', 'json'),
    weft('conntrack'),
    weft('status', '--node', 'two'),
  ] as const;
  assert.equal(await status.ended, 0, status.err());
  assert.match(status.out(), /^NODE +READY .*\none +yes .*\ntwo +yes /s);
  assert.equal(await json.ended, 0);
  assert.deepEqual(
    (JSON.parse(json.out()) as { node: string }[]).map(({ node: name }) => name),
    ['one', 'two'],
  );
  assert.equal(await ports.ended, 0);
  assert.match(ports.out(), /^NODE +NAMESPACE +NAME/);
  assert.match(ports.out(), /^one +shop +web .*live/m);
  assert.match(ports.out(), /^two +shop +db .*live/m);
  assert.equal(await rows.ended, 0);
  const found = (JSON.parse(rows.out()) as { node: string; name: string; kind: string }[]).filter(
    ({ kind }) => kind === 'pod',
  );
  assert.deepEqual(
    found.map(({ node: name, name: pod }) => `${name} ${pod}`),
    ['one web', 'two db'],
  );
  assert.equal(await conntrack.ended, 0);
  assert.match(conntrack.out(), /^NODE +PROTOCOL[\s\S]*^two +TCP/m);
  assert.equal(await one.ended, 0);
  assert.doesNotMatch(one.out(), /^one/m);
  assert.ok(
    endpoint.asked.every(({ container, command }) => container === 'agent' && command[1] === 'relay'),
  );
  await eventually('no relay is left', () => endpoint.running.size === 0);
});

test('a node that is away: the others answer, it is named, the exit status says so', async (t) => {
  const { weft, server, nodes } = await farCluster(t);
  server.put('pods', agentPod('three', 'Pending'));
  const ports = weft('ports');
  assert.equal(await ports.ended, 2);
  assert.match(ports.out(), /^one +shop[\s\S]*^two +shop/m);
  assert.match(ports.err(), /weft: three: No agent can be asked: .*weft-three does not run, it is Pending/);
  server.delete('pods', 'weft-three', 'kube-system');
  await nodes.get('two')!.running.stop();
  const status = weft('status');
  assert.equal(await status.ended, 2);
  assert.match(status.out(), /^one +yes/m);
  assert.match(status.err(), /weft: two: No agent answers at /);
});

test('drops of several nodes come by their time; a name that no node has is told, once', async (t) => {
  const { weft, nodes } = await farCluster(t);
  const at = (second: number) => ({
    time: Date.UTC(2026, 0, 1, 0, 0, second),
    verdict: 'denied' as const,
    reason: 'policy-ingress' as const,
    protocol: 6,
    family: 4 as const,
    source: { address: '198.51.100.1', port: second },
    destination: { address: '198.51.100.2', port: 80 },
    isolatedBy: ['shop/deny'],
  });
  nodes.get('one')!.double.emitFlows([at(1), at(4), at(5)]);
  nodes.get('two')!.double.emitFlows([at(2), at(3), at(6)]);
  const lines = async () => {
    const drops = weft('drops');
    assert.equal(await drops.ended, 0, drops.err());
    return drops.out().trim().split('\n');
  };
  let told = await lines();
  // The agents may not have read all of it yet.
  for (let i = 0; i < 20 && told.length < 6; i++) told = await lines();
  assert.deepEqual(
    told.map((line) => /^(one|two) 00:00:0(\d)/.exec(line)?.slice(1).join(' ')),
    ['one 1', 'two 2', 'two 3', 'one 4', 'one 5', 'two 6'],
  );
  const nobody = weft('drops', 'shop/nobody');
  const known = weft('drops', 'shop/web');
  assert.equal(await nobody.ended, 2);
  assert.equal(nobody.err().match(/knows no pod shop\/nobody/g)?.length, 1, nobody.err());
  // One of the two nodes knows it, which is enough.
  assert.equal(await known.ended, 0, known.err());
  assert.equal(known.err(), '');
});

test('flows stream from every node until Ctrl-C, and no relay outlives the command', async (t) => {
  const { weft, nodes, endpoint } = await farCluster(t);
  const flows = weft('flows', '-f', '-o', 'json');
  await eventually('both relays run', () => endpoint.running.size === 2, 20_000);
  const lines = () =>
    flows
      .out()
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as FlowRecord & { node: string });
  const emit = () => {
    for (const { double } of nodes.values())
      double.emitFlows([
        {
          time: Date.now(),
          verdict: 'denied',
          reason: 'policy-ingress',
          protocol: 6,
          family: 4,
          source: { address: '198.51.100.1', port: 9 },
          destination: { address: '198.51.100.2', port: 80 },
          isolatedBy: ['shop/deny'],
        },
      ]);
  };
  for (let i = 0; i < 100 && new Set(lines().map(({ node: name }) => name)).size < 2; i++) {
    emit();
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  assert.deepEqual([...new Set(lines().map(({ node: name, verdict }) => `${name} ${verdict}`))].sort(), [
    'one denied',
    'two denied',
  ]);
  flows.child.kill('SIGINT');
  assert.equal(await flows.ended, 0, flows.err());
  await eventually('no relay is left', () => endpoint.running.size === 0);
});

test('policies are tried on all nodes at once; a command that is killed takes the trials with it', async (t) => {
  const { weft, nodes, home, endpoint } = await farCluster(t);
  const file = join(home, 'new.yaml');
  writeFileSync(file, policyManifest('shop', 'new'));
  const trial = weft('policy', 'try', '-f', file, '-o', 'json');
  const trying = () => [...nodes.values()].filter(({ double }) => double.last?.shadow !== undefined).length;
  await eventually('both nodes try', () => trying() === 2, 20_000);
  nodes.get('two')!.double.emitTrial(
    [
      {
        actual: {
          time: Date.now(),
          verdict: 'allowed',
          protocol: 6,
          family: 4,
          source: { address: '198.51.100.1', port: 9 },
          destination: { address: '198.51.100.2', port: 80 },
        },
        shadow: { verdict: 'denied', reason: 'policy-ingress', isolatedBy: ['shop/new'] },
      },
    ],
    { judged: 1, denied: 1, allowed: 0, unnamed: 0 },
  );
  const found = () =>
    trial
      .out()
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as TrialLine)
      .filter(({ rows }) => rows.length > 0);
  await eventually('what one of them finds', () => found().length > 0, 10_000);
  assert.equal(found()[0]?.node, 'two');
  trial.child.kill('SIGKILL');
  await eventually('no node tries any more', () => trying() === 0, 10_000);
  await eventually('no relay is left', () => endpoint.running.size === 0);
});

test('what concerns one pod goes to its node', async (t) => {
  const { weft, nodes, endpoint } = await farCluster(t);
  const capture = weft('capture', 'shop/db', '-c', '1');
  await eventually(
    'the switch of its node captures',
    () => nodes.get('two')!.double.subscriptions.includes('capture'),
    20_000,
  );
  nodes.get('two')!.double.emitCapture([
    {
      time: '1000000',
      port: 'p',
      direction: 'egress',
      length: 14,
      data: Buffer.alloc(14).toString('base64'),
    },
  ]);
  assert.equal(await capture.ended, 0, capture.err());
  const why = weft('why', 'shop/web', '192.0.2.9:80/TCP');
  await why.ended;
  assert.deepEqual(
    endpoint.asked.map(({ pod }) => pod),
    ['weft-two', 'weft-one'],
    why.err(),
  );
  // Two pods: the switch of each has a say.
  for (const { f } of nodes.values())
    f.write(
      'both.yaml',
      ['web one 10.42.1.9', 'db two 10.42.2.9']
        .map((line) => {
          const [name, host, address] = line.split(' ');
          return `apiVersion: v1
kind: Pod
metadata: { namespace: shop, name: ${name}, labels: { app: ${name} } }
spec: { nodeName: ${host}, containers: [{ name: main, image: none }] }
status: { podIPs: [{ ip: ${address} }] }
---
`;
        })
        .join(''),
    );
  for (const { f } of nodes.values()) await (await f.client()).request('sync');
  const both = weft('why', 'shop/web', 'shop/db:80/TCP', '--json');
  await both.ended;
  assert.deepEqual(
    (JSON.parse(both.out()) as { nodes: { node: string }[] }).nodes.map(({ node: name }) => name),
    ['one', 'two'],
    both.err(),
  );
  // The first line is the whole verdict: here the node of the target turns it down, or cannot be asked.
  const { one, two } = { one: nodes.get('one')!, two: nodes.get('two')! };
  const { id: from } = one.running.agent.attachments.ports.find(({ kind }) => kind === 'pod')!;
  one.double.explain = ({ destination }) => ({
    generation: '1',
    image: true,
    from,
    ways: [
      {
        destination: { address: destination, port: 80 },
        egress: { basis: 'not-isolated', isolatedBy: [] },
        ingress: { basis: 'elsewhere', isolatedBy: [] },
      },
    ],
  });
  two.double.explain = () => ({ image: false, from: 'host', generation: '1', ways: [] });
  const denied = weft('why', 'shop/web', 'shop/db:80/TCP');
  assert.equal(await denied.ended, 1, denied.err());
  assert.match(
    denied.out(),
    /^DENIED: shop\/web -> shop\/db:80\/TCP\n {2}node one: allowed\n {2}node two: denied, .*\n\nALLOWED BY NODE one: [\s\S]*\nDENIED BY NODE two: /,
  );
  assert.doesNotMatch(denied.out(), /Ask on node/);
  await two.running.stop();
  const half = weft('why', 'shop/web', 'shop/db:80/TCP');
  assert.equal(await half.ended, 2, half.out());
  assert.match(half.out(), /^NO ANSWER: .*\n {2}node one: allowed\n {2}node two: did not answer: /);
  const nowhere = weft('capture', 'shop/none');
  assert.equal(await nowhere.ended, 2);
  assert.match(nowhere.err(), /answered 404 .*shop\/pods\/none/);
});

test('without --kubeconfig: $KUBECONFIG where no agent answers here; kubectl weft never asks this machine', async (t) => {
  const { home, file, nodes } = await farCluster(t);
  const environment = { KUBECONFIG: file };
  const plain = start(home, ['ports'], environment);
  assert.equal(await plain.ended, 0, plain.err());
  assert.match(plain.out(), /^NODE/);
  const local = nodes.get('one')!.f.run;
  const here = start(home, ['ports', '--run-dir', local], environment);
  assert.equal(await here.ended, 0);
  assert.match(here.out(), /^NAMESPACE/);
  const plugin = spawn(
    'bash',
    [join(repositoryRoot, 'deploy', 'kubectl-weft.sh'), 'status', '--run-dir', local],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...process.env, HOME: home, ...environment },
    },
  );
  let out = '';
  plugin.stdout.on('data', (chunk: Buffer) => {
    out += chunk.toString();
  });
  assert.equal(await new Promise((resolve) => plugin.once('close', resolve)), 0);
  assert.match(out, /^NODE[\s\S]*^two +yes/m);
  const none = start(home, ['ports']);
  assert.equal(await none.ended, 2);
  assert.match(none.err(), /No agent answers at/);
});

test('what stands in the way is named with its remedy', async (t) => {
  const { weft, server, home, config } = await farCluster(t, true);
  const cases: readonly (readonly [what: string, prepare: () => string[], says: RegExp])[] = [
    [
      'the pods may not be listed',
      () => {
        server.misbehave = ({ path }) => (path.endsWith('/pods') ? { status: 403 } : undefined);
        return [];
      },
      /answered 403 [\s\S]*resources: \[pods\], verbs: \[list\]/,
    ],
    [
      'only those of its namespace may be, and nothing may be run in them',
      () => {
        server.misbehave = ({ path }) =>
          path === '/api/v1/pods' || path.endsWith('/exec') ? { status: 403 } : undefined;
        return ['--node', 'one'];
      },
      /resources: \[pods\/exec\], verbs: \[get, create\]/,
    ],
    [
      'a node that is not there',
      () => {
        server.misbehave = () => undefined;
        return ['--node', 'four'];
      },
      /No agent of weft is on a node "four"\. There is one on one, two\./,
    ],
    [
      'another authority',
      () => ['--kubeconfig', config(authority('another').ca, 'other')],
      /is not believed/,
    ],
    ['a context that is not there', () => ['--context', 'there'], /has no context "there"\. It has: here/],
    ['a file that is not there', () => ['--kubeconfig', join(home, 'none')], /cannot be read \(ENOENT\)/],
    [
      'no agents at all',
      () => {
        for (const name of ['one', 'two']) server.delete('pods', `weft-${name}`, 'kube-system');
        return [];
      },
      /has no pods with the labels app\.kubernetes\.io\/name=weft/,
    ],
  ];
  for (const [what, prepare, says] of cases) {
    const run = weft('ports', ...prepare());
    assert.equal(await run.ended, 2, `${what}: ${run.err()}`);
    assert.match(run.err(), says, what);
    assert.doesNotMatch(run.err(), /\n\s+at |secret/, 'neither a stack nor a token');
  }
});

test('deploy/rbac-commands.yaml is what commands need, and they ask for all of it', async (t) => {
  const { weft, server } = await farCluster(t);
  const rules = parseAllDocuments(
    readFileSync(join(repositoryRoot, 'deploy', 'rbac-commands.yaml'), 'utf8'),
  ).flatMap((document) => {
    const {
      kind,
      metadata,
      rules: own,
    } = document.toJS() as {
      kind: string;
      metadata: { namespace?: string };
      rules: { resources: string[]; verbs: string[] }[];
    };
    const where = kind === 'Role' ? metadata.namespace : '*';
    return own.flatMap(({ resources, verbs }) =>
      resources.flatMap((resource) => verbs.map((verb) => `${where} ${resource} ${verb}`)),
    );
  });
  const used = new Set<string>();
  server.misbehave = ({ path }) => {
    const [, namespace = '*', name, exec] =
      /^\/api\/v1(?:\/namespaces\/([^/]+))?\/pods(?:\/([^/]+))?(\/exec)?$/.exec(path) ?? [];
    const wanted = exec !== undefined ? 'pods/exec get' : name === undefined ? 'pods list' : 'pods get';
    const rule = [`${namespace} ${wanted}`, `* ${wanted}`].find((one) => rules.includes(one));
    if (rule === undefined) return { status: 403 };
    used.add(rule);
    return undefined;
  };
  const status = weft('status');
  assert.equal(await status.ended, 0, status.err());
  const conntrack = weft('conntrack', 'shop/db');
  assert.equal(await conntrack.ended, 0, conntrack.err());
  // Asked of no server before 1.35.
  assert.deepEqual([...used, 'kube-system pods/exec create'].sort(), [...rules].sort());
});

test('doctor and sysdump run on every node, and their answers come together, told apart', async (t) => {
  const { weft, home, endpoint } = await farCluster(t);
  const file = join(home, 'dump.tar.gz');
  const [table, json, dump] = [
    weft('doctor'),
    weft('doctor', '--json', '--node', 'two'),
    weft('sysdump', '-w', file),
  ] as const;
  // An empty folder is no host, so there are errors; that is no failure to find them.
  assert.equal(await table.ended, 1, table.err());
  assert.match(table.out(), /^== one\nERROR [\s\S]*^== two\nERROR /m);
  assert.equal(await json.ended, 1, json.err());
  const found = JSON.parse(json.out()) as { node: string; findings: { check: string; level: string }[] }[];
  assert.deepEqual(
    found.map(({ node: name, findings }) => [name, findings.find(({ check }) => check === 'agent')?.level]),
    [['two', 'ok']],
  );
  assert.equal(await dump.ended, 0, dump.err());
  assert.match(dump.err(), /^2 nodes, \d+ bytes/m);
  const listed = spawnSync('tar', ['-tzf', file], { encoding: 'utf8' });
  assert.equal(listed.status, 0, listed.stderr);
  assert.equal(listed.stdout.match(/\/status\.json$/gm)?.length, 2);
  assert.ok(!readFileSync(file).includes('secret'));
  await eventually('no program is left', () => endpoint.running.size === 0);
});
