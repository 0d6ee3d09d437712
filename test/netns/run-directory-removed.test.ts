/**
 * Somebody cleans up /run: the files of the run directory, and then the directory itself, are removed under a running agent and switch. Both
 * put back what they know, so that callers find them, and their successors begin with all of it: running pods keep their addresses and
 * connections, and what is denied stays denied all the while.
 */
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, test } from 'node:test';
import type { StatusAnswer } from '../../src/agent/protocol/answers.js';
import { ApiServer } from '../support/api-server.js';
import { authority } from '../support/certificate.js';
import { TestNode } from '../support/node.js';
import { onlyFrom } from '../support/only-from.js';
import { endTalkers } from '../support/talk.js';
import { startTraffic } from '../support/traffic.js';
import { until } from '../support/weft.js';

let api: ApiServer;
let node: TestNode;
let folder: string;

before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'weft-run-removed-'));
  const trusted = authority();
  const { certificate, key } = trusted.server();
  api = await ApiServer.start({ tls: { cert: certificate, key }, bookmarks: 200 });
  api.tokens = new Set(['node-token']);
  const kubeconfig = join(folder, 'kubeconfig');
  writeFileSync(join(folder, 'ca.crt'), trusted.ca);
  writeFileSync(
    kubeconfig,
    JSON.stringify({
      'current-context': 'c',
      contexts: [{ name: 'c', context: { cluster: 'c', user: 'u' } }],
      clusters: [{ name: 'c', cluster: { server: api.url, 'certificate-authority': 'ca.crt' } }],
      users: [{ name: 'u', user: { token: 'node-token' } }],
    }),
  );
  node = await TestNode.start({ api, config: { kubernetes: { mode: 'auto', kubeconfig } } });
  await node.addPods({ server: { ports: ['80/TCP'] }, good: {}, bad: {} });
  await node.apply([onlyFrom('good')]);
});
afterEach(endTalkers);
after(async () => {
  await node?.end();
  await api?.down();
  rmSync(folder, { recursive: true, force: true });
});

const kept = [
  'agent.sock',
  'agent.epoch',
  'leases.jsonl',
  'switch.sock',
  'switch-state.json',
  'switch-image',
];
const missing = () => kept.filter((name) => !existsSync(join(node.run, name)));
const status = () => node.agent.request('status', {}) as unknown as Promise<StatusAnswer>;

for (const [what, remove] of [
  ['all of its files', () => readdirSync(node.run).map((name) => join(node.run, name))],
  ['the directory itself', () => [node.run]],
] as const) {
  test(`${what}: put back, and successors of agent and switch go on as if nothing had been`, async () => {
    const traffic = await startTraffic(node);
    const { epoch } = await status();
    for (const path of remove()) rmSync(path, { recursive: true, force: true });
    await until(`they are back: ${kept}`, 15, () => missing().length === 0).catch((error: Error) =>
      assert.fail(`${error.message}; missing ${missing()}\n${node.words('agent')}\n${node.words('switch')}`),
    );
    await traffic.goesOn();

    await node.killAgent();
    await node.startAgent();
    await node.apply([onlyFrom('good')]);
    const again = await status();
    assert.ok(again.epoch > epoch, `epoch ${again.epoch} after ${epoch}`);
    assert.equal(again.ready, true);
    assert.equal(again.counts.ports, node.pods.size);
    await traffic.goesOn();

    const { pid } = await node.query('status');
    process.kill(pid, 'SIGKILL');
    await node.switchUp(pid);
    await traffic.goesOn();
    assert.deepEqual(
      (await node.query('ports')).filter((port) => port.status !== 'live'),
      [],
    );
    const late = `late-${node.pods.size}`;
    await node.addPods({ [late]: { ports: ['80/TCP'] } });
    assert.equal(await node.outcome('good', late, 80), 'answered');

    await traffic.finish();
    for (const name of ['agent', 'switch'] as const)
      assert.match(node.log(name), /somebody has removed files of the run directory/);
  });
}
