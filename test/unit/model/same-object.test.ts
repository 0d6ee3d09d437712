import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import { sameObject } from '../../../src/model/same-object.js';

const table: readonly (readonly [string, unknown, unknown, boolean])[] = [
  ['another place of the same', { a: 1, source: { line: 1 } }, { a: 1, source: { line: 2 } }, true],
  ['a place and none', { a: [{ b: 1, source: {} }] }, { a: [{ b: 1 }] }, true],
  [
    'labels in another order',
    new Map([
      ['a', '1'],
      ['b', '2'],
    ]),
    new Map([
      ['b', '2'],
      ['a', '1'],
    ]),
    true,
  ],
  ['another value of a label', new Map([['a', '1']]), new Map([['a', '2']]), false],
  ['a label called source', new Map([['source', '1']]), new Map([['source', '2']]), false],
  ['another key', { a: 1 }, { b: 1 }, false],
  ['undefined and absent', { a: undefined }, {}, false],
  ['a list and an object', [], {}, false],
  ['a map and an object', new Map(), {}, false],
  ['null and an empty list: everyone and nobody', { peers: null }, { peers: [] }, false],
  ['another order of rules', [1, 2], [2, 1], false],
];
for (const [what, one, other, expected] of table) {
  test(`${what}: ${expected ? 'the same' : 'not the same'}`, () => {
    assert.equal(sameObject(one, other), expected);
    assert.equal(sameObject(other, one), expected);
  });
}

test('without places it is deep equality', () => {
  const value = fc.letrec((tie) => ({
    any: fc.oneof(
      fc.constantFrom(null, true, 0, 1, 'x'),
      fc.array(tie('any'), { maxLength: 2 }),
      fc.dictionary(fc.constantFrom('a', 'b'), tie('any'), { noNullPrototype: true }),
    ),
  })).any;
  fc.assert(
    fc.property(value, value, (one, other) => {
      assert.equal(sameObject(one, other), isDeepStrictEqual(one, other));
      assert.ok(sameObject(one, structuredClone(one)));
    }),
    { numRuns: 500, seed: 7 },
  );
});
