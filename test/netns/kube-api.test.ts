/**
 * A node that lives on the Kubernetes API, with real packets between its pods: the server goes away, agent and switch are killed meanwhile,
 * the server comes back with another policy. What is denied is tried all the while and never gets through.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import type { StatusAnswer } from '../../src/agent/protocol/answers.js';
import { type ApiObject, ApiServer } from '../support/api-server.js';
import { authority } from '../support/certificate.js';
import { TestNode } from '../support/node.js';
import { onlyFrom } from '../support/only-from.js';
import { endTalkers } from '../support/talk.js';
import { startTraffic } from '../support/traffic.js';
import { until } from '../support/weft.js';

describe('a node on the Kubernetes API', () => {
  let api: ApiServer;
  let node: TestNode;
  let folder: string;
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'weft-kube-api-'));
    const trusted = authority();
    const { certificate, key } = trusted.server();
    api = await ApiServer.start({ tls: { cert: certificate, key }, bookmarks: 200 });
    api.tokens = new Set(['node-token']);
    const kubeconfig = join(folder, 'kubeconfig');
    writeFileSync(join(folder, 'ca.crt'), trusted.ca);
    writeFileSync(join(folder, 'token'), 'node-token\n');
    writeFileSync(
      kubeconfig,
      JSON.stringify({
        'current-context': 'c',
        contexts: [{ name: 'c', context: { cluster: 'c', user: 'u' } }],
        clusters: [
          { name: 'c', cluster: { server: 'https://192.0.2.9:1', 'certificate-authority': 'ca.crt' } },
        ],
        users: [{ name: 'u', user: { tokenFile: 'token' } }],
      }),
    );
    node = await TestNode.start({
      api,
      config: { kubernetes: { mode: 'auto', kubeconfig, server: api.url } },
    });
    await node.addPods({ server: { ports: ['80/TCP', '53/UDP'] }, good: {}, bad: {}, leaver: {} });
    await node.apply([onlyFrom('good')]);
  });
  afterEach(endTalkers);
  after(async () => {
    await node?.end();
    await api?.down();
    rmSync(folder, { recursive: true, force: true });
  });

  const status = () => node.agent.request('status', {}) as unknown as Promise<StatusAnswer>;
  const attach = (name: string) =>
    node.agent.request('attach', {
      namespace: 'test',
      name,
      uid: '',
      netns: node.pod('leaver').netns,
      ifname: 'eth7',
    });

  test('policies of the API judge packets', async () => {
    assert.equal(await node.outcome('good', 'server', 80), 'answered');
    assert.equal(await node.outcome('bad', 'server', 80), 'timeout');
    const { ready, sources } = await status();
    assert.equal(ready, true);
    assert.equal(sources[0]?.name, 'kubernetes');
    assert.deepEqual(
      sources[0]?.watches?.map(({ state }) => state),
      new Array(6).fill('watching'),
    );
  });

  test('a change of a policy is in force without being asked for', async () => {
    api.put('networkpolicies', onlyFrom('bad'));
    await until(
      'the change is in force',
      10,
      async () => (await node.outcome('bad', 'server', 80)) === 'answered',
    );
    assert.equal(await node.outcome('good', 'server', 80), 'timeout');
    await node.apply([onlyFrom('good')]);
  });

  test('a pod that the watch has not told yet is attached all the same', async () => {
    api.holdBack('pods');
    const late: ApiObject = {
      metadata: { namespace: 'test', name: 'late', labels: { name: 'late' } },
      spec: { nodeName: 'node', containers: [{ name: 'c' }] },
      status: { phase: 'Pending' },
    };
    api.put('pods', late);
    const { revision } = await attach('late');
    assert.ok(Number(revision) > 0);
    await node.agent.request('detach', { namespace: 'test', name: 'late', ifname: 'eth7' });
    api.delete('pods', 'late', 'test');
    api.release();
  });

  test('server away, agent and switch killed meanwhile: all goes on as it was; back: caught up', async () => {
    const running = await startTraffic(node);
    await api.down();
    await until('the agent knows', 10, async () => ((await status()).sources[0]?.problems ?? 0) > 0);
    await running.goesOn();
    await assert.rejects(attach('stranger'), {
      code: 'pod-unknown',
      message: /does not answer. Try again later/,
    });

    await node.killAgent();
    await running.goesOn();
    await node.startAgent();
    await running.goesOn();
    const { ready, sources, counts } = await status();
    assert.deepEqual(
      { ready, synced: sources[0]?.synced, ports: counts.ports },
      { ready: false, synced: false, ports: 4 },
    );
    await assert.rejects(attach('stranger'), { code: 'pod-unknown' });
    const { pid } = await node.query('status');
    process.kill(pid, 'SIGKILL');
    await node.switchUp(pid);
    await running.goesOn();
    assert.equal(await node.outcome('good', 'server', 80), 'answered', 'new connections too');
    assert.equal(await node.outcome('bad', 'server', 80), 'timeout');

    // A pod ends: its addresses are free at once, whether or not anybody can be asked.
    await node.agent.request('detach', { namespace: 'test', name: 'leaver', ifname: 'eth0' });
    assert.equal((await status()).counts.ports, 3);

    // Meanwhile the cluster has changed.
    api.delete('pods', 'leaver', 'test');
    api.put('networkpolicies', { ...onlyFrom('nobody'), metadata: { namespace: 'test', name: 'more' } });
    await api.up();
    await until('the agent has caught up', 20, async () => (await status()).ready);
    await running.goesOn();
    await running.finish();
    const ports = await node.query('ports');
    assert.equal(ports.length, 3, 'the port of the pod that ended is gone');
    assert.deepEqual((await status()).problems, []);
    await node.agent.request('metrics', {}).then(({ text }) => {
      assert.match(String(text), /weft_source_watching\{resource="networkpolicies"\} 1/);
      assert.match(String(text), /weft_source_contact_seconds\{resource="pods"\} \d/);
    });
  });
});
