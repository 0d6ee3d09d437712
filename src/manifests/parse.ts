/**
 * Text → Kubernetes objects that remember where each field stands.
 *
 * Every finding about a manifest must name file, line and column, also when it is found much later (a selector that matches
 * no pod is only known once all files are read). So an object keeps a `locate` function over the syntax tree of its own document
 * instead of a copy of all positions: most objects are never asked. JSON text takes the fast way through JSON.parse, and its
 * syntax tree is only built when the first position is wanted (100,000 pods as JSON parse in a second, as YAML in half a minute).
 *
 * YAML is read as YAML 1.2 core plus merge keys. kubectl reads YAML 1.1, where the bare words yes, no, on, off, y and n are
 * booleans; they stay strings here and `weft policy lint` points at them.
 */
import {
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  parseAllDocuments,
  visit,
  type YAMLError,
} from 'yaml';
import type { Problem, SourceRef } from '../errors/problem.js';
import { deepest, tooDeepAt } from './depth.js';
import { knownKinds } from './kinds.js';
import { type FieldPath, formatPath, type KubernetesObject, type ManifestObject } from './object.js';

export interface ParsedManifests {
  /** In the order of the text; a `List` is replaced by its items. */
  readonly objects: readonly ManifestObject[];
  /** Syntax errors (code `syntax`) and documents that are no objects (code `not-an-object`). */
  readonly problems: readonly Problem[];
}

/** Reads every document of a text. Never throws for any input; `file` is only used to name the source. */
export function parseManifests(text: string, file: string): ParsedManifests {
  const objects: ManifestObject[] = [];
  const problems: Problem[] = [];
  for (const { value, tree } of readDocuments(text, file, problems)) {
    if (value === null || value === undefined) continue; // an empty document between two `---`
    collect(value, file, [], tree, objects, problems);
  }
  return { objects, problems };
}

/** Objects that were never text of their own (one line of a batch, an API answer): all their fields stand where `where` says. */
export function manifestsOf(values: readonly unknown[], where: SourceRef): ParsedManifests {
  const objects: ManifestObject[] = [];
  const problems: Problem[] = [];
  for (const value of values) {
    const from = objects.length;
    collect(value, where.file, [], () => undefined, objects, problems);
    for (let i = from; i < objects.length; i++) {
      const object = objects[i]!;
      objects[i] = { ...object, locate: (path) => ({ ...object.locate(path), ...where }) };
    }
  }
  return { objects, problems };
}

/** The syntax tree of one document; a function, because for JSON it is built when first asked for. */
type Tree = () => { document: Document.Parsed; lines: LineCounter } | undefined;
interface ReadDocument {
  readonly value: unknown;
  readonly tree: Tree;
}

