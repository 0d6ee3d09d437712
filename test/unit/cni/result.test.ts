/** Results in every version, chains, and what CHECK finds. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { findings } from '../../../src/cni/check.js';
import type { SeenInterface } from '../../../src/cni/namespace-report.js';
import { appendResult, type CniResult, readResult, writeResult } from '../../../src/cni/result.js';
import { cniVersions } from '../../../src/cni/version.js';

const own: CniResult = {
  interfaces: [{ name: 'eth0', mac: '02:00:00:00:00:01', mtu: 1500, sandbox: '/run/netns/a' }],
  ips: [
    { interface: 0, address: '10.42.0.5/32', gateway: '169.254.1.1' },
    { interface: 0, address: 'fd00::5/128', gateway: 'fe80::1' },
  ],
  routes: [
    { dst: '0.0.0.0/0', gw: '169.254.1.1', mtu: 1400, table: 254 },
    { dst: '::/0', gw: 'fe80::1' },
  ],
  dns: {},
};

const old = {
  interfaces: [{ name: 'eth0', mac: '02:00:00:00:00:01', sandbox: '/run/netns/a' }],
  ips: [
    { version: '4', interface: 0, address: '10.42.0.5/32', gateway: '169.254.1.1' },
    { version: '6', interface: 0, address: 'fd00::5/128', gateway: 'fe80::1' },
  ],
  routes: [
    { dst: '0.0.0.0/0', gw: '169.254.1.1' },
    { dst: '::/0', gw: 'fe80::1' },
  ],
};
const golden: Readonly<Record<string, object>> = {
  '0.3.0': { cniVersion: '0.3.0', ...old },
  '0.3.1': { cniVersion: '0.3.1', ...old },
  '0.4.0': { cniVersion: '0.4.0', ...old },
  '1.0.0': { cniVersion: '1.0.0', ...old, ips: own.ips },
  '1.1.0': { cniVersion: '1.1.0', interfaces: own.interfaces, ips: own.ips, routes: own.routes },
};

for (const version of cniVersions)
  test(`a result in ${version} has that version's fields and no newer ones, and reads back`, () => {
    const written = writeResult(own, version);
    assert.deepEqual(written, golden[version]);
    assert.deepEqual(writeResult(readResult(written, 'prevResult'), version), written);
  });

test('a result with nothing in it has nothing in it', () => {
  const nothing: CniResult = { interfaces: [], ips: [], routes: [], dns: {} };
  assert.deepEqual(writeResult(nothing, '0.4.0'), { cniVersion: '0.4.0' });
  assert.deepEqual(readResult({ cniVersion: '0.4.0', dns: {} }, 'prevResult'), nothing);
});

test('behind another plugin the result has what that made too, and indexes point to the right interface', () => {
  const previous = readResult(
    {
      cniVersion: '1.0.0',
      interfaces: [
        { name: 'cni0', mac: '02:00:00:00:00:99' },
        { name: 'net1', sandbox: '/run/netns/a' },
      ],
      ips: [{ address: '192.0.2.5/24', interface: 1, gateway: '192.0.2.1' }, { address: '192.0.2.9/24' }],
      routes: [{ dst: '198.51.100.0/24' }],
      dns: { nameservers: ['192.0.2.53'], search: ['a'], domain: 'b', options: ['ndots:2'] },
    },
    'prevResult',
  );
  const both = appendResult(previous, own);
  assert.deepEqual(
    both.interfaces.map(({ name }) => name),
    ['cni0', 'net1', 'eth0'],
  );
  assert.deepEqual(
    both.ips.map((one) => [one.address, one.interface]),
    [
      ['192.0.2.5/24', 1],
      ['192.0.2.9/24', undefined],
      ['10.42.0.5/32', 2],
      ['fd00::5/128', 2],
    ],
  );
  assert.equal(both.routes.length, 3);
  assert.deepEqual(both.dns, previous.dns);
  assert.deepEqual(appendResult(previous, { ...own, dns: { domain: 'ours' } }).dns, { domain: 'ours' });
});

const attachment = {
  ifname: 'eth0',
  netns: '/run/netns/a',
  addresses: ['10.42.0.5', 'fd00::5'],
  gateways: ['169.254.1.1', 'fe80::1'],
};
const seen: SeenInterface = {
  name: 'eth0',
  kind: 'tun',
  mac: '02:00:00:00:00:01',
  mtu: 1500,
  up: true,
  addresses: ['10.42.0.5/32', 'fd00::5/128', 'fe80::abc/64'],
  routes: [
    { dst: '169.254.1.1/32' },
    { dst: '0.0.0.0/0', gw: '169.254.1.1' },
    { dst: '::/0', gw: 'fe80::1' },
  ],
};

test('CHECK finds nothing where all is as ADD left it', () => {
  assert.deepEqual(findings(own, attachment, seen), []);
  // Another plugin of the chain made these, or changed them and said so.
  const chained = appendResult(
    {
      interfaces: [{ name: 'net1' }],
      ips: [{ address: '192.0.2.5/24', interface: 0 }],
      routes: [{ dst: '198.51.100.0/24', gw: '192.0.2.1' }],
      dns: {},
    },
    own,
  );
  assert.deepEqual(findings(chained, attachment, seen), []);
  const moved: CniResult = { ...own, interfaces: [{ ...own.interfaces[0]!, mac: '02:00:00:00:00:77' }] };
  assert.deepEqual(findings(moved, attachment, { ...seen, mac: '02:00:00:00:00:77' }), []);
  assert.deepEqual(findings({ ...own, routes: [] }, attachment, { ...seen, routes: [] }), []);
});

const broken: readonly (readonly [string, CniResult, SeenInterface | null, RegExp])[] = [
  ['the interface is gone', own, null, /interface eth0 is not in/],
  ['the interface is no TAP', own, { ...seen, kind: 'veth' }, /no TAP/],
  ['the MAC is another', own, { ...seen, mac: '02:00:00:00:00:02' }, /MAC 02:00:00:00:00:02 and not/],
  ['the interface is down', own, { ...seen, up: false }, /is down/],
  [
    'an address is gone',
    own,
    { ...seen, addresses: ['10.42.0.5/32'] },
    /address fd00::5\/128 is not on eth0/,
  ],
  [
    'an address has another length',
    own,
    { ...seen, addresses: ['10.42.0.5/24', 'fd00::5/128'] },
    /10\.42\.0\.5\/32 is not/,
  ],
  [
    'a route is gone',
    own,
    { ...seen, routes: [{ dst: '::/0', gw: 'fe80::1' }] },
    /route to 0\.0\.0\.0\/0 by 169\.254\.1\.1/,
  ],
  [
    'the result is of another interface',
    { ...own, interfaces: [{ name: 'eth1' }] },
    seen,
    /lists no interface eth0/,
  ],
  [
    'the result is of another namespace',
    { ...own, interfaces: [{ name: 'eth0', sandbox: '/x' }] },
    seen,
    /lists no interface/,
  ],
  ['an address is held that the result lacks', { ...own, ips: own.ips.slice(0, 1) }, seen, /fd00::5 is held/],
];
for (const [what, result, there, expected] of broken)
  test(`CHECK finds that ${what}`, () => {
    assert.match(findings(result, attachment, there).join(' '), expected);
  });
