import assert from 'node:assert/strict';
import test from 'node:test';
import type { Sample } from '../../../bench/interleave.js';
import type { Comparison, Reach } from '../../../bench/plan.js';
import { judge, Samples, summarize, type Verdict } from '../../../bench/report/verdict.js';

const at = '2026-01-01T00:00:00.000Z';

/** Samples of one pair: a number is the value of that round, words a failure; the first is the warm-up. */
function series(contender: string, values: readonly (number | string)[], measure = 'rate'): Sample[] {
  return values.map((value, round) => ({
    contender,
    workload: 'w',
    round,
    at,
    took: 1,
    attempts: 1,
    stolen: 0,
    ...(typeof value === 'string' ? { failed: value } : { values: { [measure]: value } }),
  }));
}

function comparison(reach: Reach, peer: string | null = 'b', measure = 'rate'): Comparison {
  return {
    name: 'a/b',
    subject: { of: 'a', workload: 'w', measure },
    peer: peer === null ? null : { of: peer, workload: 'w', measure },
    reach,
  };
}

test('met by the estimate, met by the interval, not met', () => {
  // Ratios 0.8, 0.9, 1, 1.1, 1.2: estimate 1, interval from 0.8 to 1.2.
  const samples = new Samples([
    ...series('a', [77, 80, 90, 100, 110, 120]),
    ...series('b', [1, 100, 100, 100, 100, 100]),
  ]);
  const cases: readonly (readonly ['least' | 'most', number, Verdict])[] = [
    ['least', 0.7, 'met'],
    ['least', 1, 'met'],
    ['least', 1.1, 'met by interval'],
    ['least', 1.2, 'met by interval'],
    ['least', 1.21, 'not met'],
    ['most', 1.3, 'met'],
    ['most', 1, 'met'],
    ['most', 0.9, 'met by interval'],
    ['most', 0.8, 'met by interval'],
    ['most', 0.79, 'not met'],
  ];
  for (const [direction, value, verdict] of cases) {
    const outcome = judge(comparison({ at: direction, value }), samples);
    assert.equal(outcome.verdict, verdict, `${direction} ${value}`);
    assert.equal(outcome.estimate?.count, 5);
    assert.equal(outcome.subject, 100);
  }
});

test('pairs are of the same round, and the warm-up is no round', () => {
  const samples = new Samples([
    ...series('a', [1000, 10, 'broke', 30, 40]),
    ...series('b', [1, 10, 20, 'broke', 20]),
  ]);
  const { estimate } = judge(comparison({ at: 'least', value: 1 }), samples);
  assert.equal(estimate?.count, 2);
  assert.ok(Math.abs((estimate?.value ?? 0) - Math.sqrt(2)) < 1e-9);
});

test('without a peer the value itself is judged', () => {
  const samples = new Samples(series('a', [500, 18, 19, 21, 22, 30]));
  assert.equal(judge(comparison({ at: 'most', value: 20 }, null), samples).verdict, 'met by interval');
  assert.equal(judge(comparison({ at: 'most', value: 21 }, null), samples).verdict, 'met');
  assert.equal(judge(comparison({ at: 'most', value: 17 }, null), samples).verdict, 'not met');
});

test('what was not measured has no verdict and says why', () => {
  const a = series('a', [1, 1, 1]);
  const cases: readonly (readonly [Samples, string])[] = [
    [new Samples([]), 'a on w: not run'],
    [new Samples(a), 'b on w: not run'],
    [new Samples([...a, ...series('b', ['x', 'x', 'gone'])]), 'b on w: gone'],
    [new Samples(a, [{ what: 'b', why: 'no module' }]), 'b on w: no module'],
    [new Samples(a, [{ what: 'b/w', why: 'no ClusterIP' }]), 'b on w: no ClusterIP'],
    [
      new Samples([...series('a', [1, 1, 'x']), ...series('b', [1, 'x', 1])]),
      'b on w: no round in which both were measured',
    ],
  ];
  for (const [samples, why] of cases) {
    const outcome = judge(comparison({ at: 'least', value: 1 }), samples);
    assert.deepEqual([outcome.verdict, outcome.why], ['no verdict', why]);
    assert.equal(outcome.estimate, undefined);
  }
});

test('processor times that are not above 0 give no ratio; most of the rounds must', () => {
  const reach = { at: 'most', value: 1.02 } as const;
  const b = series('b', [1, 10, 10, 10, 10, 10], 'cpu');
  const few = new Samples([...series('a', [1, 10, -1, 10, 0, 10], 'cpu'), ...b]);
  const found = judge(comparison(reach, 'b', 'cpu'), few);
  assert.deepEqual([found.verdict, found.estimate?.count], ['met', 3]);
  const many = new Samples([...series('a', [1, 10, -1, -1, 0, 10], 'cpu'), ...b]);
  assert.equal(judge(comparison(reach, 'b', 'cpu'), many).why, 'a on w: cpu not above 0 on both sides');
});

test('the same samples are judged the same', () => {
  const samples = [...series('a', [0, 1, 5, 2, 8, 3, 9, 4]), ...series('b', [0, 2, 4, 3, 5, 4, 6, 3])];
  const once = judge(comparison({ at: 'least', value: 1 }), new Samples(samples));
  assert.deepEqual(once, judge(comparison({ at: 'least', value: 1 }), new Samples(samples)));
});

test('a summary is the median of the counted rounds, or nothing', () => {
  const samples = new Samples(series('a', [99, 3, 1, 2]));
  const quantity = { of: 'a', workload: 'w', measure: 'rate' };
  const { value, count } = summarize(quantity, samples) ?? {};
  assert.deepEqual([value, count], [2, 3]);
  assert.equal(summarize({ ...quantity, of: 'b' }, samples), null);
  assert.equal(summarize({ ...quantity, measure: 'p50' }, samples), null);
});
