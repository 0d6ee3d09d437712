/** Which source an agent reads, and how it does on the API: nothing before all is known, pods that nobody has told of, a server that is away. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openSource, readsApi } from '../../../src/agent/open-source.js';
import type { Config } from '../../../src/config/options.js';
import { defaultConfig, type Overrides, overrideConfig } from '../../../src/config/parse.js';
import { openLog } from '../../../src/telemetry/log.js';
import { eventually, fixture } from '../../support/agent-fixture.js';
import { apiServer, kubeconfigOf, pod, policy } from '../../support/kube.js';

const inPod = { KUBERNETES_SERVICE_HOST: '10.43.0.1', KUBERNETES_SERVICE_PORT: '443' };
type Given = NonNullable<Overrides<Config>['kubernetes']>;
const config = (kubernetes: Given) => overrideConfig(defaultConfig(), { kubernetes });

test('the mode decides; by itself it follows the environment and the kubeconfig', () => {
  const rows = [
    [{}, {}, false],
    [{}, inPod, true],
    [{ kubeconfig: '/k' }, {}, true],
    [{ mode: 'off' as const, kubeconfig: '/k' }, inPod, false],
    [{ mode: 'on' as const }, {}, true],
  ] as const;
  for (const [given, environment, expected] of rows)
    assert.equal(readsApi(config(given), environment), expected, JSON.stringify(given));
});

test('the source is the one, and its server the configured one', () => {
  const log = openLog('agent', { level: 'silent', format: 'json' });
  const open = (given: Given, environment = {}) =>
    openSource(config(given), '/manifests', undefined, environment, log, 'test');
  assert.equal(open({}).source.name, 'manifests');
  assert.equal(open({}).client, null);
  assert.equal(open({}, inPod).client?.access.server, 'https://10.43.0.1:443');
  assert.equal(
    open({ server: 'https://127.0.0.1:6444/' }, inPod).client?.access.server,
    'https://127.0.0.1:6444',
  );
  assert.throws(() => open({ mode: 'on' }), { code: 'kube-credentials' });
  assert.throws(() => open({ kubeconfig: '/nowhere' }), { code: 'kubeconfig-read' });
});

/** The node of the fixture; its addresses come from here. */
const here = { metadata: { name: 'here' }, spec: { podCIDRs: ['10.42.3.0/24'] } };
const wanted = (name: string) => ({
  namespace: 'default',
  name,
  uid: '',
  netns: `/run/netns/${name}`,
  ifname: 'eth0',
});

test('nothing is published before all six kinds are known; then a pod that the watch holds back is asked for', async (t) => {
  const server = await apiServer(t);
  server.put('nodes', here);
  server.put('networkpolicies', policy('deny'));
  let denied = true;
  server.misbehave = ({ path }) =>
    denied && path.endsWith('/networkpolicies') ? { status: 403 } : undefined;
  const f = fixture(t);
  const double = await f.startSwitch();
  await f.startAgent({ kubernetes: { mode: 'auto', kubeconfig: kubeconfigOf(t, server) } });
  const client = await f.client();
  await eventually('the reason is told', () => server.watches.length === 5);
  const before = await client.request('status');
  assert.equal(before.ready, false);
  assert.equal(double.publications.length, 0);
  assert.ok(
    before.problems.some(({ code, fix }) => code === 'kube-forbidden' && fix?.includes('networkpolicies')),
  );
  denied = false;
  await client.request('sync');
  assert.ok(double.publications.length > 0);

  server.holdBack('pods');
  server.put('pods', pod('late'));
  const { addresses } = await client.request('attach', wanted('late'));
  assert.ok(addresses.length > 0);
  await assert.rejects(client.request('attach', { ...wanted('nobody'), timeoutMilliseconds: 50 }), {
    code: 'pod-unknown',
  });
});

test('with the server away a pod that is not known is turned down at once; a DEL gives its addresses back', async (t) => {
  const server = await apiServer(t);
  server.put('nodes', here);
  server.put('pods', pod('known'));
  const f = fixture(t);
  await f.startSwitch();
  const kubernetes = { mode: 'on' as const, kubeconfig: kubeconfigOf(t, server) };
  const first = await f.startAgent({ kubernetes });
  const client = await f.client();
  await client.request('sync');
  await client.request('attach', wanted('known'));
  await server.down();
  // Long before its patience, which would be half a minute.
  await assert.rejects(client.request('attach', wanted('unknown')), {
    code: 'pod-unknown',
    message: /Try again later/,
  });
  assert.equal(first.agent.attachments.list().length, 1);
  await assert.rejects(client.request('sync'), { code: 'kube-away' });
  await first.stop();

  const second = await f.startAgent({ kubernetes });
  const again = await f.client();
  assert.equal(second.agent.attachments.list().length, 1, 'it is still attached');
  await assert.rejects(again.request('attach', wanted('unknown')), { code: 'pod-unknown' });
  await again.request('detach', { namespace: 'default', name: 'known', ifname: 'eth0' });
  assert.equal(second.agent.attachments.list().length, 0);
  await server.up();
  await again.request('sync');
  assert.equal((await again.request('status')).ready, true);
});
