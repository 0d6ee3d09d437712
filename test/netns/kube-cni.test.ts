/**
 * From CNI ADD to real packets on a Kubernetes API that misbehaves: a pod comes into being at the server while its watches are held back, cut,
 * damaged or refused, the plugin is called at once as a kubelet does, and the policies that select the pod are in force when ADD answers.
 * Addresses come from the Node object.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { type ApiObject, ApiServer } from '../support/api-server.js';
import { podArguments } from '../support/cni.js';
import { CniNode, v4Of } from '../support/cni-node.js';
import { until } from '../support/weft.js';

const policies: readonly ApiObject[] = [
  {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { namespace: 'test', name: 'deny-all' },
    spec: { podSelector: { matchLabels: { closed: 'yes' } }, policyTypes: ['Ingress', 'Egress'] },
  },
];
const thisNode: ApiObject = {
  apiVersion: 'v1',
  kind: 'Node',
  metadata: { name: 'node' },
  spec: { podCIDR: '10.97.5.0/24', podCIDRs: ['10.97.5.0/24', 'fd97:5::/112'] },
  status: {},
};

let api: ApiServer;
let cni: CniNode;
let folder: string;
let address: string;

before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'weft-kube-cni-'));
  api = await ApiServer.start();
  const kubeconfig = join(folder, 'kubeconfig');
  const clusters = [{ name: 'c', cluster: { server: api.url } }];
  const contexts = [{ name: 'c', context: { cluster: 'c' } }];
  writeFileSync(kubeconfig, JSON.stringify({ 'current-context': 'c', clusters, contexts }));
  cni = await CniNode.start({
    api,
    config: { kubernetes: { mode: 'on', kubeconfig }, network: { podCIDRs: [] } },
  });
  await cni.policies([...policies, thisNode]);
  create('server', {});
  address = v4Of(await cni.add('server'));
  cni.serve('server', 80);
});
after(async () => {
  await cni?.end();
  await api?.down();
  rmSync(folder, { recursive: true, force: true });
});

function create(name: string, labels: Readonly<Record<string, string>>, metadata: object = {}): void {
  api.put('pods', {
    metadata: { namespace: 'test', name, labels, ...metadata },
    spec: { nodeName: 'node', containers: [{ name: 'c', image: 'none' }] },
    status: { phase: 'Pending' },
  });
}

test('addresses come from the Node object', () => {
  assert.match(address, /^10\.97\.5\.\d+$/);
});

const misbehaviours: readonly (readonly [string, () => void])[] = [
  ['nothing wrong', () => {}],
  [
    'watches that tell nothing',
    () => {
      for (const resource of ['pods', 'namespaces', 'networkpolicies']) api.holdBack(resource);
    },
  ],
  ['streams that are cut', () => api.endWatches('reset')],
  ['streams that are cut in the middle of a line', () => api.endWatches('mid-line')],
  [
    'versions that are too old',
    () => {
      api.compact();
      api.endWatches({ status: 410 });
    },
  ],
  [
    'events that come twice',
    () => {
      api.encode = (line) => [`${line}\n`, `${line}\n`];
    },
  ],
  [
    'events that come byte by byte',
    () => {
      api.encode = (line) => [...Buffer.from(`${line}\n`)].map((byte) => Buffer.from([byte]));
    },
  ],
  [
    'events that are damaged',
    () => {
      api.encode = (line) => [`${line.slice(0, 40)}\n`];
    },
  ],
  ['garbage between the events', () => api.say('pods', '<html>\n\n}{\n')],
  [
    'every third request refused with 429',
    () => {
      let count = 0;
      api.misbehave = () => (++count % 3 === 0 ? { status: 429 } : undefined);
      api.endWatches('reset');
    },
  ],
  [
    'watches refused with 500',
    () => {
      api.misbehave = ({ query }) => (query.watch === undefined ? undefined : { status: 500 });
      api.endWatches('reset');
    },
  ],
];

for (const [index, [name, begin]] of misbehaviours.entries())
  test(`with ${name}, a pod is up with its policies when ADD answers`, async () => {
    try {
      begin();
      create(`open-${index}`, {});
      create(`closed-${index}`, { closed: 'yes' });
      // As a kubelet does: again and again until it works, which is the first time unless the server refuses the question too.
      for (const pod of [`closed-${index}`, `open-${index}`]) {
        cni.namespace(pod);
        await until(`ADD of ${pod}`, 20, async () => {
          const { status, json } = await cni.call('ADD', pod);
          assert.ok(status === 0 || json.code === 11, JSON.stringify(json));
          return status === 0;
        });
      }
      assert.equal(await cni.probe(`closed-${index}`, address, 80), 'timeout');
      assert.equal(await cni.probe(`open-${index}`, address, 80), 'answered');
    } finally {
      api.misbehave = () => undefined;
      api.encode = (line) => [`${line}\n`];
      api.release();
      await cni.node.agent.request('sync', {});
    }
  });

const termination = { deletionTimestamp: '2026-01-02T03:04:05Z', deletionGracePeriodSeconds: 30 };

test('a pod that is being deleted is added under its policies, and stays under them until DEL', async () => {
  create('ending-open', {}, termination);
  create('ending-closed', { closed: 'yes' }, termination);
  await cni.add('ending-open');
  await cni.add('ending-closed');
  cni.serve('ending-closed', 80);
  const closed = v4Of(await cni.add('ending-closed'));
  assert.equal(await cni.probe('ending-open', address, 80), 'answered');
  assert.equal(await cni.probe('ending-closed', address, 80), 'timeout');
  assert.equal(await cni.probe('server', closed, 80), 'timeout');
  // Deleted by force: the object is gone before the sandbox is. What no source tells of is closed, and DEL still ends it.
  for (const name of ['ending-open', 'ending-closed']) api.delete('pods', name, 'test');
  await cni.node.agent.request('sync', {});
  assert.equal(await cni.probe('ending-open', address, 80), 'timeout');
  assert.equal(await cni.probe('ending-closed', address, 80), 'timeout');
  assert.equal(await cni.probe('server', closed, 80), 'timeout');
  for (const name of ['ending-open', 'ending-closed']) {
    assert.equal((await cni.call('DEL', name)).status, 0);
    assert.ok(!(await cni.attached()).includes(`test/${name}`));
  }
});

/** A sandbox of a pod, as the kubelet asks for it: containers and namespaces have names of their own, pods are known by their uid. */
const sandbox = (pod: string, uid: string, container: string) => ({
  environment: {
    CNI_CONTAINERID: container,
    CNI_NETNS: cni.netns(container),
    CNI_ARGS: podArguments('test', pod, uid),
  },
});

