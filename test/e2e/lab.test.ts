/** A lab that stays: up, status, apply, probe, exec, watch, delete, down, as a user types them. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { findLabs } from '../../src/lab/launch.js';
import { footprint, pidNamespace, processesIn, startWeft, until, weft } from '../support/weft.js';

const name = `e2e-${process.pid}`;
const ok = (args: readonly string[], input?: string) => {
  const run = weft(
    [...args.slice(0, 2), '--name', name, ...args.slice(2)],
    input === undefined ? {} : { input },
  );
  assert.equal(run.status, 0, `weft ${args.join(' ')}: ${run.stderr}${run.stdout}`);
  return run;
};
interface ShownCell {
  readonly from: string;
  readonly to: string;
  readonly port: number;
  readonly protocol: string;
  readonly family: number;
  readonly measured: string;
  readonly observation: string;
}
const cellsOf = (...args: readonly string[]): ShownCell[] =>
  JSON.parse(ok(['lab', 'probe', '-o', 'json', ...args]).stdout).cells;
const reached = (cells: readonly ShownCell[], from: string, to: string) =>
  cells.filter((cell) => cell.from === from && cell.to === to).map((cell) => cell.measured);

const manifests = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: web, ports: [{name: http, containerPort: 8080}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: http}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db, namespace: shop}
spec:
  serviceName: db
  replicas: 2
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      containers:
        - name: db
          image: db
          ports: [{containerPort: 5432}, {containerPort: 5432, protocol: UDP}, {containerPort: 5432, protocol: SCTP}]
---
apiVersion: v1
kind: Service
metadata: {name: db, namespace: shop}
spec: {clusterIP: None, selector: {app: db}, ports: [{name: pg, port: 5432}]}
---
apiVersion: v1
kind: Pod
metadata: {name: agent, namespace: shop}
spec: {hostNetwork: true, containers: [{name: agent, image: agent, ports: [{containerPort: 9100}]}]}
`;
const denyDb = (ports = '') => `
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: db, namespace: shop}
spec:
  podSelector: {matchLabels: {app: db}}
  ingress: [{from: [{podSelector: {matchLabels: {app: db}}}]${ports}}]
`;
const noDns = `
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: quiet, namespace: shop}
spec: {podSelector: {matchLabels: {app: db}}, policyTypes: [Egress]}
`;

describe('a lab that stays', () => {
  let folder = '';
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'weft-lab-'));
    writeFileSync(join(folder, 'shop.yaml'), manifests);
    ok(['lab', 'up', '-f', folder, '--external', '203.0.113.9']);
  });
  after(() => {
    weft(['lab', 'down', '--name', name]);
    rmSync(folder, { recursive: true, force: true });
  });

  test('up returns when every pod is enforced, and status tells what is there', () => {
    const { pods, services, externals } = JSON.parse(ok(['lab', 'status', '-o', 'json']).stdout);
    assert.deepEqual(new Set(pods.map(({ state }: { state: string }) => state)), new Set(['enforced']));
    assert.equal(pods.length, 6);
    assert.ok(services.some(({ service }: { service: string }) => service === 'shop/web'));
    assert.deepEqual(externals, ['203.0.113.9']);
  });

  test('a second lab of the same name is refused, one of another name is not', () => {
    const again = weft(['lab', 'up', '--name', name]);
    assert.equal(again.status, 2);
    assert.match(again.stderr, /running already/);
    const other = `${name}-other`;
    assert.equal(weft(['lab', 'up', '--name', other, '--no-dns']).status, 0);
    assert.ok(findLabs().some((lab) => lab.name === other));
    assert.equal(weft(['lab', 'down', '--name', other]).status, 0);
    assert.ok(!findLabs().some((lab) => lab.name === other));
  });

  test('without policies everybody reaches everybody, over TCP, UDP, SCTP, both families and Services', () => {
    const cells = cellsOf('--services');
    assert.ok(cells.length > 50, `${cells.length} probes`);
    assert.deepEqual(
      cells.filter(({ measured }) => measured !== 'allowed'),
      [],
    );
    assert.deepEqual(new Set(cells.map(({ protocol }) => protocol)), new Set(['TCP', 'UDP', 'SCTP']));
    assert.deepEqual(new Set(cells.map(({ family }) => family)), new Set([4, 6]));
    assert.ok(cells.some(({ to }) => to === 'svc/shop/web'));
    assert.ok(
      cells.some(({ to }) => to === 'shop/agent'),
      'a pod on the host network is reached too',
    );
  });

  test('a policy is in force when apply returns, and gone when delete returns', () => {
    ok(['lab', 'apply', '-f', '-'], denyDb(', ports: [{port: 5432, protocol: SCTP}]'));
    const closed = cellsOf();
    const web = closed.find(({ from }) => from.startsWith('shop/web-'))!.from;
    assert.deepEqual(new Set(reached(closed, web, 'shop/db-0')), new Set(['denied']));
    const between = closed.filter(({ from, to }) => from === 'shop/db-1' && to === 'shop/db-0');
    for (const { protocol, measured } of between)
      assert.equal(measured, protocol === 'SCTP' ? 'allowed' : 'denied', protocol);
    ok(['lab', 'delete', '-f', '-'], denyDb());
    assert.deepEqual(new Set(reached(cellsOf(), web, 'shop/db-0')), new Set(['allowed']));
  });

  test('hosts outside of the cluster reach and are reached, with their own addresses', () => {
    ok(['lab', 'apply', '-f', '-'], denyDb());
    const out = cellsOf('--from', 'shop/db-0', '--to', '203.0.113.9');
    assert.deepEqual(new Set(out.map(({ measured }) => measured)), new Set(['allowed']));
    const into = cellsOf('--from', '203.0.113.9', '--to', 'shop/*');
    assert.ok(into.length > 0);
    for (const { to, measured } of into)
      assert.equal(measured, to.startsWith('shop/db-') ? 'denied' : 'allowed', to);
    ok(['lab', 'delete', '-f', '-'], denyDb());
  });

  test('exec runs in the pod: its address, its names, its files; the exit status comes back', () => {
    assert.match(
      ok(['lab', 'exec', 'shop/db-0', '--', 'ip', '-o', '-4', 'addr', 'show', 'eth0']).stdout,
      /10\.42\.\d+\.\d+\/32/,
    );
    const looked = ok(['lab', 'exec', 'shop/db-0', '--', 'getent', 'hosts', 'db-1.db']).stdout;
    assert.match(looked, /db-1\.db\.shop\.svc\.cluster\.local/);
    const said = ok(['lab', 'exec', 'shop/db-0', '--', 'bash', '-c', 'cat </dev/tcp/web/80']).stdout;
    assert.match(said, /^shop\/web-[a-z0-9]{5}\n$/);
    const http = 'exec 3<>/dev/tcp/web/80; printf "GET / HTTP/1.0\\r\\n\\r\\n" >&3; head -n 1 <&3';
    assert.match(ok(['lab', 'exec', 'shop/db-0', '--', 'bash', '-c', http]).stdout, /^HTTP\/1\.0 200 OK/);
    assert.equal(weft(['lab', 'exec', '--name', name, 'shop/db-0', '--', 'sh', '-c', 'exit 7']).status, 7);
    const missing = weft(['lab', 'exec', '--name', name, 'shop/nobody', '--', 'true']);
    assert.equal(missing.status, 2);
    assert.match(missing.stderr, /no pod shop\/nobody/);
  });

  test('names are subject to policy like any traffic', () => {
    ok(['lab', 'apply', '-f', '-'], noDns);
    const looked = weft([
      'lab',
      'exec',
      '--name',
      name,
      'shop/db-0',
      '--',
      'timeout',
      '2',
      'getent',
      'hosts',
      'web',
    ]);
    assert.notEqual(looked.status, 0);
    ok(['lab', 'delete', '-f', '-'], noDns);
    ok(['lab', 'exec', 'shop/db-0', '--', 'getent', 'hosts', 'web']);
  });

  test('one question is answered with what was seen and who denied it; a mismatch would be status 1', () => {
    ok(['lab', 'apply', '-f', '-'], denyDb());
    const web = cellsOf('--to', 'shop/db-0').find(({ from }) => from.startsWith('shop/web-'))!.from;
    const { stdout } = ok(['lab', 'probe', web, 'shop/db-0:5432']);
    assert.match(stdout, /denied +denied +ok +no answer in \d tries; ingress: shop\/db/);
    ok(['lab', 'delete', '-f', '-'], denyDb());
  });

  test('scaling a workload makes and ends pods', () => {
    ok(['lab', 'apply', '-f', '-'], manifests.replace('replicas: 2', 'replicas: 5'));
    const count = () =>
      JSON.parse(ok(['lab', 'status', '-o', 'json']).stdout).pods.filter(({ pod }: { pod: string }) =>
        pod.startsWith('shop/web-'),
      ).length;
    assert.equal(count(), 5);
    ok(['lab', 'apply', '-f', folder]);
    assert.equal(count(), 2);
  });

  test('watch measures again after a save and marks the cells that changed', async () => {
    const watching = startWeft(['lab', 'watch', '--name', name, '-f', folder]);
    let text = '';
    watching.stdout!.on('data', (chunk: Buffer) => {
      text += chunk.toString();
    });
    watching.stderr!.on('data', (chunk: Buffer) => {
      text += chunk.toString();
    });
    const rounds = () => text.split('Waiting for the next save').length - 1;
    await until('the first measurement', 20, () => rounds() >= 1);
    assert.doesNotMatch(text, /[✓✗]\*/);
    writeFileSync(join(folder, 'policy.yaml'), denyDb());
    await until('the second measurement', 20, () => rounds() >= 2);
    assert.match(text, /db-0 5432\/TCP.*✗\*/);
    writeFileSync(join(folder, 'policy.yaml'), 'kind: [');
    await until('the complaint', 20, () => rounds() >= 3);
    assert.match(text, /policy\.yaml:1/);
    assert.match(text, /keeps what it had/);
    rmSync(join(folder, 'policy.yaml'));
    await until('the fourth measurement', 20, () => rounds() >= 4);
    assert.match(text.slice(text.lastIndexOf('to \\ from')), /db-0 5432\/TCP.*✓\*/);
    const exited = once(watching, 'exit');
    watching.kill('SIGINT');
    await exited;
    assert.ok(
      findLabs().some((lab) => lab.name === name),
      'the lab that was there before stays',
    );
  });

  test('every bundled example comes up and is as expected', () => {
    for (const example of weft(['lab', 'examples']).stdout.trim().split('\n')) {
      const { status, stdout, stderr } = weft(['lab', 'demo', '--example', example]);
      assert.equal(status, 0, `${example}: ${stderr}${stdout}`);
    }
  });

  test('down leaves nothing', async () => {
    const { pid } = findLabs().find((lab) => lab.name === name)!;
    const namespace = pidNamespace(pid);
    ok(['lab', 'down']);
    await until('every process of the lab is gone', 5, () => processesIn(namespace).length === 0);
    assert.deepEqual(footprint(), []);
    const status = weft(['lab', 'probe', '--name', name]);
    assert.equal(status.status, 2);
    assert.match(status.stderr, /No lab called/);
  });
});
