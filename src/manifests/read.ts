/**
 * Files, folders and standard input → manifests. A folder is read whole, subfolders included, in the order of its names, so that
 * the same folder always gives the same world; only *.yaml, *.yml and *.json count, names that start with a dot do not (the
 * links that Kubernetes keeps in a mounted ConfigMap are such names). What cannot be read is a Problem, never an exception.
 */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import type { Problem } from '../errors/problem.js';
import { decodeObjects, type ModelObjects } from './decode.js';
import { expandWorkload } from './expand.js';
import { recognise } from './kinds.js';
import type { ManifestObject } from './object.js';
import { parseManifests } from './parse.js';
import { nameOf, textOf } from './plain.js';

/** `-` as a path stands for standard input; its objects name this as their file. */
export const standardInput = '<stdin>';

export interface ManifestText {
  readonly file: string;
  readonly text: string;
}

/** An object of a kind that weft does not read. */
export interface SkippedObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly object: ManifestObject;
}

export interface ResolvedManifests {
  /** Plain objects of the kinds that weft reads; a workload is replaced by its pods. */
  readonly objects: readonly ManifestObject[];
  /** The same, typed. */
  readonly model: ModelObjects;
  readonly skipped: readonly SkippedObject[];
  readonly problems: readonly Problem[];
}

export interface Manifests extends ResolvedManifests {
  /** As written: before expansion, and with the kinds that are skipped. */
  readonly written: readonly ManifestObject[];
  readonly texts: ReadonlyMap<string, string>;
}

/**
 * Everything under the paths, typed. Problems are those of reading, parsing and expanding; what is wrong inside an object is
 * `validateObjects`' to say (`validate.ts`) and is decoded closed (`decode.ts`), so a caller that refuses invalid input calls both.
 */
export function readManifests(paths: readonly string[], stdin?: () => string): Manifests {
  const read = readManifestFiles(paths, stdin);
  const resolved = resolveManifests(read.objects);
  return {
    ...resolved,
    problems: [...read.problems, ...resolved.problems],
    written: read.objects,
    texts: read.texts,
  };
}

/** Expands workloads, types what weft reads and names what it does not. */
export function resolveManifests(written: readonly ManifestObject[]): ResolvedManifests {
  const objects: ManifestObject[] = [];
  const skipped: SkippedObject[] = [];
  const problems: Problem[] = [];
  const nodes = written
    .filter(({ value }) => value.kind === 'Node')
    .map(({ value }) => nameOf(value)?.name)
    .filter((name) => name !== undefined);
  for (const object of written) {
    const known = recognise(object.value);
    if (known === undefined) {
      skipped.push({
        apiVersion: textOf(object.value.apiVersion),
        kind: textOf(object.value.kind),
        namespace: nameOf(object.value)?.namespace ?? '',
        name: nameOf(object.value)?.name ?? '',
        object,
      });
    } else if (known.kind.use === 'expand') {
      const expansion = expandWorkload(object, nodes);
      for (const pod of expansion.pods) objects.push(pod);
      problems.push(...expansion.problems);
    } else {
      objects.push(object);
    }
  }
  return { objects, model: decodeObjects(objects), skipped, problems };
}

export interface ReadManifests {
  readonly objects: readonly ManifestObject[];
  /** Code `unreadable`, and those of the parser. */
  readonly problems: readonly Problem[];
  /** Every text that was read, for findings that show the line they are about. */
  readonly texts: ReadonlyMap<string, string>;
}

/** Reads and parses; `stdin` is called once, only when a path is `-`. */
export function readManifestFiles(
  paths: readonly string[],
  stdin: () => string = () => readFileSync(0, 'utf8'),
): ReadManifests {
  const problems: Problem[] = [];
  const texts = new Map<string, string>();
  for (const { file, text } of readTexts(paths, stdin, problems)) texts.set(file, text);
  const objects: ManifestObject[] = [];
  for (const [file, text] of texts) {
    const parsed = parseManifests(text, file);
    for (const object of parsed.objects) objects.push(object);
    for (const problem of parsed.problems) problems.push(problem);
  }
  return { objects, problems, texts };
}

function readTexts(paths: readonly string[], stdin: () => string, problems: Problem[]): ManifestText[] {
  const found: ManifestText[] = [];
  for (const given of paths) {
    if (given === '-') {
      found.push({ file: standardInput, text: stdin() });
      continue;
    }
    for (const file of listFiles(given, problems)) {
      try {
        found.push({ file, text: readFileSync(file, 'utf8') });
      } catch (error) {
        problems.push(unreadable(file, error));
      }
    }
  }
  return found;
}

/** Whether a file of this name counts where a folder is read. */
export function isManifestName(name: string): boolean {
  return !name.startsWith('.') && /\.(ya?ml|json)$/i.test(name);
}

/** The manifest files under a path, sorted; a file that is named itself counts whatever its name ends in. */
function listFiles(given: string, problems: Problem[]): string[] {
  try {
    if (!statSync(given).isDirectory()) return [given];
  } catch (error) {
    problems.push(unreadable(given, error));
    return [];
  }
  return listFolder(given, problems).files;
}

/** The manifest files in a folder and the folders inside it, sorted, and all those folders, itself first. */
export function listFolder(folder: string, problems: Problem[]): { files: string[]; folders: string[] } {
  const files: string[] = [];
  const folders = [folder];
  // Grows while it is gone through.
  for (const at of folders) {
    let entries: import('node:fs').Dirent[];
    try {
      entries = readdirSync(at, { withFileTypes: true });
    } catch (error) {
      problems.push(unreadable(at, error));
      continue;
    }
    for (const entry of entries) {
      const name = path.join(at, entry.name);
      // A link to a folder is not followed: it could lead back up.
      if (entry.isDirectory() && !entry.name.startsWith('.')) folders.push(name);
      else if (!entry.isDirectory() && isManifestName(entry.name)) files.push(name);
    }
  }
  return { files: files.sort(), folders };
}

function unreadable(file: string, error: unknown): Problem {
  const code = (error as NodeJS.ErrnoException).code;
  const reason =
    code === 'ENOENT'
      ? 'there is no such file or folder'
      : code === 'EACCES'
        ? 'permission was denied'
        : String(error);
  return {
    code: 'unreadable',
    severity: 'error',
    message: `${file} cannot be read: ${reason}.`,
    fix: 'Name an existing YAML or JSON file, a folder of them, or - for standard input.',
    source: { file },
  };
}
