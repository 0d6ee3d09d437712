/** `weft policy verdict --batch` and the query front-end: who is who, which family, which backend. */
import assert from 'node:assert/strict';
import { Readable, Writable } from 'node:stream';
import { describe, test } from 'node:test';
import type { Answer } from '../../../src/cli/policy/answer.js';
import { answerWorld, runBatch } from '../../../src/cli/policy/batch.js';
import { engineNamed, engineNames } from '../../../src/cli/policy/engines.js';

const meta = (name: string, more: object = {}) => ({ name, namespace: 'a', ...more });
const pod = (name: string, ips: string[], more: { spec?: object; status?: object; meta?: object } = {}) => ({
  kind: 'Pod',
  metadata: meta(name, { labels: { app: name }, ...more.meta }),
  spec: { nodeName: 'n1', ...more.spec },
  status: { podIPs: ips.map((ip) => ({ ip })), ...more.status },
});
const denyAll = (name: string, policyTypes = ['Ingress', 'Egress']) => ({
  apiVersion: 'networking.k8s.io/v1',
  kind: 'NetworkPolicy',
  metadata: meta(`deny-${name}`),
  spec: { podSelector: { matchLabels: { app: name } }, policyTypes },
});
const service = (name: string, spec: object) => ({ kind: 'Service', metadata: meta(name), spec });
const node = {
  kind: 'Node',
  metadata: { name: 'n1' },
  status: { addresses: [{ type: 'InternalIP', address: '192.168.0.1' }] },
};
const other = {
  kind: 'Node',
  metadata: { name: 'n2' },
  status: { addresses: [{ type: 'InternalIP', address: '192.168.0.2' }] },
};

function ask(objects: object[], query: object, ownNodeEgress: 'allow' | 'judge' = 'allow'): Answer {
  const world = { objects, queries: [query], options: { ownNodeEgress } };
  const [first, ...rest] = engineNames.map((name) => answerWorld(world, engineNamed(name))[0]!);
  for (const answer of rest) assert.deepEqual(answer, first, 'the engines agree');
  return first!;
}

