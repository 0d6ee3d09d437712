/** The bench suite's Open vSwitch contenders: that they carry, enforce where they say so, and are gone after they are stopped. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { describe, test } from 'node:test';
import { type BenchPod, deniedPort } from '../../bench/contenders/contender.js';
import { ovsContenders } from '../../bench/contenders/ovs.js';
import { portMatches } from '../../bench/contenders/ovs-flows.js';
import { makeSite, Program, run } from '../../bench/contenders/site.js';
import { echoServer, tcpClient, udpClient } from '../support/netns.js';

const script = (pod: BenchPod, program: string, ...args: readonly (string | number)[]) =>
  run(process.execPath, ['-e', program, '--', ...args.map(String)], { netns: pod.netns }).then((text) =>
    text.trim(),
  );
const serve = (pod: BenchPod, port: number) =>
  Program.start(process.execPath, ['-e', echoServer, '--', String(port)], {
    netns: pod.netns,
    ready: /ready/,
  });

describe('Open vSwitch', () => {
  for (const contender of ovsContenders) {
    test(`${contender.name} carries what is allowed${contender.enforces ? ', denies the rest' : ''}, and is gone after stop`, async (context) => {
      const reason = await contender.unavailable();
      if (reason !== null) return context.skip(reason);
      const running = await contender.start(makeSite());
      const { client, server } = running;
      const pids = running.processes();
      const servers: Program[] = [];
      try {
        for (const [pod, port] of [
          [server, 5000],
          [server, deniedPort],
          [client, 5000],
        ] as const)
          servers.push(await serve(pod, port));
        for (const [program, bytes] of [
          [tcpClient, 1],
          [tcpClient, 1_000_000],
          [udpClient, 1],
          [udpClient, 1400],
        ] as const)
          assert.equal(await script(client, program, server.ipv4, 5000, bytes), String(bytes));
        // The denied port in both protocols, and anything to the client.
        const others = await Promise.all([
          script(client, tcpClient, server.ipv4, deniedPort, 1),
          script(client, udpClient, server.ipv4, deniedPort, 1),
          script(server, tcpClient, client.ipv4, 5000, 1),
        ]);
        assert.deepEqual(others, Array(3).fill(contender.enforces ? 'timeout' : '1'));
      } finally {
        await Promise.all(servers.map((program) => program.end('SIGKILL')));
        await running.stop();
      }
      assert.equal(pids.length, 2);
      assert.deepEqual(
        pids.filter((pid) => existsSync(`/proc/${pid}`)),
        [],
      );
      assert.deepEqual(
        [client, server].filter(({ netns }) => existsSync(netns)),
        [],
      );
    });
  }
});

test('a range of ports becomes masked matches that cover it exactly', () => {
  for (const [first, last] of [
    [5000, 5999],
    [0, 65535],
    [1, 65535],
    [80, 80],
    [1023, 1025],
  ] as const) {
    const covered = new Set<number>();
    for (const match of portMatches({ protocol: 'TCP', first, last })) {
      const [, value, mask] = /^tcp,tp_dst=(0x[0-9a-f]+)\/(0x[0-9a-f]+)$/.exec(match)!.map(Number);
      assert.equal(value! & mask!, value, match);
      for (let rest = 0; rest <= 65535 - mask!; rest++) covered.add(value! | rest);
    }
    assert.deepEqual(
      [covered.size, Math.min(...covered), Math.max(...covered)],
      [last - first + 1, first, last],
    );
  }
});
