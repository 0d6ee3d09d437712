/** `weft why` and `weft policy …` as a person runs them: what they print and how they end. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';

const main = join(dirname(fileURLToPath(import.meta.url)), '..', '..', '..', 'src', 'cli', 'main.js');
let folder: string;

function weft(args: readonly string[], input = '') {
  const { status, stdout, stderr } = spawnSync(process.execPath, [main, ...args], {
    cwd: folder,
    input,
    encoding: 'utf8',
    timeout: 30_000,
  });
  return { status, stdout, stderr };
}

const manifests = `apiVersion: v1
kind: Namespace
metadata: {name: db, labels: {team: data}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: frontend, namespace: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: frontend}}
  template:
    metadata: {labels: {app: frontend}}
    spec: {containers: [{name: c, image: i, ports: [{containerPort: 80}]}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: mysql, namespace: db}
spec:
  selector: {matchLabels: {app: mysql}}
  template:
    metadata: {labels: {app: mysql}}
    spec: {containers: [{name: c, image: i, ports: [{containerPort: 3306, name: mysql}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: mysql, namespace: db}
spec: {selector: {app: mysql}, ports: [{port: 13306, targetPort: mysql}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: mysql, namespace: db}
spec:
  podSelector: {matchLabels: {app: mysql}}
  policyTypes: [Ingress]
  ingress:
    - from:
        - namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: web}}
          podSelector: {matchLabels: {app: frontend}}
      ports: [{port: 3307}]
    - from:
        - ipBlock: {cidr: 192.0.2.0/24, except: [192.0.2.7/32]}
    - ports: [{port: 9104}]
`;

before(() => {
  folder = mkdtempSync(join(tmpdir(), 'weft-policy-'));
  mkdirSync(join(folder, 'm'));
  writeFileSync(join(folder, 'm', 'all.yaml'), manifests);
  writeFileSync(
    join(folder, 'm', 'node.yaml'),
    'apiVersion: v1\nkind: Node\nmetadata: {name: edge}\nspec: {podCIDRs: [10.42.77.0/24]}\n',
  );
});
after(() => rmSync(folder, { recursive: true }));

describe('weft why', () => {
  const cases: [from: string, to: string, status: number, says: RegExp[]][] = [
    [
      'web/frontend',
      'db/mysql:3306/TCP',
      1,
      [
        /^DENIED: web\/frontend-/,
        /m\/all\.yaml:36/,
        /spec\.ingress\[0\] does not match/,
        /port 3306 is not 3307/,
        /is not in 192\.0\.2\.0\/24/,
        /Add \{protocol: TCP, port: 3306\} to the ports of spec\.ingress\[0\]/,
      ],
    ],
    [
      '192.0.2.8',
      'db/mysql-0:3306',
      0,
      [/^ALLOWED/, /allowed by db\/mysql spec\.ingress\[1\]/, /m\/all\.yaml:40/],
    ],
    [
      '192.0.2.7',
      'db/mysql-0:3306',
      1,
      [/in the exception 192\.0\.2\.7\/32/, /ipBlock: \{cidr: 192\.0\.2\.7\/32\}/],
    ],
    [
      'db/mysql',
      'svc/db/mysql:13306',
      0,
      [/backend 10\.42\.\d+\.\d+:3306: allowed/, /a pod may always reach itself/],
    ],
    ['203.0.113.9', 'svc/db/mysql', 1, [/only one of svc\/db\/mysql/, /203\.0\.113\.9 is no pod/]],
    ['web/frontend', 'db/mysql/icmp', 1, [/ICMP is only allowed by a rule that names none/]],
    ['db/mysql', 'web/frontend:80', 0, [/no policy isolates it/]],
    [
      '10.42.77.1',
      'db/mysql-0:3306',
      1,
      [
        /traffic masqueraded by the host edge \(10\.42\.77\.1\) is in no ipBlock/,
        /traffic masqueraded by the host edge \(10\.42\.77\.1\) is no pod/,
        /To allow it: Add a rule .*: without from \(which admits everybody\) with ports/,
      ],
    ],
    ['10.42.77.1', 'db/mysql-0:9104', 0, [/allowed by db\/mysql spec\.ingress\[2\]/]],
    ['web/frontend', 'svc/db/mysql:1', 1, [/no port 1\/TCP/]],
  ];
  for (const [from, to, status, says] of cases) {
    test(`${from} ${to} ends with ${status}`, () => {
      const run = weft(['why', from, to, '-f', 'm']);
      assert.equal(run.status, status, run.stderr + run.stdout);
      for (const sentence of says) assert.match(run.stdout, sentence);
    });
  }

  test('as JSON holds the policies, rules and reasons with their places', () => {
    const { stdout } = weft(['why', 'web/frontend', 'db/mysql:3306', '-f', 'm', '-o', 'json']);
    const { allowed, flows } = JSON.parse(stdout);
    assert.equal(allowed, false);
    const [, ingress] = flows[0].sides;
    assert.deepEqual(ingress.policies[0].rules[0].place, {
      file: 'm/all.yaml',
      line: 36,
      path: 'spec.ingress[0]',
    });
    assert.equal(ingress.policies[0].rules.length, 3);
  });

  test('says what is wrong with its arguments in one sentence', () => {
    for (const [args, says] of [
      [
        ['why', 'web/fronted', 'db/mysql:1', '-f', 'm'],
        /There is no pod web\/fronted.*Did you mean|There are/,
      ],
      [['why', 'web/frontend', 'svc/db/mysq:1', '-f', 'm'], /Did you mean svc\/db\/mysql/],
      [['why', 'a/b/c', 'db/mysql:1', '-f', 'm'], /names no end/],
      [['why', 'web/frontend', '203.0.113.1', '-f', 'm'], /needs a port/],
      [['why', 'web/frontend', 'db/mysql:1', '-f', 'none'], /no such file/],
    ] as const) {
      const run = weft(args);
      assert.equal(run.status, 2, run.stdout);
      assert.match(run.stderr, says);
      assert.equal(run.stdout, '');
    }
  });
});

describe('weft policy verdict', () => {
  const queries = JSON.stringify([
    { from: '192.0.2.8', to: 'db/mysql-0', port: 3306 },
    { from: '192.0.2.7', to: 'svc:db/mysql', port: 13306 },
  ]);

  test('answers a file of queries as JSON, a line each', () => {
    writeFileSync(join(folder, 'q.json'), queries);
    for (const engine of ['native', 'reference', 'decoded']) {
      const run = weft([
        'policy',
        'verdict',
        '-f',
        'm',
        '--queries',
        'q.json',
        '--engine',
        engine,
        '--assign-addresses',
        '--json',
      ]);
      assert.equal(run.status, 0, run.stderr);
      assert.deepEqual(
        JSON.parse(run.stdout).map((answer: { allowed: boolean }) => answer.allowed),
        [true, false],
      );
      assert.equal(run.stdout.trimEnd().split('\n').length, 4);
    }
  });

  test('leaves pods without an address without an answer unless told to give them one', () => {
    const run = weft(['policy', 'verdict', '-f', 'm', '--queries', '-', '--json'], queries);
    assert.deepEqual(
      JSON.parse(run.stdout).map((answer: { allowed: boolean }) => answer.allowed),
      [null, false],
    );
    assert.match(run.stdout, /has no address/);
  });

  test('refuses text that it cannot read, and goes on closed with what is invalid', () => {
    writeFileSync(join(folder, 'broken.yaml'), 'kind: Pod\n  name: x\n');
    assert.equal(weft(['policy', 'verdict', '-f', 'broken.yaml', '--queries', 'q.json']).status, 2);
    assert.equal(weft(['policy', 'verdict', '-f', 'm', '--queries', 'nowhere.json']).status, 2);
    assert.equal(weft(['policy', 'verdict', '-f', 'm']).status, 2);
    const invalid = `${manifests}---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: x, namespace: web}\nspec: {posSelector: {}}\n`;
    writeFileSync(join(folder, 'ask.json'), '[{"from":"203.0.113.9","to":"web/frontend-mb9j6","port":80}]');
    const asked = ['-f', '-', '--queries', 'ask.json', '--assign-addresses', '--json'];
    const run = weft(['policy', 'verdict', ...asked], invalid);
    assert.equal(run.status, 0, run.stderr);
    assert.match(run.stderr, /podSelector/);
    assert.equal(JSON.parse(run.stdout)[0].allowed, false);
  });
});

describe('weft policy lint', () => {
  test('ends with 0 without findings, 1 with, and 2 where nothing can be read', () => {
    assert.equal(weft(['policy', 'lint', 'm']).status, 1);
    const clean = manifests
      .replace('port: 3307', 'port: 3306')
      .replace(/ {4}- ports: \[\{port: 9104\}\]\n/, '');
    const run = weft(['policy', 'lint', '-'], clean);
    assert.equal(run.status, 0, run.stdout);
    assert.equal(weft(['policy', 'lint', 'nowhere']).status, 2);
    assert.equal(weft(['policy', 'lint']).status, 2);
  });

  test('prints JSON with --json and with -o json', () => {
    const [one, two] = [['--json'], ['-o', 'json']].map(
      (flags) => weft(['policy', 'lint', 'm', ...flags]).stdout,
    );
    assert.equal(one, two);
    assert.deepEqual(
      JSON.parse(one!).findings.map(
        (finding: { code: string; line: number }) => `${finding.code}:${finding.line}`,
      ),
      ['port-not-served:39', 'port-not-served:42'],
    );
  });
});

describe('weft policy test', () => {
  const tests = (expect: string) =>
    `manifests: m\ntests:\n  - name: clients\n    from: [web/frontend, 192.0.2.8]\n    to: db/mysql:9104\n    expect: allow\n  - {from: 192.0.2.7, to: "db/mysql:3306", expect: ${expect}}\n`;

  test('ends with 0 when every expectation holds, and shows each', () => {
    writeFileSync(join(folder, 'good.yaml'), tests('deny'));
    const run = weft(['policy', 'test', 'good.yaml']);
    assert.equal(run.status, 0, run.stderr);
    assert.match(run.stdout, /✔ clients: web\/frontend reaches db\/mysql:9104/);
    assert.match(run.stdout, /3 passed, 0 failed/);
  });

  test('ends with 1 when one does not, says why, and writes JUnit', () => {
    writeFileSync(join(folder, 'bad.yaml'), tests('allow'));
    const run = weft(['policy', 'test', 'bad.yaml', '--junit', 'out.xml']);
    assert.equal(run.status, 1, run.stderr);
    assert.match(
      run.stdout,
      /✖ 192\.0\.2\.7 reaches db\/mysql:3306\n {4}bad\.yaml:7: expected allow, found deny\n {4}DENIED/,
    );
    const xml = readFileSync(join(folder, 'out.xml'), 'utf8');
    assert.match(xml, /<testsuites name="weft policy test" tests="3" failures="1" errors="0">/);
    assert.match(xml, /<failure message="expected allow, found deny">DENIED: 192\.0\.2\.7 -&gt; db\/mysql-0/);
  });

  test('takes the manifests of the same file, else of its folder', () => {
    writeFileSync(
      join(folder, 'm', 'tests.yaml'),
      'tests: [{from: 192.0.2.8, to: "db/mysql:3306", expect: allow}]\n',
    );
    assert.equal(weft(['policy', 'test', 'm/tests.yaml']).status, 0);
    rmSync(join(folder, 'm', 'tests.yaml'));
    writeFileSync(
      join(folder, 'whole.yaml'),
      `${manifests}---\ntests: [{from: 192.0.2.8, to: "db/mysql:3306", expect: allow}]\n`,
    );
    assert.equal(weft(['policy', 'test', 'whole.yaml']).status, 0);
  });

  test('ends with 2 and points at the place when the file is wrong', () => {
    for (const [text, says] of [
      [
        'tests: [{from: a, to: "b:1", expects: allow}]\n',
        /expects.*\n.*\n.*\n.*Write expect|"expects" is no field/,
      ],
      ['tests: [{from: a, to: "b:1", expect: yes}]\n', /expect must be allow or deny/],
      [
        'tests: [{from: nobody/there, to: "db/mysql:1", expect: allow}]\nmanifests: m\n',
        /wrong\.yaml:1: There is no pod/,
      ],
      ['kind: Pod\n', /holds no tests/],
    ] as const) {
      writeFileSync(join(folder, 'wrong.yaml'), text);
      const run = weft(['policy', 'test', 'wrong.yaml']);
      assert.equal(run.status, 2, run.stdout);
      assert.match(run.stderr, says);
    }
    rmSync(join(folder, 'wrong.yaml'));
  });
});

describe('weft policy audit', () => {
  test('reports open pods, open rules and idle policies, as Markdown and JSON', () => {
    const idle = `${manifests}---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: idle, namespace: db}\nspec: {podSelector: {matchLabels: {app: gone}}}\n`;
    const markdown = weft(['policy', 'audit', '-'], idle);
    assert.equal(markdown.status, 0, markdown.stderr);
    assert.match(
      markdown.stdout,
      /^# Network policy audit\n\n3 pods in 2 namespaces\. Isolated for ingress: 1, for egress: 0\.\n/,
    );
    assert.match(
      markdown.stdout,
      /\| db\/mysql \| spec\.ingress\[2\] \| 9104\/TCP \| no from, which is everybody \| <stdin>:42 \|/,
    );
    assert.match(markdown.stdout, /\| db\/idle \| no pod of db matches app=gone \| <stdin>:46 \|/);
    const found = JSON.parse(weft(['policy', 'audit', '-', '--json'], idle).stdout);
    assert.equal(found.openIngress.length, 2);
    assert.equal(found.openEgress.length, 3);
    assert.deepEqual(
      found.namespaces.map((row: { namespace: string; isolatedIngress: number }) => [
        row.namespace,
        row.isolatedIngress,
      ]),
      [
        ['db', 1],
        ['web', 0],
      ],
    );
    assert.deepEqual(
      found.unusedPolicies.map((row: { policy: string }) => row.policy),
      ['db/idle'],
    );
  });
});