describe('the front-end', () => {
  const x = pod('x', ['10.0.0.1', 'fd00::1']);
  const y = pod('y', ['10.0.0.2']);
  const closed = [x, y, node, other, denyAll('x'), denyAll('y')];
  const host = pod('host', ['192.168.0.1'], { spec: { hostNetwork: true } });

  const cases: [
    name: string,
    objects: object[],
    query: object,
    allowed: boolean | null,
    egress?: string,
    ingress?: string,
  ][] = [
    ['a pod may always reach itself', closed, { from: 'a/x', to: 'a/x', port: 80 }, true, 'self', 'self'],
    ['also by its address', closed, { from: 'a/x', to: 'fd00::1', port: 80 }, true, 'self', 'self'],
    [
      'a pod’s own node may always connect in',
      closed,
      { from: 'node:n1', to: 'a/x', port: 80 },
      true,
      'no-pod',
      'own-node',
    ],
    [
      'the node’s address is the node',
      closed,
      { from: '192.168.0.1', to: 'a/x', port: 80 },
      true,
      'no-pod',
      'own-node',
    ],
    ['another node may not', closed, { from: 'node:n2', to: 'a/x', port: 80 }, false, 'no-pod', 'isolated'],
    [
      'a pod may reach its own node',
      closed,
      { from: 'a/x', to: 'node:n1', port: 80 },
      true,
      'own-node',
      'no-pod',
    ],
    ['but no other', closed, { from: 'a/x', to: 'node:n2', port: 80 }, false, 'isolated', 'no-pod'],
    [
      'a hostNetwork pod is its node',
      [...closed, host, denyAll('host')],
      { from: 'a/host', to: 'a/x', port: 80 },
      true,
      'no-pod',
      'own-node',
    ],
    [
      'and no policy selects it',
      [...closed, host, denyAll('host')],
      { from: 'node:n2', to: 'a/host', port: 80 },
      true,
      'no-pod',
      'no-pod',
    ],
    [
      'a node without known address may reach the pods on it',
      [x, denyAll('x')],
      { from: 'node:n1', to: 'a/x', port: 1 },
      true,
      'no-pod',
      'own-node',
    ],
    [
      'and they may reach it',
      [x, denyAll('x')],
      { from: 'a/x', to: 'node:n1', port: 1 },
      true,
      'own-node',
      'no-pod',
    ],
    ['an unknown node has no answer', [x], { from: 'node:n9', to: 'a/x', port: 1 }, null],
    ['an unknown pod has no answer', [x], { from: 'a/z', to: 'a/x', port: 1 }, null],
    ['a pod without an address has no answer', [x, pod('z', [])], { from: 'a/z', to: 'a/x', port: 1 }, null],
    [
      'a finished pod has no answer',
      [x, pod('z', ['10.0.0.9'], { status: { phase: 'Failed' } })],
      { from: 'a/x', to: 'a/z', port: 1 },
      null,
    ],
    [
      'its address is nobody’s',
      [x, denyAll('x'), pod('z', ['10.0.0.9'], { status: { phase: 'Failed' } })],
      { from: '10.0.0.9', to: 'a/x', port: 1 },
      false,
      'no-pod',
      'isolated',
    ],
    [
      'or the next pod’s',
      [x, y, denyAll('y'), pod('z', ['10.0.0.2'], { status: { phase: 'Succeeded' } })],
      { from: 'a/x', to: '10.0.0.2', port: 1 },
      false,
      'not-isolated',
      'isolated',
    ],
    [
      'ends without a common family have no answer',
      [pod('z', ['fd00::9']), y],
      { from: 'a/z', to: 'a/y', port: 1 },
      null,
    ],
    ['nor has a family that one of them lacks', closed, { from: 'a/x', to: 'a/y', port: 1, family: 6 }, null],
    [
      'an IPv4-mapped address is IPv4',
      closed,
      { from: '::ffff:10.0.0.2', to: 'a/x', port: 1 },
      false,
      'isolated',
      'isolated',
    ],
    [
      'ICMP needs no port and no port rule admits it',
      closed,
      { from: 'a/y', to: 'a/x', protocol: 'ICMP' },
      false,
      'isolated',
      'isolated',
    ],
    [
      'two addresses outside are not judged',
      closed,
      { from: '203.0.113.1', to: '203.0.113.2', port: 1 },
      true,
      'no-pod',
      'no-pod',
    ],
  ];
  for (const [name, objects, query, allowed, egress, ingress] of cases) {
    test(name, () => {
      const answer = ask(objects, query);
      assert.equal(answer.allowed, allowed, JSON.stringify(answer));
      assert.deepEqual([answer.egress?.reason, answer.ingress?.reason], [egress, ingress]);
      if (allowed === null) assert.match(answer.reason ?? '', /\.$/);
    });
  }

  test('with ownNodeEgress: judge a pod’s node is a destination like any other', () => {
    assert.equal(ask(closed, { from: 'a/x', to: 'node:n1', port: 1 }, 'judge').allowed, false);
    assert.equal(ask(closed, { from: 'node:n1', to: 'a/x', port: 1 }, 'judge').allowed, true);
  });

  test('the family is the first of the source’s own that both have, unless one is asked for', () => {
    const both = pod('z', ['10.0.0.3', 'fd00::3']);
    const six = pod('w', ['fd00::4', '10.0.0.4']);
    assert.equal(ask([both, six], { from: 'a/w', to: 'a/z', port: 1 }).family, 6);
    assert.equal(ask([both, six], { from: 'a/z', to: 'a/w', port: 1 }).family, 4);
    assert.equal(ask([both, six], { from: 'a/z', to: 'a/w', port: 1, family: 6 }).family, 6);
    assert.equal(ask([y, six], { from: 'a/w', to: 'a/y', port: 1 }).family, 4);
  });

  test('the answer names the deciding rule, or the isolation that denied', () => {
    const allow = {
      ...denyAll('x', ['Ingress']),
      metadata: meta('allow'),
      spec: { podSelector: {}, ingress: [{ ports: [{ port: 81 }] }, { ports: [{ port: 80 }] }] },
    };
    const objects = [x, y, denyAll('x', ['Ingress']), allow];
    assert.deepEqual(ask(objects, { from: 'a/y', to: 'a/x', port: 80 }).ingress, {
      allowed: true,
      reason: 'rule',
      policy: 'a/allow',
      rule: 1,
      isolatedBy: ['a/allow', 'a/deny-x'],
      path: 'spec.ingress[1]',
    });
    assert.deepEqual(ask(objects, { from: 'a/y', to: 'a/x', port: 82 }).ingress, {
      allowed: false,
      reason: 'isolated',
      isolatedBy: ['a/allow', 'a/deny-x'],
    });
  });
});

