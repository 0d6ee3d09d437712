/** Manifests for a lab: files, folders, standard input, or one of the bundled examples. */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../../dataplane/package-root.js';
import { closestName } from '../../errors/closest.js';
import { WeftError } from '../../errors/problem.js';
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

/** What names the objects is enough to remove them; the rest may be as wrong as it was when they came. */
export function readNames(paths: readonly string[]): SentObject[] {
  const manifests = readManifests(paths);
  refuseUnreadable(manifests);
  return manifests.written.map(({ value, file }) => ({ value, file }));
}

/**
 * Reads and validates; what the API server would refuse ends the command, so that a typing error is found before it isolates
 * somebody. Kinds that the lab does not know are sent along: the lab names them as skipped.
 */
export function readObjects(paths: readonly string[], mayBeEmpty = false): SentObject[] {
  const manifests = readManifests(paths);
  refuseUnreadable(manifests);
  if (manifests.texts.size === 0 && paths.length > 0 && !mayBeEmpty)
    throw new WeftError('unreadable', `There is no YAML or JSON file in ${paths.join(', ')}.`);
  const problems = validateObjects(manifests.written);
  refuseInvalid(problems, manifests.texts);
  reportProblems(
    problems.filter((problem) => problem.severity === 'warning'),
    manifests.texts,
    process.stderr,
  );
  return manifests.written.map(({ value, file }) => ({ value, file }));
}
