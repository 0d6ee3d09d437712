/**
 * Where an object stands, for a message about it. Objects do not carry it: with a way back to its text each would hold on to the text,
 * its syntax and itself as it was written, several times its own size, and hardly one is ever asked. So a file that is asked about
 * is parsed again.
 */
import { readFileSync } from 'node:fs';
import type { SourceRef } from '../errors/problem.js';
import { noObjects } from '../manifests/decode.js';
import type { ManifestObject } from '../manifests/object.js';
import { parseManifests } from '../manifests/parse.js';
import { definitionsOf } from './manifest-definitions.js';
import { decodeObject } from './manifest-file.js';

/** For one round of messages: files are read once. */
export class ManifestPlaces {
  readonly #files = new Map<string, ReadonlyMap<string, readonly ManifestObject[]>>();

  /** Of the nth definition of that key in the file, from 0; the file alone where it has changed meanwhile. */
  of(file: string, key: string, nth: number): SourceRef {
    let places = this.#files.get(file);
    if (places === undefined) {
      places = read(file);
      this.#files.set(file, places);
    }
    return places.get(key)?.[nth]?.locate(['metadata', 'name']) ?? { file };
  }
}

function read(file: string): ReadonlyMap<string, readonly ManifestObject[]> {
  const places = new Map<string, ManifestObject[]>();
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch {
    return places;
  }
  for (const object of parseManifests(text, file).objects) {
    const model = noObjects();
    decodeObject(object, model, []);
    for (const { key } of definitionsOf(model)) {
      const list = places.get(key);
      if (list === undefined) places.set(key, [object]);
      else list.push(object);
    }
  }
  return places;
}
