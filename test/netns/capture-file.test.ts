/** `weft capture` of a pod's packets out of the switch: a pcapng that tcpdump reads, with what was decided in each packet's comment. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { TestNode } from '../support/node.js';
import { onlyFrom } from '../support/only-from.js';
import { readPcapng } from '../support/pcapng.js';
import { pause } from '../support/talk.js';
import { until } from '../support/weft.js';

const entry = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url));

describe('weft capture', () => {
  let node: TestNode;
  const running: ChildProcess[] = [];
  before(async () => {
    node = await TestNode.start();
    await node.addPods({ server: { ports: ['80/TCP', '53/UDP'] }, good: {}, bad: {} });
    await node.apply([onlyFrom('good')]);
  });
  after(async () => {
    for (const child of running) child.kill('SIGKILL');
    await node?.end();
  });

  /** Captures while `during` runs; the file's path. */
  async function capture(args: readonly string[], during: () => Promise<void>): Promise<string> {
    const file = join(node.folder, `capture-${running.length}.pcapng`);
    const command = [entry, 'capture', ...args, '--config', join(node.folder, 'config.yaml'), '-w', file];
    const child = spawn(process.execPath, command, { stdio: ['ignore', 'ignore', 'pipe'] });
    running.push(child);
    let said = '';
    child.stderr.on('data', (chunk: Buffer) => {
      said += chunk.toString();
    });
    await until(`the capture runs: ${said}`, 10, () => existsSync(file));
    await pause(500);
    await during();
    await pause(300);
    const exit = once(child, 'exit');
    child.kill('SIGINT');
    const [status] = await exit;
    assert.equal(status, 0, said);
    return file;
  }

  const tcpdump = (file: string, ...filter: readonly string[]): string[] => {
    const { stdout, stderr, status } = spawnSync('tcpdump', ['-nn', '-r', file, ...filter], {
      encoding: 'utf8',
    });
    assert.equal(status, 0, stderr);
    return stdout.split('\n').filter((line) => line !== '');
  };

  test('writes both directions with the rule that allowed them, and tcpdump reads it', async (context) => {
    const file = await capture(['test/server'], async () => {
      assert.equal(await node.outcome('good', 'server', 80), 'answered');
      assert.equal(await node.outcome('good', 'server', 53, 'UDP'), 'answered');
    });
    const { packets, interfaces } = readPcapng(readFileSync(file));
    assert.equal(interfaces.length, 1);
    assert.equal(interfaces[0]?.linkType, 1, 'Ethernet');
    const talk = packets.filter(({ data }) => data.readUInt16BE(12) === 0x0800);
    assert.ok(talk.length >= 6, `${talk.length} packets`);
    for (const { comment, length, data } of talk) {
      assert.equal(comment, 'allowed by ingress test/only[0]');
      assert.equal(data.length, length, 'nothing is cut off');
    }
    // pcapng draft section 4.3.1: direction in the lowest two bits, 1 inbound, 2 outbound, seen from the pod.
    assert.deepEqual([...new Set(talk.map(({ flags }) => flags & 3))].sort(), [1, 2]);
    if (spawnSync('tcpdump', ['--version']).error !== undefined) {
      context.diagnostic('tcpdump is not installed; the file was read by our own reader alone');
      return;
    }
    const { v4 } = node.pod('server');
    assert.ok(tcpdump(file, 'tcp', 'and', 'host', v4).some((line) => line.includes('Flags [S]')));
    assert.equal(tcpdump(file, 'udp', 'and', 'host', v4).length, 2, 'question and answer');
  });

  test('with --drops holds what was dropped and why, and nothing else', async () => {
    const file = await capture(['test/bad', '--drops'], async () => {
      assert.equal(await node.outcome('bad', 'server', 80), 'timeout');
      assert.equal(await node.outcome('bad', 'good', 81), 'refused');
    });
    const { packets } = readPcapng(readFileSync(file));
    const talk = packets.filter(({ data }) => data.readUInt16BE(12) === 0x0800);
    assert.ok(talk.length >= 2, `${talk.length} packets`);
    const { v4 } = node.pod('server');
    for (const { comment, data } of talk) {
      assert.equal(comment, 'denied: policy-ingress');
      assert.equal([...data.subarray(30, 34)].join('.'), v4);
    }
  });
});
