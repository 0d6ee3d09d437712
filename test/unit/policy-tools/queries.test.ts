/** Questions by name become packets: who is who, which family, which exemption. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { ask, denyAll, meta, node, other, pod } from '../../support/query-world.js';

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
      'a finished hostNetwork pod is no node, also where nobody knows the node’s address',
      [x, pod('z', ['192.168.0.9'], { spec: { hostNetwork: true }, status: { phase: 'Succeeded' } })],
      { from: 'a/z', to: 'a/x', port: 1 },
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
