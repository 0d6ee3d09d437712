/**
 * Somebody at work on the host: the switch's interface is deleted, set down, flushed, renamed or moved, its routes lead elsewhere, a firewall
 * flushes the ruleset, a script sets kernel settings back. Each is undone within moments: the interface by the switch alone, with no agent
 * there, and the rest by the agent. It is told once, with what it was.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { HostNet } from '../support/host-net.js';
import { TestNode } from '../support/node.js';
import { endTalkers, Talker } from '../support/talk.js';
import { until } from '../support/weft.js';

const net = new HostNet();
let node: TestNode;
/** Well below the 30 s in which everything is looked at anyway, well above what it takes. Seconds. */
const patience = 12;

before(async () => {
  net.run('host', 'sysctl', '-qw', 'net.ipv6.conf.up0.accept_ra=1');
  node = await TestNode.start({ netns: net.netns('host'), config: net.config });
  await node.addPods({
    one: { hostPorts: [{ protocol: 'TCP', hostPort: 8090, containerPort: 8080, hostIP: '' }] },
  });
  await node.apply([denyAll]);
  await net.serve({ netns: node.pod('one').netns }, 8080, 'one');
  await until('the host is set up', 15, async () => {
    const [table, set] = [tableNow(), settingsNow()];
    return /masquerade/.test(table) && /8090/.test(table) && set === settingsWanted;
  });
});

after(async () => {
  await endTalkers();
  await node?.end();
  net.end();
});

/** The node's own sockets are exempt from it, as long as the switch can tell them from what is forwarded. */
const denyAll = {
  apiVersion: 'networking.k8s.io/v1',
  kind: 'NetworkPolicy',
  metadata: { namespace: 'test', name: 'deny-all' },
  spec: { podSelector: {}, policyTypes: ['Ingress'] },
};

const settings = [
  'net.ipv4.ip_forward',
  'net.ipv6.conf.all.forwarding',
  'net.ipv6.conf.up0.accept_ra',
  'net.ipv4.conf.weft0.route_localnet',
];
const settingsWanted = '1\n1\n2\n1\n';
const quietly = (...command: readonly string[]): string => {
  try {
    return net.run('host', command[0]!, ...command.slice(1));
  } catch {
    return '';
  }
};
const settingsNow = () => quietly('sysctl', '-n', ...settings);
const tableNow = () => quietly('nft', '-s', 'list', 'table', 'inet', 'weft');

/** What `ip` shows of weft0, without numbers that count. */
function interfaceNow(): string {
  const links = quietly('ip', '-o', 'link', 'show', 'weft0').replace(/^\d+: /gm, '');
  const addresses = ['-4', '-6'].map((family) =>
    quietly('ip', family, '-o', 'addr', 'show', 'dev', 'weft0', 'scope', 'global'),
  );
  const routes = ['-4', '-6'].map((family) =>
    quietly('ip', family, 'route', 'show', 'dev', 'weft0', 'proto', 'static'),
  );
  const lines = [links, ...addresses, ...routes].join('\n').split('\n');
  return lines
    .map((line) => line.replace(/^\d+: /, '').trim())
    .filter((line) => line !== '')
    .sort()
    .join('\n');
}

const reached = async () => {
  const { v4, v6 } = node.pod('one');
  return Promise.all([net.ask('host', v4, 8080), net.ask('host', v6, 8080)]);
};
const both = ['one 192.0.2.1', 'one 2001:db8::1'];

const deeds: readonly (readonly [what: string, told: RegExp, ...commands: readonly string[]])[] = [
  // Why is its TAP's end or its absence, whichever is seen first.
  ['deleted', /made anew/, 'ip link del weft0'],
  ['set down', /link down/, 'ip link set weft0 down'],
  ['without its addresses', /10\.99\.0\.1/, 'ip addr flush dev weft0 scope global'],
  ['with one more address', /192\.0\.2\.77/, 'ip addr add 192.0.2.77/32 dev weft0'],
  [
    'without its routes',
    /10\.99\.0\.0\/24/,
    'ip route flush dev weft0 proto static',
    'ip -6 route flush dev weft0 proto static',
  ],
  ['with a route that leads elsewhere', /10\.99\.0\.0\/24/, 'ip route replace 10.99.0.0/24 dev up0'],
  [
    'with routes of another source',
    /10\.99\.0\.0\/24/,
    'ip route replace 10.99.0.0/24 via 169.254.1.1 dev weft0 onlink src 172.17.0.1 proto static',
  ],
  ['with another MTU', /MTU 1280/, 'ip link set weft0 mtu 1280'],
  ['with another MAC', /MAC/, 'ip link set weft0 address 02:00:00:00:00:77'],
  [
    'under another name',
    /made anew: .*no interface weft0/,
    'ip link set weft0 down',
    'ip link set weft0 name eth9',
    'ip link set eth9 up',
  ],
  ['without IPv6', /fd99::1/, 'sysctl -qw net.ipv6.conf.weft0.disable_ipv6=1'],
];

