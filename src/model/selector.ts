/**
 * Label selectors. matchLabels and matchExpressions are one list of requirements here, all of which must hold; no requirement at
 * all selects everything. NotIn and DoesNotExist hold for objects that lack the key (as labels.Selector in apimachinery does).
 *
 * A selector that could not be read is never one of these: the edge turns its peer into `{kind: 'nothing'}`.
 */
import type { Labels } from './labels.js';

export type Operator = 'In' | 'NotIn' | 'Exists' | 'DoesNotExist';

export interface Requirement {
  readonly key: string;
  readonly operator: Operator;
  /** Sorted and without repeats; empty for Exists and DoesNotExist. */
  readonly values: readonly string[];
}

export interface Selector {
  /** Sorted by key, operator and values, without repeats. */
  readonly requirements: readonly Requirement[];
  /** Equal text exactly for equal selectors; `{}` in text is the empty string. */
  readonly text: string;
}

function requirementText(requirement: Requirement): string {
  // JSON keeps values apart whatever characters they hold; labels that never met an API server may hold any.
  return JSON.stringify([requirement.key, requirement.operator, ...requirement.values]);
}

/** A selector in normal form. */
function selectorOf(requirements: readonly Requirement[]): Selector {
  const byText = new Map<string, Requirement>();
  for (const { key, operator, values } of requirements) {
    const normal = Object.freeze({ key, operator, values: Object.freeze([...new Set(values)].sort()) });
    byText.set(requirementText(normal), normal);
  }
  const texts = [...byText.keys()].sort();
  return Object.freeze({
    requirements: Object.freeze(texts.map((text) => byText.get(text)!)),
    text: texts.join('&'),
  });
}

/** The selector with these matchLabels and matchExpressions. */
export function selector(
  matchLabels: Readonly<Record<string, string>> = {},
  matchExpressions: readonly { key: string; operator: Operator; values?: readonly string[] }[] = [],
): Selector {
  return selectorOf([
    ...Object.entries(matchLabels).map(([key, value]) => ({ key, operator: 'In' as const, values: [value] })),
    ...matchExpressions.map(({ key, operator, values }) => ({ key, operator, values: values ?? [] })),
  ]);
}

/** `{}`: everything. */
export const everything: Selector = selectorOf([]);

function holds(requirement: Requirement, labels: Labels): boolean {
  const value = labels.get(requirement.key);
  switch (requirement.operator) {
    case 'In':
      return value !== undefined && requirement.values.includes(value);
    case 'NotIn':
      return value === undefined || !requirement.values.includes(value);
    case 'Exists':
      return value !== undefined;
    case 'DoesNotExist':
      return value === undefined;
  }
}

export function matches(of: Selector, labels: Labels): boolean {
  for (const requirement of of.requirements) if (!holds(requirement, labels)) return false;
  return true;
}

function describeRequirement({ key, operator, values }: Requirement): string {
  switch (operator) {
    case 'In':
      return values.length === 1 ? `${key}=${values[0]}` : `${key} in (${values.join(', ')})`;
    case 'NotIn':
      return `${key} not in (${values.join(', ')})`;
    case 'Exists':
      return key;
    case 'DoesNotExist':
      return `!${key}`;
  }
}

/** For a person: `app=web, tier in (a, b), !legacy`. */
export function describeSelector(of: Selector): string {
  return of.requirements.length === 0 ? 'everything' : of.requirements.map(describeRequirement).join(', ');
}
