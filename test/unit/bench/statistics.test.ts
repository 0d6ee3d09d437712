import assert from 'node:assert/strict';
import test from 'node:test';
import { estimate, estimateRatio, median, quantile, randomness } from '../../../bench/statistics.js';

const near = (actual: number, expected: number, within = 1e-9): void =>
  assert.ok(Math.abs(actual - expected) <= within, `${actual} is not within ${within} of ${expected}`);

test('quantiles are those of type 7', () => {
  // numpy.percentile([1, 2, 4, 8, 16], [0, 10, 25, 50, 90, 100]), its default method.
  const sorted = [1, 2, 4, 8, 16];
  for (const [q, expected] of [
    [0, 1],
    [0.1, 1.4],
    [0.25, 2],
    [0.5, 4],
    [0.9, 12.8],
    [1, 16],
  ] as const)
    near(quantile(sorted, q), expected);
  near(quantile([7], 0.3), 7);
  assert.throws(() => quantile([], 0.5), RangeError);
});

test('the median needs no order and does not change its argument', () => {
  const values = [9, 1, 5];
  assert.equal(median(values), 5);
  assert.deepEqual(values, [9, 1, 5]);
  assert.equal(median([4, 1, 3, 2]), 2.5);
});

test('the same words give the same numbers, other words others, all of them even in [0, 1)', () => {
  const take = (words: string) => {
    const random = randomness(words);
    return Array.from({ length: 20_000 }, random);
  };
  assert.deepEqual(take('a').slice(0, 100), take('a').slice(0, 100));
  assert.notDeepEqual(take('a').slice(0, 3), take('b').slice(0, 3));
  for (const words of ['', 'a', 'b', 'udp-window.rate weft-0/limit']) {
    const numbers = take(words);
    assert.ok(numbers.every((number) => number >= 0 && number < 1));
    const tenths = new Array<number>(10).fill(0);
    for (const number of numbers)
      tenths[Math.floor(number * 10)] = (tenths[Math.floor(number * 10)] ?? 0) + 1;
    // Five standard deviations of 2,000 in 20,000 are 212.
    for (const count of tenths) near(count, 2000, 212);
  }
});

test('of five values the interval is from the lowest to the highest', () => {
  assert.deepEqual(estimate([5, 1, 3, 2, 4], 'five'), { value: 3, low: 1, high: 5, count: 5 });
});

test('one value is its own interval, and an estimate repeats itself', () => {
  assert.deepEqual(estimate([7], 'one'), { value: 7, low: 7, high: 7, count: 1 });
  const values = Array.from({ length: 12 }, (_, i) => (i * 7) % 12);
  assert.deepEqual(estimate(values, 'seed'), estimate(values, 'seed'));
});

test('subject and peer exchanged give the reciprocal, for an even number of pairs too', () => {
  const pairs = [
    { subject: 3, peer: 2 },
    { subject: 5, peer: 4 },
    { subject: 1, peer: 8 },
    { subject: 9, peer: 4 },
  ];
  const ratio = estimateRatio(pairs, 'x');
  const turned = estimateRatio(
    pairs.map(({ subject, peer }) => ({ subject: peer, peer: subject })),
    'x',
  );
  near(ratio.value, Math.sqrt(1.25 * 1.5));
  near(ratio.value * turned.value, 1);
  near(ratio.low * turned.high, 1);
  near(ratio.high * turned.low, 1);
});

test('a drift that meets both sides of a pair leaves the ratio alone', () => {
  const pairs = [1, 2, 4, 8, 16].map((speed) => ({ subject: 3 * speed, peer: 2 * speed }));
  const { value, low, high } = estimateRatio(pairs, 'drift');
  for (const figure of [value, low, high]) near(figure, 1.5);
});

/** How often the interval of `count` values of this distribution has the true median in it, over many experiments. */
function coverage(count: number, draw: (uniform: () => number) => number, truth: number): number {
  const random = randomness(`coverage of ${count}`);
  const experiments = 150;
  let covered = 0;
  for (let i = 0; i < experiments; i++) {
    const values = Array.from({ length: count }, () => draw(random));
    const { low, high } = estimate(values, `experiment ${i}`);
    if (low <= truth && truth <= high) covered++;
  }
  return covered / experiments;
}

test('the interval covers as often as its description says, for even and for skewed noise', () => {
  const even = (random: () => number) => random() + random() + random();
  const skewed = (random: () => number) => -Math.log(1 - random());
  // 150 experiments have a standard deviation of at most 0.027 here.
  for (const [count, expected] of [
    [5, 0.9375],
    [7, 0.875],
    [9, 0.961],
  ] as const) {
    near(coverage(count, even, 1.5), expected, 0.07);
    near(coverage(count, skewed, Math.LN2), expected, 0.07);
  }
});
