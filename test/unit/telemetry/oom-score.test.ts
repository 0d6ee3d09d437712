/** Whom the kernel spares when memory runs out, over a folder that plays /proc. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { spareFromOom } from '../../../src/telemetry/oom-score.js';

test('a score is lowered and never raised, 0 asks for nothing, and a refusal says what would help', (context) => {
  const proc = mkdtempSync(join(tmpdir(), 'weft-oom-'));
  context.after(() => rmSync(proc, { recursive: true, force: true }));
  const file = (pid: number) => join(proc, String(pid), 'oom_score_adj');
  for (const [pid, score] of [
    [1, '0\n'],
    [2, '-999\n'],
    [3, '500\n'],
  ] as const) {
    mkdirSync(join(proc, String(pid)));
    writeFileSync(file(pid), score);
  }
  assert.equal(spareFromOom(0, [1, 2, 3], proc), null);
  assert.equal(readFileSync(file(3), 'utf8'), '500\n');
  assert.equal(spareFromOom(-900, [1, 2, 3], proc), null);
  assert.deepEqual(
    [1, 2, 3].map((pid) => Number(readFileSync(file(pid), 'utf8'))),
    [-900, -999, -900],
  );
  assert.match(spareFromOom(-900, [4], proc) ?? '', /ENOENT.*CAP_SYS_RESOURCE/);
});
