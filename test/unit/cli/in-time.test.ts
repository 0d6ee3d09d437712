import assert from 'node:assert/strict';
import { test } from 'node:test';
import { InTime } from '../../../src/cli/in-time.js';

/** Lines are named for their time; `arrive` says when each comes. */
function printed(arrive: readonly (readonly [at: number, time: string])[], flushAt: readonly number[]) {
  const out: string[] = [];
  let now = 0;
  const lines = new InTime(
    500,
    () => now,
    (text) => out.push(text),
  );
  const steps = [...arrive.map(([at, time]) => ({ at, time })), ...flushAt.map((at) => ({ at, time: null }))];
  const seen: string[][] = [];
  for (const { at, time } of steps.sort((a, b) => a.at - b.at)) {
    now = at;
    if (time !== null) lines.add(time, time);
    else {
      lines.flushRipe();
      seen.push([...out]);
    }
  }
  lines.flush();
  return { seen, all: out };
}

test('lines of several streams come out by their time, also where one stream lags', () => {
  const { all } = printed(
    [
      [0, '03'],
      [1, '05'],
      [2, '01'],
      [3, '04'],
      [4, '02'],
    ],
    [],
  );
  assert.deepEqual(all, ['01', '02', '03', '04', '05']);
});

test('what is followed is held for a while and no longer, and what is earlier goes with it', () => {
  const { seen, all } = printed(
    [
      [0, '05'],
      [300, '04'],
      [400, '06'],
      [1000, '07'],
    ],
    [499, 500, 900],
  );
  assert.deepEqual(seen, [[], ['04', '05'], ['04', '05', '06']]);
  assert.deepEqual(all, ['04', '05', '06', '07']);
});

test('lines of one time stay in the order in which they came', () => {
  const out: string[] = [];
  const lines = new InTime(
    0,
    () => 0,
    (text) => out.push(text),
  );
  for (const line of ['a', 'b', 'c']) lines.add('01', line);
  lines.flush();
  assert.deepEqual(out, ['a', 'b', 'c']);
});
