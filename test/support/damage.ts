/** JSON with something wrong anywhere: a value replaced by another kind of value, a field renamed, a part removed. For property tests. */
import fc from 'fast-check';

const junk: readonly unknown[] = [
  null,
  '',
  'x',
  '10.0.0.0/8',
  0,
  -1,
  80,
  1.5,
  1e300,
  true,
  [],
  {},
  [null],
  [[]],
  ['x'],
  [{}],
  { x: 1 },
  { podSelector: {} },
  { matchLabels: null },
  { __proto__: null, constructor: 'x' },
];

export interface Damage {
  readonly object: number;
  /** At each level the child with this number; ends where a level has none. */
  readonly path: readonly number[];
  readonly by: number;
  readonly how: 'replace' | 'remove' | 'rename';
}

export const damage: fc.Arbitrary<Damage> = fc.record({
  object: fc.nat({ max: 30 }),
  path: fc.array(fc.nat({ max: 5 }), { minLength: 1, maxLength: 8 }),
  by: fc.nat({ max: junk.length - 1 }),
  how: fc.constantFrom('replace', 'replace', 'replace', 'remove', 'rename'),
});

export function damaged(objects: readonly unknown[], damages: readonly Damage[]): Record<string, unknown>[] {
  const copies = structuredClone(objects) as Record<string, unknown>[];
  for (const { object, path, by, how } of damages) {
    let node = copies[object % copies.length] as Record<string, unknown>;
    for (const [depth, step] of path.entries()) {
      const keys = Object.keys(node);
      if (keys.length === 0) break;
      const key = keys[step % keys.length]!;
      const child = node[key];
      if (depth < path.length - 1 && typeof child === 'object' && child !== null) {
        node = child as Record<string, unknown>;
        continue;
      }
      if (how === 'remove') delete node[key];
      else if (how === 'rename') {
        delete node[key];
        node[`${key}x`] = child;
      } else node[key] = structuredClone(junk[by]);
      break;
    }
  }
  // As JSON would bring it: no list has holes.
  const plain = JSON.parse(JSON.stringify(copies)) as Record<string, unknown>[];
  return plain.filter((copy) => typeof copy === 'object' && copy !== null);
}
