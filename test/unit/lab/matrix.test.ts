import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Cluster, usualCluster } from '../../../src/lab/cluster.js';
import type { ProbeResult } from '../../../src/lab/engine.js';
import {
  type Cell,
  denialKey,
  Expectations,
  judgeProbes,
  mayBeTooSlow,
  type PlannedProbe,
  partyOfPod,
  planProbes,
} from '../../../src/lab/matrix.js';
import { cellKey, formatMatrix } from '../../../src/lab/table.js';
import { parseManifests } from '../../../src/manifests/parse.js';

const manifests = `
apiVersion: v1
kind: Pod
metadata: {name: a, namespace: x, labels: {app: a}}
spec: {containers: [{name: a, ports: [{containerPort: 80}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: b, namespace: x, labels: {app: b}}
spec: {containers: [{name: b, ports: [{containerPort: 80}, {containerPort: 53, protocol: UDP}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: both, namespace: x}
spec: {ports: [{port: 8000, targetPort: 80}], selector: {}}
---
apiVersion: v1
kind: Service
metadata: {name: b, namespace: x}
spec: {ports: [{port: 8000, targetPort: 80}], selector: {app: b}}
---
apiVersion: v1
kind: Service
metadata: {name: nobody, namespace: x}
spec: {ports: [{port: 8000}], selector: {app: nobody}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: deny-b, namespace: x}
spec: {podSelector: {matchLabels: {app: b}}, policyTypes: [Ingress]}
`;

function setUp() {
  const cluster = new Cluster({ ...usualCluster, dns: false });
  cluster.apply(parseManifests(manifests, 'test.yaml').objects);
  const parties = cluster.pods.map((pod) => partyOfPod(pod, `/run/netns/${pod.name}`));
  return { cluster, parties };
}

const outcome = (of: Partial<ProbeResult>): ProbeResult => ({
  outcome: 'timeout',
  name: '',
  message: '',
  icmpType: 0,
  icmpCode: 0,
  sourcePort: 1,
  microseconds: 1,
  tries: 2,
  ...of,
});

const show = ({
  from,
  to,
  port,
  protocol,
  family,
}: Pick<Cell, 'to' | 'port' | 'protocol' | 'family'> & { from: unknown }) =>
  `${typeof from === 'string' ? from : (from as PlannedProbe['from']).key} ${to} ${port}/${protocol} ${family}`;

function judge(results: (probe: PlannedProbe) => Partial<ProbeResult>, reports = new Map()): Cell[] {
  const { cluster, parties } = setUp();
  const plan = planProbes(parties, parties, cluster.objects, { services: true, families: [4] });
  return judgeProbes(
    plan,
    plan.map((probe) => outcome(results(probe))),
    new Expectations(cluster.objects),
    reports,
  );
}
const cellOf = (cells: readonly Cell[], key: string) => cells.find((cell) => cellKey(cell) === key)!;

describe('the plan of probes', () => {
  it('asks every pair on every port over each family, nobody itself, and Services by address', () => {
    const { cluster, parties } = setUp();
    const plan = planProbes(parties, parties, cluster.objects, { services: true }).map(show);
    assert.deepEqual(
      plan.filter((line) => line.endsWith(' 4')),
      [
        'x/a x/b 80/TCP 4',
        'x/a x/b 53/UDP 4',
        'x/a svc/x/b 8000/TCP 4',
        'x/a svc/x/nobody 8000/TCP 4',
        'x/b x/a 80/TCP 4',
        'x/b svc/x/b 8000/TCP 4',
        'x/b svc/x/nobody 8000/TCP 4',
      ],
    );
    assert.equal(plan.filter((line) => line.endsWith(' 6')).length, 7);
  });

  it('narrows to sources, destinations, protocols and families', () => {
    const { cluster, parties } = setUp();
    const narrow = (options: Parameters<typeof planProbes>[3]) =>
      planProbes(parties, parties, cluster.objects, options).map(show);
    assert.deepEqual(narrow({ families: [6], from: (key) => key === 'x/b' }), ['x/b x/a 80/TCP 6']);
    assert.deepEqual(narrow({ families: [4], protocols: ['UDP'] }), ['x/a x/b 53/UDP 4']);
    assert.deepEqual(narrow({ families: [4], to: (key) => key === 'x/a' }), ['x/b x/a 80/TCP 4']);
  });
});

