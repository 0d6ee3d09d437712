/** Manifests for a lab: files, folders, standard input, or one of the bundled examples. */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { closestName } from '../../errors/closest.js';
import { WeftError } from '../../errors/problem.js';
import { packageRoot } from '../../lab/node-processes.js';
import type { SentObject } from '../../lab/protocol.js';
import { readManifests } from '../../manifests/read.js';
import { validateObjects } from '../../manifests/validate.js';
import { refuseInvalid, refuseUnreadable, reportProblems } from '../policy/problems.js';

const examplesFolder = () => join(packageRoot(), 'config', 'examples');

export function exampleNames(): string[] {
  return readdirSync(examplesFolder(), { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && existsSync(join(examplesFolder(), entry.name, 'README.md')))
    .map((entry) => entry.name)
    .sort();
}

/** The folder of manifests of an example. */
export function exampleFolder(name: string): string {
  const names = exampleNames();
  if (names.includes(name)) return join(examplesFolder(), name, 'manifests');
  const near = closestName(name, names);
  throw new WeftError(
    'lab-example',
    `There is no example "${name}".${near === null ? '' : ` Did you mean ${near}?`} Examples: ${names.join(', ')}.`,
  );
}

/**
 * Reads and validates; what the API server would refuse ends the command, so that a typing error is found before it isolates
 * somebody. Kinds that the lab does not know are sent along: the lab names them as skipped.
 */
export function readObjects(paths: readonly string[]): SentObject[] {
  const manifests = readManifests(paths);
  refuseUnreadable(manifests);
  const problems = validateObjects(manifests.written);
  refuseInvalid(problems, manifests.texts);
  reportProblems(
    problems.filter((problem) => problem.severity === 'warning'),
    manifests.texts,
    process.stderr,
  );
  return manifests.written.map(({ value, file }) => ({ value, file }));
}