for (const [what, told, ...commands] of deeds) {
  test(`weft0 ${what}: the switch brings it back, without an agent`, async () => {
    if (node.child('agent').exitCode === null && node.child('agent').signalCode === null)
      await node.killAgent();
    const before = interfaceNow();
    const lines = node.log('switch').length;
    for (const command of commands) net.run('host', ...(command.split(' ') as [string, ...string[]]));
    await until(`weft0 is as it was\n${before}`, patience, () => interfaceNow() === before).catch(
      (error: Error) => assert.fail(`${error.message}\nis\n${interfaceNow()}\n${node.words('switch')}`),
    );
    assert.deepEqual(await reached(), both);
    await until('it is told', patience, () => told.test(node.log('switch').slice(lines))).catch(
      (error: Error) => assert.fail(`${error.message} as ${told}\n${node.log('switch').slice(lines)}`),
    );
    assert.equal(quietly('ip', 'link', 'show', 'eth9'), '');
    const [host] = (await node.query('ports')).filter(({ spec }) => spec.kind === 'host');
    assert.equal(host?.status, 'live');
  });
}

test('what the switch itself does makes it look again, and then it has nothing more to do', async () => {
  const { hostRestored } = await node.query('status');
  assert.ok(hostRestored !== undefined && hostRestored.times >= deeds.length);
  // A pause and a look later.
  await new Promise((resolve) => setTimeout(resolve, 1500));
  assert.equal((await node.query('status')).hostRestored?.times, hostRestored.times);
});

test('a stream between node and pod outlives an interface that is set down and flushed', async () => {
  await Talker.start(node, 'one', 'echo', 5006);
  const beat = await Talker.startIn(net.netns('host'), 'heartbeat', node.pod('one').v4, 5006, 5);
  await until('it beats', 5, async () => (await beat.report()).heard > 20);
  const before = interfaceNow();
  for (const command of ['ip link set weft0 down', 'ip addr flush dev weft0'])
    net.run('host', ...(command.split(' ') as [string, ...string[]]));
  await until('weft0 is as it was', patience, () => interfaceNow() === before);
  const { heard } = await beat.report();
  await until('it goes on beating', patience, async () => (await beat.report()).heard > heard + 20);
  const { wrong, end } = await beat.report();
  assert.deepEqual({ wrong, end }, { wrong: 0, end: '' });
});

const undone: readonly (readonly [what: string, ...commands: readonly string[]])[] = [
  ['a firewall flushes the ruleset', 'nft flush ruleset'],
  ['the table is deleted', 'nft delete table inet weft'],
  ['the rules of the table are flushed', 'nft flush table inet weft'],
  ['the rules of one chain are flushed', 'nft flush chain inet weft unforged'],
  ['IPv4 forwarding is turned off', 'sysctl -qw net.ipv4.ip_forward=0'],
  ['IPv6 forwarding is turned off', 'sysctl -qw net.ipv6.conf.all.forwarding=0'],
  ['router advertisements are refused again', 'sysctl -qw net.ipv6.conf.up0.accept_ra=1'],
  ['the way to host ports from 127.0.0.1 is closed', 'sysctl -qw net.ipv4.conf.weft0.route_localnet=0'],
  ['weft0, and its settings with it, is deleted', 'ip link del weft0'],
];

test('the agent is back, and the host with it', async () => {
  await node.startAgent();
  await node.apply([denyAll]);
  await until('the host is set up', 15, () => /8090/.test(tableNow()) && settingsNow() === settingsWanted);
});

for (const [what, ...commands] of undone) {
  test(`${what}: the agent brings it back`, async () => {
    const table = tableNow();
    assert.match(table, /8090/);
    for (const command of commands) net.run('host', ...(command.split(' ') as [string, ...string[]]));
    await until(
      `the host is as it was: ${settingsWanted} ${table}`,
      patience,
      () => tableNow() === table && settingsNow() === settingsWanted,
    ).catch((error: Error) => assert.fail(`${error.message}\nis ${settingsNow()} ${tableNow()}`));
  });
}

test('what was brought back works', async () => {
  assert.equal(await net.ask('host', '127.0.0.1', 8090), 'one 192.0.2.1');
  assert.deepEqual(await reached(), both);
});

test('all of it is told: a problem with its remedy, metrics, and one line of the log in a while', async () => {
  const status = await node.agent.request('status', {});
  const problems = (status.problems as { code: string; message: string; fix: string }[]).filter(
    ({ code }) => code === 'host-changed',
  );
  assert.equal(problems.length, 2, JSON.stringify(problems));
  assert.match(problems.map(({ message }) => message).join(' '), /route_localnet.*interface of this node/s);
  const { text } = await node.agent.request('metrics', {});
  const metric = (name: string) =>
    Number(new RegExp(`^${name.replace(/[{}"]/g, '\\$&')} (\\d+)`, 'm').exec(String(text))?.[1]);
  assert.ok(metric('weft_host_touched_total{what="table"}') >= 4, String(text));
  assert.ok(metric('weft_host_touched_total{what="setting"}') >= 4);
  assert.ok(metric('weft_switch_interface_touched_total') >= deeds.length);
  const told = node.log('agent').match(/somebody changed what was set on this host/g) ?? [];
  assert.equal(told.length, 1);
});
