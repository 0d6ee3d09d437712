/** A host before weft came and after it was taken off: the same, whatever is on it. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { HostNet, works } from '../support/host-net.js';
import { TestNode } from '../support/node.js';
import { until } from '../support/weft.js';

const entry = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url));
const net = new HostNet();
const hasNft = works('iptables-nft', '-P', 'FORWARD', 'DROP');
let node: TestNode;
let clean: Readonly<Record<string, string>>;

before(async () => {
  for (const [name, text] of [
    ['run/NetworkManager/pid', '1\n'],
    ['run/systemd/netif/state', ''],
    ['etc/dhcpcd.conf', 'hostname\n'],
    ['etc/systemd/network/10-lan.network', '[Match]\nName=up0\n'],
    ['etc/NetworkManager/conf.d/own.conf', '[main]\n'],
    ['etc/cni/net.d/.keep', ''],
    ['opt/cni/bin/bridge', 'a program'],
    ['var/lib/other', ''],
  ] as const) {
    mkdirSync(join(net.root, name, '..'), { recursive: true });
    writeFileSync(join(net.root, name), text);
  }
  // A firewall, somebody's own table, and an uplink that lives by router advertisements.
  if (hasNft) net.run('host', 'iptables-nft', '-P', 'FORWARD', 'DROP');
  net.feed(
    'host',
    'table inet own { chain c { type filter hook input priority 0; policy accept\n}\n}\n',
    'nft',
    '-f',
    '-',
  );
  net.run('host', 'sysctl', '-qw', 'net.ipv6.conf.up0.accept_ra=1');
  clean = snapshot();
  node = await TestNode.start({ netns: net.netns('host'), config: net.config });
});

after(async () => {
  await node?.end();
  net.end();
});

/** All that weft touches, and what lies beside it. */
function snapshot(): Readonly<Record<string, string>> {
  const run = (...command: readonly [string, ...string[]]) => net.run('host', ...command);
  const settings = run('sysctl', '-a', '-r', '^net\\.(ipv4|ipv6)\\.(conf|ip_forward)')
    .split('\n')
    // The kernel's own count-downs and random secrets.
    .filter((line) => !/stable_secret|\.mtu /.test(line));
  return {
    links: run('ip', '-br', 'link'),
    addresses: run('ip', '-br', 'addr'),
    routes: sorted(run('ip', '-4', 'route', 'show', 'table', 'all')),
    routes6: sorted(run('ip', '-6', 'route', 'show', 'table', 'all')),
    rules: run('ip', 'rule') + run('ip', '-6', 'rule'),
    nft: run('nft', '-s', 'list', 'ruleset'),
    settings: settings.join('\n'),
    files: filesOf(net.root),
  };
}

function sorted(text: string): string {
  return text.split('\n').sort().join('\n');
}

function filesOf(folder: string): string {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort()
    .map((path) => `${path}: ${readFileSync(path, 'utf8')}`)
    .join('\n');
}

function weft(...args: readonly string[]): { status: number | null; stdout: string; stderr: string } {
  const config = join(node.folder, 'config.yaml');
  return spawnSync(
    'nsenter',
    [
      `--net=${net.netns('host')}`,
      process.execPath,
      entry,
      ...args,
      '--config',
      config,
      '--host-root',
      net.root,
    ],
    { encoding: 'utf8' },
  );
}

test('an installed host carries pods, and is changed in every place', async () => {
  const installed = weft('install');
  assert.equal(installed.status, 0, installed.stderr);
  await node.addPods({
    web: { hostPorts: [{ protocol: 'TCP', hostPort: 8081, containerPort: 8080, hostIP: '' }] },
    other: {},
  });
  await until('the host is set up', 15, async () => {
    const now = snapshot();
    return (
      /8081/.test(now.nft!) &&
      /ipv6\.conf\.all\.forwarding = 1/.test(now.settings!) &&
      /90-weft/.test(now.files!)
    );
  });
  await net.serve({ netns: node.pod('web').netns }, 8080, 'web');
  assert.equal(await net.ask('far', '192.0.2.1', 8081), 'web 192.0.2.9');
  const now = snapshot();
  for (const what of ['links', 'addresses', 'routes', 'routes6', 'nft', 'settings', 'files'])
    assert.notEqual(now[what], clean[what], what);
  assert.match(now.settings!, /ipv6\.conf\.up0\.accept_ra = 2/);
});

test('while agent or switch run nothing is removed', async () => {
  for (const stopped of ['agent', 'switch'] as const) {
    const before = snapshot();
    const refused = weft('uninstall');
    assert.notEqual(refused.status, 0);
    assert.match(refused.stderr, /is running/);
    assert.deepEqual(snapshot(), before);
    const child = node.child(stopped);
    const exit = once(child, 'exit');
    child.kill('SIGTERM');
    await exit;
  }
});

test('uninstalled, the host is as it was before, and what was done is told', () => {
  assert.ok(existsSync(join(node.run, 'leases.jsonl')));
  const done = weft('uninstall', '-o', 'json');
  assert.equal(done.status, 1, done.stderr);
  const told = JSON.parse(done.stdout) as { what: string; state: string }[];
  const left = told.filter(({ state }) => state === 'left').map(({ what }) => what);
  // The test's manifests lie in the run directory; they are somebody's work.
  assert.deepEqual(left, [join(node.run, 'manifests')]);
  for (const what of [
    /interface eth0 of the pod test\/web/,
    /interface weft0/,
    /nft table weft/,
    /ip_forward/,
    /90-weft/,
  ])
    assert.ok(
      told.some((row) => what.test(row.what)),
      `${what} is told in ${done.stdout}`,
    );
  assert.deepEqual(snapshot(), clean);
  assert.deepEqual(readdirSync(node.run), ['manifests']);
  const inPod = spawnSync('nsenter', [`--net=${node.pod('web').netns}`, 'ip', '-br', 'link'], {
    encoding: 'utf8',
  });
  assert.doesNotMatch(inPod.stdout, /eth0/);
});

test('once more there is nothing left to do', () => {
  const again = weft('uninstall', '-o', 'json');
  const told = JSON.parse(again.stdout) as { state: string }[];
  assert.deepEqual(
    told.filter(({ state }) => state !== 'left'),
    [],
    again.stdout,
  );
  assert.deepEqual(snapshot(), clean);
});
