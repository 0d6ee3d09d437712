/**
 * Every workload of the bench suite, for a fifth of a second, between two namespaces with a veth between them: the program runs, what it prints is
 * complete and makes sense, and what cannot work says so. Nothing about speed.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { Running } from '../../bench/contenders/contender.js';
import { addresses, makeSite, run, Stage } from '../../bench/contenders/site.js';
import { workloads } from '../../bench/workloads/all.js';
import { cgroupsMissing, PodCgroups } from '../../bench/workloads/pod-cgroups.js';
import { dataPort, traffic } from '../../bench/workloads/traffic.js';
import { repositoryRoot } from '../support/repository.js';

const seconds = 0.2;
const clusterIP = '10.43.0.7';

describe('workloads over a plain veth', () => {
  let stage: Stage;
  let running: Running;
  before(async () => {
    execFileSync('bash', [join(repositoryRoot, 'deploy/build.sh'), 'bench'], { stdio: 'inherit' });
    stage = new Stage(makeSite());
    const [client, server] = [await stage.namespace('client'), await stage.namespace('server')];
    await stage.veth(client, 'eth1', server);
    await stage.ip(client, [
      'link set eth1 name eth0',
      `addr add ${addresses.client}/24 dev eth0`,
      `route add ${clusterIP} dev eth0`,
    ]);
    // Its virtual address is one more address of the server: what matters here is that the traffic goes there.
    await stage.ip(server, [`addr add ${addresses.server}/24 dev eth0`, `addr add ${clusterIP}/32 dev lo`]);
    running = {
      client: { netns: client, ipv4: addresses.client, ifname: 'eth0' },
      server: { netns: server, ipv4: addresses.server, ifname: 'eth0' },
      clusterIP: { ipv4: clusterIP, ports: [dataPort] },
      processes: () => [],
      stop: () => stage.end(),
    };
  });
  after(() => stage?.end());

  for (const workload of workloads) {
    test(`${workload.name} gives a value for each of its measures`, async (context) => {
      const unsuited = workload.unsuited(running);
      if (unsuited !== null) return context.skip(unsuited);
      const sample = await workload.sample(running, seconds);
      assert.deepEqual(Object.keys(sample).sort(), workload.measures.map(({ name }) => name).sort());
      for (const { name } of workload.measures) {
        // The processors' use less the idle machine's may be nothing; all else is more.
        if (name === 'cpu') assert.ok((sample[name] as number) >= 0, `${name} is ${sample[name]}`);
        else assert.ok((sample[name] as number) > 0, `${name} is ${sample[name]}`);
      }
      const { p50, p99, p999 } = sample;
      if (p50 !== undefined) assert.ok(p50 <= p99! && p99! <= p999!, `${p50} ${p99} ${p999}`);
    });
  }

  test('a window loses nothing, and what arrives is what the receiver was sent', async () => {
    const printed = await traffic(running, 'udp', { size: 64, window: 64, burst: 16 }, seconds);
    assert.equal(printed.lost, 0);
    assert.ok(printed.sent! >= printed.datagrams!);
  });

  test('datagrams that are handed over in one piece are counted one by one', async () => {
    const printed = await traffic(running, 'udp', { size: 1000, window: 120, burst: 30, gso: 1 }, seconds);
    assert.equal(printed.lost, 0);
    assert.ok(printed.datagrams! >= 30);
  });

  test('the fixed rate is kept', async () => {
    const printed = await traffic(running, 'udp-rr', { rate: 500, idle: 0.1 }, 0.4);
    // 500 a second for 0.4 s are 200 requests, all answered; how long that took is the machine's business.
    assert.equal(printed.lost, 0);
    assert.equal(Math.round(printed.rate! * printed.seconds!), 200);
  });

  test('a path that does not work is an error that says where to', async () => {
    const elsewhere = { ...running, server: { ...running.server, ipv4: '10.42.0.77' } };
    await assert.rejects(traffic(elsewhere, 'tcp-rr', {}, seconds), /10\.42\.0\.77:5000/);
    await assert.rejects(
      traffic(running, 'tcp-rr', { 'data-port': 70_000 }, seconds),
      /data-port is 70000; it has to be within/,
    );
    await assert.rejects(traffic(running, 'tcp-rr', { colour: 1 }, seconds), /no option --colour/);
    await assert.rejects(traffic(running, 'knitting', {}, seconds), /there is no mode 'knitting'/);
  });

  test('a path that swallows everything is an error within seconds', async () => {
    // The address belongs to nobody, but the client believes that it knows its neighbour.
    const nobody = '10.42.0.98';
    await stage.ip(running.client.netns, [`neigh add ${nobody} lladdr 02:00:00:00:00:98 dev eth0`]);
    const swallowing = { ...running, clusterIP: { ipv4: nobody, ports: [dataPort] } };
    const attempt = (mode: string, args: Readonly<Record<string, number>> = {}) =>
      traffic(swallowing, mode, args, seconds, { service: true });
    await assert.rejects(attempt('udp-rr'), /no answer from 10\.42\.0\.98:5001 \(UDP\) within 1 s/);
    await assert.rejects(attempt('udp'), /no answer from 10\.42\.0\.98:5002 \(UDP\) within 1 s/);
    await assert.rejects(attempt('udp-rr', { rate: 100, idle: 0.05 }), /no answer from 10\.42\.0\.98:5001/);
    for (const mode of ['tcp-rr', 'tcp-bulk', 'connect'])
      await assert.rejects(attempt(mode), /no answer from 10\.42\.0\.98:5001 \(TCP\) within 1 s/);
  });

  test('the cgroups of pods are gone after a busy workload', (context) => {
    const missing = cgroupsMissing();
    if (missing !== null) return context.skip(missing);
    const left = ['/sys/fs/cgroup', '/sys/fs/cgroup/cpu']
      .filter(existsSync)
      .flatMap((folder) => readdirSync(folder))
      .filter((name) => name === `weft-bench-kubepods-${process.pid}`);
    assert.deepEqual(left, []);
  });

  test('a program runs in the cgroup of its pod, among those with a request or those without', async (context) => {
    const missing = cgroupsMissing();
    if (missing !== null) return context.skip(missing);
    const cgroups = new PodCgroups({ one: 250, two: 500, idle: 0 });
    try {
      for (const place of ['burstable/podtwo', 'besteffort/podidle']) {
        const [command, ...args] = cgroups.inside(place.split('pod')[1] as string) as [string, ...string[]];
        const own = await run(command, [...args, 'cat', '/proc/self/cgroup']);
        assert.match(own, new RegExp(`weft-bench-kubepods-${process.pid}/${place}/container`));
      }
    } finally {
      await cgroups.remove();
    }
  });
});
