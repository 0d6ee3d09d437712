/** Services as pods meet them: balancing, named target ports, affinity, hairpin, no endpoints, readiness, and policy on the pod behind. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { Cell } from '../../src/lab/matrix.js';
import { parseManifests } from '../../src/manifests/parse.js';
import type { Protocol } from '../../src/model/protocol.js';
import { startTestLab, type TestLab } from '../support/lab.js';

const pod = (name: string, port: number, extra = '') => `
---
apiVersion: v1
kind: Pod
metadata: {name: ${name}, namespace: x, labels: {app: web, name: ${name}}}
spec:
  containers:
    - name: c
      image: c
      ports:
        - {name: main, containerPort: ${port}}
        - {name: main-udp, containerPort: ${port}, protocol: UDP}
        - {name: main-sctp, containerPort: ${port}, protocol: SCTP}
${extra}`;
const service = (name: string, selector: string, more = '') => `
---
apiVersion: v1
kind: Service
metadata: {name: ${name}, namespace: x}
spec:
  selector: {${selector}}
  ports:
    - {name: tcp, port: 80, targetPort: main}
    - {name: udp, port: 80, targetPort: main-udp, protocol: UDP}
    - {name: sctp, port: 80, targetPort: main-sctp, protocol: SCTP}
${more}`;
const client = `
---
apiVersion: v1
kind: Pod
metadata: {name: client, namespace: x}
spec: {containers: [{name: c, image: c}]}
`;
// The port of the same name is another number in each pod.
const world = [
  client,
  pod('one', 8001),
  pod('two', 8002),
  pod('three', 8003),
  pod('late', 8004, 'status: {phase: Running, conditions: [{type: Ready, status: "False"}]}\n'),
  service('all', 'app: web'),
  service('sticky', 'app: web', '  sessionAffinity: ClientIP\n'),
  service('own', 'name: one'),
  service('nobody', 'app: nobody'),
  service('early', 'name: late', '  publishNotReadyAddresses: true\n'),
].join('');
const onlyTwo = `
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: only-two, namespace: x}
spec:
  podSelector: {matchExpressions: [{key: name, operator: In, values: [one, three]}]}
  policyTypes: [Ingress]
`;

describe('Services in a lab', () => {
  let lab: TestLab;
  const apply = (text: string) => lab.replace(parseManifests(text, 'test').objects.map(({ value }) => value));
  const ask = async (
    from: string,
    to: string,
    protocol: Protocol,
    times = 1,
    family?: 4 | 6,
  ): Promise<readonly Cell[]> => {
    const one = {
      from: `x/${from}`,
      to: `svc/x/${to}`,
      port: 80,
      protocol,
      ...(family === undefined ? {} : { family }),
    };
    const { cells } = await lab.client.request('ask', {
      questions: Array.from({ length: times }, () => one),
    });
    return cells;
  };
  const answeredBy = (cells: readonly Cell[]) => new Set(cells.map((cell) => cell.answeredBy));

  before(async () => {
    lab = await startTestLab();
    await apply(world);
  });
  after(() => lab?.end());

  for (const protocol of ['TCP', 'UDP', 'SCTP'] as const) {
    test(`${protocol} connections are spread over the ready pods, each on its own number of the named port`, async () => {
      const cells = await ask('client', 'all', protocol, 60);
      assert.equal(cells.length, 120, 'both families');
      assert.deepEqual(
        cells.filter(({ agrees }) => !agrees),
        [],
      );
      assert.deepEqual(answeredBy(cells), new Set(['x/one', 'x/two', 'x/three']));
    });

    test(`${protocol} to a Service without endpoints is refused at once`, async () => {
      for (const { observation, microseconds, agrees } of await ask('client', 'nobody', protocol)) {
        assert.match(
          observation,
          protocol === 'SCTP' ? /refused|unreachable \(ICMP (3\/3|1\/4)\)/ : /refused/,
        );
        assert.ok(microseconds < 200_000, `after ${microseconds} µs`);
        assert.ok(agrees);
      }
    });

    test(`${protocol} of a pod to a Service that leads to itself comes back to it`, async () => {
      assert.deepEqual(answeredBy(await ask('one', 'own', protocol, 3)), new Set(['x/one']));
    });
  }

  test('ClientIP affinity keeps a client at its pod', async () => {
    for (const family of [4, 6] as const) {
      const first = await ask('client', 'sticky', 'TCP', 1, family);
      assert.equal(first[0]?.measured, 'allowed');
      assert.deepEqual(answeredBy(await ask('client', 'sticky', 'TCP', 30, family)), answeredBy(first));
    }
  });

  test('publishNotReadyAddresses sends to a pod that is not ready', async () => {
    assert.deepEqual(answeredBy(await ask('client', 'early', 'TCP')), new Set(['x/late']));
  });

  test('policy sees the pod behind the Service: only those that allow the client answer', async () => {
    await apply(world + onlyTwo);
    const cells = await ask('client', 'all', 'TCP', 40);
    assert.deepEqual(
      cells.filter(({ agrees }) => !agrees),
      [],
    );
    const allowed = cells.filter(({ measured }) => measured === 'allowed');
    assert.deepEqual(answeredBy(allowed), new Set(['x/two']));
    assert.ok(allowed.length < cells.length, 'the other pods were chosen too');
    // A pod always reaches itself, also by way of a Service and under a policy that lets nobody in.
    assert.deepEqual(answeredBy(await ask('one', 'own', 'TCP')), new Set(['x/one']));
    await apply(world);
  });

  test('endpoints follow the pods', async () => {
    await apply(world.replace(pod('two', 8002), '').replace(pod('three', 8003), ''));
    assert.deepEqual(answeredBy(await ask('client', 'all', 'TCP', 20)), new Set(['x/one']));
    await apply(world);
    assert.deepEqual(answeredBy(await ask('client', 'all', 'TCP', 60)).size, 3);
  });
});
