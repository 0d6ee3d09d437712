/** Plugins, agents and switches that die in the middle of an ADD, and ADDs that come all at once: nothing leaks, nothing is given twice. */
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { podArguments } from '../support/cni.js';
import { CniNode, v4Of } from '../support/cni-node.js';
import { until } from '../support/weft.js';

const many = Array.from({ length: 50 }, (_, index) => `many-${index}`);
let cni: CniNode;

before(async () => {
  cni = await CniNode.start({ config: { agent: { attachTimeout: '30s' } } });
  await cni.pods(Object.fromEntries(['web', 'twice', 'again', ...many].map((name) => [name, {}])));
});
after(() => cni?.end());

/** Addresses of the pools that are given. */
async function used(): Promise<number> {
  const { addresses } = await cni.node.agent.request('status', {});
  return (addresses as { used: number }[]).reduce((sum, pool) => sum + pool.used, 0);
}

test('a plugin that is killed while it waits takes its ADD with it: the address first, then the port', async () => {
  cni.namespace('stranger');
  for (const signal of ['SIGKILL', 'SIGTERM'] as const) {
    const { child, done } = cni.start('ADD', 'stranger');
    await until('the port is there', 15, async () => {
      const { ports } = await cni.node.agent.request('ports', {});
      return (ports as { status: string }[])[0]?.status === 'live';
    });
    assert.equal(await used(), 2);
    child.kill(signal);
    assert.equal((await done).signal, signal);
    await until('the attachment is gone', 15, async () => (await cni.attached()).length === 0);
    assert.equal(await used(), 0);
    await until(
      'the interface is gone',
      15,
      () => !cni.inside('stranger', 'ip', '-o', 'link').includes('eth0'),
    );
    // The runtime deletes what it has not heard of.
    assert.equal((await cni.call('DEL', 'stranger')).status, 0);
  }
});

/** What the plugin does, step by step; resolves with the answer. */
function addByHand(name: string, taken: boolean): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(join(cni.node.run, 'agent.sock'));
    const request = {
      type: 'cni',
      id: 7,
      environment: {
        CNI_COMMAND: 'ADD',
        CNI_CONTAINERID: `container-${name}`,
        CNI_NETNS: cni.netns(name),
        CNI_IFNAME: 'eth0',
        CNI_ARGS: podArguments('test', name),
      },
      stdin: JSON.stringify({ cniVersion: '1.1.0', name: 'weft', type: 'weft-cni' }),
    };
    let text = '';
    socket.write(`${JSON.stringify(request)}\n`);
    socket.on('data', (chunk) => {
      text += chunk;
      if (!text.endsWith('\n')) return;
      if (taken) socket.end('{"type":"cni-taken","id":7}\n');
      else socket.destroy();
    });
    socket.once('close', () => resolve(text));
    socket.once('error', reject);
  });
}

test('an answer that the plugin did not hand on is undone, one that it did stays', async () => {
  cni.namespace('web');
  assert.match(await addByHand('web', false), /"exitStatus":0/);
  await until('the attachment is gone', 15, async () => (await cni.attached()).length === 0);
  assert.match(await addByHand('web', true), /"exitStatus":0/);
  // Whatever the agent has still to do about the closed connection it has done before it answers this.
  await cni.node.agent.request('sync', {});
  assert.deepEqual(await cni.attached(), ['test/web']);
  // Asked for again and not taken: it was there before, and stays.
  assert.match(await addByHand('web', false), /"exitStatus":0/);
  await cni.node.agent.request('sync', {});
  assert.deepEqual(await cni.attached(), ['test/web']);
  await cni.call('DEL', 'web');
  cni.removeNamespace('web');
});

test('an agent that is killed during an ADD fails it with code 11, and its successor lets DEL release everything', async () => {
  const { done } = cni.start('ADD', 'stranger');
  await until('the ADD is under way', 15, async () => (await cni.attached()).length === 1);
  await cni.node.killAgent();
  assert.equal((await done).json.code, 11);
  const del = cni.start('DEL', 'stranger', { configuration: { connectTimeout: 0 } });
  assert.equal((await del.done).json.code, 11, 'a DEL that nobody serves is not reported as done');
  // An ADD and a DEL that come while the agent starts wait for it.
  const early = cni.start('DEL', 'stranger', { configuration: { connectTimeout: 20_000 } });
  await cni.node.startAgent();
  assert.equal((await early.done).status, 0);
  assert.deepEqual(await cni.attached(), []);
  assert.equal(await used(), 0);
  await until(
    'the interface is gone',
    15,
    () => !cni.inside('stranger', 'ip', '-o', 'link').includes('eth0'),
  );
});

test('a switch that is killed during an ADD is waited for', async () => {
  cni.namespace('web');
  const { pid } = await cni.node.query('status');
  process.kill(pid, 'SIGKILL');
  const result = await cni.add('web');
  cni.serve('web', 80);
  cni.namespace('again');
  await cni.add('again');
  assert.equal(await cni.probe('again', v4Of(result), 80), 'answered');
  for (const name of ['web', 'again']) await cni.call('DEL', name);
});

test('one ADD that comes twice at once is one attachment, and both are told so', async () => {
  cni.namespace('twice');
  const [one, other] = await Promise.all([cni.call('ADD', 'twice'), cni.call('ADD', 'twice')]);
  assert.deepEqual([one.status, other.status], [0, 0], one.stdout + other.stdout);
  assert.equal(one.stdout, other.stdout);
  assert.deepEqual(await cni.attached(), ['test/twice']);
  await cni.call('DEL', 'twice');
});

test('50 ADDs at once have 50 addresses, 50 DELs at once leave none', async () => {
  for (const name of many) cni.namespace(name);
  const results = await Promise.all(many.map((name) => cni.add(name)));
  assert.equal(new Set(results.flatMap(({ ips }) => ips!.map(({ address }) => address))).size, 100);
  assert.equal((await cni.attached()).length, 50);
  cni.serve('many-0', 80);
  assert.equal(await cni.probe('many-49', v4Of(results[0]!), 80), 'answered');
  const deleted = await Promise.all(many.map((name) => cni.call('DEL', name)));
  assert.deepEqual([...new Set(deleted.map(({ status }) => status))], [0]);
  assert.deepEqual(await cni.attached(), []);
  assert.equal(await used(), 0);
});

test('200 ADDs and DELs one after the other give no address twice before all were given', async () => {
  const seen = new Set<string>();
  for (let time = 0; time < 200; time++) {
    const name = many[time % many.length]!;
    seen.add(v4Of(await cni.add(name)));
    assert.equal((await cni.call('DEL', name)).status, 0);
  }
  // A /24 gives 253 addresses, and what came before has taken some.
  assert.ok(seen.size >= 190, `${seen.size} different addresses`);
  assert.equal(await used(), 0);
});
