import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { switchErrorCodes } from '../../../src/dataplane/protocol/answers.js';
import { allCodes, errorCodes, findingCodes, labCodes } from '../../../src/errors/catalogue.js';
import { repositoryRoot } from '../../support/repository.js';

const sources = readdirSync(join(repositoryRoot, 'src'), { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.ts') && name !== join('errors', 'catalogue.ts'))
  .map((name) => ({ name, text: readFileSync(join(repositoryRoot, 'src', name), 'utf8') }));

const code = "'([a-z][a-z0-9]*(?:-[a-z0-9]+)*)'";
/** The forms in which a code is given: to a WeftError, as the member of a problem, to the small makers of problems. */
const forms = [
  new RegExp(`WeftError\\(\\s*${code}`, 'g'),
  new RegExp(`\\bcode:\\s*${code}`, 'g'),
  new RegExp(`\\b(?:refusal|report)\\(\\s*${code}`, 'g'),
  /\bwrong\(\s*'(config-[a-z-]+)'/g,
  new RegExp(`\\?\\s*'config-[a-z-]+'\\s*:\\s*${code}`, 'g'),
];

test('every code that the sources use is in the catalogue', () => {
  let found = 0;
  for (const { name, text } of sources) {
    for (const form of forms) {
      for (const match of text.matchAll(form)) {
        found++;
        assert.ok(
          match[1]! in allCodes,
          `${name} uses the code ${match[1]}: add it to src/errors/catalogue.ts`,
        );
      }
    }
  }
  assert.ok(found > 100, `only ${found} uses were found: the forms no longer fit the sources`);
});

test('every code of the catalogue is used somewhere', () => {
  const all = sources.map(({ text }) => text).join('\n');
  for (const name of Object.keys(allCodes)) assert.ok(all.includes(`'${name}'`), `nothing uses ${name}`);
});

test('the codes of the switch protocol are in the catalogue', () => {
  for (const name of switchErrorCodes) assert.ok(name in errorCodes, name);
});

test('codes are words with dashes, each with one sentence, and no code is in two lists', () => {
  for (const [name, sentence] of Object.entries(allCodes)) {
    assert.match(name, /^[a-z][a-z0-9]*(-[a-z0-9]+)*$/);
    assert.match(sentence, /^\S.*\.$/, name);
  }
  const lists = [errorCodes, findingCodes, labCodes].flatMap((list) => Object.keys(list));
  assert.equal(new Set(lists).size, lists.length);
});