describe('a Service', () => {
  const ports = { containers: [{ name: 'c', ports: [{ name: 'http', containerPort: 8080 }] }] };
  const one = pod('one', ['10.0.0.1'], { spec: ports, meta: { labels: { app: 'web', n: '1' } } });
  const two = pod('two', ['10.0.0.2'], { spec: ports, meta: { labels: { app: 'web', n: '2' } } });
  const client = pod('client', ['10.0.0.3']);
  const web = service('web', {
    clusterIP: '10.43.0.1',
    selector: { app: 'web' },
    ports: [{ port: 80, targetPort: 'http' }],
  });
  const allow8080 = (label: object) => ({
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: meta('p'),
    spec: { podSelector: { matchLabels: label }, ingress: [{ ports: [{ port: 8080 }] }] },
  });

  test('is judged at its backends and their own port', () => {
    const answer = ask([one, two, client, web, allow8080({ app: 'web' })], {
      from: 'a/client',
      to: 'svc:a/web',
      port: 80,
    });
    assert.equal(answer.allowed, true);
    assert.deepEqual(
      answer.backends?.map(({ address, port }) => `${address}:${port}`),
      ['10.0.0.1:8080', '10.0.0.2:8080'],
    );
  });

  test('is reached by its address as by its name', () => {
    const answer = ask([one, client, web, allow8080({ app: 'web' })], {
      from: 'a/client',
      to: '10.43.0.1',
      port: 80,
    });
    assert.deepEqual([answer.allowed, answer.backends?.[0]?.port], [true, 8080]);
    assert.equal(
      ask([one, client, web], { from: 'a/client', to: '10.43.0.1', port: 81 }).backends,
      undefined,
    );
  });

  test('is allowed only if every ready backend is, and shows the one that is not', () => {
    const deny = { ...denyAll('x', ['Ingress']), spec: { podSelector: { matchLabels: { n: '2' } } } };
    const answer = ask([one, two, client, web, deny], { from: 'a/client', to: 'svc:a/web', port: 80 });
    assert.deepEqual(
      [answer.allowed, answer.backends?.map((backend) => backend.allowed)],
      [false, [true, false]],
    );
    assert.equal(answer.ingress?.reason, 'isolated');
  });

  test('sends nothing to backends that are not ready', () => {
    const notReady = { ...two, status: { ...two.status, conditions: [{ type: 'Ready', status: 'False' }] } };
    assert.equal(
      ask([one, notReady, client, web], { from: 'a/client', to: 'svc:a/web', port: 80 }).backends?.length,
      1,
    );
  });

  test('that has the client itself behind it lets it through to itself', () => {
    const answer = ask(
      [one, web, { ...denyAll('x'), spec: { podSelector: {}, policyTypes: ['Ingress', 'Egress'] } }],
      { from: 'a/one', to: 'svc:a/web', port: 80 },
    );
    assert.deepEqual([answer.allowed, answer.egress?.reason], [true, 'self']);
  });

  const refused: [name: string, objects: object[], query: object, allowed: boolean | null, reason: RegExp][] =
    [
      ['without endpoints refuses', [client, web], { to: 'svc:a/web', port: 80 }, false, /no ready endpoint/],
      [
        'refuses a port that it has not',
        [one, client, web],
        { to: 'svc:a/web', port: 81 },
        false,
        /no port 81\/TCP/,
      ],
      [
        'refuses a protocol that it has not',
        [one, client, web],
        { to: 'svc:a/web', port: 80, protocol: 'UDP' },
        false,
        /no port 80\/UDP/,
      ],
      ['that is not there has no answer', [client], { to: 'svc:a/web', port: 80 }, null, /no Service/],
      [
        'of type ExternalName has no answer',
        [client, service('web', { type: 'ExternalName', externalName: 'x.org' })],
        { to: 'svc:a/web', port: 80 },
        null,
        /ExternalName/,
      ],
      [
        'of the other family has no answer',
        [one, pod('six', ['fd00::6']), web],
        { from: 'a/six', to: 'svc:a/web', port: 80 },
        null,
        /family/,
      ],
    ];
  for (const [name, objects, query, allowed, reason] of refused) {
    test(name, () => {
      const answer = ask(objects, { from: 'a/client', ...query });
      assert.equal(answer.allowed, allowed);
      assert.match(answer.reason ?? '', reason);
    });
  }

  test('takes its backends from Endpoints and EndpointSlices where there are any', () => {
    const slice = {
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: meta('web-1', { labels: { 'kubernetes.io/service-name': 'web' } }),
      addressType: 'IPv4',
      ports: [{ name: '', port: 9090 }],
      endpoints: [
        { addresses: ['203.0.113.5'] },
        { addresses: ['203.0.113.6'], conditions: { ready: false } },
      ],
    };
    const answer = ask([one, client, web, slice], { from: 'a/client', to: 'svc:a/web', port: 80 });
    assert.deepEqual(
      answer.backends?.map(({ address, port }) => `${address}:${port}`),
      ['203.0.113.5:9090'],
    );
    const endpoints = {
      kind: 'Endpoints',
      metadata: meta('web'),
      subsets: [{ addresses: [{ ip: '203.0.113.7' }], ports: [{ port: 9091 }] }],
    };
    assert.equal(
      ask([one, client, web, endpoints], { from: 'a/client', to: 'svc:a/web', port: 80 }).backends?.[0]
        ?.address,
      '203.0.113.7',
    );
  });

  test('that is headless is a name for its pods, and the port stays', () => {
    const headless = service('web', {
      clusterIP: 'None',
      selector: { app: 'web' },
      ports: [{ port: 80, targetPort: 'http' }],
    });
    const answer = ask([one, client, headless, allow8080({ app: 'web' })], {
      from: 'a/client',
      to: 'svc:a/web',
      port: 80,
    });
    assert.deepEqual([answer.allowed, answer.backends?.[0]?.port], [false, 80]);
  });

  test('is reached at a node’s address and nodePort too', () => {
    const nodePort = service('web', {
      type: 'NodePort',
      selector: { app: 'web' },
      ports: [{ port: 80, targetPort: 8080, nodePort: 30080 }],
    });
    const answer = ask([one, client, node, nodePort, allow8080({ app: 'web' })], {
      from: 'a/client',
      to: 'node:n1',
      port: 30080,
    });
    assert.deepEqual([answer.allowed, answer.backends?.[0]?.port], [true, 8080]);
    const unplaced = ask([{ ...one, spec: { nodeName: 'n9' } }, nodePort], {
      from: 'a/one',
      to: 'node:n9',
      port: 30080,
    });
    assert.deepEqual([unplaced.allowed, unplaced.reason], [null, 'No address of node n9 is known.']);
  });

  test('refuses at its cluster address what it has no port for, ping included', () => {
    const web = service('web', {
      clusterIP: '10.43.0.9',
      selector: { app: 'web' },
      ports: [{ port: 80, targetPort: 8080 }],
    });
    for (const [question, reason] of [
      [{ port: 81 }, 'Service a/web has no port 81/TCP.'],
      [{ protocol: 'ICMP' }, 'Service a/web does not answer ICMP.'],
    ] as const) {
      for (const to of ['10.43.0.9', 'svc:a/web']) {
        const answer = ask([one, client, web], { from: 'a/client', to, ...question });
        assert.deepEqual([answer.allowed, answer.reason], [false, reason]);
      }
    }
  });
});

