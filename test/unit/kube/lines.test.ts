import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { LineCutter } from '../../../src/kube/lines.js';

function cut(bytes: Buffer, at: readonly number[], longest = 1 << 20): { lines: string[]; tooLong: number } {
  const result = { lines: [] as string[], tooLong: 0 };
  const cutter = new LineCutter(
    longest,
    (line) => result.lines.push(line),
    () => result.tooLong++,
  );
  const places = [...new Set(at.map((place) => place % (bytes.length + 1)))].sort((a, b) => a - b);
  let start = 0;
  for (const place of [...places, bytes.length]) {
    cutter.push(bytes.subarray(start, place));
    start = place;
  }
  return result;
}

test('lines are the same however the bytes are cut, characters of several bytes included', () => {
  fc.assert(
    fc.property(
      fc.array(fc.string({ unit: 'grapheme', maxLength: 12 }).filter((line) => !line.includes('\n'))),
      fc.array(fc.nat(500)),
      (lines, at) => {
        const bytes = Buffer.from(lines.map((line) => `${line}\n`).join(''));
        assert.deepEqual(
          cut(bytes, at).lines,
          lines.filter((line) => line !== '' && line !== '\r'),
        );
      },
    ),
    { numRuns: 300, seed: 3 },
  );
});

test('a line without its end is not told', () => {
  assert.deepEqual(cut(Buffer.from('a\nb'), []), { lines: ['a'], tooLong: 0 });
});

test('a line that is too long is told once and passed over; those after it come', () => {
  const bytes = Buffer.from(`short\n${'x'.repeat(5000)}\nafter\n`);
  for (const at of [[], [10], [7, 900, 2000, 5006, 5007]])
    assert.deepEqual(cut(bytes, at, 100), { lines: ['short', 'after'], tooLong: 1 });
});
