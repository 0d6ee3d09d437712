import assert from 'node:assert/strict';
import { isIPv4, isIPv6 } from 'node:net';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  address,
  addressBytes,
  addressOf,
  compareAddresses,
  parseAddress,
} from '../../../src/net/address.js';

const canonical: readonly (readonly [given: string, text: string])[] = [
  ['10.0.0.1', '10.0.0.1'],
  ['255.255.255.255', '255.255.255.255'],
  ['::', '::'],
  ['::1', '::1'],
  ['1::', '1::'],
  ['FD00:0:0:0:0:0:0:0001', 'fd00::1'],
  ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
  ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
  ['::ffff:10.0.0.1', '10.0.0.1'],
  ['::ffff:a00:1', '10.0.0.1'],
  ['64:ff9b::10.0.0.1', '64:ff9b::a00:1'],
];

test('text is canonical as RFC 5952 has it, and an IPv4-mapped address is IPv4', () => {
  for (const [given, text] of canonical) assert.equal(parseAddress(given)?.text, text, given);
});

const refused = [
  '',
  '10.0.0',
  '10.0.0.256',
  '10.0.0.01',
  '1.2.3.4.5',
  ' 10.0.0.1',
  '10.0.0.1/32',
  '0x0a.0.0.1',
  ':::',
  '1::2::3',
  '1:2:3:4:5:6:7',
  '1:2:3:4:5:6:7:8:9',
  '1:2:3:4:5:6:7::8',
  '12345::',
  'g::',
  'fe80::1%eth0',
  '::10.0.0',
  ':1:2:3:4:5:6:7',
  '1:2:3:4:5:6:7:',
];

test('what is no address is refused', () => {
  for (const text of refused) assert.equal(parseAddress(text), undefined, text);
});

test('Node.js agrees on what is an address', () => {
  const part = fc.oneof(
    fc.constantFrom('', '0', '1', 'ffff', '10.0.0.1', '::', '01'),
    fc.stringMatching(/^[0-9a-f.:]{0,6}$/),
  );
  const text = fc.oneof(
    fc.array(part, { maxLength: 9 }).map((parts) => parts.join(':')),
    fc
      .array(fc.integer({ min: 0, max: 300 }), { minLength: 3, maxLength: 5 })
      .map((parts) => parts.join('.')),
    fc.ipV6(),
    fc.ipV4(),
  );
  fc.assert(
    fc.property(text, (given) => {
      assert.equal(parseAddress(given) !== undefined, isIPv4(given) || isIPv6(given), given);
    }),
    { seed: 1, numRuns: 3000 },
  );
});

test('reading the canonical text gives the same address', () => {
  const word = fc.oneof(fc.constantFrom(0, 1, 0xffff, 0xffff0000), fc.integer({ min: 0, max: 0xffffffff }));
  fc.assert(
    fc.property(fc.tuple(word, word, word, word), (words) => {
      const made = addressOf(words);
      assert.deepEqual(parseAddress(made.text), made);
    }),
    { seed: 2, numRuns: 2000 },
  );
});

test('order is that of the bytes', () => {
  const sorted = ['::', '::1', '10.0.0.1', '10.0.0.2', '192.168.0.1', '64:ff9b::1', 'fd00::1'].map(address);
  const shuffled = [...sorted].reverse().sort(compareAddresses);
  assert.deepEqual(shuffled, sorted);
  const byBytes = [...sorted].sort((a, b) => Buffer.compare(addressBytes(a), addressBytes(b)));
  assert.deepEqual(byBytes, sorted);
});