describe('a line that was lost or indented', () => {
  const one = pod('one', ['10.0.0.1']);
  const client = pod('client', ['10.0.0.3']);
  const peer = { podSelector: {} };
  const policy = (spec: unknown, more: object = {}) => ({
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: meta('guard', more),
    spec,
  });
  const slid: [what: string, policy: object][] = [
    ['"ports:" opens no other port', policy({ ingress: [{ from: [peer, { protocol: 'TCP', port: 80 }] }] })],
    ['"from:" opens to nobody else', policy({ ingress: [{ ports: [{ port: 443 }, peer] }] })],
    ['"spec:" leaves neither direction open', policy(undefined, { egress: [], ingress: [{}] })],
    ['"spec:" indented neither', policy(undefined, { spec: { ingress: [{}] } })],
  ];
  for (const [what, broken] of slid) {
    test(what, () => {
      const there = ask([one, client, broken], { from: 'a/client', to: 'a/one', port: 443 });
      assert.deepEqual([there.allowed, there.ingress?.allowed], [false, false]);
    });
  }

  test('"spec:" isolates egress too', () => {
    const [, , third] = slid;
    const answer = ask([one, client, third![1]], { from: 'a/client', to: '203.0.113.9', port: 443 });
    assert.equal(answer.allowed, false);
  });
});

