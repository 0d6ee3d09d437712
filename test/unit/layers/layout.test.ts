/** Holds the layout in ARCHITECTURE.md, and every path that the documents name, against the tree. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { repositoryRoot } from '../../support/repository.js';

const read = (name: string) => readFileSync(join(repositoryRoot, name), 'utf8');
const foldersIn = (name: string) =>
  readdirSync(join(repositoryRoot, name), { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name)
    .sort();

test('the layout of ARCHITECTURE.md names every folder of src, native and test, and no other', () => {
  const architecture = read('ARCHITECTURE.md');
  for (const folder of ['src', 'native', 'test']) {
    const line = new RegExp(`^${folder}/ +(.*)$`, 'm').exec(architecture)?.[1] ?? '';
    const named = [...line.matchAll(/([a-z0-9-]+)\/(?:[a-z-]+\/)*/g)].map((match) => match[1] as string);
    assert.deepEqual(named.sort(), foldersIn(folder), folder);
  }
});

test('what the documents name is there', () => {
  const missing: string[] = [];
  for (const document of ['README.md', 'ARCHITECTURE.md', 'CONTRIBUTING.md', 'SECURITY.md']) {
    const text = read(document);
    const paths = [
      ...text.matchAll(/(?<![\w./-])(?:src|native|test|config|deploy|bench)\/[\w./-]*\w/g),
      ...text.matchAll(/\]\((?!https?:)([^)#]+)\)/g),
    ].map((match) => match[1] ?? match[0]);
    for (const path of new Set(paths))
      if (![path, `${path}.h`].some((place) => existsSync(join(repositoryRoot, place))))
        missing.push(`${document}: ${path}`);
  }
  assert.deepEqual(missing, []);
});
