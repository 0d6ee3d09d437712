/** `weft sysdump` of an agent in whose reach secrets lie everywhere: none gets into the archive. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { imageSummary } from '../../../src/cli/sysdump/collect.js';
import { compile } from '../../../src/image/compile.js';
import { World } from '../../../src/model/world.js';
import { eventually, fixture, podManifest, policyManifest } from '../../support/agent-fixture.js';

const entry = fileURLToPath(new URL('../../../src/cli/main.js', import.meta.url));
const secret = 'PLANTED-s3cr3t-value';
const base64 = Buffer.from(secret).toString('base64');

/** Not spawnSync: the agent lives in this process. */
function run(args: readonly string[], environment: NodeJS.ProcessEnv = {}) {
  const child = spawn(process.execPath, [entry, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...environment },
  });
  const out: Buffer[] = [];
  let err = '';
  child.stdout.on('data', (chunk: Buffer) => out.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => {
    err += chunk.toString();
  });
  return new Promise<{ status: number | null; out: Buffer; err: string }>((resolve) => {
    child.on('close', (status) => resolve({ status, out: Buffer.concat(out), err }));
  });
}

function extract(archive: Buffer, folder: string): readonly string[] {
  mkdirSync(folder, { recursive: true });
  const options = { input: archive };
  assert.equal(spawnSync('tar', ['-xz', '--strip-components=1', '-C', folder], options).status, 0);
  const { stdout } = spawnSync('find', [folder, '-type', 'f', '-printf', '%P\\n'], { encoding: 'utf8' });
  return stdout.trim().split('\n').sort();
}

async function node(t: TestContext) {
  const f = fixture(t);
  const put = (path: string, text: string) => {
    mkdirSync(dirname(join(f.run, path)), { recursive: true });
    writeFileSync(join(f.run, path), text);
  };
  f.write('world.yaml', podManifest('shop', 'web') + policyManifest('shop', 'deny'));
  f.write(
    'secret.yaml',
    `apiVersion: v1\nkind: Secret\nmetadata: { namespace: shop, name: db }\ndata: { password: ${base64} }\nstringData: { token: ${secret} }\n---\n`,
  );
  put('host/etc/cni/net.d/calico-kubeconfig', `users: [{ user: { token: ${secret} } }]\n`);
  put('host/etc/rancher/k3s/config.yaml', `token: ${secret}\n`);
  put('host/var/lib/rancher/k3s/server/token', `K10abcdef0123456789abcdef::server:${secret}\n`);
  put('host/proc/7/cmdline', `/usr/local/bin/k3s\0server\0--token\0${secret}\0`);
  put('kubeconfig', `users:\n- user:\n    token: ${secret}\n    client-key-data: ${base64}\n`);
  put('config.yaml', `kubernetes: { mode: "off", kubeconfig: ${join(f.run, 'kubeconfig')} }\n`);
  put(
    'host/var/log/pods/kube-system_weft-x7k2p_1234/agent/0.log',
    `2026 stderr F {"msg":"401","headers":{"authorization":"Bearer ${secret}"}}\n2026 stderr F started\n2026 --token=${secret}\n`,
  );
  put('host/var/log/pods/shop_web_1/main/0.log', `a log that is not ours: ${secret} \n`);
  const double = await f.startSwitch();
  await f.startAgent();
  const client = await f.client();
  await client.request('attach', {
    namespace: 'shop',
    name: 'web',
    uid: '',
    netns: '/run/netns/w',
    ifname: 'eth0',
  });
  await eventually('the agent reads flows', () => double.subscriptions.includes('flows'));
  double.emitFlows([
    {
      time: 0,
      verdict: 'denied',
      reason: 'policy-egress',
      protocol: 6,
      family: 4,
      source: { address: '10.42.0.2', port: 1 },
      destination: { address: '203.0.113.9', port: 443 },
    },
  ]);
  const at = ['--run-dir', f.run, '--config', join(f.run, 'config.yaml'), '--root', join(f.run, 'host')];
  return { f, at };
}

test('the archive holds what a report needs, and none of the secrets that lie around', async (t) => {
  const { f, at } = await node(t);
  const file = join(f.run, 'dump.tar.gz');
  const done = await run(['sysdump', '-w', file, ...at], { WEFT_PLANTED_TOKEN: secret, DB_PASSWORD: secret });
  assert.equal(done.status, 0, done.err);
  assert.equal(statSync(file).mode & 0o777, 0o600);
  const archive = readFileSync(file);
  const inside = gunzipSync(archive);
  for (const text of [secret, base64]) assert.equal(inside.indexOf(text), -1, 'a secret is in the archive');
  const folder = join(f.run, 'extracted');
  const files = extract(archive, folder);
  const wanted = [
    'collected.json',
    'configuration.yaml',
    'conntrack.json',
    'doctor.json',
    'drops.jsonl',
    'flows.jsonl',
    'host/uname.txt',
    'logs/weft-x7k2p/agent-0.log',
    'metrics.txt',
    'ports.json',
    'run/files.txt',
    'run/leases.jsonl',
    'status.json',
    'versions.json',
  ];
  assert.deepEqual(
    wanted.filter((name) => !files.includes(name)),
    [],
    done.err,
  );
  assert.ok(!files.some((name) => name.includes('shop_web')), "other pods' logs are not ours to take");
  const read = (name: string) => readFileSync(join(folder, name), 'utf8');
  assert.equal((JSON.parse(read('status.json')) as { ready: boolean }).ready, true);
  assert.match(read('drops.jsonl'), /"reason":"policy-egress"/);
  assert.match(read('logs/weft-x7k2p/agent-0.log'), /started/);
  assert.match(read('metrics.txt'), /^weft_agent_ready 1$/m);
  const { entries } = JSON.parse(read('collected.json')) as {
    entries: { name: string; bytes: number; note?: string }[];
  };
  // What could not be had says why, and everything else is there.
  for (const { name, bytes, note } of entries)
    assert.ok(files.includes(name) || (bytes === 0 && note !== undefined), name);
});

test('to standard output, and without an agent: what there is, and why the rest is not', async (t) => {
  const { f, at } = await node(t);
  const done = await run([
    'sysdump',
    '-w',
    '-',
    ...at.map((word) => (word === f.run ? join(f.run, 'nobody') : word)),
  ]);
  assert.equal(done.status, 0, done.err);
  assert.match(done.err, /status\.json is not in it: No agent answers/);
  const files = extract(done.out, join(f.run, 'extracted'));
  assert.ok(files.includes('doctor.json') && !files.includes('status.json'));
  const refused = await run(['sysdump', '-w', join(f.run, 'no/such/folder.tar.gz'), ...at]);
  assert.deepEqual([refused.status, /cannot be written \(ENOENT\)/.test(refused.err)], [2, true]);
});

test('the image is told in sizes and names; one that is damaged in a sentence', () => {
  const image = compile(new World(), {}).image;
  const summary = imageSummary(image) as {
    bytes: number;
    sections: Record<string, number>;
    policies: string[];
  };
  assert.equal(summary.bytes, image.byteLength);
  assert.ok('addresses' in summary.sections && 'frontends' in summary.sections);
  assert.deepEqual(summary.policies, []);
  image[40] = (image[40] ?? 0) ^ 1;
  assert.match(JSON.stringify(imageSummary(image)), /checksum|image-/);
});
