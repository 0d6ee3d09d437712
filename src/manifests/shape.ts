/**
 * The form of an object: which fields it has and of what type. A check of form finds what YAML makes so easy to get wrong: a field one
 * level too high, two letters swapped, a list where a mapping belongs. For every field that is not known it looks for the place
 * where its author may have meant it.
 */
import { closestName } from '../errors/closest.js';
import type { Problem, Severity } from '../errors/problem.js';
import { type FieldPath, formatPath, type ManifestObject } from './object.js';
import { isAbsent, isPlainObject, type PlainObject } from './plain.js';

export type Shape =
  | { readonly type: 'object'; readonly fields: Readonly<Record<string, Shape>> }
  | { readonly type: 'list'; readonly of: Shape }
  /** A mapping whose keys are the author's own, such as labels. */
  | { readonly type: 'map'; readonly of: Shape }
  | { readonly type: 'string' | 'integer' | 'boolean' | 'integer-or-string' | 'any' };

export const object = (fields: Readonly<Record<string, Shape>>): Shape => ({ type: 'object', fields });
export const list = (of: Shape): Shape => ({ type: 'list', of });
export const map = (of: Shape): Shape => ({ type: 'map', of });
export const text: Shape = { type: 'string' };
export const integer: Shape = { type: 'integer' };
export const boolean: Shape = { type: 'boolean' };
export const integerOrText: Shape = { type: 'integer-or-string' };
export const anything: Shape = { type: 'any' };

/** Takes findings about one object. `what: 'key'` points at the field's name. */
export type Report = (finding: {
  readonly code: string;
  readonly path: FieldPath;
  readonly message: string;
  readonly fix: string;
  readonly severity?: Severity;
  readonly what?: 'key' | 'value';
}) => void;

export function reportInto(problems: Problem[], origin: ManifestObject): Report {
  return ({ code, path, message, fix, severity = 'error', what = 'value' }) => {
    problems.push({ code, severity, message, fix, source: origin.locate(path, what) });
  };
}

/** How a value would be called in a sentence. */
export function describe(value: unknown): string {
  if (value === null || value === undefined) return 'nothing';
  if (Array.isArray(value)) return value.length === 0 ? 'an empty list' : 'a list';
  if (typeof value === 'object') return 'a mapping';
  if (typeof value === 'string') return `the text ${JSON.stringify(value)}`;
  return `${typeof value === 'boolean' ? 'the truth value' : 'the number'} ${String(value)}`;
}

const expectations: Readonly<Record<Shape['type'], string>> = {
  object: 'a mapping',
  map: 'a mapping',
  list: 'a list',
  string: 'text',
  integer: 'a whole number',
  boolean: 'true or false',
  'integer-or-string': 'a whole number or text',
  any: 'anything',
};

export interface ShapeCheck {
  readonly root: Shape;
  /** `NetworkPolicy`, for messages. */
  readonly kind: string;
  readonly report: Report;
  /** Of unknown fields; types that are wrong are errors always. */
  readonly unknown: Severity;
}

/** Reports unknown fields and wrong types everywhere in the object. Absent and null values are always of the right type. */
export function checkShape(value: unknown, check: ShapeCheck): void {
  visit(value, check.root, [], check);
}

function visit(value: unknown, shape: Shape, path: FieldPath, check: ShapeCheck): void {
  if (isAbsent(value)) return;
  if (!hasType(value, shape.type)) {
    check.report({
      code: 'wrong-type',
      path,
      message: `${formatPath(path)} must be ${expectations[shape.type]}; ${describe(value)} was found.`,
      fix: typeFix(value, shape, path),
    });
    return;
  }
  if (shape.type === 'list') {
    (value as unknown[]).forEach((item, index) => {
      visit(item, shape.of, [...path, index], check);
    });
  } else if (shape.type === 'map') {
    for (const [key, item] of Object.entries(value as object)) visit(item, shape.of, [...path, key], check);
  } else if (shape.type === 'object') {
    for (const [key, item] of Object.entries(value as object)) {
      const known = Object.hasOwn(shape.fields, key) ? shape.fields[key] : undefined;
      if (known === undefined) reportUnknown(key, item, shape.fields, path, check);
      else visit(item, known, [...path, key], check);
    }
  }
}

function hasType(value: unknown, type: Shape['type']): boolean {
  switch (type) {
    case 'object':
    case 'map':
      return isPlainObject(value);
    case 'list':
      return Array.isArray(value);
    case 'string':
      return typeof value === 'string';
    case 'integer':
      return typeof value === 'number' && Number.isInteger(value);
    case 'boolean':
      return typeof value === 'boolean';
    case 'integer-or-string':
      return typeof value === 'string' || (typeof value === 'number' && Number.isInteger(value));
    case 'any':
      return true;
  }
}

function typeFix(value: unknown, shape: Shape, path: FieldPath): string {
  const last = String(path[path.length - 1] ?? '');
  if (shape.type === 'string' && typeof value !== 'object') {
    return `Quote it: ${last}: "${String(value)}".`;
  }
  if (shape.type === 'list') return `Start each item of ${last} with "- ".`;
  if (Array.isArray(value) && (shape.type === 'object' || shape.type === 'map')) {
    return `Remove the "- ": ${last} is not a list.`;
  }
  return `Write ${expectations[shape.type]}.`;
}

