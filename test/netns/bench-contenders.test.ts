/** Every contender of the bench connects, enforces what it says it enforces, and leaves nothing behind. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import { test } from 'node:test';
import { calicoContenders } from '../../bench/contenders/calico.js';
import {
  allowedPorts,
  type BenchPod,
  type Contender,
  deniedPort,
  type Running,
} from '../../bench/contenders/contender.js';
import { kubeRouterContenders } from '../../bench/contenders/kube-router.js';
import { nftMapsContenders } from '../../bench/contenders/nft-maps.js';
import { makeSite, Program, run } from '../../bench/contenders/site.js';
import { vethContenders } from '../../bench/contenders/veth.js';
import { echoServer, tcpClient, udpClient } from '../support/netns.js';

/** Those that carry no policies, and of the others the smallest: loading 10,000 policies takes long and changes nothing here. */
const contenders: readonly Contender[] = [
  ...vethContenders,
  ...kubeRouterContenders,
  ...calicoContenders,
  ...nftMapsContenders,
].filter(({ policies }) => policies <= 10);

for (const contender of contenders) {
  const enforced = contender.enforces ? 'allows what it should and nothing else' : 'lets everything pass';
  test(`${contender.name} ${enforced}, and is gone when stopped`, async (t) => {
    const reason = await contender.unavailable();
    if (reason !== null) return t.skip(reason);
    const site = makeSite();
    const running = await contender.start(site);
    const ends: Program[] = [];
    try {
      for (const pod of [running.client, running.server])
        for (const port of [allowedPorts.first, allowedPorts.last, deniedPort])
          ends.push(await echo(pod, port));
      await assertTraffic(running, contender.enforces);
    } finally {
      for (const end of ends) await end.end('SIGKILL');
      await running.stop();
    }
    await running.stop();
    assert.equal(existsSync(site.folder), false, 'its folder is gone');
    const left = readdirSync('/run/netns').filter((name) => name.includes(`-${site.tag}-`));
    assert.deepEqual(left, [], 'its namespaces are gone');
  });
}

async function assertTraffic({ client, server, clusterIP }: Running, enforces: boolean): Promise<void> {
  const closed = enforces ? 'closed' : 'open';
  const { first, last } = allowedPorts;
  const rows: readonly (readonly [BenchPod, string, number, 'open' | 'closed'])[] = [
    [client, server.ipv4, first, 'open'],
    [client, server.ipv4, last, 'open'],
    [client, server.ipv4, deniedPort, closed],
    [server, client.ipv4, first, closed],
    ...(clusterIP?.ports ?? [])
      .filter((port) => port === first)
      .map((port) => [client, clusterIP?.ipv4 ?? '', port, 'open'] as const),
  ];
  const found = await Promise.all(
    rows.map(async ([from, to, port]) => [
      await reaches(from, tcpClient, to, port, 100_000),
      await reaches(from, udpClient, to, port, 100),
    ]),
  );
  assert.deepEqual(
    found,
    rows.map(([, , , expected]) => [expected, expected]),
    JSON.stringify(rows.map(([from, to, port]) => `${from.ipv4} to ${to}:${port}`)),
  );
}

/** Both directions are whole when all bytes come back. */
async function reaches(
  from: BenchPod,
  program: string,
  to: string,
  port: number,
  bytes: number,
): Promise<string> {
  const said = await run(process.execPath, ['-e', program, '--', to, `${port}`, `${bytes}`], {
    netns: from.netns,
  });
  if (said.trim() === `${bytes}`) return 'open';
  return ['timeout', 'ECONNREFUSED', 'ETIMEDOUT'].includes(said.trim()) ? 'closed' : said.trim();
}

function echo(pod: BenchPod, port: number): Promise<Program> {
  return Program.start(process.execPath, ['-e', echoServer, '--', `${port}`], {
    netns: pod.netns,
    ready: /ready/,
  });
}