function readDocuments(text: string, file: string, problems: Problem[]): ReadDocument[] {
  const start = text.charCodeAt(0) === 0xfeff ? text.slice(1) : text;
  const deep = tooDeepAt(start);
  if (deep >= 0) {
    const before = start.slice(0, deep).split('\n');
    problems.push({
      code: 'too-deep',
      severity: 'error',
      message: `The text nests more than ${deepest} levels deep, which no manifest does.`,
      fix: 'Look for brackets that nobody closes.',
      source: { file, line: before.length, column: (before.at(-1)?.length ?? 0) + 1 },
    });
    return [];
  }
  if (/^\s*[{[]/.test(start)) {
    try {
      const value: unknown = JSON.parse(start);
      let built: ReturnType<Tree>;
      const tree = () => {
        built ??= yamlTrees(start, file, [])[0];
        return built;
      };
      return [{ value, tree }];
    } catch {
      // Not one JSON document: YAML flow syntax, several documents, or an error that the YAML reader explains with a position.
    }
  }
  const documents: ReadDocument[] = [];
  for (const built of yamlTrees(start, file, problems)) {
    try {
      documents.push({ value: built.document.toJS({ maxAliasCount: 100 }), tree: () => built });
    } catch (error) {
      problems.push(aliasProblem(built, file, error));
    }
  }
  return documents;
}

/** An alias without an anchor, or aliases that unfold to more than anybody writes. */
function aliasProblem(built: NonNullable<ReturnType<Tree>>, file: string, error: unknown): Problem {
  let offset = built.document.range?.[0] ?? 0;
  visit(built.document, {
    Alias(_, node) {
      if (node.resolve(built.document) !== undefined) return undefined;
      offset = node.range?.[0] ?? offset;
      return visit.BREAK;
    },
  });
  return {
    code: 'syntax',
    severity: 'error',
    message: `YAML: ${error instanceof Error ? error.message.replace(/\.?$/, '.') : String(error)}`,
    fix: 'Define the anchor (&name) before its alias (*name), or quote the text.',
    source: { file, ...position(built.lines, offset) },
  };
}

function yamlTrees(text: string, file: string, problems: Problem[]): NonNullable<ReturnType<Tree>>[] {
  const lines = new LineCounter();
  let documents: Document.Parsed[];
  try {
    const parsed = parseAllDocuments(text, {
      lineCounter: lines,
      prettyErrors: false,
      merge: true,
      logLevel: 'silent',
    });
    documents = Array.isArray(parsed) ? (parsed as Document.Parsed[]) : [];
  } catch (error) {
    problems.push({
      code: 'syntax',
      severity: 'error',
      message: `The text cannot be read: ${String(error)}.`,
      source: { file, line: 1, column: 1 },
    });
    return [];
  }
  const sound: NonNullable<ReturnType<Tree>>[] = [];
  for (const document of documents) {
    for (const problem of syntaxProblems(document.errors, file, text, lines)) problems.push(problem);
    if (document.errors.length === 0) sound.push({ document, lines });
  }
  return sound;
}

/** One problem for each line: the reader often says several things about one mistake, and the first is the most to the point. */
function syntaxProblems(
  errors: readonly YAMLError[],
  file: string,
  text: string,
  lines: LineCounter,
): Problem[] {
  const byLine = new Map<number, Problem>();
  for (const error of errors) {
    const at = position(lines, error.pos[0]);
    const merged = isSeparatorMissing(error, text);
    // After one forgotten separator every further field repeats too.
    if (merged && [...byLine.values()].some((problem) => problem.code === 'missing-separator')) continue;
    if (!byLine.has(at.line))
      byLine.set(at.line, merged ? separatorProblem(file, at) : syntaxProblem(error, file, text, at));
  }
  return [...byLine.values()];
}

function syntaxProblem(
  error: YAMLError,
  file: string,
  text: string,
  at: { line: number; column: number },
): Problem {
  const parent = missingParent(text, at.line);
  const unclosed = /end with a [\]}]|must end with/.test(error.message);
  const hint = parent ?? syntaxFixes[unclosed ? 'MISSING_CHAR' : error.code];
  const message = error.message.replace(/\s+at line \d+.*$/s, '').replace(/\.?$/, '.');
  return {
    code: 'syntax',
    severity: 'error',
    message: `YAML: ${message}`,
    fix:
      hint ??
      'Compare the indentation with the lines above; quote text that holds ": ", "#", or starts with a special character.',
    source: { file, ...at },
  };
}

/** A field of the top level that comes a second time: the next object begins without a separator. */
function isSeparatorMissing(error: YAMLError, text: string): boolean {
  if (error.code !== 'DUPLICATE_KEY') return false;
  const [offset] = error.pos;
  return (
    (offset === 0 || text[offset - 1] === '\n') &&
    /^(apiVersion|kind|metadata|spec)\s*:/.test(text.slice(offset, offset + 40))
  );
}

function separatorProblem(file: string, at: { line: number; column: number }): Problem {
  return {
    code: 'missing-separator',
    severity: 'error',
    message: 'A second object starts here, and nothing separates it from the one above.',
    fix: 'Put a line with --- above it.',
    source: { file, ...at },
  };
}

/**
 * `kind: NetworkPolicy` and, indented below it, `name: x`: a line such as `metadata:` was lost. YAML only says that the text runs on,
 * so look at the line with the value and the deeper one behind it.
 */