/** A pod has forty fields; a person reads the first dozen. */
function namesOf(siblings: Readonly<Record<string, Shape>>): string {
  const names = Object.keys(siblings);
  return names.length <= 12 ? names.join(', ') : `${names.slice(0, 12).join(', ')}, …`;
}

function reportUnknown(
  key: string,
  value: unknown,
  siblings: Readonly<Record<string, Shape>>,
  path: FieldPath,
  check: ShapeCheck,
): void {
  const at = formatPath([...path, key]);
  const parent = path.length === 0 ? check.kind : formatPath(path);
  const meant = likelyPlace(key, siblings, path, check);
  if (meant === undefined) {
    const labels = typeof value === 'string' ? placeOf('matchLabels', siblings, path, check) : undefined;
    check.report({
      code: 'unknown-field',
      severity: check.unknown,
      path: [...path, key],
      what: 'key',
      message: `"${key}" is no field of ${parent}.`,
      fix:
        labels === undefined
          ? `Remove it or move it where it belongs; ${parent} has ${namesOf(siblings)}.`
          : `If it is a label to select by, move it to ${formatPath([...labels, key])}; ${parent} has ${namesOf(siblings)}.`,
    });
    return;
  }
  const misplaced = meant.reason === 'misplaced';
  check.report({
    code: misplaced ? 'misplaced-field' : 'unknown-field',
    severity: check.unknown,
    path: [...path, key],
    what: 'key',
    message: misplaced
      ? `"${key}" stands ${path.length === 0 ? 'at the top level' : `in the wrong place (${at})`}; it belongs ${meant.path === key ? 'at the top level' : `at ${meant.path}`}.`
      : `"${key}" is no field of ${parent}; "${meant.name}" is.`,
    fix: misplaced
      ? `Move ${key} to ${meant.path === key ? 'the top level' : meant.path}.`
      : `Write ${meant.name} instead of ${key}.`,
  });
  // What stands under a misplaced selector is lost with it: name each label, for that is what its author will look for.
  if (misplaced && isPlainObject(value)) reportLost(key, value, [...path, key], meant.path, check);
}

function reportLost(
  key: string,
  value: PlainObject,
  path: FieldPath,
  place: string,
  check: ShapeCheck,
): void {
  if (key !== 'matchLabels') return;
  for (const label of Object.keys(value)) {
    check.report({
      code: 'lost-label',
      severity: check.unknown,
      path: [...path, label],
      what: 'key',
      message: `The label "${label}" selects nothing here, because ${key} stands in the wrong place.`,
      fix: `Move it with ${key} to ${place}.`,
    });
  }
}

interface Place {
  readonly reason: 'misspelt' | 'misplaced';
  readonly name: string;
  readonly path: string;
}

/** A neighbour of nearly that name, else the nearest place in the object that has a field of exactly that name. */
function likelyPlace(
  key: string,
  siblings: Readonly<Record<string, Shape>>,
  path: FieldPath,
  check: ShapeCheck,
): Place | undefined {
  const names = Object.keys(siblings);
  const below = findBelow(key, { type: 'object', fields: siblings });
  if (below !== undefined) return misplacedAt(key, [...path, ...below]);
  const near =
    closestName(key, names) ??
    names.find((name) => name.length >= 4 && key.toLowerCase().includes(name.toLowerCase())) ??
    null;
  if (near !== null) return { reason: 'misspelt', name: near, path: formatPath([...path, near]) };
  const above = placeOf(key, siblings, path, check);
  return above === undefined ? undefined : misplacedAt(key, above);
}

/** The nearest place that has a field of this name: below here, else below an ancestor, the closest first. */
function placeOf(
  key: string,
  siblings: Readonly<Record<string, Shape>>,
  path: FieldPath,
  check: ShapeCheck,
): FieldPath | undefined {
  const below = findBelow(key, { type: 'object', fields: siblings });
  if (below !== undefined) return [...path, ...below];
  for (let depth = path.length - 1; depth >= 0; depth--) {
    const ancestor = shapeAt(check.root, path.slice(0, depth));
    const found = ancestor === undefined ? undefined : findBelow(key, ancestor);
    if (found !== undefined) return [...path.slice(0, depth), ...found];
  }
  return undefined;
}

function misplacedAt(key: string, path: FieldPath): Place {
  return { reason: 'misplaced', name: key, path: formatPath(path) };
}

function shapeAt(root: Shape, path: FieldPath): Shape | undefined {
  let shape: Shape | undefined = root;
  for (const part of path) {
    if (shape === undefined) return undefined;
    if (shape.type === 'object') shape = shape.fields[String(part)];
    else if (shape.type === 'list' || shape.type === 'map') shape = shape.of;
    else return undefined;
  }
  return shape;
}

/** A field meant further away than this is a coincidence of names. */
const searchDepth = 3;

/** Breadth first, so that the shallowest place wins; lists are entered as their first item. */
function findBelow(key: string, shape: Shape): FieldPath | undefined {
  let level: { shape: Shape; path: FieldPath }[] = [{ shape, path: [] }];
  for (let step = 0; step <= searchDepth && level.length > 0; step++) {
    const next: typeof level = [];
    for (const { shape: current, path } of level) {
      if (current.type === 'list') {
        next.push({ shape: current.of, path: [...path, 0] });
      } else if (current.type === 'object') {
        if (Object.hasOwn(current.fields, key)) return [...path, key];
        for (const [name, child] of Object.entries(current.fields)) {
          next.push({ shape: child, path: [...path, name] });
        }
      }
    }
    level = next;
  }
  return undefined;
}
