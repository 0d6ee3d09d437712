import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { nextEpoch } from '../../../src/agent/epoch.js';
import { WeftError } from '../../../src/errors/problem.js';

function folder(t: TestContext) {
  const run = mkdtempSync(join(tmpdir(), 'weft-epoch-'));
  t.after(() => rmSync(run, { recursive: true }));
  return { run, file: join(run, 'agent.epoch') };
}
const later = () => 1_700_000_000_000;

test('each start on a run directory has a higher number; one that is lost is made of the clock', (t) => {
  const { run, file } = folder(t);
  assert.deepEqual([nextEpoch(run, later), nextEpoch(run, later), nextEpoch(run, later)], [1, 2, 3]);
  writeFileSync(file, 'rubbish');
  assert.deepEqual([nextEpoch(run, later), nextEpoch(run, later)], [later(), later() + 1]);
});

test('where no new file can be written the one that is there is changed, and where there is none the error says so', (t) => {
  const { run, file } = folder(t);
  // A folder in the way of the new file fails as a full disk does.
  mkdirSync(`${file}.new`);
  assert.throws(
    () => nextEpoch(run, later),
    (error) =>
      error instanceof WeftError &&
      error.code === 'epoch-write' &&
      /agent\.epoch \(EISDIR\)/.test(error.message),
  );
  writeFileSync(file, '9\n');
  assert.deepEqual([nextEpoch(run, later), nextEpoch(run, later)], [10, 11]);
  assert.equal(readFileSync(file, 'utf8'), '11\n');
});