describe('the judgement of a probe', () => {
  const all = judge((probe) => (probe.to === 'x/a' ? { outcome: 'answered', name: 'x/a' } : {}));

  for (const [key, expected, measured, agrees] of [
    ['x/b x/a 80/TCP', 'allowed', 'allowed', true],
    ['x/a x/b 80/TCP', 'denied', 'denied', true],
    ['x/a svc/x/b 8000/TCP', 'denied', 'denied', true],
    ['x/b svc/x/b 8000/TCP', 'allowed', 'denied', false],
    ['x/a svc/x/nobody 8000/TCP', 'denied', 'denied', true],
  ] as const) {
    it(`${key}: expected ${expected}, measured ${measured}`, () => {
      const cell = cellOf(all, key);
      assert.deepEqual([cell.expected, cell.measured, cell.agrees], [expected, measured, agrees]);
    });
  }

  it('does not agree where somebody else answered, or nobody said who', () => {
    for (const name of ['x/b', '']) {
      const cells = judge((probe) => (probe.to === 'x/a' ? { outcome: 'answered', name } : {}));
      assert.equal(cellOf(cells, 'x/b x/a 80/TCP').agrees, false);
    }
  });

  it('does not agree where something denied came through', () => {
    const cells = judge(() => ({ outcome: 'answered', name: 'x/b' }));
    assert.equal(cellOf(cells, 'x/a x/b 80/TCP').agrees, false);
  });

  for (const [what, result, key, again] of [
    ['silence where an answer was expected', {}, 'x/b x/a 80/TCP', true],
    ['a connection that nobody says anything on', { outcome: 'answered' }, 'x/b x/a 80/TCP', true],
    ['the same where none was expected', { outcome: 'answered' }, 'x/a x/b 80/TCP', false],
    ['an answer of somebody else', { outcome: 'answered', name: 'x/b' }, 'x/b x/a 80/TCP', false],
    ['the answer that was expected', { outcome: 'answered', name: 'x/a' }, 'x/b x/a 80/TCP', false],
    ['silence that was expected', {}, 'x/a x/b 80/TCP', false],
  ] as const) {
    it(`${again ? 'asks again' : 'stands'}: ${what}`, () => {
      assert.equal(
        mayBeTooSlow(
          cellOf(
            judge(() => result),
            key,
          ),
        ),
        again,
      );
    });
  }

  it('does not agree where nothing was measured', () => {
    const cells = judge(() => ({ outcome: 'failed', message: 'no descriptor' }));
    assert.equal(cellOf(cells, 'x/a x/b 80/TCP').agrees, false);
  });

  it('names the policy from the switch where it told, else from the reference', () => {
    assert.deepEqual(cellOf(all, 'x/a x/b 80/TCP').denial, {
      direction: 'ingress',
      pod: 'x/b',
      policies: ['x/deny-b'],
      told: 'reference',
    });
    const report = { direction: 'ingress', policies: ['x/deny-b'] };
    const told = judge(() => ({}), new Map([[denialKey('10.42.0.2', '10.42.0.3', 'TCP', 80), report]]));
    assert.equal(cellOf(told, 'x/a x/b 80/TCP').denial?.told, 'switch');
    assert.equal(
      cellOf(told, 'x/a svc/x/b 8000/TCP').denial?.told,
      'switch',
      'policy sees the pod behind the Service',
    );
  });
});

describe('the matrix as a table', () => {
  const cells = judge((probe) => (probe.to === 'x/a' ? { outcome: 'answered', name: 'x/a' } : {}));

  it('shows what was measured, what differs, and who denied', () => {
    assert.equal(
      formatMatrix(cells, { colour: false, width: 80 }),
      `to \\ from            a    b
a 80/TCP             ·    ✓
b 53/UDP             ✗    ·
b 80/TCP             ✗    ·
svc/b 8000/TCP       ✗    ✗≠✓
svc/nobody 8000/TCP  ✗    ✗

MISMATCH x/b → svc/x/b 8000/TCP (IPv4): expected allowed, measured denied: no answer in 2 tries
Denied by
  ingress of b is isolated by x/deny-b
    ✗ a → b 80/TCP
    ✗ a → b 53/UDP
    ✗ a → svc/b 8000/TCP

7 probes: 1 allowed, 6 denied; 1 not as expected
`,
    );
  });

  it('points at what changed, also without colour', () => {
    const text = formatMatrix(cells, { colour: false, width: 80, changed: new Set(['x/b x/a 80/TCP']) });
    assert.match(text, /a 80\/TCP +· +✓\*/);
    const coloured = formatMatrix(cells, { colour: true, width: 80, changed: new Set(['x/b x/a 80/TCP']) });
    assert.ok(coloured.includes('[32;7m✓'), 'green and inverse');
  });

  it('numbers the sources where their names do not fit', () => {
    const text = formatMatrix(cells, { colour: false, width: 24 });
    assert.match(text, /^to \\ from +1 +2$/m);
    assert.match(text, /^ +1 {2}a$/m);
  });

  it('keeps families apart only where they differ', () => {
    const both = cells.flatMap((cell): Cell[] => [
      cell,
      { ...cell, family: 6, measured: cell.to === 'x/a' ? 'denied' : cell.measured },
    ]);
    assert.match(formatMatrix(both, { colour: false, width: 80 }), /a 80\/TCP +· +4✓6✗/);
  });
});
