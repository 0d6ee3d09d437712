import assert from 'node:assert/strict';
import type { NetworkInterfaceInfo } from 'node:os';
import { test } from 'node:test';
import fc from 'fast-check';
import IPCIDR from 'ip-cidr';
import { networkFindings } from '../../../src/cli/doctor/networks.js';
import { parseAddress } from '../../../src/net/address.js';
import { contains, parseCidr } from '../../../src/net/cidr.js';

/** An interface as Node.js tells it. */
function holding(cidr: string | null): NetworkInterfaceInfo {
  return {
    address: cidr?.split('/')[0] ?? '192.0.2.1',
    netmask: '',
    mac: '00:00:00:00:00:00',
    internal: false,
    cidr,
    family: 'IPv4',
  };
}

const pods = ['10.42.0.0/24', 'fd00:42::/64'];

const shared: readonly (readonly [cidr: string, with_: string])[] = [
  ['10.42.0.1/24', '10.42.0.0/24'], // cni0 that flannel left
  ['10.42.7.9/16', '10.42.0.0/24'], // a wider network around the pods
  ['10.42.0.200/30', '10.42.0.0/24'], // a narrower one among them
  ['10.42.0.9/32', '10.42.0.0/24'],
  ['fd00:42::1/64', 'fd00:42::/64'],
  ['fd00::7/16', 'fd00:42::/64'],
];

test('a network that shares addresses with the pods is named, with what to do', () => {
  for (const [cidr, block] of shared) {
    const [finding, ...rest] = networkFindings(
      pods,
      { lo: [holding('127.0.0.1/8')], cni0: [holding(cidr)] },
      'weft0',
    );
    assert.deepEqual([finding?.level, finding?.check, rest.length], ['warning', 'networks', 0], cidr);
    assert.ok(finding?.seen.includes(`cni0 has ${cidr}`) && finding.seen.endsWith(block), finding?.seen);
    assert.ok(finding?.remedy);
  }
});

test('networks beside the pods are well, and so is weft0 among them', () => {
  const interfaces = {
    lo: [holding('127.0.0.1/8'), holding('::1/128')],
    eth0: [
      holding('10.42.1.5/24'),
      holding('10.41.255.255/32'),
      holding('fd00:43::1/64'),
      holding('fe80::1/64'),
    ],
    tun0: [holding(null)],
    gone: undefined,
    weft0: [holding('10.42.0.1/32'), holding('fd00:42::1/128')],
  };
  assert.deepEqual(
    networkFindings(pods, interfaces, 'weft0').map(({ level, check }) => [level, check]),
    [['ok', 'networks']],
  );
  assert.deepEqual(networkFindings([], interfaces, 'weft0'), []);
});

test('ip-cidr and our own blocks agree on first address, length and what is inside', () => {
  const bits = (family: 4 | 6) => fc.integer({ min: 0, max: family === 4 ? 32 : 128 });
  const ipv4 = fc.tuple(fc.ipV4(), bits(4), fc.ipV4());
  const ipv6 = fc.tuple(fc.ipV6(), bits(6), fc.ipV6()).filter(([base, , probe]) => !/\./.test(base + probe));
  fc.assert(
    fc.property(fc.oneof(ipv4, ipv6), ([base, length, probe]) => {
      const text = `${base}/${length}`;
      const [block, value] = [parseCidr(text)?.cidr, parseAddress(probe)];
      // An IPv4-mapped block or address is IPv4 to us.
      if (
        block === undefined ||
        value === undefined ||
        (text.includes(':') && (block.family === 4 || value.family === 4))
      )
        return;
      const other = new IPCIDR(text);
      assert.equal(contains(block, value), other.contains(probe), `${text} ${probe}`);
      assert.equal(parseAddress(other.start<string>())?.text, block.base.text, text);
      assert.equal(other.address.subnetMask, block.length, text);
    }),
  );
});
