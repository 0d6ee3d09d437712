/** The reference evaluator against the numbered statements of ARCHITECTURE.md, on plain objects. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { Reference } from '../../../src/policy/evaluate.js';
import { repositoryRoot } from '../../support/repository.js';

const pod = (
  key: string,
  ip: string,
  more: { labels?: object; spec?: object; status?: object; meta?: object } = {},
) => {
  const [namespace, name] = key.split('/');
  return {
    kind: 'Pod',
    metadata: { namespace, name, labels: { pod: name, ...more.labels }, ...more.meta },
    spec: { nodeName: 'n1', ...more.spec },
    status: { podIPs: [{ ip }], ...more.status },
  };
};
const namespace = (name: string, labels: object) => ({ kind: 'Namespace', metadata: { name, labels } });
const policy = (spec: object, name = 'p', where = 'x') => ({
  apiVersion: 'networking.k8s.io/v1',
  kind: 'NetworkPolicy',
  metadata: { namespace: where, name },
  spec,
});
const serving = (name: string, port: number, protocol = 'TCP', list = 'containers', more: object = {}) => ({
  [list]: [{ name: 'c', ports: [{ name, containerPort: port, protocol }], ...more }],
});

const a = pod('x/a', '10.0.0.1', { spec: serving('http', 80) });
const b = pod('x/b', '10.0.0.2', { spec: serving('http', 8080) });
const c = pod('y/c', '10.0.1.3', { labels: { tier: 'db' } });
const base = [a, b, c, namespace('y', { team: 'red' })];
const names: Record<string, string> = {
  a: '10.0.0.1',
  b: '10.0.0.2',
  c: '10.0.1.3',
  out: '203.0.113.9',
  n1: '192.168.0.1',
  n2: '192.168.0.2',
};
const nodes = ['n1', 'n2'].map((name) => ({
  kind: 'Node',
  metadata: { name },
  status: { addresses: [{ type: 'InternalIP', address: names[name] }] },
}));

const onA = { podSelector: { matchLabels: { pod: 'a' } } };
const ingress = (rule: object) => policy({ ...onA, ingress: [rule] });
const egress = (rule: object) => policy({ ...onA, policyTypes: ['Egress'], egress: [rule] });

/** `from to port/protocol`, and whether it is allowed. */
type Row = readonly [asked: string, allowed: boolean];

