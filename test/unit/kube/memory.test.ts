/**
 * What the source holds of 20,000 pods: at most 40 MB of heap. Measured in a process of its own, with the collector at hand; the bound of the
 * test is the issue's own. The measured figure is printed.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const measure = fileURLToPath(new URL('../../support/kube-memory.js', import.meta.url));

test('20,000 pods take at most 40 MB', (t) => {
  const output = execFileSync(process.execPath, ['--expose-gc', measure, '20000'], { encoding: 'utf8' });
  const { pods, megabytes } = JSON.parse(output) as { pods: number; megabytes: number };
  assert.equal(pods, 20_000);
  t.diagnostic(`${megabytes} MB`);
  assert.ok(megabytes < 40, `${megabytes} MB`);
});
