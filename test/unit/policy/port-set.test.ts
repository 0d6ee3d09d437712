import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { everything } from '../../../src/model/selector.js';
import { type Grant, type PortSet, PortSetTable } from '../../../src/policy/port-set.js';
import { PolicyEntry, type RuleEntry } from '../../../src/policy/rule.js';
import { makePolicy, rule } from '../../support/policy-world.js';

const rules: readonly RuleEntry[] = (() => {
  let serial = 0;
  const entry = new PolicyEntry(
    makePolicy('x/p', everything, { ingress: Array.from({ length: 5 }, () => rule(null)) }),
    () => serial++,
  );
  entry.rules.ingress!.forEach((one, i) => {
    one.order = i;
  });
  return entry.rules.ingress!;
})();

const grants: fc.Arbitrary<readonly Grant[]> = fc.uniqueArray(
  fc.record({
    rule: fc.constantFrom(...rules),
    any: fc.integer({ min: 0, max: 5 }).map((n) => n === 0),
    ranges: fc.array(
      fc
        .tuple(fc.constantFrom(6, 17), fc.integer({ min: 0, max: 20 }), fc.integer({ min: 0, max: 8 }))
        .map(([protocol, first, more]) => ({ protocol, first, last: first + more })),
      { maxLength: 4 },
    ),
  }),
  { selector: (grant) => grant.rule, maxLength: 5, size: 'max' },
);

function firstRule(of: readonly Grant[], protocol: number, port: number): RuleEntry | undefined {
  return [...of]
    .sort((a, b) => a.rule.order - b.rule.order)
    .find(
      ({ any, ranges }) =>
        any || ranges.some((r) => r.protocol === protocol && r.first <= port && port <= r.last),
    )?.rule;
}

function ruleIn(set: PortSet, protocol: number, port: number): RuleEntry | undefined {
  const range = set.ranges.find((r) => r.protocol === protocol && r.first <= port && port <= r.last);
  if (range === undefined) return set.any ?? undefined;
  return set.any !== null && set.any.order < range.rule.order ? set.any : range.rule;
}

test('every port belongs to the first rule that allows it', () => {
  fc.assert(
    fc.property(grants, (given) => {
      const set = new PortSetTable().of(given);
      for (const protocol of [1, 6, 17]) {
        for (let port = 0; port < 31; port++) {
          assert.equal(ruleIn(set, protocol, port), firstRule(given, protocol, port), `${protocol} ${port}`);
        }
      }
    }),
    { seed: 9, numRuns: 1000 },
  );
});

test('ranges ascend, are disjoint and do not touch under one rule', () => {
  fc.assert(
    fc.property(grants, (given) => {
      const { ranges } = new PortSetTable().of(given);
      ranges.forEach((range, i) => {
        const next = ranges[i + 1];
        if (next === undefined || next.protocol !== range.protocol) return;
        assert.ok(range.last < next.first);
        assert.ok(range.last + 1 < next.first || range.rule !== next.rule);
      });
    }),
    { seed: 10, numRuns: 500 },
  );
});

test('equal sets are one, in whatever order grants come, and go when nobody uses them', () => {
  const table = new PortSetTable();
  const a: Grant = { rule: rules[0]!, any: false, ranges: [{ protocol: 6, first: 80, last: 80 }] };
  const b: Grant = { rule: rules[1]!, any: false, ranges: [{ protocol: 6, first: 79, last: 81 }] };
  const set = table.use(table.of([a, b]));
  assert.equal(table.of([b, a]), set);
  assert.equal(table.of([]), table.empty);
  assert.deepEqual(table.settle().items, [table.empty, set]);
  assert.equal(table.settle().changed, false);
  table.drop(set);
  assert.deepEqual(table.settle().items, [table.empty]);
});