const statements: readonly (readonly [number, objects: readonly object[], rows: readonly Row[]])[] = [
  [
    1,
    [],
    [
      ['b a 80/TCP', true],
      ['out a 1/UDP', true],
      ['a out 1/ICMP', true],
    ],
  ],
  [
    2,
    [policy(onA)],
    [
      ['b a 80/TCP', false],
      ['a b 80/TCP', true],
      ['c b 80/TCP', true],
    ],
  ],
  [
    3,
    [
      policy({ ...onA, ingress: [{ ports: [{ port: 80 }] }] }),
      policy({ ...onA, ingress: [{ ports: [{ port: 81 }] }] }, 'q'),
    ],
    [
      ['b a 80/TCP', true],
      ['b a 81/TCP', true],
      ['b a 82/TCP', false],
    ],
  ],
  [
    4,
    [policy({ podSelector: {}, policyTypes: ['Ingress', 'Egress'], ingress: [{}] })],
    [
      ['a b 80/TCP', false],
      ['c a 80/TCP', true],
    ],
  ],
  [
    6,
    [policy({ ...onA, egress: [{ ports: [{ port: 443 }] }] })],
    [
      ['b a 80/TCP', false],
      ['a b 80/TCP', false],
      ['a b 443/TCP', true],
    ],
  ],
  [
    7,
    [policy({ ...onA, policyTypes: ['Egress'] })],
    [
      ['a b 80/TCP', false],
      ['b a 80/TCP', true],
    ],
  ],
  [
    8,
    [policy({ ...onA, policyTypes: ['Egress'], ingress: [{ ports: [{ port: 1 }] }] })],
    [['b a 80/TCP', true]],
  ],
  [9, [policy({ ...onA, policyTypes: ['Ingress'], ingress: null })], [['b a 80/TCP', false]]],
  [
    10,
    [ingress({})],
    [
      ['b a 80/TCP', true],
      ['out a 1/ICMP', true],
    ],
  ],
  [
    11,
    [policy({ podSelector: {} })],
    [
      ['a c 1/TCP', true],
      ['c a 1/TCP', false],
    ],
  ],
  [
    12,
    [policy({})],
    [
      ['a b 80/TCP', false],
      ['c a 80/TCP', false],
    ],
  ],
  [
    13,
    [ingress({ from: [], ports: [{ port: 80 }] })],
    [
      ['out a 80/TCP', true],
      ['out a 81/TCP', false],
    ],
  ],
  [
    14,
    [ingress({ from: [{ podSelector: {} }], ports: [] })],
    [
      ['b a 9/SCTP', true],
      ['b a 0/ICMP', true],
      ['c a 9/SCTP', false],
    ],
  ],
  [
    15,
    [
      ingress({
        from: [
          { podSelector: { matchLabels: { pod: 'b' } } },
          { namespaceSelector: { matchLabels: { team: 'red' } } },
        ],
        ports: [{ port: 80 }, { port: 81 }],
      }),
    ],
    [
      ['b a 81/TCP', true],
      ['c a 80/TCP', true],
      ['b a 82/TCP', false],
      ['out a 80/TCP', false],
    ],
  ],
  [
    16,
    [ingress({ from: [{ podSelector: {} }] })],
    [
      ['b a 80/TCP', true],
      ['c a 80/TCP', false],
    ],
  ],
  [
    17,
    [ingress({ from: [{ namespaceSelector: { matchLabels: { team: 'red' } } }] })],
    [
      ['c a 80/TCP', true],
      ['b a 80/TCP', false],
    ],
  ],
  [
    18,
    [
      ingress({
        from: [
          {
            namespaceSelector: { matchLabels: { team: 'red' } },
            podSelector: { matchLabels: { tier: 'web' } },
          },
        ],
      }),
    ],
    [['c a 80/TCP', false]],
  ],
  [
    19,
    [ingress({ from: [{ podSelector: {}, namespaceSelector: null }] })],
    [
      ['b a 80/TCP', true],
      ['c a 80/TCP', false],
    ],
  ],
  [
    20,
    [ingress({ from: [{ namespaceSelector: {} }] })],
    [
      ['c a 80/TCP', true],
      ['out a 80/TCP', false],
      ['n2 a 80/TCP', false],
    ],
  ],
  [
    21,
    [
      ingress({
        from: [
          {
            podSelector: {
              matchLabels: { pod: 'b' },
              matchExpressions: [
                { key: 'tier', operator: 'NotIn', values: ['db'] },
                { key: 'x', operator: 'DoesNotExist' },
              ],
            },
          },
        ],
      }),
    ],
    [['b a 80/TCP', true]],
  ],
  [
    22,
    [ingress({ from: [{ namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'y' } } }] })],
    [
      ['c a 80/TCP', true],
      ['b a 80/TCP', false],
    ],
  ],
  [
    23,
    [ingress({ from: [{}] })],
    [
      ['b a 80/TCP', false],
      ['out a 80/TCP', false],
    ],
  ],
  [24, [ingress({ from: [{ ipBlock: { cidr: '0.0.0.0/0' }, podSelector: {} }] })], [['b a 80/TCP', false]]],
  [
    25,
    [
      ingress({
        from: [{ podSelector: { matchExpressions: [{ key: 'pod', operator: 'NotIn', values: [] }] } }],
      }),
    ],
    [['b a 80/TCP', false]],
  ],
  [
    26,
    [
      ingress({
        from: [
          { ipBlock: { cidr: '10.0.0.0/8', except: ['10.0.0.0/24'] } },
          { ipBlock: { cidr: '10.0.0.2/32' } },
        ],
      }),
    ],
    [
      ['b a 80/TCP', true],
      ['c a 80/TCP', true],
      ['out a 80/TCP', false],
    ],
  ],
  [
    28,
    [ingress({ from: [{ ipBlock: { cidr: '::ffff:10.0.0.7/125' } }] })],
    [
      ['b a 80/TCP', true],
      ['c a 80/TCP', false],
    ],
  ],
  [
    29,
    [egress({ to: [{ ipBlock: { cidr: '10.0.1.0/24' } }] })],
    [
      ['a c 80/TCP', true],
      ['a b 80/TCP', false],
    ],
  ],
  [
    33,
    [ingress({ ports: [{ port: 80 }] })],
    [
      ['b a 80/TCP', true],
      ['b a 80/UDP', false],
    ],
  ],
  [
    34,
    [ingress({ ports: [{ protocol: 'UDP' }] })],
    [
      ['b a 9/UDP', true],
      ['b a 9/TCP', false],
    ],
  ],
  [
    35,
    [
      ingress({
        ports: [
          { port: 80, endPort: 82 },
          { port: 90, endPort: 90 },
        ],
      }),
    ],
    [
      ['b a 80/TCP', true],
      ['b a 82/TCP', true],
      ['b a 83/TCP', false],
      ['b a 90/TCP', true],
    ],
  ],
  [36, [ingress({ ports: [{ port: 'http', endPort: 90 }, { endPort: 90 }] })], [['b a 80/TCP', false]]],
  [37, [ingress({ from: [{ podSelector: {} }], ports: [{ port: 80, range: 90 }] })], [['b a 80/TCP', false]]],
  [
    39,
    [policy({ podSelector: {}, ingress: [{ ports: [{ port: 'http' }] }] })],
    [
      ['c a 80/TCP', true],
      ['c b 8080/TCP', true],
    ],
  ],
  [
    40,
    [policy({ podSelector: {}, ingress: [{ ports: [{ port: 'http' }] }] })],
    [
      ['c a 8080/TCP', false],
      ['c b 80/TCP', false],
    ],
  ],
  [
    41,
    [ingress({ ports: [{ port: 'http', protocol: 'UDP' }] })],
    [
      ['b a 80/TCP', false],
      ['b a 80/UDP', false],
    ],
  ],
  [
    42,
    [egress({ ports: [{ port: 'http' }] })],
    [
      ['a b 8080/TCP', true],
      ['a b 80/TCP', false],
    ],
  ],
  [
    44,
    [egress({ ports: [{ port: 'http' }] })],
    [
      ['a c 80/TCP', false],
      ['a out 80/TCP', false],
    ],
  ],
  [
    45,
    [ingress({ ports: [{ protocol: 'ICMP' }] })],
    [
      ['b a 80/TCP', false],
      ['b a 0/ICMP', false],
    ],
  ],
  [
    46,
    [policy({ podSelector: {} }), ...nodes],
    [
      ['n1 a 80/TCP', true],
      ['n2 a 80/TCP', false],
    ],
  ],
  [
    47,
    [policy({ podSelector: {}, policyTypes: ['Egress'] }), ...nodes],
    [
      ['a n1 80/TCP', true],
      ['a n2 80/TCP', false],
    ],
  ],
  [51, [policy({ podSelector: {}, policyTypes: ['Ingress', 'Egress'] })], [['a a 80/TCP', true]]],
  [
    66,
    [policy({ podSelector: {} })],
    [
      ['b a 1/TCP', false],
      ['b a 1/UDP', false],
      ['b a 1/SCTP', false],
      ['b a 0/ICMP', false],
    ],
  ],
  [67, [ingress({ ports: [{ port: 80 }, { protocol: 'UDP' }] })], [['b a 0/ICMP', false]]],
];

