import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { Heap } from '../../../src/agent/heap.js';

const megabyte = 1024 * 1024;

function scene(context: TestContext) {
  context.mock.timers.enable({ apis: ['setTimeout'] });
  const seen = { bytes: 100 * megabyte, collections: 0, young: 0 };
  const heap = new Heap({
    size: () => seen.bytes,
    collect: () => {
      seen.collections++;
      seen.bytes = 30 * megabyte;
    },
    collectYoung: () => {
      seen.young++;
    },
  });
  return { seen, heap };
}

test('the heap is collected once nothing has happened for a while, and not while changes go on', (t) => {
  const { seen, heap } = scene(t);
  for (let i = 0; i < 10; i++) {
    heap.stirred();
    t.mock.timers.tick(1500);
  }
  assert.equal(seen.collections, 0);
  t.mock.timers.tick(500);
  assert.equal(seen.collections, 1);
  t.mock.timers.tick(60_000);
  assert.equal(seen.collections, 1, 'once');
});

test('what has hardly grown since the last time is left alone', (t) => {
  const { seen, heap } = scene(t);
  const settle = () => {
    heap.stirred();
    t.mock.timers.tick(2000);
    return seen.collections;
  };
  assert.equal(settle(), 1);
  seen.bytes = 37 * megabyte;
  assert.equal(settle(), 1);
  seen.bytes = 39 * megabyte;
  assert.equal(settle(), 2);
});

test('what a change left behind is collected when it is in force', (t) => {
  const { seen, heap } = scene(t);
  heap.settled();
  heap.settled();
  assert.deepEqual([seen.young, seen.collections], [2, 0]);
});

test('a stopped one collects no more; without a way to collect nothing is tried', (t) => {
  const { seen, heap } = scene(t);
  heap.stirred();
  heap.stop();
  t.mock.timers.tick(5000);
  assert.equal(seen.collections, 0);
  new Heap(null).stirred();
  new Heap(null).settled();
});
