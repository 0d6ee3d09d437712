/**
 * Pods that go without a DEL: their runtime died and their namespaces are unmounted, or the node came back with the state file and without
 * the pods. Ports and addresses come back, and none before the others were given. The switch is a process; the agent is in this one,
 * since the test calls what it does every half minute.
 */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { AgentClient } from '../../src/agent/client.js';
import { imageCompiler } from '../../src/agent/compile-image.js';
import { type RunningAgent, startAgent } from '../../src/agent/process.js';
import { defaultConfig, overrideConfig } from '../../src/config/parse.js';
import { loadAddon } from '../../src/dataplane/addon.js';
import { createNamespace, removeNamespace } from '../../src/lab/engine.js';
import { openLog } from '../../src/telemetry/log.js';
import { TestNode } from '../support/node.js';
import { until } from '../support/weft.js';

/** All that the pool gives. */
const addresses = ['10.99.0.2', '10.99.0.3', '10.99.0.4', '10.99.0.5', '10.99.0.6'];
const names = ['a', 'b', 'c', 'd', 'e', 'f'];
/** Longer than the test takes. */
const grace = 3_600_000;

let node: TestNode;
let running: RunningAgent;
let client: AgentClient;
const namespaces = new Set<string>();

before(async () => {
  node = await TestNode.start({ supervised: false, agent: false });
  await begin();
});
after(async () => {
  client?.close();
  await running?.stop();
  for (const name of [...namespaces]) unmount(name);
  await node?.end();
});

async function begin(): Promise<void> {
  const overrides = {
    paths: { run: node.run },
    kubernetes: { mode: 'off' as const },
    telemetry: { enabled: false },
    node: { name: 'node', addresses: ['192.0.2.1'] },
    network: { podCIDRs: ['10.99.0.0/29'], hostInterface: '' },
  };
  running = await startAgent({
    configPath: undefined,
    overrides,
    config: overrideConfig(defaultConfig(), overrides),
    compile: imageCompiler(),
    takeLock: loadAddon().lockFile,
    identifyPeer: () => ({ pid: process.pid, uid: 0 }),
    log: openLog('agent', { level: 'silent', format: 'json' }),
    version: 'test',
  });
  client = await AgentClient.open(join(node.run, 'agent.sock'));
  await until('the agent is ready', 15, () => running.agent.ready);
}

const netns = (name: string) => join(node.folder, 'netns', name);

function unmount(name: string): void {
  removeNamespace(netns(name));
  namespaces.delete(name);
}

/** As a runtime does: a namespace, and an ADD; gives the address. Without Kubernetes the container is its own word for the pod. */
async function add(name: string): Promise<string> {
  createNamespace(netns(name));
  namespaces.add(name);
  const { addresses } = await client.request('attach', {
    namespace: 'containers',
    name,
    uid: '',
    labels: {},
    containerId: `container-${name}`,
    netns: netns(name),
    ifname: 'eth0',
  });
  return addresses.join();
}

const attached = () =>
  running.agent.attachments
    .list()
    .map(({ details }) => details.name)
    .sort();

/** The names of the ports that the switch has. */
async function ports(): Promise<readonly string[]> {
  return (await node.query('ports')).map(({ spec }) => spec.name).sort();
}

async function collected(expected: readonly string[]): Promise<void> {
  const gone: string[] = [];
  await until(`${expected.join()} are found gone`, 15, async () => {
    gone.push(...(await running.agent.reconcile(grace)).map(({ details }) => details.name));
    return gone.length >= expected.length;
  });
  assert.deepEqual(gone.sort(), [...expected].sort());
  await until('their ports are gone', 15, async () => expected.every((name) => !attached().includes(name)));
  await client.request('sync');
  assert.deepEqual(await ports(), attached());
}

test('a pod whose namespace is unmounted loses port and lease; its address is given after all the others', async () => {
  for (const [index, name] of ['a', 'b', 'c'].entries()) assert.equal(await add(name), addresses[index]);
  unmount('b');
  await collected(['b']);
  // What was never used comes first, and of the others what was given back first.
  assert.equal(await add('d'), addresses[3]);
  unmount('a');
  await collected(['a']);
  assert.equal(await add('e'), addresses[4]);
  assert.equal(await add('b'), addresses[1]);
  assert.equal(await add('a'), addresses[0]);
  await assert.rejects(add('f'), { code: 'addresses-exhausted' });
  unmount('f');
  assert.deepEqual(attached(), ['a', 'b', 'c', 'd', 'e']);
});

test('a namespace whose path was unmounted while a process still holds it is gone too', async () => {
  const holder = spawn('nsenter', [`--net=${netns('c')}`, 'sleep', '60'], { stdio: 'ignore' });
  await until('it is inside', 10, () => {
    try {
      return readFileSync(`/proc/${holder.pid}/comm`, 'utf8').trim() === 'sleep';
    } catch {
      return false;
    }
  });
  try {
    unmount('c');
    await collected(['c']);
  } finally {
    holder.kill('SIGKILL');
    await once(holder, 'exit');
  }
  assert.equal(await add('c'), addresses[2]);
});

test('after a reboot the state file is there and the pods are not: all comes back, in the order in which it was', async () => {
  const before = attached();
  client.close();
  await running.stop();
  const child = node.child('switch');
  child.kill('SIGKILL');
  await once(child, 'exit');
  for (const name of before) unmount(name);
  assert.ok(existsSync(join(node.run, 'leases.jsonl')));
  node.startSwitch();
  await node.switchUp();
  await begin();
  assert.deepEqual(attached(), before, 'as the state file has it');
  await collected(before);
  assert.deepEqual(attached(), []);
  const given: string[] = [];
  for (const name of names.slice(0, 5)) given.push(await add(name));
  assert.deepEqual([...given].sort(), addresses);
});
