import assert from 'node:assert/strict';
import { getPriority } from 'node:os';
import { test } from 'node:test';
import { scheduleControlThread } from '../../../src/dataplane/control-thread.js';

/** An addon that notes what it is asked. */
function recorder(refusal?: string) {
  const asked: (readonly [number, number])[] = [];
  return {
    asked,
    scheduleControl(run: number, within: number) {
      if (refusal !== undefined) throw Object.assign(new Error(refusal), { code: 'control-class' });
      asked.push([run, within]);
    },
  };
}

test('the normal class is a nice value only; the class first has a budget of a quarter of a core', () => {
  const nice = getPriority();
  const normal = recorder();
  assert.deepEqual(scheduleControlThread(normal, { scheduling: 'normal', nice }), []);
  assert.deepEqual(normal.asked, []);
  const first = recorder();
  assert.deepEqual(scheduleControlThread(first, { scheduling: 'first', nice }), []);
  assert.equal(first.asked.length, 1);
  const [run, within] = first.asked[0]!;
  assert.equal(within, 4 * run);
});

test('what the kernel refuses is told, and ends nothing', () => {
  const nice = getPriority();
  const refused = scheduleControlThread(recorder('no right to it'), { scheduling: 'first', nice });
  assert.deepEqual(refused, ['no right to it']);
});
