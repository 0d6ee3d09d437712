/** When the host port is looked at, over a clock that the test moves. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HostWatch } from '../../../src/dataplane/host-watch.js';

test('a series of changes is one look, and who never stops is looked at once a second', async (context) => {
  context.mock.timers.enable({ apis: ['setTimeout'] });
  let looks = 0;
  const watch = new HostWatch(async () => {
    looks++;
  });
  const pass = async (milliseconds: number) => {
    for (let passed = 0; passed < milliseconds; passed += 5) {
      context.mock.timers.tick(5);
      await Promise.resolve();
      await Promise.resolve();
    }
  };
  for (let i = 0; i < 5; i++) watch.touched();
  assert.equal(looks, 0, 'the series has not ended');
  await pass(50);
  assert.equal(looks, 1);
  await pass(3000);
  assert.equal(looks, 1, 'nobody has touched it since');
  for (let i = 0; i < 500; i++) {
    watch.touched();
    await pass(10);
  }
  assert.ok(looks >= 5 && looks <= 7, `${looks} looks in 5 s`);
  await pass(3000);
  const last = looks;
  watch.touched();
  watch.stop();
  await pass(3000);
  assert.equal(looks, last);
});
