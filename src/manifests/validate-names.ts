/** Names, namespaces and labels. */
import { isDnsLabel, isLabelKey, isLabelValue, isSubdomain } from './decode-selector.js';
import { knownKinds } from './kinds.js';
import type { FieldPath, KubernetesObject } from './object.js';
import { isAbsent, isPlainObject, objectOf } from './plain.js';
import { describe, type Report } from './shape.js';

const subdomainRule =
  'at most 253 lower-case letters, digits, "-" and ".", starting and ending with a letter or digit';
const labelRule = 'at most 63 lower-case letters, digits and "-", starting and ending with a letter or digit';

export function validateMetadata(value: KubernetesObject, kind: string, report: Report): void {
  const metadata = objectOf(value.metadata);
  const { name, namespace, labels } = metadata;
  if (isAbsent(name) || name === '') {
    const generated = typeof metadata.generateName === 'string' && metadata.generateName !== '';
    report({
      code: 'missing-name',
      path: ['metadata', 'name'],
      message: generated
        ? `The ${kind} has generateName and no name; only an API server can make a name of it.`
        : `The ${kind} has no metadata.name.`,
      fix: `Write metadata.name: ${subdomainRule}.`,
    });
  } else if (typeof name === 'string') {
    validateName(name, kind, report);
  }
  if (typeof namespace === 'string' && namespace !== '') {
    if (knownKinds.get(kind)?.namespaced === false) {
      report({
        code: 'namespace-not-allowed',
        severity: 'warning',
        path: ['metadata', 'namespace'],
        message: `A ${kind} has no namespace; "${namespace}" was found.`,
        fix: 'Remove metadata.namespace.',
      });
    } else if (!isDnsLabel(namespace)) {
      report({
        code: 'invalid-name',
        path: ['metadata', 'namespace'],
        message: `metadata.namespace "${namespace}" is no namespace name.`,
        fix: `Use ${labelRule}.`,
      });
    }
  }
  validateLabels(labels, ['metadata', 'labels'], report);
}

/** Namespaces and Services are DNS labels; a Service may not start with a digit (RFC 1035). Everything else is a subdomain. */
function validateName(name: string, kind: string, report: Report): void {
  const isLabel = kind === 'Namespace' || kind === 'Service';
  const valid = isLabel
    ? isDnsLabel(name) && !(kind === 'Service' && /^[0-9]/.test(name))
    : isSubdomain(name);
  if (valid) return;
  report({
    code: 'invalid-name',
    path: ['metadata', 'name'],
    message: `metadata.name "${name}" is no name for a ${kind}.`,
    fix: `Use ${isLabel ? labelRule : subdomainRule}.`,
  });
}

/** Keys and values of a mapping of labels; types are the shape's business. */
export function validateLabels(labels: unknown, path: FieldPath, report: Report): void {
  if (!isPlainObject(labels)) return;
  for (const [key, value] of Object.entries(labels)) {
    if (!isLabelKey(key)) reportLabelKey(key, [...path, key], report, 'key');
    if (typeof value === 'string' && !isLabelValue(value)) reportLabelValue(value, [...path, key], report);
    if (value === null) {
      report({
        code: 'invalid-label',
        path: [...path, key],
        message: `The label "${key}" has no value; ${describe(value)} was found.`,
        fix: `Write ${key}: "" for an empty value.`,
      });
    }
  }
}

export function reportLabelKey(key: string, path: FieldPath, report: Report, what: 'key' | 'value'): void {
  report({
    code: 'invalid-label',
    path,
    what,
    message: `"${key}" is no label key.`,
    fix: 'Use at most 63 letters, digits, "-", "_" and ".", starting and ending with a letter or digit; a DNS name and "/" may stand before it.',
  });
}

export function reportLabelValue(value: string, path: FieldPath, report: Report): void {
  report({
    code: 'invalid-label',
    path,
    message: `"${value}" is no label value.`,
    fix: 'Use at most 63 letters, digits, "-", "_" and ".", starting and ending with a letter or digit; "" is allowed.',
  });
}