test('a static pod whose mirror is not there yet is code 11 long before the runtime gives up, and is up at the next try', async () => {
  cni.namespace('static');
  const refused = await cni.call('ADD', 'static', sandbox('static', 'hash', 'static'));
  assert.equal(refused.json.code, 11, refused.stdout);
  assert.match(String(refused.json.details), /static pod whose mirror is not there yet.*tries again/);
  api.put('pods', {
    metadata: {
      namespace: 'test',
      name: 'static',
      uid: 'mirror',
      labels: { closed: 'yes' },
      annotations: { 'kubernetes.io/config.hash': 'hash', 'kubernetes.io/config.mirror': 'hash' },
    },
    spec: { nodeName: 'node', containers: [{ name: 'c', image: 'none' }] },
    status: { phase: 'Pending' },
  });
  await cni.add('static', sandbox('static', 'hash', 'static'));
  assert.equal(await cni.probe('static', address, 80), 'timeout', 'the policy that selects its mirror holds');
  assert.equal((await cni.call('DEL', 'static', sandbox('static', 'hash', 'static'))).status, 0);
});

test("a pod made again under its name works beside the old sandbox, and after that one's DEL", async () => {
  create('again', {}, { uid: 'one' });
  const old = v4Of(await cni.add('again-a', sandbox('again', 'one', 'again-a')));
  api.delete('pods', 'again', 'test');
  create('again', {}, { uid: 'two' });
  const young = v4Of(await cni.add('again-b', sandbox('again', 'two', 'again-b')));
  assert.notEqual(young, old);
  cni.serve('again-b', 80);
  const works = async (when: string) => {
    assert.equal(await cni.probe('again-b', address, 80), 'answered', when);
    assert.equal(await cni.probe('server', young, 80), 'answered', when);
  };
  await works('beside the old sandbox');
  const straggler = await cni.call('ADD', 'again-a', sandbox('again', 'one', 'again-a'));
  assert.equal(straggler.json.code, 11, straggler.stdout);
  assert.match(String(straggler.json.details), /has the uid two, not one/);
  await works('after an ADD of the old sandbox that came late');
  for (let times = 0; times < 2; times++)
    assert.equal((await cni.call('DEL', 'again-a', sandbox('again', 'one', 'again-a'))).status, 0);
  await works('after the DEL of the old sandbox');
  assert.throws(() => cni.inside('again-a', 'ip', 'link', 'show', 'eth0'), /does not exist/);
  assert.equal((await cni.call('DEL', 'again-b', sandbox('again', 'two', 'again-b'))).status, 0);
  assert.ok(!(await cni.attached()).includes('test/again'));
});

test('a pod that the server cannot be asked for is code 11 at once; when the server is back it is up', async () => {
  await api.down();
  create('early', { closed: 'yes' });
  cni.namespace('early');
  const refused = await cni.call('ADD', 'early');
  assert.notEqual(refused.status, 0);
  assert.equal(refused.json.code, 11, refused.stdout);
  assert.match(String(refused.json.details), /Try again later/);
  assert.ok(!(await cni.attached()).includes('test/early'), 'nothing is left of it');
  // Pods that run are not touched, and end as ever.
  assert.equal(await cni.probe('open-0', address, 80), 'answered');
  assert.equal((await cni.call('DEL', 'open-0')).status, 0);
  assert.ok(!(await cni.attached()).includes('test/open-0'));
  await api.up();
  await until('ADD of the pod', 20, async () => (await cni.call('ADD', 'early')).status === 0);
  assert.equal(await cni.probe('early', address, 80), 'timeout');
});
