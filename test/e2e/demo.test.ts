/** The demo as a newcomer sees it, and that nothing is left of it however it ends. */
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { describe, test } from 'node:test';
import { findLabs } from '../../src/lab/launch.js';
import { footprint, pidNamespace, processesIn, startWeft, until, weft } from '../support/weft.js';

/** Starts a demo and waits until its lab's first process is there (and `more` has come true). */
async function begun(
  more: (namespace: string) => boolean,
): Promise<{ demo: ChildProcess; namespace: string; pid: number }> {
  const demo = startWeft(['lab', 'demo']);
  const name = `demo-${demo.pid}`;
  let pid = 0;
  await until('the first process is there', 20, () => {
    pid = findLabs().find((lab) => lab.name === name)?.pid ?? 0;
    return pid !== 0;
  });
  const namespace = pidNamespace(pid);
  await until('the demo is where it is to be ended', 20, () => more(namespace));
  return { demo, namespace, pid };
}

async function leavesNothing(namespace: string): Promise<void> {
  await until('every process of the lab is gone', 5, () => processesIn(namespace).length === 0);
  assert.deepEqual(footprint(), []);
}

describe('npm run demo', () => {
  test('prints the matrix with every denial explained, agrees, and ends in time', () => {
    const started = Date.now();
    const { status, stdout, stderr } = weft(['lab', 'demo']);
    const seconds = (Date.now() - started) / 1000;
    assert.equal(status, 0, stderr);
    assert.match(stdout, /^web 80\/TCP +✓ +✓ +·$/m, stdout);
    assert.match(stdout, /^backend 8080\/TCP +· +✗ +✓$/m, stdout);
    assert.match(stdout, /^backend 8125\/UDP +· +✗ +✓$/m, stdout);
    assert.match(stdout, /^db 5432\/TCP +✓ +· +✗$/m, stdout);
    assert.match(
      stdout,
      /ingress of db is isolated by default\/db-access-ingress, default\/default-deny-ingress/,
    );
    assert.match(stdout, /every one as expected/);
    assert.ok(seconds < 20, `took ${seconds} s`);
    assert.deepEqual(footprint(), []);
  });

  test('says where each denial was told from: the switch itself', () => {
    const { status, stdout } = weft(['lab', 'demo', '-o', 'json']);
    assert.equal(status, 0);
    const { cells, agrees } = JSON.parse(stdout);
    assert.equal(agrees, true);
    const denied = cells.filter((cell: { measured: string }) => cell.measured === 'denied');
    assert.ok(denied.length > 0);
    for (const cell of denied) assert.equal(cell.denial?.told, 'switch', JSON.stringify(cell));
  });

  test('a manifest that the API server would refuse ends it with status 2 and nothing left', () => {
    const broken = 'apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: [}\n';
    const { status, stderr } = weft(['lab', 'demo', '-f', '-'], { input: broken });
    assert.equal(status, 2);
    assert.match(stderr, /<stdin>:3/);
    assert.deepEqual(footprint(), []);
  });

  test('a failure in the middle ends it with status 2 and nothing left', () => {
    const { status, stderr } = weft(['lab', 'demo', '--set', 'switch.workers=-3']);
    assert.equal(status, 2, stderr);
    assert.match(stderr, /switch\.workers/);
    assert.deepEqual(footprint(), []);
  });

  const whenUp = (namespace: string) => processesIn(namespace).length >= 4;
  const whenStarting = (namespace: string) => processesIn(namespace).length >= 1;
  for (const [when, more] of [
    ['while it starts', whenStarting],
    ['while it runs', whenUp],
  ] as const) {
    test(`Ctrl-C ${when} leaves nothing`, async () => {
      const { demo, namespace } = await begun(more);
      const exited = once(demo, 'exit');
      process.kill(-demo.pid!, 'SIGINT');
      await exited;
      await leavesNothing(namespace);
    });

    test(`kill -9 of the command ${when} leaves nothing`, async () => {
      const { demo, namespace } = await begun(more);
      const exited = once(demo, 'exit');
      demo.kill('SIGKILL');
      await exited;
      await leavesNothing(namespace);
    });

    test(`kill -9 of the lab's first process ${when} leaves nothing, and the command says so`, async () => {
      const { demo, namespace, pid } = await begun(more);
      const exited = once(demo, 'exit');
      process.kill(pid, 'SIGKILL');
      const [status] = await exited;
      assert.notEqual(status, 0);
      await leavesNothing(namespace);
    });
  }
});
