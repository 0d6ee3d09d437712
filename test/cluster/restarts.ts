/** What dies on a node while its pods talk: the agent, the switch, the API server, the container runtime. And many pods at once. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { podProgram } from '../support/container-image.js';
import type { NodeWeft } from '../support/node-weft.js';
import { until } from '../support/weft.js';
import {
  admit,
  type Cluster,
  denyAll,
  namespaceObject,
  podObject,
  podsOf,
  type RunningPod,
} from './cluster.js';
import { lacksNode } from './own-cluster.js';

const namespace = 'restarts';

export function restarts(cluster: () => Cluster, weft: () => NodeWeft, reason: string): void {
  const skip = reason !== '' ? reason : lacksNode;

  describe('restarts under traffic', () => {
    let server: RunningPod;
    let client: RunningPod;
    let denied: RunningPod;

    before(async () => {
      if (skip !== false) return;
      await cluster().apply([
        namespaceObject(namespace),
        podObject({ namespace, name: 'server', labels: { app: 'server' }, serve: ['echo/7', 'tcp/80'] }),
        podObject({ namespace, name: 'client', labels: { app: 'client' } }),
        podObject({ namespace, name: 'denied' }),
        denyAll(namespace),
        admit(namespace, 'client', 'server', podsOf('client')),
      ]);
      const pods = await cluster().ready([namespace], 3);
      server = pods.get(`${namespace}/server`)!;
      client = pods.get(`${namespace}/client`)!;
      denied = pods.get(`${namespace}/denied`)!;
      await cluster().probesUntil('the client is allowed', client, target(), (answer) =>
        answer.startsWith('ok'),
      );
      await cluster().probesUntil('the other is denied', denied, target(), (answer) => answer === 'timeout');
    });
    after(async () => {
      if (skip !== false) return;
      await cluster().delete('namespace', namespace);
      await cluster().gone([namespace]);
    });

    const target = () => `tcp/${server.ips[0]}/80`;

    /** One connection all the while, and probes of who may not; resolves with the connection's longest silence in milliseconds. */
    async function underTraffic(seconds: number, during: () => Promise<void>): Promise<number> {
      const talk = [podProgram, 'talk', server.ips[0]!, '7', '20', String(seconds * 50)];
      const talked = cluster().exec(client, talk, seconds + 90);
      let over = false;
      const watched = (async () => {
        let probes = 0;
        while (!over) {
          const [answer] = await cluster().probe(denied, [target()], 300);
          assert.equal(answer, 'timeout', 'the denied pod got through');
          probes++;
        }
        return probes;
      })();
      try {
        await during();
      } finally {
        over = true;
      }
      assert.ok((await watched) > 0);
      const said = (await talked).trim();
      assert.match(said, /^\d+$/, `the connection lives: ${said}`);
      return Number(said);
    }

    test('The agent killed: traffic does not notice, a new agent takes over', { skip }, async (context) => {
      const silence = await underTraffic(8, async () => {
        await weft().killAgent();
        await pause(1500);
        await weft().startAgent();
        await weft().agentSynced();
      });
      context.diagnostic(`longest silence: ${silence} ms`);
      await proveChange();
    });

    test('The switch killed: connections go on when the next one is there, nobody else gets in', {
      skip,
    }, async (context) => {
      const silence = await underTraffic(8, async () => {
        await pause(1000);
        await weft().killSwitch();
        await weft().switchUp();
      });
      context.diagnostic(`longest silence: ${silence} ms`);
      await proveChange();
    });

    test('The API server gone: agent and switch restart without it, and catch up when it is back', {
      skip,
    }, async (context) => {
      const own = cluster().own!;
      const silence = await underTraffic(40, async () => {
        await own.kill();
        await weft().killAgent();
        await weft().startAgent();
        await weft().killSwitch();
        await weft().switchUp();
        await pause(1000);
        const [answer] = await probeByRuntime();
        assert.match(answer, /^ok server /, 'new connections, without an API server');
        await own.run();
      });
      context.diagnostic(`longest silence: ${silence} ms`);
      await weft().agentSynced();
      await proveChange();
    });

    test('containerd killed: pods stay connected, and the next pod comes up', { skip }, async () => {
      const own = cluster().own!;
      await own.containerd.kill();
      await own.containerd.run();
      const [answer] = await probeByRuntime();
      assert.match(answer, /^ok server /);
      await cluster().apply([podObject({ namespace, name: 'late', labels: { app: 'client' } })]);
      const pods = await cluster().ready([namespace], 4);
      await cluster().probesUntil('it is allowed', pods.get(`${namespace}/late`)!, target(), (text) =>
        text.startsWith('ok'),
      );
      await cluster().delete('pod', 'late', '-n', namespace, '--grace-period=0');
      await until('it is gone', 60, async () => (await cluster().podObjects([namespace])).length === 3);
    });

    async function probeByRuntime(): Promise<[string]> {
      const [answer = ''] = await cluster().probe(client, [target()]);
      return [answer];
    }

    /** A label change still reaches the switch: who was denied is allowed, then denied again. */
    async function proveChange(): Promise<void> {
      await cluster().kubectl(['label', '--overwrite', 'pod', 'denied', '-n', namespace, 'app=client']);
      await cluster().probesUntil(
        'the new label lets it in',
        denied,
        target(),
        (text) => text.startsWith('ok'),
        30,
      );
      await cluster().kubectl(['label', 'pod', 'denied', '-n', namespace, 'app-']);
      await cluster().probesUntil(
        'without it, it is out',
        denied,
        target(),
        (text) => text === 'timeout',
        30,
      );
    }
  });

  test('200 pods come up, all are reached, all go, and nothing is left of them', {
    skip,
    timeout: 600_000,
  }, async (context) => {
    const many = 'many';
    const count = Number(process.env.WEFT_TEST_PODS ?? 200);
    // Pods of parts before this one are gone from the API sooner than from the node.
    let before: readonly string[] = [];
    await until('the node has no pods', 60, async () => {
      const former = before;
      before = await weft().footprint();
      return String(before) === String(former) && !before.some((line) => /^[1-9]\d* addresses /.test(line));
    });
    await cluster().apply([namespaceObject(many)]);
    const started = Date.now();
    try {
      const names = Array.from({ length: count }, (_, index) => `pod-${index}`);
      await cluster().apply(names.map((name) => podObject({ namespace: many, name, serve: ['tcp/80'] })));
      const pods = await cluster().ready([many], count, 400);
      context.diagnostic(`${count} pods ready after ${Math.round((Date.now() - started) / 1000)} s`);
      const addresses = [...pods.values()].flatMap(({ ips }) => ips);
      assert.equal(new Set(addresses).size, addresses.length, 'every address is one pod’s');
      const from = pods.get(`${many}/pod-0`)!;
      const all = [...pods.values()].filter(({ name }) => name !== 'pod-0');
      const answers = await cluster().probe(
        from,
        all.map(({ ips }) => `tcp/${ips[0]}/80`),
        5000,
      );
      const wrong = all.filter(({ name }, index) => answers[index] !== `ok ${name} ${from.ips[0]}`);
      assert.deepEqual(
        wrong.map(({ name }) => name),
        [],
      );
    } finally {
      const ending = Date.now();
      await cluster().delete('namespace', many);
      await cluster().gone([many], 240);
      context.diagnostic(`${count} pods gone after ${Math.round((Date.now() - ending) / 1000)} s`);
    }
    let left: readonly string[] = [];
    await until('nothing is left', 60, async () => {
      const now = await weft().footprint();
      left = now.filter((line) => !before.includes(line));
      return left.length === 0;
    }).catch(() => assert.fail(`left behind: ${left.join('\n')}`));
  });
}

const pause = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));
