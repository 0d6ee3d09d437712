/**
 * `weft policy verdict --batch`: one world a line in, one list of answers a line out, in the order of the lines. A line that is no world
 * gives `{"error": …}` in its place, so that line N of the output always belongs to line N of the input; a sentence about it goes to
 * standard error and the exit status is 2 at the end. Blank lines are no worlds and give no output.
 */
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { losses } from '../../manifests/losses.js';
import { manifestsOf } from '../../manifests/parse.js';
import { resolveManifests, standardInput } from '../../manifests/read.js';
import { type Answer, answerAll } from './answer.js';
import type { Engine, EngineInput, EngineOptions } from './engine.js';
import { policyWorld } from './load.js';

export type EngineFactory = (input: EngineInput, options: EngineOptions) => Engine;

export interface BatchWorld {
  readonly objects: readonly unknown[];
  readonly queries: readonly unknown[];
  readonly options: EngineOptions;
}

/** Answers every line; resolves to the exit status. */
export async function runBatch(
  input: Readable,
  output: Writable,
  errors: Writable,
  engine: EngineFactory,
  defaults: EngineOptions,
): Promise<0 | 2> {
  let status: 0 | 2 = 0;
  let number = 0;
  for await (const line of createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })) {
    number++;
    if (line.trim() === '') continue;
    const world = parseWorld(line, defaults, (note) => errors.write(`weft: line ${number}: ${note}\n`));
    let printed: string;
    if (typeof world === 'string') {
      status = 2;
      errors.write(`weft: line ${number}: ${world}\n`);
      printed = JSON.stringify({ error: `line ${number}: ${world}` });
    } else {
      const answers = answerWorld(world, engine, number);
      for (const [index, answer] of answers.entries()) {
        if (answer.error === undefined) continue;
        status = 2;
        errors.write(`weft: line ${number}, query ${index}: ${answer.error}\n`);
      }
      printed = JSON.stringify(answers);
    }
    if (!output.write(`${printed}\n`)) await new Promise((resolve) => output.once('drain', resolve));
  }
  return status;
}

export function answerWorld(world: BatchWorld, engine: EngineFactory, line = 1): Answer[] {
  const { objects } = manifestsOf(world.objects, { file: standardInput, line });
  const loaded = policyWorld(resolveManifests(objects), 'as-written', 'no places');
  return answerAll(loaded.directory, engine(loaded, world.options), world.queries, world.options);
}

/** The world, or the sentence that says what is wrong with the line; a policy that would be left out is such a wrong. */
function parseWorld(
  line: string,
  defaults: EngineOptions,
  warn: (note: string) => void = () => {},
): BatchWorld | string {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (error) {
    return `not JSON: ${(error as Error).message}.`;
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return 'a world is a JSON object {"objects": [...], "queries": [...], "options": {...}}.';
  }
  const { objects, queries, options } = value as Record<string, unknown>;
  if (!Array.isArray(objects)) return '"objects" is missing or no list.';
  if (!Array.isArray(queries)) return '"queries" is missing or no list.';
  const wrong = objects.findIndex(
    (object) => typeof object !== 'object' || object === null || Array.isArray(object),
  );
  if (wrong >= 0) return `objects[${wrong}] is no Kubernetes object.`;
  const manifests = manifestsOf(objects, { file: standardInput });
  const [lost] = [...manifests.problems, ...losses(manifests.objects)];
  if (lost !== undefined) return lost.message;
  const read = parseOptions(options, defaults, warn);
  return typeof read === 'string' ? read : { objects, queries, options: read };
}

/**
 * `{"ownNodeEgress": "judge"}`, also nested as in the configuration file, `{"policy": {"ownNodeEgress": "judge"}}`. An option that does
 * not bear on verdicts is only mentioned.
 */
function parseOptions(
  value: unknown,
  defaults: EngineOptions,
  warn: (note: string) => void = () => {},
): EngineOptions | string {
  if (value === undefined || value === null) return defaults;
  if (typeof value !== 'object' || Array.isArray(value)) return '"options" is no object.';
  let ownNodeEgress: unknown = defaults.ownNodeEgress;
  for (const [key, given] of Object.entries(value)) {
    if (key === 'ownNodeEgress' || key === 'policy.ownNodeEgress') ownNodeEgress = given;
    else if (key === 'policy' && typeof given === 'object' && given !== null) {
      const nested = parseOptions(given, defaults, warn);
      if (typeof nested === 'string') return nested;
      ownNodeEgress = nested.ownNodeEgress;
    } else warn(`option "${key}" is not known and does nothing; ownNodeEgress is.`);
  }
  if (ownNodeEgress !== 'allow' && ownNodeEgress !== 'judge') {
    return `ownNodeEgress ${JSON.stringify(ownNodeEgress)} is neither "allow" nor "judge".`;
  }
  return { ownNodeEgress };
}
