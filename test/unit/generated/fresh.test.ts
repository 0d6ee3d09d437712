import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { generatedFiles } from '../../../native/generate/generate.js';
import { dropReasons } from '../../../src/errors/drop-reasons.js';

/** The repository: the nearest folder, from here or from the working directory upwards, that holds the native sources. */
function repositoryRoot(): string {
  for (const start of [dirname(fileURLToPath(import.meta.url)), process.cwd()]) {
    for (let folder = start; folder !== dirname(folder); folder = dirname(folder)) {
      if (existsSync(join(folder, 'native/CMakeLists.txt'))) return folder;
    }
  }
  throw new Error('run this test from inside the repository');
}

for (const { path, make } of generatedFiles) {
  test(`${path} is what the generator makes from its table`, () => {
    const found = readFileSync(join(repositoryRoot(), path), 'utf8');
    assert.equal(found, make(), `${path} is stale: run \`npm run generate\` and commit the result`);
  });
}

test('drop reasons have unique names, an 8-bit number and a help sentence', () => {
  const names = dropReasons.map((reason) => reason.name);
  assert.equal(new Set(names).size, names.length);
  assert.ok(dropReasons.length < 255);
  for (const reason of dropReasons) {
    assert.match(reason.name, /^[a-z][a-z0-9-]*[a-z0-9]$/);
    assert.match(reason.help, /^[A-Z].*\.$/);
  }
});
