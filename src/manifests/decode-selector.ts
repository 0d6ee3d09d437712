/** Label selectors, and the syntax of label keys and values (apimachinery's `IsQualifiedName` and `IsValidLabelValue`). */
import { type Operator, type Selector, selector } from '../model/selector.js';
import { hasOnly, isAbsent, isPlainObject } from './plain.js';

export const operators: readonly Operator[] = ['In', 'NotIn', 'Exists', 'DoesNotExist'];
const selectorFields = new Set(['matchLabels', 'matchExpressions']);
const expressionFields = new Set(['key', 'operator', 'values']);

/** undefined where the API server would refuse it; then it has no meaning, and the caller narrows. */
export function decodeSelector(value: unknown): Selector | undefined {
  if (!isPlainObject(value) || !hasOnly(value, selectorFields)) return undefined;
  const matchLabels = isAbsent(value.matchLabels) ? {} : value.matchLabels;
  if (!isPlainObject(matchLabels)) return undefined;
  for (const key of Object.keys(matchLabels)) {
    if (!isLabelKey(key) || !isLabelValue(matchLabels[key])) return undefined;
  }
  const list = isAbsent(value.matchExpressions) ? [] : value.matchExpressions;
  if (!Array.isArray(list)) return undefined;
  const expressions: { key: string; operator: Operator; values: readonly string[] }[] = [];
  for (const entry of list) {
    if (!isPlainObject(entry) || !hasOnly(entry, expressionFields)) return undefined;
    const { key, operator } = entry;
    const values = isAbsent(entry.values) ? [] : entry.values;
    if (!isLabelKey(key) || !Array.isArray(values) || !values.every(isLabelValue)) return undefined;
    if (!operators.includes(operator as Operator)) return undefined;
    const takesValues = operator === 'In' || operator === 'NotIn';
    if (takesValues !== values.length > 0) return undefined;
    expressions.push({ key, operator: operator as Operator, values });
  }
  return selector(matchLabels as Record<string, string>, expressions);
}

/** `[prefix/]name`: the prefix a DNS subdomain, the name at most 63 characters. */
export function isLabelKey(key: unknown): key is string {
  if (typeof key !== 'string') return false;
  const slash = key.indexOf('/');
  if (slash >= 0 && !isSubdomain(key.slice(0, slash))) return false;
  return /^[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/.test(key.slice(slash + 1));
}

export function isLabelValue(value: unknown): value is string {
  return typeof value === 'string' && /^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$/.test(value);
}

/** RFC 1123 subdomain: what objects are called. */
export function isSubdomain(text: string): boolean {
  return text.length <= 253 && /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/.test(text);
}

/** RFC 1123 label: what namespaces are called. */
export function isDnsLabel(text: string): boolean {
  return /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/.test(text);
}
