/**
 * Which life of a pod an ADD is for, on the API: pods that the server does not have (any more), static pods whose mirror comes late, pods that
 * were made again under their name while the old sandbox stands. Nothing here waits for `agent.attachTimeout`, which would be half an hour.
 */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { eventually, fixture } from '../../support/agent-fixture.js';
import type { ApiServer } from '../../support/api-server.js';
import { apiServer, kubeconfigOf } from '../../support/kube.js';

const patience = { timeout: 60_000 };
const here = { metadata: { name: 'here' }, spec: { podCIDRs: ['10.42.3.0/24'] } };
const object = (uid: string, metadata: object = {}) => ({
  metadata: { namespace: 'shop', name: 'web', uid, ...metadata },
  spec: { nodeName: 'here', containers: [{ name: 'c' }] },
  status: { phase: 'Pending' },
});
const sandbox = (uid: string, containerId: string) => ({
  namespace: 'shop',
  name: 'web',
  uid,
  containerId,
  netns: `/run/netns/${containerId}`,
  ifname: 'eth0',
});

async function started(t: TestContext, server: ApiServer) {
  server.put('nodes', here);
  const f = fixture(t);
  const double = await f.startSwitch();
  const running = await f.startAgent({
    kubernetes: { mode: 'on', kubeconfig: kubeconfigOf(t, server) },
    agent: { attachTimeout: 600_000_000, tick: 1000, reconnect: 20_000 },
  });
  const client = await f.client();
  await client.request('sync');
  const attached = () => running.agent.attachments.list().map(({ details }) => details.containerId);
  return { f, double, client, attached };
}

test(
  'a pod that the server does not have is turned down at once, and so is another life of it',
  patience,
  async (t) => {
    const server = await apiServer(t);
    const { client, attached } = await started(t, server);
    await assert.rejects(client.request('attach', sandbox('one', 'a')), {
      code: 'pod-unknown',
      message: /No source knows the pod shop\/web.*deleted.*static pod.*tries again/,
    });
    server.put('pods', object('two'));
    await assert.rejects(client.request('attach', sandbox('one', 'a')), {
      code: 'pod-unknown',
      message: /has the uid two, not one/,
    });
    assert.deepEqual(attached(), []);
  },
);

test('a pod that is deleted for good while it is being attached is turned down then', patience, async (t) => {
  const server = await apiServer(t);
  server.put('pods', object('one'));
  const { f, double, client, attached } = await started(t, server);
  double.held = true;
  const attach = client.request('attach', sandbox('one', 'a'));
  await eventually(
    'the port is published',
    () => double.last?.ports.some(({ kind }) => kind === 'pod') === true,
  );
  server.delete('pods', 'web', 'shop');
  const refused = assert.rejects(attach, { code: 'pod-unknown' });
  const other = await f.client();
  const pods = async () => (await other.request('status')).counts.pods;
  for (let tries = 0; (await pods()) > 0; tries++) assert.ok(tries < 5000, 'the deletion was seen');
  double.release();
  await refused;
  assert.deepEqual(attached(), []);
});

test(
  'a static pod is attached at the next try once its mirror is there, by the hash of its manifest',
  patience,
  async (t) => {
    const server = await apiServer(t);
    const { client, attached } = await started(t, server);
    server.holdBack('pods');
    await assert.rejects(client.request('attach', sandbox('hash', 'a')), { code: 'pod-unknown' });
    server.put(
      'pods',
      object('mirror', {
        annotations: { 'kubernetes.io/config.hash': 'hash', 'kubernetes.io/config.mirror': 'hash' },
      }),
    );
    const { addresses } = await client.request('attach', sandbox('hash', 'b'));
    assert.equal(addresses.length, 1);
    assert.deepEqual(attached(), ['b']);
  },
);

for (const held of [false, true])
  test(
    `a pod made again under its name takes the place of the old sandbox, whose DEL does nothing to it${held ? ', with a watch that lags' : ''}`,
    patience,
    async (t) => {
      const server = await apiServer(t);
      server.put('pods', object('one'));
      const { double, client, attached } = await started(t, server);
      const old = await client.request('attach', sandbox('one', 'a'));
      if (held) server.holdBack('pods');
      server.delete('pods', 'web', 'shop');
      server.put('pods', object('two'));
      const young = await client.request('attach', sandbox('two', 'b'));
      assert.notDeepEqual(young.addresses, old.addresses);
      // Held up somewhere, the old sandbox is asked for once more; then its DEL comes.
      await assert.rejects(client.request('attach', sandbox('one', 'a')), {
        code: 'pod-unknown',
        message: /has the uid two, not one/,
      });
      assert.equal((await client.request('detach', { containerId: 'a', ifname: 'eth0' })).found, false);
      assert.deepEqual(attached(), ['b']);
      assert.deepEqual(
        double.last?.ports
          .filter(({ kind }) => kind === 'pod')
          .map(({ netns, addresses }) => [netns, addresses]),
        [['/run/netns/b', young.addresses]],
      );
      assert.equal((await client.request('detach', { containerId: 'b', ifname: 'eth0' })).found, true);
      assert.deepEqual(attached(), []);
    },
  );

test(
  'a sandbox that its runtime makes anew for the same pod takes the place of the former one',
  patience,
  async (t) => {
    const server = await apiServer(t);
    server.put('pods', object('one'));
    const { client, attached } = await started(t, server);
    await client.request('attach', sandbox('one', 'a'));
    await client.request('attach', sandbox('one', 'b'));
    assert.deepEqual(attached(), ['b']);
  },
);
