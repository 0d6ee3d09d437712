import assert from 'node:assert/strict';
import test from 'node:test';
import { latencies } from '../../../bench/node/policy-change.js';

const ms = (time: number) => BigInt(Math.round(time * 1e6));
/** A packet each millisecond; `arrived` are those that did, each 0.2 ms after it was sent unless told otherwise. */
const stream = (count: number, arrived: readonly (number | readonly [number, number])[]) => ({
  sent: BigInt64Array.from({ length: count }, (_, i) => ms(i)),
  arrivals: BigInt64Array.from(
    arrived.flatMap((one) =>
      typeof one === 'number' ? [BigInt(one), ms(one + 0.2)] : [BigInt(one[0]), ms(one[1])],
    ),
  ),
});
const numbers = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i);

test('a permission is in force at the first packet that arrives, a denial at the one behind the last', () => {
  const changes = [
    { at: ms(10.5), allows: true },
    { at: ms(30.5), allows: false },
    { at: ms(50.5), allows: true },
  ];
  const found = latencies(changes, stream(60, [...numbers(14, 37), ...numbers(55, 60)]));
  assert.deepEqual(found, [3.7, 6.5, 4.7]);
});

test('a packet that waited is judged no sooner than the one before it was delivered', () => {
  const changes = [{ at: ms(10.5), allows: false }];
  // Packet 12 came late: 13 was sent before that and cannot have been judged earlier.
  assert.deepEqual(latencies(changes, stream(40, [...numbers(0, 12), [12, 15.5]])), [5]);
  assert.deepEqual(latencies(changes, stream(40, numbers(0, 9))), [0], 'nothing came since: at once');
});

test('a change that did not come into force before the next one is an error, not a figure', () => {
  const allowed = [
    { at: ms(10), allows: true },
    { at: ms(20), allows: false },
  ];
  assert.throws(() => latencies(allowed, stream(40, [])), /change 0 allowed nothing/);
  const denied = [
    { at: ms(10), allows: false },
    { at: ms(20), allows: true },
  ];
  assert.throws(() => latencies(denied, stream(40, numbers(0, 40))), /change 0 did not deny/);
  assert.throws(() => latencies([{ at: ms(10), allows: false }], stream(20, numbers(0, 20))), /at the end/);
});
