/** A fault in a policy keeps its isolation and matches nothing; everything else that cannot be read is absent. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { decodePod } from '../../../src/manifests/decode-pod.js';
import { decodePolicy } from '../../../src/manifests/decode-policy.js';
import { decodeEndpoints, decodeService } from '../../../src/manifests/decode-service.js';
import { parseManifests } from '../../../src/manifests/parse.js';

function decoded(spec: unknown, more: Record<string, unknown> = {}) {
  return decodePolicy({
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { name: 'p' },
    spec,
    ...more,
  })!;
}

describe('a policy', () => {
  const directions: [name: string, spec: unknown, ingress: boolean, egress: boolean][] = [
    ['without policyTypes isolates ingress', {}, true, false],
    ['without a spec isolates ingress', undefined, true, false],
    ['without policyTypes and with egress rules isolates both', { egress: [{}] }, true, true],
    ['without policyTypes and with an empty egress list isolates ingress', { egress: [] }, true, false],
    ['with empty policyTypes is like one without', { policyTypes: [], egress: [{}] }, true, true],
    ['with policyTypes Egress leaves ingress alone', { policyTypes: ['Egress'], ingress: [{}] }, false, true],
    ['with policyTypes that cannot be read isolates both', { policyTypes: ['ingress'] }, true, true],
    ['with policyTypes that are no list isolates both', { policyTypes: 'Ingress' }, true, true],
    ['with a field nobody knows isolates both', { policyType: ['Egress'] }, true, true],
    ['with a spec that is no mapping isolates both', 'x', true, true],
  ];
  for (const [name, spec, ingress, egress] of directions) {
    test(name, () => {
      const policy = decoded(spec);
      assert.deepEqual([policy.ingress !== null, policy.egress !== null], [ingress, egress]);
    });
  }

  const closed: [name: string, spec: unknown, more?: Record<string, unknown>][] = [
    ['whose podSelector cannot be read', { podSelector: { matchLabels: { app: 1 } }, ingress: [{}] }],
    ['with a field nobody knows in its spec', { posSelector: {}, ingress: [{}] }],
    ['with its rules outside of spec', {}, { ingress: [{}] }],
    ['with rules that are no list', { ingress: {} }],
    [
      'whose spec slid into the metadata',
      undefined,
      { metadata: { name: 'p', namespace: 'default', spec: { ingress: [{}] } } },
    ],
    ['whose rules slid into the metadata', {}, { metadata: { name: 'p', namespace: 'default', egress: [] } }],
  ];
  for (const [name, spec, more] of closed) {
    test(`${name} selects every pod of its namespace and allows nothing`, () => {
      const policy = decoded(spec, more);
      assert.equal(policy.podSelector.text, '');
      assert.deepEqual(policy.ingress, []);
    });
  }

  const nothing: [name: string, rule: unknown][] = [
    ['a peer without fields', { from: [{}] }],
    ['a null peer', { from: [null] }],
    ['a peer with a null selector', { from: [{ podSelector: null }] }],
    ['a peer with an unknown field', { from: [{ podSelector: {}, serviceSelector: {} }] }],
    ['ipBlock beside a selector', { from: [{ podSelector: {}, ipBlock: { cidr: '10.0.0.0/8' } }] }],
    [
      'a selector that cannot be read',
      { from: [{ podSelector: { matchExpressions: [{ key: 'a', operator: 'In' }] } }] },
    ],
    ['a block that cannot be read', { from: [{ ipBlock: { cidr: '10.0.0.0/33' } }] }],
    [
      'an exception that cannot be read',
      { from: [{ ipBlock: { cidr: '10.0.0.0/8', except: ['10.0.0.1'] } }] },
    ],
    ['peers that are no list', { from: {} }],
    ['a rule with an unknown field', { form: [] }],
    ['a rule with a port among its peers', { from: [{ podSelector: {} }, { protocol: 'TCP', port: 80 }] }],
    ['a rule with a peer among its ports', { ports: [{ port: 80 }, { podSelector: {} }] }],
    ['a rule that is no mapping', 'all'],
    ['a protocol that cannot be named', { ports: [{ protocol: 'ICMP' }] }],
    ['endPort without port', { ports: [{ endPort: 90 }] }],
    ['endPort beside a name', { ports: [{ port: 'http', endPort: 90 }] }],
    ['endPort below port', { ports: [{ port: 90, endPort: 80 }] }],
    ['a number in quotes', { ports: [{ port: '80' }] }],
    ['a port that is out of range', { ports: [{ port: 65536 }] }],
    ['ports that are no list', { ports: 80 }],
  ];
  for (const [name, rule] of nothing) {
    test(`${name} matches nothing, and the rule stays in its place`, () => {
      const policy = decoded({ ingress: [rule, {}] });
      const [first, second] = policy.ingress!;
      const entries = [...(first?.peers ?? []), ...(first?.ports ?? [])];
      assert.ok(entries.length > 0 && entries.every((entry) => entry.kind === 'nothing'));
      assert.deepEqual([second?.peers, second?.ports], [null, null]);
    });
  }

  test('a null rule, and null peers and ports, mean everything, as in the API server', () => {
    for (const rule of [null, {}, { from: null, ports: null }, { from: [], ports: [] }]) {
      const [only] = decoded({ ingress: [rule] }).ingress!;
      assert.deepEqual([only?.peers, only?.ports], [null, null]);
    }
  });

  test('host bits are cleared and IPv4-mapped blocks become IPv4', () => {
    const [rule] = decoded({
      ingress: [
        { from: [{ ipBlock: { cidr: '10.1.2.3/8' } }, { ipBlock: { cidr: '::ffff:10.0.0.0/104' } }] },
      ],
    }).ingress!;
    assert.deepEqual(
      rule?.peers?.map((peer) => peer.kind === 'block' && peer.cidr.text),
      ['10.0.0.0/8', '10.0.0.0/8'],
    );
  });

  test('rules know their line', () => {
    const text =
      'apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p}\nspec:\n  ingress:\n  - {}\n  - ports:\n    - port: 1\n';
    const [origin] = parseManifests(text, 'x.yaml').objects;
    const rule = decodePolicy(origin!.value, origin)!.ingress![1]!;
    assert.deepEqual([rule.source?.line, rule.source?.path], [7, 'spec.ingress[1]']);
    assert.equal(rule.ports?.[0]?.source?.line, 8);
  });
});

describe('other objects', () => {
  test('a pod needs no more than a name; one with labels that are no labels is absent', () => {
    const pod = decodePod({ kind: 'Pod', metadata: { name: 'p' } })!;
    assert.deepEqual(
      [pod.namespace, pod.phase, pod.ready, pod.addresses.length],
      ['default', 'Running', true, 0],
    );
    assert.equal(decodePod({ kind: 'Pod', metadata: { name: 'p', labels: { a: 1 } } }), undefined);
    assert.equal(decodePod({ kind: 'Pod', metadata: {} }), undefined);
  });

  test('addresses come from podIPs, else from podIP, and what is no address is left out', () => {
    const addresses = (status: unknown) =>
      decodePod({ kind: 'Pod', metadata: { name: 'p' }, status } as never)!.addresses.map(({ text }) => text);
    assert.deepEqual(addresses({ podIPs: [{ ip: '10.0.0.1' }, { ip: 'FD00::1' }], podIP: '10.0.0.9' }), [
      '10.0.0.1',
      'fd00::1',
    ]);
    assert.deepEqual(addresses({ podIP: '::ffff:10.0.0.9' }), ['10.0.0.9']);
    assert.deepEqual(addresses({ podIPs: [{ ip: 'x' }] }), []);
  });

  test('a Service without a selector has none, also where it is empty; a headless one says so', () => {
    const service = (spec: unknown) =>
      decodeService({ kind: 'Service', metadata: { name: 's' }, spec } as never)!;
    assert.equal(service({ ports: [{ port: 80 }] }).selector, null);
    assert.equal(service({ selector: {} }).selector, null);
    assert.equal(service({ clusterIP: 'None' }).headless, true);
    assert.deepEqual(service({ ports: [{ port: 80 }] }).ports, [
      { name: '', protocol: 'TCP', port: 80, targetPort: 80 },
    ]);
    assert.equal(service({ sessionAffinity: 'ClientIP' }).affinitySeconds, 10_800);
  });

  test('Endpoints become one slice for each family', () => {
    const slices = decodeEndpoints({
      kind: 'Endpoints',
      metadata: { name: 's' },
      subsets: [
        {
          addresses: [{ ip: '10.0.0.1' }, { ip: 'fd00::1' }],
          notReadyAddresses: [{ ip: '10.0.0.2' }],
          ports: [{ name: 'http', port: 80 }],
        },
      ],
    });
    assert.deepEqual(
      slices.map(({ family, endpoints }) => [
        family,
        endpoints.map(({ addresses, ready }) => `${addresses[0]?.text} ${ready}`),
      ]),
      [
        [4, ['10.0.0.1 true', '10.0.0.2 false']],
        [6, ['fd00::1 true']],
      ],
    );
  });
});