function missingParent(text: string, line: number): string | undefined {
  const rows = text.split(/\r?\n/);
  for (const above of [line, line - 1, line - 2]) {
    const [, indent, key] = /^(\s*)(?:- )?([\w./-]+):[ \t]+[^\s#|>&{['"]/.exec(rows[above - 1] ?? '') ?? [];
    const [, deeper, child] = /^(\s*)(?:- )?([\w./-]+)/.exec(rows[above] ?? '') ?? [];
    if (indent === undefined || deeper === undefined || deeper.length <= indent.length) continue;
    return `"${child}" is indented below "${key}", which has a value already. Add the line that it belongs under (metadata: or spec:), or indent it like "${key}".`;
  }
  return undefined;
}

const syntaxFixes: Readonly<Record<string, string>> = {
  DUPLICATE_KEY: 'Keep one of the two.',
  TAB_AS_INDENT: 'Indent with spaces; YAML does not allow tabs.',
  BAD_INDENT: 'Give all keys of one mapping the same indentation.',
  BLOCK_AS_IMPLICIT_KEY: 'Give all keys of one mapping the same indentation.',
  BAD_ALIAS: 'Define the anchor (&name) before its alias (*name), or quote the text.',
  MISSING_CHAR: 'Close every quote, bracket and brace, and write a space behind each colon.',
};

function position(lines: LineCounter, offset: number): { line: number; column: number } {
  const { line, col } = lines.linePos(offset);
  return { line: Math.max(line, 1), column: Math.max(col, 1) };
}

function collect(
  value: unknown,
  file: string,
  prefix: FieldPath,
  tree: Tree,
  objects: ManifestObject[],
  problems: Problem[],
): void {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    problems.push({
      code: 'not-an-object',
      severity: 'error',
      message: `A Kubernetes object was expected, ${Array.isArray(value) ? 'a list' : `"${String(value)}"`} was found.`,
      fix: 'Write one object per document, with apiVersion, kind and metadata; separate documents by `---`.',
      source: locateIn(tree, file, prefix, [], 'value'),
    });
    return;
  }
  const object = value as KubernetesObject;
  const { kind, items } = object;
  if (typeof kind === 'string' && kind.endsWith('List') && Array.isArray(items)) {
    const itemKind = kind === 'List' ? undefined : kind.slice(0, -'List'.length);
    items.forEach((item: unknown, index) => {
      const named =
        itemKind !== undefined && typeof item === 'object' && item !== null && !Array.isArray(item)
          ? { apiVersion: object.apiVersion, kind: itemKind, ...item }
          : item;
      collect(named, file, [...prefix, 'items', index], tree, objects, problems);
    });
    return;
  }
  const isOurList =
    typeof kind === 'string' && (kind === 'List' || knownKinds.has(kind.replace(/List$/, '')));
  if (isOurList && kind.endsWith('List') && items !== undefined && items !== null) {
    problems.push({
      code: 'not-an-object',
      severity: 'error',
      message: `The items of a ${kind} must be a list; what stands there instead is lost.`,
      fix: 'Start each item with "- ".',
      source: locateIn(tree, file, prefix, ['items'], 'key'),
    });
    return;
  }
  objects.push({
    value: object,
    file,
    locate: (path, what = 'value') => locateIn(tree, file, prefix, path, what),
  });
}

function locateIn(
  tree: Tree,
  file: string,
  prefix: FieldPath,
  path: FieldPath,
  what: 'key' | 'value',
): SourceRef {
  const text = formatPath(path);
  const named = text === '' ? {} : { path: text };
  const built = tree();
  if (built === undefined) return { file, ...named };
  const offset = offsetOf(built.document, [...prefix, ...path], what);
  return { file, ...position(built.lines, offset), ...named };
}

/** Walks down as far as the path goes; remembers the last place that exists. */
function offsetOf(document: Document.Parsed, path: FieldPath, what: 'key' | 'value'): number {
  let node: Node | null | undefined = document.contents;
  let offset = node?.range?.[0] ?? 0;
  for (const [depth, part] of path.entries()) {
    if (isAlias(node)) node = node.resolve(document) as Node | undefined;
    const last = depth === path.length - 1;
    if (isMap(node)) {
      const pair = node.items.find((item) => isScalar(item.key) && String(item.key.value) === String(part));
      if (pair === undefined) return offset;
      const key = pair.key as Node;
      const value = pair.value as Node | null;
      const keyOffset = key.range?.[0] ?? offset;
      offset = (last && what === 'key') || !hasText(value) ? keyOffset : (value?.range?.[0] ?? keyOffset);
      node = value;
    } else if (isSeq(node)) {
      const item = node.items[Number(part)] as Node | undefined;
      if (item === undefined || item === null) return offset;
      offset = item.range?.[0] ?? offset;
      node = item;
    } else {
      return offset;
    }
  }
  return offset;
}

/** An empty value (`podSelector:` and nothing behind it) has a range on the next token; its key is the better place. */
function hasText(node: Node | null): boolean {
  return node !== null && node.range !== null && node.range !== undefined && node.range[1] > node.range[0];
}
