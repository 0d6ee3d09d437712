/** Label selectors, as `ValidateLabelSelector` of apimachinery. */
import { closestName } from '../errors/closest.js';
import { isLabelKey, isLabelValue, operators } from './decode-selector.js';
import { type FieldPath, formatPath } from './object.js';
import { isAbsent, isPlainObject, type PlainObject } from './plain.js';
import { describe, type Report } from './shape.js';
import { reportLabelKey, reportLabelValue, validateLabels } from './validate-names.js';

export function validateSelector(value: unknown, path: FieldPath, report: Report): void {
  if (!isPlainObject(value)) return;
  validateLabels(value.matchLabels, [...path, 'matchLabels'], report);
  if (!Array.isArray(value.matchExpressions)) return;
  value.matchExpressions.forEach((expression: unknown, index) => {
    const at = [...path, 'matchExpressions', index];
    if (isPlainObject(expression)) validateExpression(expression, at, report);
    else reportEmptyEntry(expression, at, report);
  });
}

function validateExpression(expression: PlainObject, path: FieldPath, report: Report): void {
  const { key, operator, values } = expression;
  if (isAbsent(key) || key === '') {
    report({
      code: 'missing-field',
      path: [...path, 'key'],
      message: `${formatPath(path)} has no key.`,
      fix: 'Write the label that the expression is about: key: app.',
    });
  } else if (typeof key === 'string' && !isLabelKey(key)) {
    reportLabelKey(key, [...path, 'key'], report, 'value');
  }
  if (!operators.includes(operator as never)) {
    const near =
      typeof operator === 'string'
        ? (operatorWords[operator.toLowerCase()] ?? closestName(operator, operators))
        : null;
    report({
      code: 'invalid-operator',
      path: [...path, 'operator'],
      message: `operator must be one of ${operators.join(', ')}; ${describe(operator)} was found.`,
      fix: `Write operator: ${near ?? 'In'}.`,
    });
    return;
  }
  const count = Array.isArray(values) ? values.length : 0;
  const takesValues = operator === 'In' || operator === 'NotIn';
  if (takesValues && count === 0) {
    report({
      code: 'invalid-values',
      path: [...path, 'values'],
      message: `values must not be empty with operator ${String(operator)}; ${describe(values)} was found.`,
      fix: 'List at least one value, or use Exists or DoesNotExist.',
    });
  } else if (!takesValues && count > 0) {
    report({
      code: 'invalid-values',
      path: [...path, 'values'],
      message: `values must be absent with operator ${String(operator)}; ${describe(values)} was found.`,
      fix: `Remove values, or use In or NotIn.`,
    });
  }
  if (!Array.isArray(values)) return;
  values.forEach((item: unknown, index) => {
    if (typeof item === 'string' && !isLabelValue(item)) {
      reportLabelValue(item, [...path, 'values', index], report);
    }
  });
}

/** What other languages call them. */
const operatorWords: Readonly<Record<string, string>> = {
  equals: 'In',
  equal: 'In',
  eq: 'In',
  '=': 'In',
  '==': 'In',
  '!=': 'NotIn',
  notequals: 'NotIn',
  ne: 'NotIn',
  exist: 'Exists',
  notexists: 'DoesNotExist',
  notexist: 'DoesNotExist',
};

/** A list entry of nothing (`-` and no more), which the shape lets pass. */
export function reportEmptyEntry(value: unknown, path: FieldPath, report: Report): void {
  if (!isAbsent(value)) return; // a wrong type, which the shape has reported
  report({
    code: 'empty-entry',
    path,
    message: `${formatPath(path)} is empty.`,
    fix: 'Remove the "-" or write what belongs behind it.',
  });
}