describe('batch mode', () => {
  async function batch(input: string) {
    const text = { out: '', errors: '' };
    const sink = (key: 'out' | 'errors') =>
      new Writable({
        write(chunk, _, done) {
          text[key] += String(chunk);
          done();
        },
      });
    const status = await runBatch(
      Readable.from([input]),
      sink('out'),
      sink('errors'),
      engineNamed('reference'),
      {
        ownNodeEgress: 'allow',
      },
    );
    return { status, lines: text.out.split('\n').slice(0, -1), errors: text.errors };
  }
  const world = JSON.stringify({
    objects: [pod('x', ['10.0.0.1'])],
    queries: [
      { from: '1.1.1.1', to: 'a/x', port: 1 },
      { from: 'a/q', to: 'a/x', port: 1 },
    ],
  });

  test('answers line by line, in order', async () => {
    const { status, lines, errors } = await batch(`${world}\n\n{"objects":[],"queries":[]}\n${world}`);
    assert.deepEqual([status, errors, lines.length, lines[1]], [0, '', 3, '[]']);
    assert.equal(lines[0], lines[2]);
    assert.deepEqual(
      JSON.parse(lines[0]!).map((answer: Answer) => answer.allowed),
      [true, null],
    );
  });

  const malformed = [
    'nonsense',
    '[]',
    '{"queries":[]}',
    '{"objects":{},"queries":[]}',
    '{"objects":[3],"queries":[]}',
    '{"objects":[],"queries":[],"options":{"ownNodeEgress":"maybe"}}',
    '{"objects":[{"apiVersion":"v1","kind":"NetworkPolicy","metadata":{"name":"deny"}}],"queries":[]}',
    '{"objects":[{"kind":"List","items":{}}],"queries":[]}',
  ];
  for (const line of malformed) {
    test(`the line ${line} gives an error in its place and status 2`, async () => {
      const { status, lines, errors } = await batch(`${world}\n${line}\n${world}\n`);
      assert.equal(status, 2);
      assert.equal(lines.length, 3);
      assert.match(JSON.parse(lines[1]!).error, /^line 2: /);
      assert.match(errors, /^weft: line 2: .*\n$/);
    });
  }

  test('a malformed query gives an error in its place', async () => {
    const queries = [
      { from: 'a/x', to: 'a/x', port: 1 },
      { from: 'a/x' },
      { from: 'a/x', to: 'a/x' },
      { from: 'a/x', to: 'a/x', port: 0 },
      7,
      { from: 'a/x', to: 'a/x', prot: 80 },
    ];
    const { status, lines } = await batch(JSON.stringify({ objects: [pod('x', ['10.0.0.1'])], queries }));
    const answers: Answer[] = JSON.parse(lines[0]!);
    assert.equal(status, 2);
    assert.deepEqual(
      answers.map((answer) => answer.error === undefined),
      [true, false, false, false, false, false],
    );
    assert.equal(answers[0]?.allowed, true);
  });

  test('List objects are taken apart, and workloads become pods', async () => {
    const list = { apiVersion: 'v1', kind: 'List', items: [pod('x', ['10.0.0.1'])] };
    const { lines } = await batch(
      JSON.stringify({ objects: [list], queries: [{ from: '1.1.1.1', to: 'a/x', port: 1 }] }),
    );
    assert.equal(JSON.parse(lines[0]!)[0].allowed, true);
  });
});
