/** What a runtime and its node do to a CNI plugin: repeated DELs, storms, kills in the middle, restarts; nothing is left of any of it. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { cniBin, cniConf, containerdLacks } from '../support/containerd.js';
import { CriNode, type CriPod } from '../support/cri-node.js';
import { until } from '../support/weft.js';

const lacks = containerdLacks();

describe('containerd, agent, switch and plugin in trouble', { skip: lacks === '' ? false : lacks }, () => {
  let node: CriNode;
  let clean: readonly string[];
  before(async () => {
    node = await CriNode.start();
    clean = await node.weft.footprint();
  });
  after(() => node?.end());

  /** Nothing but what was there before the first pod. */
  async function assertNothingLeft(): Promise<void> {
    let left: readonly string[] = [];
    await until('nothing is left', 20, async () => {
      const now = await node.weft.footprint();
      left = [
        ...now.filter((line) => !clean.includes(line)),
        ...clean.filter((line) => !now.includes(line)).map((line) => `not ${line}`),
      ];
      return left.length === 0;
    }).catch(() => assert.fail(left.join('\n')));
  }

  /** As the kubelet does: of a sandbox whose ADD and whose DEL failed containerd keeps record and namespace, to be stopped later. */
  async function removeRest(): Promise<void> {
    for (const { id } of await node.cri.sandboxes()) {
      await node.cri.stopSandbox(id);
      await node.cri.removeSandbox(id);
    }
  }

  /** A call of the installed plugin, as a runtime makes it. */
  async function plugin(
    command: string,
    variables: Readonly<Record<string, string>>,
    configuration: object,
  ): Promise<{ readonly status: number | null; readonly answer: Record<string, unknown> }> {
    const environment = Object.entries({ CNI_COMMAND: command, CNI_PATH: cniBin, ...variables });
    const { status, stdout } = await node.machine.ran(
      ['env', ...environment.map(([name, value]) => `${name}=${value}`), `${cniBin}/weft-cni`],
      { input: JSON.stringify(configuration) },
    );
    return { status, answer: stdout === '' ? {} : JSON.parse(stdout) };
  }

  function configuration(version: string): Record<string, unknown> {
    const [file] = node.machine.list(cniConf);
    const conflist = JSON.parse(node.machine.read(`${cniConf}/${file}`));
    const { capabilities: _, ...own } = conflist.plugins[0];
    return { ...own, cniVersion: version, name: conflist.name };
  }

  test('Every verb in every version, as the specification has it', async () => {
    const versions = ['0.3.0', '0.3.1', '0.4.0', '1.0.0', '1.1.0'];
    const { answer: told } = await plugin('VERSION', {}, { cniVersion: '1.1.0' });
    assert.deepEqual(told.supportedVersions, versions);
    for (const version of versions) {
      const name = `version-${version.replaceAll('.', '-')}`;
      node.putPod(name);
      node.machine.run('ip', 'netns', 'add', name);
      const variables = {
        CNI_CONTAINERID: name,
        CNI_NETNS: `/run/netns/${name}`,
        CNI_IFNAME: 'eth0',
        CNI_ARGS: `IgnoreUnknown=1;K8S_POD_NAMESPACE=test;K8S_POD_NAME=${name}`,
      };
      const added = await plugin('ADD', variables, configuration(version));
      assert.equal(added.status, 0, JSON.stringify(added.answer));
      assert.equal(added.answer.cniVersion, version);
      const ips = added.answer.ips as { version?: string; address: string }[];
      assert.equal(
        ips[0]?.version,
        version < '1' ? '4' : undefined,
        `${version}: the family is told up to 0.4.0`,
      );
      assert.equal(ips.length, 2);
      const again = await plugin('ADD', variables, configuration(version));
      assert.deepEqual(again.answer.ips, ips, 'the same ADD again changes nothing');
      const stranger = { ...variables, CNI_CONTAINERID: `${name}-other` };
      assert.notEqual(
        (await plugin('ADD', stranger, configuration(version))).status,
        0,
        'the interface is another’s',
      );
      if (version >= '0.4.0') {
        const checked = await plugin('CHECK', variables, {
          ...configuration(version),
          prevResult: added.answer,
        });
        assert.equal(checked.status, 0, JSON.stringify(checked.answer));
        node.machine.run('ip', '-n', name, 'link', 'set', 'eth0', 'down');
        const broken = await plugin('CHECK', variables, {
          ...configuration(version),
          prevResult: added.answer,
        });
        assert.notEqual(broken.status, 0, 'CHECK sees that the interface is down');
      }
      if (version >= '1.1.0') {
        assert.equal((await plugin('STATUS', {}, configuration(version))).status, 0);
        const kept = [{ containerID: name, ifname: 'eth0' }];
        const valid = { 'cni.dev/valid-attachments': kept, 'cni.dev/attachments': kept };
        assert.equal((await plugin('GC', {}, { ...configuration(version), ...valid })).status, 0);
        assert.ok(
          (await node.weft.ports()).some((port) => port.name === name),
          'GC keeps what is valid',
        );
        const none = { 'cni.dev/valid-attachments': [], 'cni.dev/attachments': [] };
        assert.equal((await plugin('GC', {}, { ...configuration(version), ...none })).status, 0);
        await until(
          'GC removes the rest',
          5,
          async () => !(await node.weft.ports()).some((port) => port.name === name),
        );
      }
      for (let turn = 0; turn < 2; turn++) {
        const deleted = await plugin('DEL', variables, configuration(version));
        assert.equal(deleted.status, 0, `DEL ${turn + 1}: ${JSON.stringify(deleted.answer)}`);
      }
      node.machine.run('ip', 'netns', 'del', name);
      const { CNI_NETNS: _, ...without } = variables;
      assert.equal(
        (await plugin('DEL', without, configuration(version))).status,
        0,
        'DEL without a namespace',
      );
      node.api.delete('pods', name, 'test');
    }
    await assertNothingLeft();
  });

  test('A sandbox may be stopped twice; one whose namespace is gone too', async () => {
    const pod = await node.addPod('twice');
    await node.cri.stopSandbox(pod.sandbox);
    await node.cri.stopSandbox(pod.sandbox);
    await node.cri.removeSandbox(pod.sandbox);
    await node.cri.removeSandbox(pod.sandbox);
    const lost = await node.addPod('lost');
    const netns = (await node.cri.netns(lost.sandbox)).replace(/^\/var\/run/, '/run');
    node.machine.run('umount', '-l', netns);
    node.machine.run('rm', '-f', netns);
    await node.cri.stopSandbox(lost.sandbox);
    await node.cri.removeSandbox(lost.sandbox);
    for (const name of ['twice', 'lost']) node.api.delete('pods', name, 'test');
    await assertNothingLeft();
  });

  test('30 pods at once come up, talk and go, and leave nothing', async () => {
    const names = Array.from({ length: 30 }, (_, index) => `storm-${index}`);
    const pods = await Promise.all(names.map((name) => node.addPod(name)));
    assert.equal(new Set(pods.map(({ v4 }) => v4)).size, 30);
    assert.equal(new Set(pods.map(({ v6 }) => v6)).size, 30);
    const [first, ...others] = pods as [CriPod, ...CriPod[]];
    const answers = await node.probe(
      first,
      others.map(({ v4 }) => `tcp/${v4}/80`),
      3000,
    );
    assert.deepEqual(
      answers,
      others.map(({ wish }) => `ok ${wish.name} ${first.v4}`),
    );
    await Promise.all(pods.map((pod) => node.removePod(pod)));
    await assertNothingLeft();
  });

  test('ADDs and DELs in a crowd: half of the pods go while the other half comes', async () => {
    const first = await Promise.all(Array.from({ length: 8 }, (_, index) => node.addPod(`old-${index}`)));
    const [second] = await Promise.all([
      Promise.all(Array.from({ length: 8 }, (_, index) => node.addPod(`new-${index}`))),
      Promise.all(first.map((pod) => node.removePod(pod))),
    ]);
    const addresses = second.map(({ v4 }) => v4);
    assert.deepEqual(
      addresses.filter((address) => first.some(({ v4 }) => v4 === address)),
      [],
      'no address again so soon',
    );
    await Promise.all(second.map((pod) => node.removePod(pod)));
    await assertNothingLeft();
  });

  test('A plugin killed in the middle of an ADD: nothing is kept of it, and the next ADD of the pod works', async () => {
    const wish = node.putPod('halved');
    const agent = String(node.weft.pid('agent'));
    node.machine.run('kill', '-STOP', agent);
    const asked = node.cri.runSandbox(wish, 60).then(
      () => 'made',
      (error: Error) => error.message,
    );
    await until(
      'the plugin waits for the agent',
      10,
      () => node.machine.pids('^/opt/cni/bin/weft-cni').length === 1,
    );
    node.machine.run('kill', '-KILL', String(node.machine.pids('^/opt/cni/bin/weft-cni')[0]));
    node.machine.run('kill', '-CONT', agent);
    assert.notEqual(await asked, 'made');
    const pod = await node.startPod({ ...wish, attempt: 1 });
    assert.match((await node.probeFromNode([`tcp/${pod.v4}/80`]))[0] ?? '', /^ok halved /);
    await node.removePod(pod);
    await assertNothingLeft();
  });

  test('An agent killed in the middle of ADDs: what was answered stays, what was not can be asked for again', async () => {
    const wishes = Array.from({ length: 6 }, (_, index) => node.putPod(`cut-${index}`));
    const ask = (wish: (typeof wishes)[number]) =>
      node.cri.runSandbox(wish, 120).then(
        (id) => id,
        () => '',
      );
    // Three are answered; then the agent stands still, so that it dies with ADDs in its hands.
    const answered = await Promise.all(wishes.slice(0, 3).map(ask));
    assert.ok(!answered.includes(''));
    node.machine.run('kill', '-STOP', String(node.weft.pid('agent')));
    const asked = [...answered, ...wishes.slice(3).map(ask)];
    await until('an ADD is on its way', 10, () => node.machine.pids('^/opt/cni/bin/weft-cni').length > 0);
    await node.weft.killAgent();
    await node.weft.startAgent();
    await node.weft.agentSynced();
    const made = await Promise.all(asked);
    const pods: CriPod[] = [];
    for (const [index, wish] of wishes.entries()) {
      const sandbox = made[index] ?? '';
      pods.push(
        sandbox === '' ? await node.startPod({ ...wish, attempt: 1 }) : await node.serve(sandbox, wish),
      );
    }
    assert.equal(new Set(pods.map(({ v4 }) => v4)).size, 6);
    const answers = await node.probeFromNode(
      pods.map(({ v4 }) => `tcp/${v4}/80`),
      3000,
    );
    assert.ok(
      answers.every((answer, index) => answer.startsWith(`ok cut-${index} `)),
      answers.join(', '),
    );
    for (const pod of pods) await node.removePod(pod);
    await removeRest();
    await assertNothingLeft();
  });

  test('Agent away: an ADD is refused with a word, running pods talk, and STATUS says so', async () => {
    const [a, b] = [await node.addPod('a'), await node.addPod('b')];
    await node.weft.killAgent();
    assert.deepEqual(await node.probe(a, [`tcp/${b.v4}/80`]), [`ok b ${a.v4}`]);
    const status = await plugin('STATUS', {}, configuration('1.1.0'));
    assert.notEqual(status.status, 0);
    assert.equal(status.answer.code, 50);
    const wish = node.putPod('refused');
    await assert.rejects(node.cri.runSandbox(wish, 60), /agent/);
    await node.weft.startAgent();
    await node.weft.agentSynced();
    const pod = await node.startPod({ ...wish, attempt: 1 });
    for (const one of [a, b, pod]) await node.removePod(one);
    await removeRest();
    await assertNothingLeft();
  });

  test('A switch killed under its pods: they talk again, and new ones come', async () => {
    const [a, b] = [await node.addPod('a'), await node.addPod('b')];
    await node.weft.killSwitch();
    await until(
      'they talk again',
      10,
      async () => (await node.probe(a, [`tcp/${b.v4}/80`]))[0] === `ok b ${a.v4}`,
    );
    const c = await node.addPod('c');
    assert.deepEqual(await node.probe(c, [`tcp/${a.v4}/80`], 3000), [`ok a ${c.v4}`]);
    for (const pod of [a, b, c]) await node.removePod(pod);
    await assertNothingLeft();
  });

  test('containerd killed and started again: its pods are as they were, and can be removed', async () => {
    const [a, b] = [await node.addPod('a'), await node.addPod('b')];
    await node.containerd.kill();
    await node.containerd.run();
    assert.deepEqual(await node.probe(a, [`tcp/${b.v4}/80`]), [`ok b ${a.v4}`]);
    assert.deepEqual(await node.cri.addresses(a.sandbox), [a.v4, a.v6]);
    await node.removePod(a);
    await node.removePod(b);
    await assertNothingLeft();
  });
});
