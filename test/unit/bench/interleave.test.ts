import assert from 'node:assert/strict';
import test from 'node:test';
import { interleave, type Lane, type Rounds, type Sample, turn } from '../../../bench/interleave.js';

/** A lane whose n-th sample is the n-th answer: values, words to throw, or a promise. */
function lane(
  name: string,
  answer: (
    call: number,
    seconds: number,
  ) => Record<string, number> | string | Promise<Record<string, number>>,
  more: Partial<Lane> = {},
): Lane {
  const [contender, workload] = name.split('/') as [string, string];
  let calls = 0;
  return {
    contender,
    workload,
    measures: [{ name: 'rate', unit: 'packets/s' }],
    repeat: 'rounds',
    sample: async (seconds) => {
      const result = answer(calls++, seconds);
      if (typeof result === 'string') throw new Error(result);
      return result;
    },
    ...more,
  };
}

async function taken(groups: readonly (readonly Lane[])[], more: Partial<Rounds> = {}): Promise<Sample[]> {
  const samples: Sample[] = [];
  let now = 0;
  await interleave({
    groups,
    rounds: 3,
    seconds: 2,
    warmUpSeconds: 1,
    patience: 60_000,
    clock: () => {
      now += 1000;
      return new Date(now);
    },
    stolen: () => now / 4000,
    signal: new AbortController().signal,
    before: () => {},
    taken: (sample) => samples.push(sample),
    ...more,
  });
  return samples;
}

const one = () => ({ rate: 1 });

test('in every round each lane has one turn, and who comes first changes', () => {
  for (const count of [1, 2, 3, 5, 8]) {
    for (let round = 0; round < 12; round++)
      assert.deepEqual(
        [...turn(count, round)].sort((a, b) => a - b),
        Array.from({ length: count }, (_, i) => i),
      );
    const first = new Set(Array.from({ length: 2 * count }, (_, round) => turn(count, round)[0]));
    assert.equal(first.size, count, `each of ${count} is first at some time`);
  }
});

test('of every pair of lanes either comes first about as often as the other', () => {
  for (const count of [2, 3, 5, 8, 16, 23])
    for (let a = 0; a < count; a++)
      for (let b = a + 1; b < count; b++) {
        const earlier = [1, 2, 3, 4, 5].filter((round) => {
          const order = turn(count, round);
          return order.indexOf(a) < order.indexOf(b);
        });
        assert.ok(
          earlier.length === 2 || earlier.length === 3,
          `${a} and ${b} of ${count}: ${earlier.length} of 5`,
        );
      }
});

test('groups follow one another in every round, lanes of a group are next to each other', async () => {
  const order: string[] = [];
  const groups = [
    [lane('a/x', one), lane('b/x', one)],
    [lane('a/y', one), lane('b/y', one)],
  ];
  await taken(groups, {
    rounds: 2,
    before: ({ contender, workload }, round) => order.push(`${round} ${contender}/${workload}`),
  });
  assert.deepEqual(
    order.map((step) => step.replace(/[ab]\//, '')),
    [...'000011112222'].map((round, i) => `${round} ${i % 4 < 2 ? 'x' : 'y'}`),
  );
  assert.deepEqual(order.slice(0, 6), ['0 a/x', '0 b/x', '0 a/y', '0 b/y', '1 b/x', '1 a/x']);
  assert.deepEqual(order.slice(8, 10), ['2 b/x', '2 a/x']);
});

test('the warm-up is round 0 and has its own length', async () => {
  const lengths: number[] = [];
  const samples = await taken([[lane('a/x', (_, seconds) => ({ rate: lengths.push(seconds) }))]]);
  assert.deepEqual(lengths, [1, 2, 2, 2]);
  assert.deepEqual(
    samples.map(({ round }) => round),
    [0, 1, 2, 3],
  );
  assert.deepEqual(samples[1], {
    contender: 'a',
    workload: 'x',
    round: 1,
    at: '1970-01-01T00:00:03.000Z',
    took: 1,
    attempts: 1,
    stolen: 25,
    values: { rate: 2 },
  });
});

test('what gives the same number every time is sampled once, without a warm-up', async () => {
  const samples = await taken([[lane('a/x', one, { repeat: 'once' }), lane('b/x', one, { repeat: 'once' })]]);
  assert.deepEqual(
    samples.map(({ contender, round }) => `${contender}${round}`),
    ['b1', 'a1'],
  );
});

test('what failed is tried once more and then recorded with its words', async () => {
  const samples = await taken([
    [lane('a/x', (call) => (call === 1 ? 'no traffic' : { rate: 5 }))],
    [lane('b/x', (call) => (call === 1 ? 'no server' : call === 2 ? 'no client' : { rate: 6 }))],
  ]);
  const [a, b] = [samples.filter((s) => s.contender === 'a'), samples.filter((s) => s.contender === 'b')];
  assert.deepEqual(
    a.map(({ attempts, failed }) => [attempts, failed]),
    [
      [1, undefined],
      [2, undefined],
      [1, undefined],
      [1, undefined],
    ],
  );
  assert.deepEqual(
    b.map(({ attempts, failed }) => [attempts, failed]),
    [
      [1, undefined],
      [2, 'no server; then: no client'],
      [1, undefined],
      [1, undefined],
    ],
  );
});

test('a lane that fails two rounds in a row is not tried again, and every round of it is recorded', async () => {
  let calls = 0;
  const broken = lane('a/x', () => {
    calls++;
    return 'gone';
  });
  const samples = await taken([[broken, lane('b/x', one)]]);
  const words = samples.filter(({ contender }) => contender === 'a').map(({ failed }) => failed);
  assert.deepEqual(words, [
    'gone',
    'gone',
    'given up after 2 failed rounds',
    'given up after 2 failed rounds',
  ]);
  assert.equal(calls, 4);
  assert.equal(samples.filter(({ contender, values }) => contender === 'b' && values).length, 4);
});

test('nothing, a missing value and no number are failures; only a difference of times may be 0', async () => {
  const cases: readonly (readonly [Record<string, number>, string | undefined])[] = [
    [{ rate: 0 }, 'rate is 0 packets/s'],
    [{}, 'rate is undefined'],
    [{ rate: Number.NaN }, 'rate is NaN'],
    [{ rate: Number.POSITIVE_INFINITY }, 'rate is Infinity'],
    [{ rate: 1 }, undefined],
  ];
  for (const [values, words] of cases) {
    const samples = await taken([[lane('a/x', () => values)]], { rounds: 1 });
    assert.equal(samples[1]?.failed, words);
  }
  const cpu = lane('a/x', () => ({ cpu: -0.1 }), { measures: [{ name: 'cpu', unit: '% of a core' }] });
  assert.equal((await taken([[cpu]], { rounds: 1 }))[1]?.failed, undefined);
});

test('a sample that never ends is a failure', async () => {
  const stuck = lane('a/x', () => new Promise<Record<string, number>>(() => {}));
  const samples = await taken([[stuck]], { rounds: 1, patience: 5 });
  assert.equal(samples[1]?.failed, 'no result within 0.005 s');
});

test('the signal ends the rounds, and the sample under way is not recorded', async () => {
  const ending = new AbortController();
  const lanes = [
    lane('a/x', (call) => {
      if (call === 1) ending.abort();
      return { rate: 1 };
    }),
  ];
  const samples = await taken([lanes], { signal: ending.signal });
  assert.deepEqual(
    samples.map(({ round }) => round),
    [0],
  );
});
