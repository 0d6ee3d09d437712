import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { ImageReader } from '../../../src/dataplane/image-reader.js';

test('a file is read whole, whatever was read before it; what is none is told', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'weft-image-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const reader = new ImageReader();
  const file = join(folder, 'image');
  const read = (bytes: Buffer) => {
    writeFileSync(file, bytes);
    assert.deepEqual(reader.read(file), bytes);
  };
  for (const size of [1000, 10, 1100, 0, 100_000, 99_999, 9 * 1024 * 1024, 5])
    read(Buffer.alloc(size, size % 251));
  const refusal = (path: string) => {
    const answer = reader.read(path);
    assert.ok(!Buffer.isBuffer(answer));
    return [answer.status, answer.error?.code];
  };
  assert.deepEqual(refusal(join(folder, 'none')), ['refused', 'image-read']);
  assert.deepEqual(refusal(folder), ['refused', 'image-read']);
  // Nobody will ever write to it.
  execFileSync('mkfifo', [join(folder, 'pipe')]);
  assert.deepEqual(refusal(join(folder, 'pipe')), ['refused', 'image-read']);
});
