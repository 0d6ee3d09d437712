/**
 * One manifest file as it was last read. A file that cannot be read or parsed, or that has a policy which would be left out, keeps what it
 * last held, because taking its policies away would open their pods.
 */
import { createHash } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import type { Problem } from '../errors/problem.js';
import { decodeInto, type ModelObjects, noObjects } from '../manifests/decode.js';
import { expandWorkload } from '../manifests/expand.js';
import { recognise } from '../manifests/kinds.js';
import { losses } from '../manifests/losses.js';
import type { ManifestObject } from '../manifests/object.js';
import { parseManifests } from '../manifests/parse.js';
import { validateObjects } from '../manifests/validate.js';

/** Two writes within the grain of the file system's clock can leave the same stamp. Milliseconds, well above any such grain. */
const clockGrain = 100;

export class ManifestFile {
  readonly name: string;
  /** What `stat` said when it was read; '' where it would not tell a later write apart. */
  #stamp = '';
  #digest = '';
  #objects: ModelObjects | null = null;
  #problems: readonly Problem[] = [];

  constructor(name: string) {
    this.name = name;
  }

  /** What it holds or last held; null: it never could be read. */
  get objects(): ModelObjects | null {
    return this.#objects;
  }

  get problems(): readonly Problem[] {
    return this.#problems;
  }

  /** Whether the file is another than the one that was read; what it holds stays as it is. */
  isOther(): boolean {
    try {
      const stamp = stampOf(this.name);
      if (stamp !== '' && stamp === this.#stamp) return false;
      if (digestOf(readFileSync(this.name)) !== this.#digest) return true;
      this.#stamp = stamp;
      return false;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === undefined) throw error;
      return true;
    }
  }

  /** Reads the file if it may be another than before. True: what it holds, or what is wrong with it, is different now. */
  refresh(): boolean {
    try {
      const stamp = stampOf(this.name);
      if (stamp !== '' && stamp === this.#stamp) return false;
      const bytes = readFileSync(this.name);
      this.#stamp = stamp;
      const digest = digestOf(bytes);
      if (digest === this.#digest) return false;
      this.#digest = digest;
      this.#parse(bytes.toString('utf8'));
      return true;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === undefined) throw error;
      this.#stamp = '';
      this.#digest = '';
      this.#problems = [
        {
          code: 'unreadable',
          severity: 'error',
          message: `${this.name} cannot be read (${code}); ${this.#instead}`,
          source: { file: this.name },
        },
      ];
      return true;
    }
  }

  #parse(text: string): void {
    const parsed = parseManifests(text, this.name);
    const unreadable = [...parsed.problems, ...losses(parsed.objects)];
    if (unreadable.length > 0) {
      this.#problems = unreadable.map((problem) => ({
        ...problem,
        message: `${problem.message} The whole file waits: ${this.#instead}`,
      }));
      return;
    }
    const objects = noObjects();
    const problems = validateObjects(parsed.objects);
    for (const object of parsed.objects) decodeObject(object, objects, problems);
    this.#objects = objects;
    this.#problems = problems;
  }

  get #instead(): string {
    return this.#objects === null
      ? 'nothing is published before it can be read.'
      : 'what it last held stays in force.';
  }
}

function digestOf(bytes: Buffer): string {
  return createHash('sha1').update(bytes).digest('base64');
}

/** Equal for equal contents; '' where the file is too young for that to be sure. */
function stampOf(name: string): string {
  const { ino, dev, size, mtimeMs, ctimeMs } = statSync(name);
  const age = Date.now() - Math.max(mtimeMs, ctimeMs);
  return age < clockGrain ? '' : `${dev} ${ino} ${size} ${mtimeMs} ${ctimeMs}`;
}

/** Workloads stand for the pods that their controllers would make. Objects get no way back to their text (manifest-places.ts). */
export function decodeObject(object: ManifestObject, objects: ModelObjects, problems: Problem[]): void {
  if (decodeInto(objects, object.value)) return;
  if (recognise(object.value)?.kind.use === 'expand') {
    const expansion = expandWorkload(object);
    problems.push(...expansion.problems);
    for (const pod of expansion.pods) decodeInto(objects, pod.value);
    return;
  }
  problems.push({
    code: 'kind-skipped',
    severity: 'info',
    message: `${String(object.value.kind)} objects are not used.`,
    source: object.locate(['kind']),
  });
}
