/** What `weft tune` tries and when it chooses: tables of effects and the decision they lead to. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Sample } from '../../../bench/interleave.js';
import { candidatesFor, exclude, merged, switchOptionsOf } from '../../../bench/tune/candidate.js';
import { aspects, decide, type Effect, type Goal } from '../../../bench/tune/decide.js';
import { effectOf } from '../../../bench/tune/trial.js';
import { options } from '../../../src/config/options.js';

type Ratio = number | readonly [value: number, low: number, high: number];

function effects(ratios: Readonly<Record<string, Ratio>>): readonly Effect[] {
  return Object.entries(ratios).map(([name, ratio]) => {
    const [workload, measure] = name.split('.');
    const aspect = aspects.find((other) => other.workload === workload && other.measure === measure);
    assert.ok(aspect, name);
    const [value, low, high] = typeof ratio === 'number' ? [ratio, ratio, ratio] : ratio;
    return { aspect, ratio: { value, low, high, count: 5 } };
  });
}

const decisions: readonly (readonly [
  what: string,
  Readonly<Record<string, Ratio>>,
  Goal,
  boolean,
  RegExp,
])[] = [
  [
    'a clear gain and no loss',
    { 'udp-window.rate': 1.2, 'tcp-rr.p50': 1 },
    'balanced',
    true,
    /udp-window .* 20 % better/,
  ],
  [
    'lower latency is a gain',
    { 'tcp-rr.p50': 0.7, 'tcp-bulk-1.rate': 0.99 },
    'balanced',
    true,
    /tcp-rr p50 .* 30 % better/,
  ],
  [
    'a gain that costs throughput',
    { 'tcp-rr.p50': 0.7, 'tcp-bulk-1.rate': 0.87 },
    'balanced',
    false,
    /tcp-bulk-1 .* 13 % worse/,
  ],
  [
    'the same where latency is the goal',
    { 'tcp-rr.p50': 0.7, 'tcp-bulk-1.rate': 0.87 },
    'latency',
    true,
    /tcp-rr p50/,
  ],
  [
    'too dear also for latency',
    { 'tcp-rr.p50': 0.7, 'tcp-bulk-1.rate': 0.6 },
    'latency',
    false,
    /40 % worse/,
  ],
  ['a gain within the noise', { 'connect.rate': [1.1, 0.97, 1.2] }, 'balanced', false, /noise/],
  ['a sure gain that is too small', { 'connect.rate': [1.04, 1.03, 1.05] }, 'balanced', false, /noise/],
  ['a gain that the goal is not about', { 'tcp-rr.p50': 0.7 }, 'throughput', false, /noise/],
  ['nothing measured', {}, 'balanced', false, /noise/],
];
for (const [what, ratios, goal, chosen, why] of decisions) {
  test(`tuning for ${goal}, ${what}: ${chosen ? 'chosen' : 'left'}`, () => {
    const decision = decide(effects(ratios), goal);
    assert.equal(decision.chosen, chosen);
    assert.match(decision.why, why);
  });
}

test('candidates fit the number of cores and name options that exist', () => {
  const known = options.members.switch.members;
  for (const cores of [1, 2, 4, 16]) {
    const candidates = candidatesFor(cores);
    assert.equal(new Set(candidates.map(({ name }) => name)).size, candidates.length);
    for (const { name, options: changed } of candidates) {
      for (const option of Object.keys(changed)) assert.ok(option in known, `${name}: ${option}`);
      if (typeof changed.workers === 'number') assert.ok(changed.workers <= cores, name);
      for (const core of (changed.cores as string[] | undefined) ?? []) assert.ok(Number(core) < cores, name);
    }
  }
  assert.ok(!candidatesFor(1).some(({ options }) => 'pollTime' in options), 'one core has none to poll on');
});

test('candidates for the same option exclude each other', () => {
  const [first, ...others] = candidatesFor(4);
  assert.ok(first);
  assert.deepEqual(
    others.filter((other) => exclude(first, other)).map(({ name }) => name),
    ['poll-200us'],
  );
});

test('a change is merged into sections of the present settings', () => {
  const present = switchOptionsOf(
    'switch:\n  drain: {frames: 32, time: 1ms}\n  workers: 2\nlog: {level: warn}\n',
  );
  assert.deepEqual(merged(present, { drain: { frames: 16 }, cores: ['1'] }), {
    drain: { frames: 16, time: '1ms' },
    workers: 2,
    cores: ['1'],
  });
  assert.deepEqual(switchOptionsOf(''), {});
  assert.deepEqual(switchOptionsOf('log: {level: warn}'), {});
});

test('an effect pairs samples of the same round and leaves out the warm-up and what failed', () => {
  const [aspect] = aspects;
  assert.ok(aspect);
  const sample = (contender: string, round: number, rate: number | null): Sample => ({
    contender,
    workload: aspect.workload,
    round,
    at: '',
    took: 0,
    attempts: 1,
    stolen: 0,
    ...(rate === null ? { failed: 'no' } : { values: { rate } }),
  });
  const samples = [
    ...[sample('present', 0, 1), sample('changed', 0, 9)],
    ...[sample('present', 1, 10), sample('changed', 1, 20)],
    ...[sample('present', 2, 10), sample('changed', 2, null)],
    ...[sample('present', 3, 20), sample('changed', 3, 40)],
  ];
  const effect = effectOf(aspect, samples);
  assert.equal(effect?.ratio.count, 2);
  assert.equal(effect?.ratio.value.toFixed(6), '2.000000');
  assert.equal(effectOf(aspect, []), null);
});
