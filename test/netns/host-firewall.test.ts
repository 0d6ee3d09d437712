/** Other people's firewalls at the forward hook, as the kernel and its tools show them: accepted where that is ours to do, told where not. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { type Run, runCommand } from '../../src/host/command.js';
import { acceptForwarded, removeForwarded } from '../../src/host/forward.js';
import { Nft } from '../../src/host/nft.js';
import { tableText } from '../../src/host/table.js';
import { parseAddress } from '../../src/net/address.js';
import { cidr } from '../../src/net/cidr.js';
import { HostNet, works } from '../support/host-net.js';

let net: HostNet;
let run: Run;
const both = new Set([4, 6] as const);
const hasNft = works('iptables-nft', '-P', 'FORWARD', 'DROP');
const hasLegacy = works('iptables-legacy', '-P', 'FORWARD', 'DROP');

beforeEach(() => {
  net = new HostNet();
  const inside = `--net=${net.netns('host')}`;
  run = (command, args, input) => runCommand('nsenter', [inside, command, ...args], input);
});
afterEach(() => net.end());

const rules = (program: string) => net.run('host', program, '-S', 'FORWARD').trim().split('\n');
const codes = async (families: ReadonlySet<4 | 6> = both) =>
  (await acceptForwarded(run, 'weft0', families)).map(({ code }) => code);

test('where nobody drops, nothing is added and nothing is told', async () => {
  const before = net.run('host', 'nft', 'list', 'ruleset');
  assert.deepEqual(await codes(), []);
  assert.equal(net.run('host', 'nft', 'list', 'ruleset'), before);
});

test('Docker and ufw drop by the policy of FORWARD: two rules at its top, once, and gone again', {
  skip: !hasNft,
}, async () => {
  net.restore(
    'iptables-nft',
    `*filter
:FORWARD DROP [0:0]
:DOCKER-USER - [0:0]
:ufw-before-forward - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -j ufw-before-forward
-A DOCKER-USER -j RETURN
COMMIT
`,
  );
  net.run('host', 'ip6tables-nft', '-P', 'FORWARD', 'DROP');
  const before = rules('iptables-nft');
  for (let i = 0; i < 3; i++) assert.deepEqual(await codes(), []);
  const [first, ...rest] = rules('iptables-nft');
  assert.equal(first, '-P FORWARD DROP');
  assert.deepEqual(rest.slice(0, 2).sort(), [
    '-A FORWARD -i weft0 -m comment --comment weft -j ACCEPT',
    '-A FORWARD -o weft0 -m comment --comment weft -j ACCEPT',
  ]);
  assert.deepEqual(rest.slice(2), before.slice(1));
  assert.equal(rules('ip6tables-nft').length, 3);
  assert.deepEqual([...(await removeForwarded(run))].sort(), ['ip filter FORWARD', 'ip6 filter FORWARD']);
  assert.deepEqual(rules('iptables-nft'), before);
  assert.deepEqual(await removeForwarded(run), []);
});

test('a FORWARD that refuses by its last rule is the same, and one that flushes is mended', {
  skip: !hasNft,
}, async () => {
  net.run('host', 'iptables-nft', '-A', 'FORWARD', '-j', 'REJECT');
  assert.deepEqual(await codes(new Set([4])), []);
  assert.equal(rules('iptables-nft').length, 4);
  net.run('host', 'iptables-nft', '-F', 'FORWARD');
  net.run('host', 'iptables-nft', '-P', 'FORWARD', 'DROP');
  assert.deepEqual(await codes(new Set([4])), []);
  assert.equal(rules('iptables-nft').length, 3);
});

test("a hand-made nft firewall is its owner's: told with the commands, until it accepts", async () => {
  net.feed(
    'host',
    'table inet mine { chain guard { type filter hook forward priority 0; policy drop; ct state established accept\n}\n}\n',
    'nft',
    '-f',
    '-',
  );
  const [problem, ...others] = await acceptForwarded(run, 'weft0', both);
  assert.deepEqual(others, []);
  assert.equal(problem?.code, 'host-forward-blocked');
  const commands = [...(problem?.fix ?? '').matchAll(/`(nft [^`]*)`/g)].map(([, command]) => command!);
  assert.equal(commands.length, 2);
  assert.doesNotMatch(net.run('host', 'nft', 'list', 'ruleset'), /weft0/);
  for (const command of commands) net.run('host', 'sh', '-c', command);
  assert.deepEqual(await codes(), []);
});

test('firewalld is told by its own command, and is content when it knows the interface', async () => {
  const chains = (rule: string) => `table inet firewalld
delete table inet firewalld
table inet firewalld {
  chain zones { ${rule}
  }
  chain filter_FORWARD {
    type filter hook forward priority 10; policy accept;
    ct state established accept
    jump zones
    reject with icmpx admin-prohibited
  }
}
`;
  net.feed('host', chains(''), 'nft', '-f', '-');
  const [problem] = await acceptForwarded(run, 'weft0', both);
  assert.match(problem?.fix ?? '', /firewall-cmd .*weft0/);
  net.feed('host', chains('iifname "weft0" accept'), 'nft', '-f', '-');
  assert.deepEqual(await codes(), []);
});

test('the old iptables is told, and looked into only where it is in use', { skip: !hasLegacy }, async () => {
  assert.deepEqual(await codes(), []);
  net.run('host', 'iptables-legacy', '-P', 'FORWARD', 'DROP');
  const [problem] = await acceptForwarded(run, 'weft0', both);
  assert.equal(problem?.code, 'host-forward-blocked');
  for (const [, command] of (problem?.fix ?? '').matchAll(/`(iptables-legacy [^`]*)`/g))
    net.run('host', 'sh', '-c', command!);
  assert.deepEqual(await codes(), []);
});

test('the kernel takes the table in every shape, and has it again after somebody flushed the ruleset', async () => {
  const address = (text: string) => parseAddress(text)!;
  const nft = new Nft(run);
  const state = {
    interface: 'weft0',
    pods: [cidr('10.42.0.0/24'), cidr('10.9.9.9/32'), cidr('fd42::/112')],
    own: [address('10.42.0.1'), address('fd42::1')],
    node: [address('192.0.2.1'), address('2001:db8::1')],
    cluster: [cidr('10.42.0.0/16'), cidr('10.42.0.0/24'), cidr('fd42::/112')],
    nodes: [address('192.0.2.1'), address('10.42.0.77')],
    masquerade: true,
    hostPorts: (['TCP', 'UDP', 'SCTP'] as const).flatMap((protocol) => [
      { protocol, port: 80, at: null, to: address('10.42.0.5'), toPort: 8080 },
      { protocol, port: 80, at: address('192.0.2.1'), to: address('10.42.0.6'), toPort: 1 },
      { protocol, port: 80, at: null, to: address('fd42::5'), toPort: 8080 },
      { protocol, port: 80, at: address('2001:db8::1'), to: address('fd42::6'), toPort: 65535 },
    ]),
  };
  for (const shape of [
    state,
    { ...state, hostPorts: [] },
    { ...state, masquerade: false, nodes: [] },
    { ...state, cluster: [], own: [], node: [] },
    { ...state, pods: [cidr('fd42::/112')], cluster: [cidr('fd42::/112')], node: [address('2001:db8::1')] },
  ])
    assert.equal(await nft.apply(tableText(shape), false), null);
  assert.equal(await nft.apply(tableText(state), false), null);
  const listed = net.run('host', 'nft', 'list', 'ruleset');
  net.run('host', 'nft', 'flush', 'ruleset');
  assert.equal(await nft.apply(tableText(state), true), null);
  assert.equal(net.run('host', 'nft', 'list', 'ruleset'), listed);
  assert.equal(await nft.remove(), null);
  assert.equal(await nft.remove(), null);
  assert.equal(net.run('host', 'nft', 'list', 'ruleset'), '');
});