describe('the reference evaluator', () => {
  for (const [number, objects, rows] of statements) {
    test(`holds statement ${number}`, () => {
      for (const order of [objects, [...objects].reverse()]) {
        const reference = new Reference([...order, ...base]);
        for (const [asked, allowed] of rows) {
          const [from, to, port, protocol] = asked.split(/[ /]/) as [string, string, string, string];
          const verdict = reference.judge({
            source: names[from]!,
            destination: names[to]!,
            port: Number(port),
            protocol,
          });
          assert.equal(verdict.allowed, allowed, `${asked}: ${JSON.stringify(verdict)}`);
        }
      }
    });
  }

  const deny = policy({ podSelector: {} });
  const reach = (objects: object[], source: string, destination: string) =>
    new Reference(objects).judge({ source, destination, port: 80, protocol: 'TCP' }).allowed;

  test('counts sidecars’ ports and no other init container’s (43)', () => {
    const byName = policy({ podSelector: {}, ingress: [{ ports: [{ port: 'http' }] }] });
    for (const [restartPolicy, allowed] of [
      ['Always', true],
      [undefined, false],
    ] as const) {
      const spec = serving('http', 80, 'TCP', 'initContainers', { restartPolicy });
      assert.equal(reach([pod('x/a', '10.0.0.1', { spec }), byName], '203.0.113.9', '10.0.0.1'), allowed);
    }
  });

  test('never selects a hostNetwork pod nor takes its node’s address for a pod (49, 50)', () => {
    const host = pod('x/h', '192.168.0.1', { spec: { hostNetwork: true } });
    assert.equal(reach([host, deny], '203.0.113.9', '192.168.0.1'), true);
    const open = policy({
      podSelector: { matchLabels: { pod: 'a' } },
      ingress: [{ from: [{ podSelector: {} }] }],
    });
    assert.equal(
      reach(
        [pod('x/h', '192.168.0.2', { spec: { hostNetwork: true, nodeName: 'n2' } }), a, open],
        '192.168.0.2',
        '10.0.0.1',
      ),
      false,
    );
  });

  test('forgets finished pods at once, and gives their address to the living (59, 60)', () => {
    const finished = pod('x/old', '10.0.0.1', { labels: { pod: 'b' }, status: { phase: 'Succeeded' } });
    const open = policy({
      podSelector: {},
      ingress: [{ from: [{ podSelector: { matchLabels: { pod: 'b' } } }] }],
    });
    for (const objects of [
      [finished, b, open],
      [open, b, finished],
    ]) {
      assert.equal(reach(objects, '10.0.0.1', '10.0.0.2'), false);
    }
    const heir = pod('x/new', '10.0.0.1', { labels: { pod: 'b' } });
    assert.equal(reach([heir, finished, b, open], '10.0.0.1', '10.0.0.2'), true);
  });

  test('keeps a terminating pod enforced, and prefers the one that stays (60, 61)', () => {
    const leaving = pod('x/a', '10.0.0.1', { meta: { deletionTimestamp: '2024-01-01T00:00:00Z' } });
    assert.equal(reach([leaving, deny], '203.0.113.9', '10.0.0.1'), false);
    const staying = pod('y/a', '10.0.0.1');
    assert.equal(reach([leaving, staying, deny], '203.0.113.9', '10.0.0.1'), true);
  });

  test('takes the later life of a name, whichever is told first (62)', () => {
    const life = (uid: string, created: string, label: string) =>
      pod('x/b', '10.0.0.2', { labels: { pod: label }, meta: { uid, creationTimestamp: created } });
    const [early, late] = [life('1', '2024-01-01T00:00:00Z', 'a'), life('2', '2024-01-02T00:00:00Z', 'z')];
    const onlyA = policy(onA);
    for (const objects of [
      [early, late, onlyA],
      [late, early, onlyA],
    ]) {
      assert.equal(reach(objects, '203.0.113.9', '10.0.0.2'), true);
    }
  });

  test('is no worse for pods without an address or labels that are none (58)', () => {
    assert.equal(
      reach(
        [{ kind: 'Pod', metadata: { name: 'p' } }, pod('x/q', '10.0.0.9', { meta: { labels: 'x' } }), deny],
        '10.0.0.9',
        '203.0.113.9',
      ),
      true,
    );
  });

  test('says which rule decided, in the order of names, or which policies isolate', () => {
    const reference = new Reference([
      a,
      b,
      policy({ ...onA, ingress: [{}] }, 'z'),
      policy({ ...onA, ingress: [{ ports: [{ port: 1 }] }, {}] }, 'm'),
    ]);
    const verdict = reference.judge({
      source: '10.0.0.2',
      destination: '10.0.0.1',
      port: 80,
      protocol: 'TCP',
    });
    assert.deepEqual(verdict.ingress, {
      allowed: true,
      isolatedBy: ['x/m', 'x/z'],
      rule: { policy: 'x/m', index: 1 },
    });
    assert.deepEqual(verdict.egress, { allowed: true, isolatedBy: [] });
  });
});

test('the reference evaluator imports nothing but its own files', () => {
  const folder = join(repositoryRoot, 'src', 'policy');
  const files = readdirSync(folder).filter((name) => name.startsWith('evaluate'));
  assert.ok(files.length >= 5);
  for (const file of files) {
    for (const [, from] of readFileSync(join(folder, file), 'utf8').matchAll(/from '([^']+)'/g)) {
      assert.match(from!, /^\.\/evaluate-[a-z]+\.js$/, `${file} imports ${from}`);
    }
  }
});
