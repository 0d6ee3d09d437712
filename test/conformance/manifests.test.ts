/** What the API server accepts and refuses, and what lint must find in the given files. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { lint } from '../../src/cli/lint/lint.js';
import { manifestsOf } from '../../src/manifests/parse.js';
import { readManifests } from '../../src/manifests/read.js';
import { validateObjects } from '../../src/manifests/validate.js';
import { apiCases, casesFolder } from '../support/conformance.js';

describe('validation agrees with the API server', () => {
  const cases = apiCases();
  assert.ok(cases.length >= 6);
  for (const { id, valid, policy } of cases) {
    test(`${id} is ${valid ? 'accepted' : 'refused'}`, () => {
      const { objects } = manifestsOf([policy], { file: id });
      const errors = validateObjects(objects).filter((problem) => problem.severity === 'error');
      assert.equal(errors.length === 0, valid, JSON.stringify(errors));
    });
  }
});

interface Expected {
  readonly severity: string;
  readonly line: number;
  readonly names: readonly string[];
}

describe('lint finds what it must', () => {
  const expected: Record<string, Expected[]> = JSON.parse(
    readFileSync(join(casesFolder, 'lint', 'expected.json'), 'utf8'),
  ).files;
  for (const [file, list] of Object.entries(expected)) {
    test(`in ${file}`, () => {
      const path = join(casesFolder, 'lint', file);
      assert.ok(existsSync(path));
      const findings = lint(readManifests([path]));
      for (const { severity, line, names } of list) {
        const found = findings.filter((finding) => finding.line === line && finding.severity === severity);
        assert.ok(
          found.some((finding) =>
            names.every((name) => finding.message.includes(name) || finding.path.includes(name)),
          ),
          `line ${line} must have an ${severity} that names ${names.join(', ')}; it has ${JSON.stringify(found)}`,
        );
      }
    });
  }
});
