/** Many ports up and down: nothing of them may be left, in this process or in the kernel. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { loadAddon, type NativeSwitch } from '../../src/dataplane/addon.js';
import type { PortSpec } from '../../src/dataplane/protocol/desired-state.js';
import { imageOf } from '../support/image.js';
import { echoServer, ip, TestPods, tcpClient } from '../support/netns.js';
import { openTestSwitch } from '../support/switch.js';

const portCount = 200;
const pods = new TestPods();
let core: NativeSwitch;
const specs: PortSpec[] = [];

before(() => {
  core = openTestSwitch(loadAddon(), pods.runDirectory());
  core.start();
  for (let number = 1; number <= portCount; number++) specs.push(pods.pod(number));
});

after(() => {
  core?.stop();
  pods.end();
});

const descriptors = () => readdirSync('/proc/self/fd').length;
const linksOf = (spec: PortSpec) =>
  JSON.parse(ip('-n', spec.netns.slice('/run/netns/'.length), '-j', 'link')) as { ifname: string }[];

test(`${portCount} ports come up, the last pair talks, and all go without a trace`, async () => {
  const image = imageOf(specs);
  assert.equal(core.loadImage(image).status, 'loaded');
  const before = descriptors();
  for (let round = 0; round < 2; round++) {
    const attached = await Promise.all(specs.map((spec) => core.attach(spec)));
    assert.ok(attached.every(({ origin }) => origin === 'created'));
    assert.equal(descriptors(), before + portCount, 'one descriptor a port');
    const [a, b] = [specs.at(-2)!, specs.at(-1)!];
    const echo = pods.run(b, echoServer, 7000);
    await echo.line();
    assert.equal(await pods.run(a, tcpClient, b.addresses[0]!, 7000, 50_000).line(), '50000');
    echo.kill();
    await echo.done;
    await Promise.all(specs.map((spec) => core.detach(spec)));
    assert.equal(descriptors(), before, 'every descriptor was closed');
    for (const spec of [specs[0]!, b])
      assert.deepEqual(
        linksOf(spec).map(({ ifname }) => ifname),
        ['lo'],
      );
    assert.equal(core.figures().connectionsUsed, 0, 'connections went with their ports');
  }
});

test('namespaces that go while their ports are attached take the TAPs with them: nothing of ours holds them', async () => {
  const gone = specs.slice(0, 50);
  await Promise.all(gone.map((spec) => core.attach(spec)));
  const before = tunCount();
  for (const spec of gone) pods.remove(spec);
  // The kernel dissolves namespaces in a worker of its own.
  for (let i = 0; i < 1000 && core.brokenPorts().length < gone.length; i++)
    await new Promise((resolve) => setTimeout(resolve, 10));
  assert.equal(core.brokenPorts().length, gone.length);
  await Promise.all(gone.map((spec) => core.detach(spec)));
  assert.deepEqual(core.brokenPorts(), []);
  assert.equal(tunCount(), before - gone.length);
});

/** Descriptors of /dev/net/tun in this process. */
function tunCount(): number {
  let count = 0;
  for (const name of readdirSync('/proc/self/fdinfo')) {
    try {
      if (/^iff:/m.test(readFileSync(`/proc/self/fdinfo/${name}`, 'utf8'))) count++;
    } catch {
      // The descriptor of the folder itself.
    }
  }
  return count;
}
