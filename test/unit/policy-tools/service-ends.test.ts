/** Questions about Services: which backends stand for one, and what it refuses. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { ask, denyAll, meta, node, pod, service } from '../../support/query-world.js';

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

  test('that a label leaves to another proxy has no answer by name, and is nowhere by address', () => {
    for (const label of ['service.kubernetes.io/service-proxy-name', 'service.kubernetes.io/headless']) {
      const other = { ...web, metadata: meta('web', { labels: { [label]: 'x' } }) };
      const question = (to: string) => ask([one, client, other], { from: 'a/client', to, port: 80 });
      assert.equal(question('svc:a/web').allowed, null);
      assert.match(question('svc:a/web').reason ?? '', /another service proxy/);
      assert.deepEqual([question('10.43.0.1').allowed, question('10.43.0.1').backends], [true, undefined]);
    }
  });

  test('that is headless and selects nothing stands for nobody', () => {
    for (const selector of [{}, undefined]) {
      const headless = service('web', { clusterIP: 'None', selector, ports: [{ port: 80 }] });
      const answer = ask([one, client, headless], { from: 'a/client', to: 'svc:a/web', port: 80 });
      assert.deepEqual([answer.allowed, answer.reason], [false, 'Service a/web has no ready endpoint.']);
    }
  });

  test('is in the families of its cluster addresses and in no other, whatever else it names', () => {
    const both = { status: { podIPs: [{ ip: '10.0.0.1' }, { ip: 'fd00::1' }] } };
    const dual = { ...client, status: { podIPs: [{ ip: '10.0.0.3' }, { ip: 'fd00::3' }] } };
    const six = {
      ...node,
      status: { addresses: [...node.status.addresses, { type: 'InternalIP', address: 'fd99::1' }] },
    };
    const external = service('web', {
      type: 'NodePort',
      clusterIP: '10.43.0.1',
      externalIPs: ['203.0.113.1', '2001:db8::1'],
      selector: { app: 'web' },
      ports: [{ port: 80, targetPort: 8080, nodePort: 30080 }],
    });
    const backends = (to: string, port: number) =>
      ask([{ ...one, ...both }, dual, six, external], { from: 'a/client', to, port }).backends?.map(
        ({ address }) => address,
      );
    assert.deepEqual(
      [
        backends('203.0.113.1', 80),
        backends('2001:db8::1', 80),
        backends('192.168.0.1', 30080),
        backends('fd99::1', 30080),
      ],
      [['10.0.0.1'], undefined, ['10.0.0.1'], undefined],
    );
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
