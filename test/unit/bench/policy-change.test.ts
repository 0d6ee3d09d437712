import assert from 'node:assert/strict';
import test from 'node:test';
import { latencies } from '../../../bench/node/policy-change.js';

const ms = (time: number) => BigInt(Math.round(time * 1e6));
type Arrived = readonly (number | readonly [number, number])[];
/** A pair each millisecond: a packet and its control arrive 0.2 ms after they were sent unless told otherwise. */
const flat = (arrived: Arrived) =>
  BigInt64Array.from(
    arrived.flatMap((one) =>
      typeof one === 'number' ? [BigInt(one), ms(one + 0.2)] : [BigInt(one[0]), ms(one[1])],
    ),
  );
const stream = (count: number, arrived: Arrived, controls: Arrived = numbers(0, count)) => ({
  arrivals: flat(arrived),
  controls: flat(controls),
});
const numbers = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i);

test('a permission is in force at the first packet that arrives, a denial when the control behind the first denied one does', () => {
  const changes = [
    { at: ms(10.5), allows: true },
    { at: ms(30.5), allows: false },
    { at: ms(50.5), allows: true },
  ];
  const found = latencies(changes, stream(60, [...numbers(14, 37), ...numbers(55, 60)]));
  assert.deepEqual(found, [3.7, 6.7, 4.7]);
});

test('a denied packet that waited is judged no sooner than its control arrived', () => {
  const changes = [{ at: ms(10.5), allows: false }];
  // Nothing moved from 12 to 19 ms: packet 12 was sent early and judged late.
  const waited = [12, 13, 14, 15, 16, 17, 18].map((number) => [number, 19 + number / 1000] as const);
  const controls = [...numbers(0, 12), ...waited, ...numbers(19, 40)];
  assert.deepEqual(latencies(changes, stream(40, numbers(0, 12), controls)), [8.512]);
  assert.deepEqual(
    latencies(changes, stream(40, numbers(0, 9))),
    [0.7],
    'what was lost before tells nothing',
  );
  // A control that was lost itself: the next one is late rather than early.
  assert.deepEqual(
    latencies(changes, stream(40, numbers(0, 14), [...numbers(0, 14), ...numbers(15, 40)])),
    [4.7],
  );
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
