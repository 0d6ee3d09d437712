import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { caretFrame } from '../../../src/errors/caret.js';
import { closestName, editDistance } from '../../../src/errors/closest.js';

const known = ['workers', 'pollTime', 'drain', 'policyTypes', 'podSelector', 'mtu'];
const meant: readonly (readonly [string, string | null])[] = [
  ['workrs', 'workers'],
  ['polltime', 'pollTime'],
  ['policyType', 'policyTypes'],
  ['epolicyTypes', 'policyTypes'],
  ['posSelector', 'podSelector'],
  ['mut', 'mtu'],
  ['xyz', null],
  ['applicationPorts', null],
  ['', null],
];
for (const [found, expected] of meant) {
  test(`"${found}" is ${expected === null ? 'nothing that is known' : `meant as ${expected}`}`, () => {
    assert.equal(closestName(found, known), expected);
  });
}

test('the distance is 0 for equal names only, the same both ways, and one edit is 1', () => {
  const word = fc.string({ unit: fc.constantFrom('a', 'b', 'c'), maxLength: 8 });
  fc.assert(
    fc.property(word, word, fc.nat(8), (a, b, at) => {
      assert.equal(editDistance(a, b) === 0, a === b);
      assert.equal(editDistance(a, b), editDistance(b, a));
      assert.ok(editDistance(a, b) <= Math.max(a.length, b.length));
      const cut = Math.min(at, a.length);
      assert.equal(editDistance(a, `${a.slice(0, cut)}x${a.slice(cut)}`), 1);
    }),
    { numRuns: 300, seed: 6 },
  );
});

test('a caret frame shows the line and what of it is meant', () => {
  assert.equal(caretFrame('a\n  b: cd\n', 2, 6, 2), '2 |   b: cd\n  |      ^^');
  assert.equal(caretFrame('\tb', 1, 2), '1 | \tb\n  | \t^', 'a tab stays a tab');
  assert.equal(
    caretFrame('ab\r\ncd', 1, 3),
    '1 | ab\n  |   ^',
    'behind the end of a line, no carriage return',
  );
  assert.equal(caretFrame('a', 7, 1), '');
  const long = `${'x'.repeat(500)}HERE${'y'.repeat(500)}`;
  const [shown, carets] = caretFrame(long, 1, 501, 4).split('\n') as [string, string];
  assert.ok(shown.length < 130);
  assert.equal(shown.slice(carets.indexOf('^'), carets.lastIndexOf('^') + 1), 'HERE');
});
