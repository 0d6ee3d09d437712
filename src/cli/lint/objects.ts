/** Checks that look at objects as written: other products' policies, objects given twice, words that YAML 1.1 reads as booleans. */
import type { Problem } from '../../errors/problem.js';
import { groupOf, recognise } from '../../manifests/kinds.js';
import { type FieldPath, formatPath, type ManifestObject } from '../../manifests/object.js';
import { isPlainObject, nameOf } from '../../manifests/plain.js';
import { problemAt, type Scene } from './scene.js';

const foreignGroups: Readonly<Record<string, string>> = {
  'cilium.io': 'Cilium',
  'projectcalico.org': 'Calico',
  'crd.projectcalico.org': 'Calico',
  'policy.networking.k8s.io': 'the cluster network policy API',
  'crd.antrea.io': 'Antrea',
};

export function lintForeignPolicies(scene: Scene): Problem[] {
  return scene.manifests.written.flatMap((origin) => {
    const { kind } = origin.value;
    const product = foreignGroups[groupOf(origin.value) ?? ''];
    if (product === undefined || typeof kind !== 'string' || !kind.endsWith('Policy')) return [];
    return problemAt(origin, ['kind'], {
      code: 'not-enforced',
      severity: 'warning',
      message: `${kind} of ${String(origin.value.apiVersion)} is a policy of ${product}; weft does not enforce it.`,
      fix: 'Write it as a NetworkPolicy of networking.k8s.io/v1.',
    });
  });
}

export function lintRepeatedObjects(scene: Scene): Problem[] {
  const first = new Map<string, ManifestObject>();
  return scene.manifests.written.flatMap((origin) => {
    const known = recognise(origin.value);
    const named = nameOf(origin.value);
    if (known === undefined || named === undefined) return [];
    const key = `${known.name} ${known.kind.namespaced ? `${named.namespace}/` : ''}${named.name}`;
    const earlier = first.get(key);
    first.set(key, origin);
    if (earlier === undefined) return [];
    const at = earlier.locate(['metadata', 'name']);
    return problemAt(origin, ['metadata', 'name'], {
      code: 'repeated-object',
      severity: 'warning',
      message: `${key} is given twice; this one replaces that of ${at.file}:${at.line}.`,
      fix: 'Give one of the two another name, or remove it.',
    });
  });
}

/** kubectl reads YAML 1.1, where these words are booleans unless quoted; a label made of one is refused by the API server. */
const booleanWords = /^(y|n|yes|no|on|off)$/i;

export function lintYamlWords(scene: Scene): Problem[] {
  return scene.manifests.written.flatMap((origin) => {
    const text = scene.manifests.texts.get(origin.file);
    if (text === undefined || recognise(origin.value) === undefined) return [];
    const rows = () => text.split('\n');
    const problems: Problem[] = [];
    const visit = (value: unknown, path: FieldPath): void => {
      if (typeof value === 'string' && booleanWords.test(value)) {
        const { line = 1, column = 1 } = origin.locate(path);
        if (!rows()[line - 1]?.startsWith(value, column - 1)) return; // it is quoted
        problems.push(
          problemAt(origin, path, {
            code: 'yaml-boolean',
            severity: 'warning',
            message: `${formatPath(path)}: kubectl reads the bare word ${value} as a boolean.`,
            fix: `Quote it: "${value}".`,
          }),
        );
      } else if (Array.isArray(value)) {
        value.forEach((item: unknown, index) => {
          visit(item, [...path, index]);
        });
      } else if (isPlainObject(value)) {
        for (const [key, item] of Object.entries(value)) visit(item, [...path, key]);
      }
    };
    visit(origin.value.metadata, ['metadata']);
    visit(origin.value.spec, ['spec']);
    return problems;
  });
}
