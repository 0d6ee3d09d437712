import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { address, addressOf } from '../../../src/net/address.js';
import { blockOf, type Cidr, cidr, compareBlocks, contains } from '../../../src/net/cidr.js';
import {
  buildTrie,
  linkParents,
  longestPrefix,
  Prefix,
  PrefixTable,
  trieNodes,
} from '../../../src/policy/prefix-table.js';

/** Few bits differ, so that prefixes nest, touch and repeat. */
const word = fc.constantFrom(0, 1, 0x80000000, 0xffffffff, 0xffff0000, 0x0a000000, 0x0a000001, 0x0a800000);
const addresses6 = fc
  .tuple(word, word, word, word)
  .map(addressOf)
  .filter(({ family }) => family === 6);
const addresses4 = word.map((value) => addressOf([0, 0, 0xffff, value]));
const blocks6 = fc
  .tuple(addresses6, fc.integer({ min: 0, max: 128 }))
  .map(([base, length]) => blockOf(base, length));
const blocks4 = fc
  .tuple(addresses4, fc.integer({ min: 0, max: 32 }))
  .map(([base, length]) => blockOf(base, length));

function distinct(blocks: readonly Cidr[]): Prefix[] {
  const byText = new Map(blocks.map((block) => [block.text, block]));
  return [...byText.values()].sort(compareBlocks).map((block) => new Prefix(block));
}

for (const [family, blocks, addresses] of [
  [4, blocks4, addresses4],
  [6, blocks6, addresses6],
] as const) {
  test(`the IPv${family} trie finds the longest prefix that contains an address`, () => {
    fc.assert(
      fc.property(
        fc.array(blocks, { maxLength: 20, size: 'max' }),
        fc.array(addresses, { minLength: 1, maxLength: 10 }),
        (given, probes) => {
          const prefixes = distinct(given);
          const root = buildTrie(family, prefixes);
          const bases = prefixes.map((prefix) => prefix.cidr.base);
          for (const probe of [...probes, ...bases]) {
            const holding = prefixes.filter((prefix) => contains(prefix.cidr, probe));
            const longest = holding.reduce<Prefix | null>(
              (best, prefix) => (best === null || prefix.cidr.length > best.cidr.length ? prefix : best),
              null,
            );
            assert.equal(longestPrefix(root, probe), longest, probe.text);
          }
        },
      ),
      { seed: 6, numRuns: 1000 },
    );
  });

  test(`the IPv${family} trie is compact: at most two nodes for a prefix, each deeper than its parent`, () => {
    fc.assert(
      fc.property(fc.array(blocks, { maxLength: 20, size: 'max' }), (given) => {
        const prefixes = distinct(given);
        const nodes = trieNodes(buildTrie(family, prefixes));
        assert.ok(nodes.length <= 2 * prefixes.length + 1);
        for (const node of nodes) {
          for (const child of [node.child0, node.child1])
            if (child !== null) assert.ok(child.depth > node.depth);
        }
        assert.equal(nodes.filter(({ prefix }) => prefix !== null).length, prefixes.length);
      }),
      { seed: 7, numRuns: 500 },
    );
  });

  test(`the parent of an IPv${family} prefix is the narrowest around it`, () => {
    fc.assert(
      fc.property(fc.array(blocks, { maxLength: 20, size: 'max' }), (given) => {
        const prefixes = distinct(given);
        linkParents(prefixes);
        for (const prefix of prefixes) {
          const around = prefixes.filter(
            (other) =>
              other !== prefix &&
              other.cidr.length < prefix.cidr.length &&
              contains(other.cidr, prefix.cidr.base),
          );
          const narrowest = around.sort((a, b) => b.cidr.length - a.cidr.length)[0] ?? null;
          assert.equal(prefix.parent, narrowest, prefix.cidr.text);
        }
      }),
      { seed: 8, numRuns: 500 },
    );
  });
}

test('prefixes are counted by use and forgotten when nobody names them', () => {
  const table = new PrefixTable();
  const one = table.acquire(cidr('10.0.0.0/8'));
  assert.equal(table.acquire(cidr('10.0.0.0/8')), one);
  assert.deepEqual(table.settle(), [cidr('10.0.0.0/8')]);
  assert.equal(table.find(address('10.1.2.3')), one);
  table.release(one);
  assert.deepEqual(table.settle(), []);
  table.release(one);
  assert.deepEqual(table.settle(), [cidr('10.0.0.0/8')]);
  assert.equal(table.find(address('10.1.2.3')), null);
  assert.equal(table.items.length, 0);
});
