/**
 * Label selectors for the reference evaluator, straight from the API documentation (LabelSelector, "Labels and Selectors"):
 * matchLabels and matchExpressions are ANDed, `{}` matches everything, NotIn and DoesNotExist match objects that lack the key.
 *
 * A selector that the API server would refuse has no meaning, so nothing is guessed: it is `undefined` here and the caller
 * decides on the safe side (a peer that matches nobody, a policy that isolates and allows nothing).
 */
export type PlainLabels = Readonly<Record<string, string>>;
export type PlainSelector = (labels: PlainLabels) => boolean;

export function plainSelector(value: unknown): PlainSelector | undefined {
  if (!isObject(value)) return undefined;
  for (const field of Object.keys(value)) {
    // A misspelt field would leave the selector wider than what its author meant.
    if (field !== 'matchLabels' && field !== 'matchExpressions') return undefined;
  }
  const tests: PlainSelector[] = [];
  const { matchLabels, matchExpressions } = value;
  if (matchLabels !== undefined && matchLabels !== null) {
    if (!isObject(matchLabels)) return undefined;
    for (const [key, wanted] of Object.entries(matchLabels)) {
      if (!isLabelKey(key) || !isLabelValue(wanted)) return undefined;
      tests.push((labels) => Object.hasOwn(labels, key) && labels[key] === wanted);
    }
  }
  if (matchExpressions !== undefined && matchExpressions !== null) {
    if (!Array.isArray(matchExpressions)) return undefined;
    for (const expression of matchExpressions) {
      const test = plainExpression(expression);
      if (test === undefined) return undefined;
      tests.push(test);
    }
  }
  return (labels) => tests.every((test) => test(labels));
}

function plainExpression(value: unknown): PlainSelector | undefined {
  if (!isObject(value)) return undefined;
  if (Object.keys(value).some((field) => !['key', 'operator', 'values'].includes(field))) return undefined;
  const { key, operator } = value;
  const values = value.values ?? [];
  if (!isLabelKey(key) || !Array.isArray(values) || !values.every(isLabelValue)) return undefined;
  const listed = (labels: PlainLabels) => values.some((value) => value === labels[key]);
  const present = (labels: PlainLabels) => Object.hasOwn(labels, key);
  switch (operator) {
    case 'In':
      return values.length === 0 ? undefined : (labels) => present(labels) && listed(labels);
    case 'NotIn':
      return values.length === 0 ? undefined : (labels) => !present(labels) || !listed(labels);
    case 'Exists':
      return values.length > 0 ? undefined : present;
    case 'DoesNotExist':
      return values.length > 0 ? undefined : (labels) => !present(labels);
    default:
      return undefined;
  }
}

/** `prefix/name`: the prefix a DNS subdomain of at most 253 characters, the name at most 63 of letters, digits, `-`, `_`, `.`. */
function isLabelKey(key: unknown): key is string {
  if (typeof key !== 'string') return false;
  const slash = key.indexOf('/');
  const name = key.slice(slash + 1);
  if (!/^[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$/.test(name)) return false;
  if (slash < 0) return true;
  const prefix = key.slice(0, slash);
  return (
    prefix.length <= 253 &&
    prefix.split('.').every((part) => /^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/.test(part) && part.length > 0)
  );
}

function isLabelValue(value: unknown): value is string {
  return typeof value === 'string' && /^([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?$/.test(value);
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
