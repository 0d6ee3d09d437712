/**
 * Manifests with something wrong anywhere: a value replaced by another kind of value, a field renamed, a part removed. Nothing may throw, the
 * engines may not differ about what is left, and lint finds something to say wherever decoding had to narrow.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { lint } from '../../src/cli/lint/lint.js';
import { printText } from '../../src/cli/lint/print.js';
import { audit, printMarkdown } from '../../src/cli/policy/audit.js';
import { answerWorld } from '../../src/cli/policy/batch.js';
import { engineNamed } from '../../src/cli/policy/engines.js';
import { parseManifests } from '../../src/manifests/parse.js';
import { readManifests } from '../../src/manifests/read.js';
import { damage, damaged } from '../support/damage.js';
import { worlds } from '../support/worlds.js';

const seed = Number(process.env.WEFT_PROPERTY_SEED ?? 20240602);
const numRuns = Number(process.env.WEFT_PROPERTY_RUNS ?? 600);

test(`the engines agree about damaged worlds (seed ${seed})`, () => {
  fc.assert(
    fc.property(worlds, fc.array(damage, { minLength: 1, maxLength: 6, size: 'max' }), (world, damages) => {
      const broken = { ...world, objects: damaged(world.objects, damages) };
      const expected = answerWorld(broken, engineNamed('reference'));
      assert.deepEqual(answerWorld(broken, engineNamed('decoded')), expected);
      assert.deepEqual(answerWorld(broken, engineNamed('native')), expected);
    }),
    { seed, numRuns },
  );
});

test(`lint and audit of damaged manifests always come to an end (seed ${seed})`, () => {
  fc.assert(
    fc.property(worlds, fc.array(damage, { minLength: 1, maxLength: 6 }), ({ objects }, damages) => {
      const text = damaged(objects, damages)
        .map((object) => JSON.stringify(object, null, 1))
        .join('\n---\n');
      const manifests = readManifests(['-'], () => text);
      const findings = lint(manifests);
      printText(findings, manifests.texts, 1);
      printMarkdown(audit(manifests));
      for (const { line, column } of findings) assert.ok(line >= 1 && column >= 1);
    }),
    { seed, numRuns: Math.ceil(numRuns / 3) },
  );
});

test(`any text can be read (seed ${seed})`, () => {
  const piece = fc.constantFrom(
    'a',
    ': ',
    '- ',
    '\n',
    '  ',
    '{',
    '}',
    '[',
    ']',
    ',',
    '"',
    "'",
    '#',
    '&a ',
    '*a',
    '|',
    '>',
    '---\n',
    '? ',
    '!x ',
    '%',
    '\t',
    '<<',
    '\u0000',
    '\ud800',
    'kind: Pod\n',
    'metadata:\n',
    '@',
    '`',
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 40, size: 'max' }), (pieces) => {
      const { objects, problems } = parseManifests(pieces.join(''), 'x.yaml');
      for (const { source } of problems) assert.ok((source?.line ?? 0) >= 1);
      for (const object of objects) object.locate(['metadata', 'name']);
    }),
    { seed, numRuns: numRuns * 10 },
  );
});
