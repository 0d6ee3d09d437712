/**
 * Expected verdicts, written beside the policies they are about:
 *
 *     manifests: [./policies, ./apps]      # relative to this file; without it, everything in this file's folder
 *     ownNodeEgress: allow                 # optional, as the option policy.ownNodeEgress
 *     tests:
 *       - name: only the backend reaches the database
 *         from: [web/backend, 203.0.113.9] # one end or a list; each pair is one test
 *         to: db/mysql:3306/TCP
 *         family: 4                        # optional
 *         expect: allow                    # or deny
 *
 * A file may hold several such documents, and Kubernetes objects beside them, which then are the manifests.
 */
import path from 'node:path';
import { closestName } from '../../errors/closest.js';
import type { Problem } from '../../errors/problem.js';
import { type FieldPath, formatPath, type ManifestObject } from '../../manifests/object.js';
import { isAbsent, isPlainObject } from '../../manifests/plain.js';

export interface ExpectedVerdict {
  readonly name: string;
  readonly from: string;
  readonly to: string;
  readonly family?: 4 | 6;
  readonly allowed: boolean;
  readonly file: string;
  readonly line: number;
}

export interface TestSuite {
  readonly file: string;
  /** Absolute or relative to the working directory; undefined: the document names none. */
  readonly manifests?: readonly string[];
  readonly ownNodeEgress?: 'allow' | 'judge';
  readonly tests: readonly ExpectedVerdict[];
}

/** Whether a document is a suite and no Kubernetes object. */
export function isTestSuite({ value }: ManifestObject): boolean {
  return isAbsent(value.kind) && Array.isArray(value.tests);
}

const suiteFields = ['manifests', 'ownNodeEgress', 'tests'];
const testFields = ['name', 'from', 'to', 'family', 'expect'];

/** The suite, and what is wrong with it; tests that are wrong are left out of it. */
export function readSuite(origin: ManifestObject): { suite: TestSuite; problems: readonly Problem[] } {
  const problems: Problem[] = [];
  const fail = (at: FieldPath, message: string, fix: string) => {
    problems.push({ code: 'test-file', severity: 'error', message, fix, source: origin.locate(at) });
  };
  const { value, file } = origin;
  checkFields(value, suiteFields, [], fail);
  let manifests: string[] | undefined;
  if (!isAbsent(value.manifests)) {
    manifests = [value.manifests].flat().filter((entry) => typeof entry === 'string');
    if (manifests.length === 0) {
      fail(['manifests'], 'manifests must be a path or a list of paths.', 'Write manifests: [./policies].');
    }
    manifests = manifests.map((entry) => path.join(path.dirname(file), entry));
  }
  const { ownNodeEgress } = value;
  if (!isAbsent(ownNodeEgress) && ownNodeEgress !== 'allow' && ownNodeEgress !== 'judge') {
    fail(['ownNodeEgress'], 'ownNodeEgress must be allow or judge.', 'Write allow, or leave it out.');
  }
  const tests = (value.tests as unknown[]).flatMap((entry, index) =>
    readTest(entry, ['tests', index], origin, fail),
  );
  return {
    suite: {
      file,
      ...(manifests === undefined ? {} : { manifests }),
      ...(ownNodeEgress === 'allow' || ownNodeEgress === 'judge' ? { ownNodeEgress } : {}),
      tests,
    },
    problems,
  };
}

type Fail = (at: FieldPath, message: string, fix: string) => void;

function checkFields(value: object, known: readonly string[], at: FieldPath, fail: Fail): void {
  for (const field of Object.keys(value)) {
    if (known.includes(field)) continue;
    const near = closestName(field, known);
    fail(
      [...at, field],
      `"${field}" is no field here.`,
      near === null ? `Fields are ${known.join(', ')}.` : `Write ${near}.`,
    );
  }
}

function readTest(entry: unknown, at: FieldPath, origin: ManifestObject, fail: Fail): ExpectedVerdict[] {
  if (!isPlainObject(entry)) {
    fail(at, `${formatPath(at)} must be a mapping.`, 'Write from, to and expect.');
    return [];
  }
  checkFields(entry, testFields, at, fail);
  const from = endsOf(entry.from, [...at, 'from'], fail);
  const to = endsOf(entry.to, [...at, 'to'], fail);
  const { expect, family, name } = entry;
  if (expect !== 'allow' && expect !== 'deny') {
    fail([...at, 'expect'], 'expect must be allow or deny.', 'Write expect: allow, or expect: deny.');
    return [];
  }
  if (!isAbsent(family) && family !== 4 && family !== 6) {
    fail([...at, 'family'], 'family must be 4 or 6.', 'Write 4 or 6, or leave it out.');
    return [];
  }
  const { line = 0 } = origin.locate(at);
  return from.flatMap((source) =>
    to.map((target) => ({
      name: `${typeof name === 'string' ? `${name}: ` : ''}${source} ${expect === 'allow' ? 'reaches' : 'does not reach'} ${target}`,
      from: source,
      to: target,
      ...(isAbsent(family) ? {} : { family: family as 4 | 6 }),
      allowed: expect === 'allow',
      file: origin.file,
      line,
    })),
  );
}

function endsOf(value: unknown, at: FieldPath, fail: Fail): string[] {
  const ends = [value].flat();
  if (ends.length > 0 && ends.every((end): end is string => typeof end === 'string')) return ends;
  fail(
    at,
    `${formatPath(at)} must be an end or a list of ends.`,
    'Write web/frontend, 203.0.113.9, or db/mysql:3306/TCP.',
  );
  return [];
}
