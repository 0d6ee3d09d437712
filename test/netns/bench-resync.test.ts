/** The resync that weft's policy changes are compared with: a change is in force after it, and nothing stale stays. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { allowedPorts } from '../../bench/contenders/contender.js';
import { kubeRouterContenders } from '../../bench/contenders/kube-router.js';
import { resync, withServer } from '../../bench/contenders/kube-router-sync.js';
import { makeSite, Program, run } from '../../bench/contenders/site.js';
import type { KernelRunning } from '../../bench/contenders/veth.js';
import { benchWorld } from '../../bench/contenders/world.js';
import { echoServer, udpClient } from '../support/netns.js';

test('a resync closes and opens, again and again, and leaves as many chains, rules and sets as the first load', async (t) => {
  const contender = kubeRouterContenders.find(({ policies }) => policies === 10);
  assert.ok(contender);
  const reason = await contender.unavailable();
  if (reason !== null) return t.skip(reason);
  const running = (await contender.start(makeSite())) as KernelRunning;
  const { client, server, node: netns } = running;
  const echo = await Program.start(process.execPath, ['-e', echoServer, '--', `${allowedPorts.first}`], {
    netns: server.netns,
    ready: /ready/,
  });
  try {
    const world = benchWorld(10);
    // From a port of its own each time: a new connection.
    const ask = async () =>
      (
        await run(process.execPath, ['-e', udpClient, '--', server.ipv4, `${allowedPorts.first}`, '64'], {
          netns: client.netns,
        })
      ).trim();
    const held = async () => ({
      lines: (await run('iptables-save', ['-t', 'filter'], { netns }))
        .split('\n')
        .filter((line) => /^[:-]/.test(line)).length,
      sets: (await run('ipset', ['list', '-n'], { netns })).split('\n').length,
    });
    const first = await held();
    assert.equal(await ask(), '64');
    for (const open of [false, true, false, true]) {
      const times = await resync(running, withServer(world, open));
      assert.ok(times.inForce > 0 && times.total >= times.inForce);
      assert.equal(await ask(), open ? '64' : 'timeout');
      const now = await held();
      // Closed, one policy has no set of peers and its four rules are gone.
      assert.deepEqual(now, open ? first : { lines: first.lines - 4, sets: first.sets - 1 });
    }
  } finally {
    echo.kill();
    await running.stop();
  }
});
