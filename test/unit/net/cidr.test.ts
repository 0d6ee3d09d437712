import assert from 'node:assert/strict';
import { BlockList } from 'node:net';
import { test } from 'node:test';
import fc from 'fast-check';
import { address } from '../../../src/net/address.js';
import { cidr, compareBlocks, contains, containsBlock, parseCidr } from '../../../src/net/cidr.js';

const read: readonly (readonly [given: string, text: string, notes: readonly string[]])[] = [
  ['10.0.0.0/8', '10.0.0.0/8', []],
  ['10.1.2.3/8', '10.0.0.0/8', ['host-bits']],
  ['0.0.0.0/0', '0.0.0.0/0', []],
  ['::/0', '::/0', []],
  ['fd00::1/16', 'fd00::/16', ['host-bits']],
  ['::ffff:10.0.0.0/104', '10.0.0.0/8', ['mapped']],
  ['::ffff:10.1.0.0/104', '10.0.0.0/8', ['mapped', 'host-bits']],
  ['::ffff:0:0/96', '0.0.0.0/0', ['mapped']],
  ['::ffff:0:0/80', '::/80', ['host-bits']],
  ['10.0.0.1/32', '10.0.0.1/32', []],
];

test('blocks are normalised and say what was put right', () => {
  for (const [given, text, notes] of read) {
    const parsed = parseCidr(given);
    assert.equal(parsed?.cidr.text, text, given);
    assert.deepEqual(parsed?.notes, notes, given);
  }
});

test('what is no block is refused', () => {
  for (const text of [
    '10.0.0.0',
    '10.0.0.0/33',
    '::/129',
    '10.0.0.0/',
    '10.0.0.0/08',
    '10.0.0.0/-1',
    '/8',
    'x/8',
    '10.0.0.0/8/8',
  ]) {
    assert.equal(parseCidr(text), undefined, text);
  }
});

test('an IPv4 block never holds IPv6 addresses, nor the other way round', () => {
  assert.equal(contains(cidr('0.0.0.0/0'), address('::1')), false);
  assert.equal(contains(cidr('::/0'), address('10.0.0.1')), false);
  assert.equal(containsBlock(cidr('::/0'), cidr('10.0.0.0/8')), false);
});

test('Node.js agrees on which addresses a block holds', () => {
  const near = fc.tuple(fc.ipV4(), fc.integer({ min: 0, max: 32 }), fc.integer({ min: 0, max: 31 }));
  fc.assert(
    fc.property(near, ([base, length, flip]) => {
      const block = cidr(`${base}/${length}`);
      const [, , , word] = address(base).words;
      const other = (word ^ (1 << flip)) >>> 0;
      const probe = `${other >>> 24}.${(other >>> 16) & 255}.${(other >>> 8) & 255}.${other & 255}`;
      const list = new BlockList();
      list.addSubnet(base, length, 'ipv4');
      assert.equal(contains(block, address(probe)), list.check(probe, 'ipv4'), `${base}/${length} ${probe}`);
    }),
    { seed: 3, numRuns: 2000 },
  );
});

test('in order a block stands before everything inside of it', () => {
  const blocks = fc
    .tuple(fc.ipV6(), fc.integer({ min: 0, max: 128 }))
    .map(([base, length]) => cidr(`${base}/${length}`));
  fc.assert(
    fc.property(fc.array(blocks, { minLength: 2, maxLength: 8 }), (list) => {
      const sorted = [...list].sort(compareBlocks);
      sorted.forEach((inner, i) => {
        for (const outer of sorted.slice(i + 1)) {
          assert.ok(
            !containsBlock(outer, inner) || outer.text === inner.text,
            `${outer.text} after ${inner.text}`,
          );
        }
      });
    }),
    { seed: 4, numRuns: 500 },
  );
});
