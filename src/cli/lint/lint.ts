/**
 * Everything that lint checks: that the text can be read, that an API server would take the objects, and that the policies mean what their
 * author is likely to have meant. Checks of the last kind are warnings; they look at all given objects together.
 */
import type { Problem } from '../../errors/problem.js';
import type { Manifests } from '../../manifests/read.js';
import { validateObjects } from '../../manifests/validate.js';
import { lintCoveredRules } from './covered.js';
import { lintDns } from './dns.js';
import { type Finding, findingOf, sortFindings } from './finding.js';
import { lintForeignPolicies, lintRepeatedObjects, lintYamlWords } from './objects.js';
import { lintServedPorts } from './ports.js';
import { Scene } from './scene.js';
import { lintSelectors } from './selectors.js';
import { lintPolicyTypes } from './types.js';

/** A check of meaning: looks at the scene, gives its problems. */
export type Check = (scene: Scene) => readonly Problem[];

const checks: readonly Check[] = [
  lintYamlWords,
  lintForeignPolicies,
  lintRepeatedObjects,
  lintPolicyTypes,
  lintSelectors,
  lintServedPorts,
  lintDns,
  lintCoveredRules,
];

export function lint(manifests: Manifests): Finding[] {
  const invalid = validateObjects(manifests.written);
  const scene = new Scene(manifests, invalid);
  const problems = [...manifests.problems, ...invalid, ...checks.flatMap((check) => check(scene))];
  return sortFindings(problems.map(findingOf));
}
