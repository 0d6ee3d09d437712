/**
 * The three engines agree on generated worlds: the reference evaluator, the image decoded in TypeScript, and the native lookup. A mismatch is
 * shrunk to a small world and printed with its seed; WEFT_PROPERTY_SEED and WEFT_PROPERTY_RUNS repeat or prolong a run.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Answer } from '../../src/cli/policy/answer.js';
import { answerWorld } from '../../src/cli/policy/batch.js';
import { engineNamed } from '../../src/cli/policy/engines.js';
import { type GeneratedWorld, worlds } from '../support/worlds.js';

const seed = Number(process.env.WEFT_PROPERTY_SEED ?? 20240601);
const numRuns = Number(process.env.WEFT_PROPERTY_RUNS ?? 1000);

function mismatches(world: GeneratedWorld, engine: 'decoded' | 'native'): string[] {
  const expected = answerWorld(world, engineNamed('reference'));
  const found = answerWorld(world, engineNamed(engine));
  return expected.flatMap((answer, index) => {
    const [want, got] = [comparable(answer), comparable(found[index]!)];
    return want === got
      ? []
      : [`${JSON.stringify(world.queries[index])}\n  reference ${want}\n  ${engine} ${got}`];
  });
}

/** Everything but the order of keys. */
function comparable(answer: Answer): string {
  return JSON.stringify(answer, (_, value: unknown) =>
    typeof value === 'object' && value !== null && !Array.isArray(value)
      ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
      : value,
  );
}

for (const engine of ['decoded', 'native'] as const) {
  test(`reference and ${engine} image give the same answers, rule and policies included (seed ${seed})`, () => {
    fc.assert(
      fc.property(worlds, (world) => {
        assert.deepEqual(mismatches(world, engine), []);
      }),
      { seed, numRuns },
    );
  });
}

test('generated worlds allow and deny, by every reason there is', () => {
  const seen = new Map<string, number>();
  for (const world of fc.sample(worlds, { seed, numRuns: 500 })) {
    for (const answer of answerWorld(world, engineNamed('reference'))) {
      const count = (key: string) => seen.set(key, (seen.get(key) ?? 0) + 1);
      count(`allowed ${answer.allowed}`);
      for (const side of [answer.egress, answer.ingress]) if (side !== null) count(side.reason);
      if ((answer.backends?.length ?? 0) > 1) count('several backends');
    }
  }
  for (const key of [
    'allowed true',
    'allowed false',
    'allowed null',
    'rule',
    'isolated',
    'not-isolated',
    'no-pod',
    'self',
    'own-node',
    'several backends',
  ]) {
    assert.ok((seen.get(key) ?? 0) >= 10, `${key}: ${seen.get(key) ?? 0} of ${JSON.stringify([...seen])}`);
  }
});
