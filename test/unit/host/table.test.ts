/** The nft table as text, and which host ports collide. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { collide, type HostPortWish, hostPortsOf, unreachable } from '../../../src/host/host-port.js';
import { type HostState, needsLocalnet, tableText } from '../../../src/host/table.js';
import { parseAddress } from '../../../src/net/address.js';
import { cidr } from '../../../src/net/cidr.js';

const address = (text: string) => parseAddress(text)!;
const wish = (hostPort: number, more: Partial<HostPortWish> = {}): HostPortWish => ({
  protocol: 'TCP',
  hostPort,
  containerPort: 80,
  hostIP: '',
  ...more,
});
const state: HostState = {
  interface: 'weft0',
  pods: [cidr('10.42.0.0/24'), cidr('fd42::/112')],
  own: [address('10.42.0.1'), address('fd42::1')],
  node: [address('192.168.0.1'), address('fd00::1')],
  cluster: [cidr('10.42.0.0/24'), cidr('10.42.1.0/24'), cidr('fd42::/112')],
  nodes: [address('192.168.0.1'), address('192.168.0.2'), address('fd00::1')],
  masquerade: true,
  hostPorts: [],
};
const ports = (wishes: readonly HostPortWish[], ...to: readonly string[]) =>
  hostPortsOf(wishes, to.map(address), parseAddress);

test('two wishes for a host port collide where both would answer', () => {
  const rows: readonly [HostPortWish, HostPortWish, boolean][] = [
    [wish(80), wish(80), true],
    [wish(80), wish(81), false],
    [wish(80), wish(80, { protocol: 'UDP' }), false],
    [wish(80), wish(80, { hostIP: '192.168.0.1' }), true],
    [wish(80, { hostIP: '192.168.0.1' }), wish(80, { hostIP: '192.168.0.1' }), true],
    [wish(80, { hostIP: '192.168.0.1' }), wish(80, { hostIP: '127.0.0.1' }), false],
    [wish(80, { hostIP: '0.0.0.0' }), wish(80, { hostIP: '127.0.0.1' }), true],
    [wish(80, { hostIP: '0.0.0.0' }), wish(80, { hostIP: 'fd00::1' }), false],
    [wish(80, { hostIP: '0.0.0.0' }), wish(80, { hostIP: '::' }), false],
    [wish(80, { hostIP: '::' }), wish(80), true],
  ];
  for (const [one, other, expected] of rows) {
    assert.equal(collide(one, other), expected, JSON.stringify([one, other]));
    assert.equal(collide(other, one), expected, JSON.stringify([other, one]));
  }
});

test('a wish is a port in each family of the pod that its hostIP leaves', () => {
  const both = ['10.42.0.5', 'fd42::5'];
  const shown = (wishes: readonly HostPortWish[]) =>
    ports(wishes, ...both).map(({ at, to }) => `${at?.text ?? '*'} ${to.text}`);
  assert.deepEqual(shown([wish(80)]), ['* 10.42.0.5', '* fd42::5']);
  assert.deepEqual(shown([wish(80, { hostIP: '0.0.0.0' })]), ['* 10.42.0.5']);
  assert.deepEqual(shown([wish(80, { hostIP: '::' })]), ['* fd42::5']);
  assert.deepEqual(shown([wish(80, { hostIP: 'fd00::1' })]), ['fd00::1 fd42::5']);
});

test('the text is the same whatever the order of what it is made from', () => {
  const hostPorts = [
    ...ports([wish(8080), wish(53, { protocol: 'UDP', hostIP: '192.168.0.1' })], '10.42.0.5', 'fd42::5'),
    ...ports([wish(9090, { protocol: 'SCTP' })], '10.42.0.6'),
  ];
  const reversed = Object.fromEntries(
    Object.entries({ ...state, hostPorts }).map(([key, value]) => [
      key,
      Array.isArray(value) && key !== 'node' ? [...value].reverse() : value,
    ]),
  ) as unknown as HostState;
  assert.equal(tableText(reversed), tableText({ ...state, hostPorts }));
});

test('what is not there leaves no rule', () => {
  const four = tableText({ ...state, pods: [cidr('10.42.0.0/24')], cluster: [], nodes: [], own: [] });
  assert.doesNotMatch(four, /ip6|ipv6|dnat|cluster|nodes/);
  assert.match(four, /ip saddr @pods4 masquerade/);
  const bare = tableText({ ...state, masquerade: false });
  assert.doesNotMatch(bare, /masquerade/);
  // Own sockets are still seen as the node.
  assert.match(bare, /snat ip to 192\.168\.0\.1/);
});

test('addresses of nodes are outside, even where a pod CIDR has them', () => {
  const text = tableText(state);
  const nodes = text.indexOf('ip daddr @nodes4 masquerade');
  assert.ok(nodes > 0 && nodes < text.indexOf('ip daddr != @cluster4 masquerade'), text);
});

test('the kernel is asked to route 127.0.0.1 only where a host port answers there', () => {
  const needs = (...wishes: readonly HostPortWish[]) =>
    needsLocalnet({ ...state, hostPorts: ports(wishes, '10.42.0.5', 'fd42::5') });
  assert.equal(needs(), false);
  assert.equal(needs(wish(80)), true);
  assert.equal(needs(wish(80, { hostIP: '192.168.0.1' })), false);
  assert.equal(needs(wish(80, { hostIP: '127.0.0.1' })), true);
  assert.equal(needs(wish(80, { hostIP: '::' })), false);
});

test('a host port at ::1 is told to answer nobody, and one everywhere is led away everywhere else', () => {
  const asked = ports(
    [wish(80, { hostIP: '::1' }), wish(81), wish(82, { hostIP: '127.0.0.1' })],
    '10.42.0.5',
    'fd42::5',
  );
  assert.deepEqual(
    unreachable(asked).map(({ code, message }) => [code, /80\/TCP at ::1.*\[fd42::5\]:80/.test(message)]),
    [['host-port-loopback', true]],
  );
  const text = tableText({ ...state, hostPorts: asked });
  // Of a neighbour's packet for 127.0.0.1 nothing is led away: the kernel is to refuse it.
  assert.match(
    text,
    /chain ports-in \{[^}]*ip daddr 127\.0\.0\.0\/8 return\s+fib daddr type local jump ports/,
  );
  assert.match(text, /ip6 daddr != ::1/);
});
