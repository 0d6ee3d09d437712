import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { eventually, fixture, podManifest } from '../../support/agent-fixture.js';
import { readPcapng } from '../../support/pcapng.js';

const entry = fileURLToPath(new URL('../../../src/cli/main.js', import.meta.url));

interface Ended {
  readonly status: number | null;
  readonly out: Buffer;
  readonly err: string;
}

/** Runs the command line as a process of its own, as a user would. */
function weft(...args: string[]) {
  const child = spawn(process.execPath, [entry, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  const out: Buffer[] = [];
  let err = '';
  child.stdout.on('data', (chunk: Buffer) => out.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => {
    err += chunk.toString();
  });
  const ended = new Promise<Ended>((resolve) => {
    child.on('close', (status) => resolve({ status, out: Buffer.concat(out), err }));
  });
  return { child, ended, out: () => Buffer.concat(out).toString() };
}

async function node(t: Parameters<typeof fixture>[0]) {
  const f = fixture(t);
  f.write('web.yaml', podManifest('shop', 'web'));
  const double = await f.startSwitch();
  const running = await f.startAgent();
  const client = await f.client();
  await client.request('attach', {
    namespace: 'shop',
    name: 'web',
    uid: '',
    netns: '/run/netns/w',
    ifname: 'eth0',
  });
  await eventually('the agent reads flows', () => double.subscriptions.includes('flows'));
  return { f, double, running, at: ['--run-dir', f.run] };
}

test('status: table, JSON and YAML, exit 0 when ready; 1 when not; 2 with the remedy when there is no agent', async (t) => {
  const { f, double, running, at } = await node(t);
  const [table, json, yaml] = await Promise.all([
    weft('status', ...at).ended,
    weft('status', '-o', 'json', ...at).ended,
    weft('status', '-o', 'yaml', ...at).ended,
  ]);
  assert.deepEqual([table.status, json.status, yaml.status], [0, 0, 0], table.err + json.err + yaml.err);
  assert.match(table.out.toString(), /^Node: +here\nReady: +yes\n/);
  const data = JSON.parse(json.out.toString()) as Record<string, unknown>;
  assert.equal(data.ready, true);
  assert.match(yaml.out.toString(), /^ready: true$/m);
  await double.kill();
  await eventually('the agent notices', () => running.agent.link === null);
  assert.equal((await weft('status', ...at).ended).status, 1);
  await running.stop();
  const gone = await weft('status', ...at).ended;
  assert.equal(gone.status, 2);
  assert.match(gone.err, /^weft: No agent answers at .*agent\.sock.*weft agent/);
  assert.equal(gone.out.length, 0, f.run);
});

test('ports, conntrack and metrics print what the node has', async (t) => {
  const { at } = await node(t);
  const [ports, wide, conntrack, one, metrics, bad] = await Promise.all([
    weft('ports', ...at).ended,
    weft('ports', '-o', 'wide', ...at).ended,
    weft('conntrack', ...at).ended,
    weft('conntrack', 'shop/web', '--limit', '5', '-o', 'json', ...at).ended,
    weft('metrics', ...at).ended,
    weft('conntrack', 'web', ...at).ended,
  ]);
  assert.match(ports.out.toString(), /^shop +web +10\.42\.0\.2 +live +2 +2 +3$/m);
  assert.match(wide.out.toString(), /\/run\/netns\/w$/m);
  assert.match(
    conntrack.out.toString(),
    /^TCP +established +shop\/web:40000 +10\.42\.0\.3:80 +- +4 +3 +5s$/m,
  );
  assert.equal((JSON.parse(one.out.toString()) as unknown[]).length, 1);
  assert.match(metrics.out.toString(), /^weft_agent_ready 1$/m);
  assert.equal(bad.status, 2);
  assert.match(bad.err, /knows no pod default\/web, .* There is shop\/web\./);
});

test('flows --follow prints as it happens, drops leaves out what passed, Ctrl-C ends both with status 0', async (t) => {
  const { double, at } = await node(t);
  const flows = weft('flows', '--follow', '-o', 'json', ...at);
  const drops = weft('drops', '--follow', ...at);
  const flow = {
    time: 0,
    verdict: 'allowed' as const,
    protocol: 17,
    family: 4 as const,
    source: { address: '10.42.0.2', port: 1000 },
    destination: { address: '203.0.113.9', port: 53 },
  };
  // Until both have subscribed, what is told is kept for them as recent.
  double.emitFlows([flow, { ...flow, verdict: 'dropped', reason: 'multicast' }]);
  await eventually(
    'both have printed',
    () => flows.out().split('\n').length > 2 && drops.out().includes('multicast'),
    20_000,
  );
  flows.child.kill('SIGINT');
  drops.child.kill('SIGINT');
  const [all, dropped] = await Promise.all([flows.ended, drops.ended]);
  assert.deepEqual([all.status, dropped.status], [0, 0], all.err + dropped.err);
  const verdicts = all.out
    .toString()
    .trim()
    .split('\n')
    .map((line) => (JSON.parse(line) as { verdict: string }).verdict);
  assert.deepEqual(verdicts, ['allowed', 'dropped']);
  assert.equal(dropped.out.toString().trim().split('\n').length, 1);
  assert.match(dropped.out.toString(), /DROPPED UDP shop\/web:1000 -> 203\.0\.113\.9:53 multicast/);
});

test('capture writes pcapng with the verdict of each packet, to a file and to standard output', async (t) => {
  const { f, double, at } = await node(t);
  const file = join(f.run, 'out.pcapng');
  const toFile = weft('capture', 'shop/web', '-w', file, '-c', '2', ...at);
  const toPipe = weft('capture', 'shop/web', '-w', '-', '-c', '2', ...at);
  await eventually(
    'both captures run',
    () => double.subscriptions.filter((what) => what === 'capture').length === 2,
    20_000,
  );
  const packet = { port: 'x', direction: 'egress' as const, length: 3, data: 'AQID' };
  double.emitCapture([
    { ...packet, time: '1000', reason: 'policy-egress' },
    { ...packet, time: '2000', egress: { policy: 'shop/a', direction: 'egress', index: 1 } },
  ]);
  const [one, other] = await Promise.all([toFile.ended, toPipe.ended]);
  assert.deepEqual([one.status, other.status], [0, 0], one.err + other.err);
  for (const bytes of [readFileSync(file), other.out]) {
    const { packets, interfaces } = readPcapng(bytes);
    assert.equal(interfaces[0]?.name, 'shop/web');
    assert.deepEqual(
      packets.map(({ time, comment, data }) => [time, comment, [...data]]),
      [
        [1000n, 'denied: policy-egress', [1, 2, 3]],
        [2000n, 'allowed by egress shop/a[1]', [1, 2, 3]],
      ],
    );
  }
  const unknown = await weft('capture', 'shop/nobody', ...at).ended;
  assert.equal(unknown.status, 2);
  assert.match(unknown.err, /knows no pod shop\/nobody/);
});

test('drops --counts counts by pod and reason, also where no event was told', async (t) => {
  const { at } = await node(t);
  const [table, json, other] = await Promise.all([
    weft('drops', '--counts', ...at).ended,
    weft('drops', 'shop/web', '--counts', '--json', ...at).ended,
    weft('drops', 'shop/nobody', '--counts', '--json', ...at).ended,
  ]);
  assert.equal(table.status, 0, table.err);
  assert.match(table.out.toString(), /^SENT BY +REASON +KIND +PACKETS$/m);
  assert.match(table.out.toString(), /^shop\/web +policy-egress +policy +3$/m);
  assert.match(table.out.toString(), /^node\/here +policy-egress/m);
  assert.deepEqual(JSON.parse(json.out.toString()), [
    { pod: 'shop/web', reason: 'policy-egress', kind: 'policy', packets: 3 },
  ]);
  assert.deepEqual([other.status, other.out.toString()], [2, '']);
  assert.match(other.err, /knows no pod shop\/nobody/);
});

test('drops --reasons explains every reason', async () => {
  const { out, status } = await weft('drops', '--reasons').ended;
  assert.equal(status, 0);
  assert.match(out.toString(), /^policy-egress +policy +A policy isolates the source pod/m);
});
