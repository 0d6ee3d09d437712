/** What the host adapter does to files and settings, over folders that play the host; and how it takes failing tools. */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { Outcome, Run } from '../../../src/host/command.js';
import { endUdp } from '../../../src/host/conntrack.js';
import { Host, type HostOptions } from '../../../src/host/host.js';
import { tellManagers, untellManagers } from '../../../src/host/managers.js';
import { Nft } from '../../../src/host/nft.js';
import { Sysctls } from '../../../src/host/sysctl.js';
import type { HostState } from '../../../src/host/table.js';
import { parseAddress } from '../../../src/net/address.js';
import { cidr } from '../../../src/net/cidr.js';
import { eventually } from '../../support/agent-fixture.js';

const fine: Outcome = { status: 0, stdout: '', stderr: '', missing: false };
const absent: Outcome = { status: null, stdout: '', stderr: '', missing: true };
const address = (text: string) => parseAddress(text)!;

function folder(context: TestContext, files: Readonly<Record<string, string>>): string {
  const root = mkdtempSync(join(tmpdir(), 'weft-host-'));
  context.after(() => rmSync(root, { recursive: true, force: true }));
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(join(root, dirname(name)), { recursive: true });
    writeFileSync(join(root, name), text);
  }
  return root;
}

const state: HostState = {
  interface: 'weft0',
  pods: [cidr('10.42.0.0/24'), cidr('fd42::/112')],
  own: [],
  node: [address('192.168.0.1')],
  cluster: [],
  nodes: [],
  masquerade: true,
  hostPorts: [],
};

const settings = {
  'net/ipv4/ip_forward': '0\n',
  'net/ipv6/conf/all/forwarding': '0\n',
  'net/ipv6/conf/eth0/accept_ra': '1\n',
  'net/ipv6/conf/veth1/accept_ra': '1\n',
  'net/ipv6/conf/wlan0/accept_ra': '0\n',
  'net/ipv4/conf/weft0/route_localnet': '0\n',
};
/** eth0 and wlan0 lead out; veth1 does not. */
const routes: Run = async (_, args) => ({
  ...fine,
  stdout: args.includes('-4')
    ? 'default via 192.168.0.254 dev eth0\ndefault via 192.168.1.254 dev wlan0 metric 600\n'
    : '',
});

test('forwarding is turned on, and an uplink that lives by router advertisements goes on taking them', async (context) => {
  const proc = folder(context, settings);
  const run = folder(context, {});
  const value = (name: string) => readFileSync(join(proc, name), 'utf8').trim();
  assert.deepEqual(await new Sysctls(run, routes, proc).apply(state), []);
  assert.deepEqual(Object.fromEntries(Object.keys(settings).map((name) => [name, value(name)])), {
    'net/ipv4/ip_forward': '1',
    'net/ipv6/conf/all/forwarding': '1',
    'net/ipv6/conf/eth0/accept_ra': '2',
    'net/ipv6/conf/veth1/accept_ra': '1',
    'net/ipv6/conf/wlan0/accept_ra': '0',
    'net/ipv4/conf/weft0/route_localnet': '0',
  });
  // A later agent finds everything as it should be, and still knows what was before.
  writeFileSync(join(proc, 'net/ipv4/ip_forward'), '1\n');
  const later = new Sysctls(run, routes, proc);
  assert.deepEqual(await later.apply(state), []);
  assert.deepEqual([...later.restore().restored].sort(), [
    'net/ipv4/ip_forward',
    'net/ipv6/conf/all/forwarding',
    'net/ipv6/conf/eth0/accept_ra',
  ]);
  for (const [name, before] of Object.entries(settings)) assert.equal(value(name), before.trim(), name);
});

test('what somebody else had turned on, or has changed since, is left to him', async (context) => {
  const proc = folder(context, { ...settings, 'net/ipv6/conf/all/forwarding': '1\n' });
  const sysctls = new Sysctls(folder(context, {}), routes, proc);
  await sysctls.apply(state);
  // Forwarding was on: the uplink is as its owner wants it.
  assert.equal(readFileSync(join(proc, 'net/ipv6/conf/eth0/accept_ra'), 'utf8'), '1\n');
  writeFileSync(join(proc, 'net/ipv4/ip_forward'), '2\n');
  assert.deepEqual(sysctls.restore(), { restored: [], left: ['net/ipv4/ip_forward'] });
});

test('a setting that cannot be made is a problem with the command that makes it', async (context) => {
  const proc = folder(context, { ...settings });
  rmSync(join(proc, 'net/ipv4/ip_forward'));
  mkdirSync(join(proc, 'net/ipv4/ip_forward'));
  const sysctls = new Sysctls(folder(context, {}), routes, proc);
  // Unreadable is as absent: a kernel without the family.
  assert.deepEqual(await sysctls.apply(state), []);
  const fixed = folder(context, settings);
  const nowhere = new Sysctls('/nonexistent/run', routes, fixed);
  const [problem] = await nowhere.apply(state);
  assert.equal(problem?.code, 'host-sysctl');
  assert.match(problem?.fix ?? '', /sysctl -w net\.ipv4\.ip_forward=1/);
});

test('only managers that are there are told, and uninstalling leaves their files as they were', async (context) => {
  // A line at its end would be of that interface alone.
  const dhcpcd = 'hostname\ninterface eth0\nstatic ip_address=192.0.2.2/24';
  const root = folder(context, {
    'run/NetworkManager/pid': '1',
    'etc/dhcpcd.conf': dhcpcd,
    'etc/NetworkManager/conf.d/10-own.conf': '[main]\n',
  });
  const calls: string[] = [];
  const run: Run = async (command) => {
    calls.push(command);
    return fine;
  };
  const first = await tellManagers(root, 'weft0', run);
  assert.deepEqual(first.written, ['/etc/NetworkManager/conf.d/90-weft.conf', '/etc/dhcpcd.conf']);
  assert.deepEqual(first.problems, []);
  assert.match(
    readFileSync(join(root, 'etc/NetworkManager/conf.d/90-weft.conf'), 'utf8'),
    /unmanaged-devices\+=interface-name:weft0/,
  );
  assert.match(
    readFileSync(join(root, 'etc/dhcpcd.conf'), 'utf8'),
    /^# weft: begin\ndenyinterfaces weft0\n# weft: end\nhostname\n/,
  );
  assert.equal(existsSync(join(root, 'etc/systemd')), false);
  assert.deepEqual((await tellManagers(root, 'weft0', run)).written, [], 'told once');
  assert.deepEqual(calls, [], 'programs of another root are not run');
  assert.deepEqual(untellManagers(root), first.written);
  assert.equal(readFileSync(join(root, 'etc/dhcpcd.conf'), 'utf8'), dhcpcd);
  assert.equal(existsSync(join(root, 'etc/NetworkManager/conf.d/90-weft.conf')), false);
  assert.deepEqual(untellManagers(root), []);
});

test('a manager that cannot be told is a problem, and the others are told', async (context) => {
  const root = folder(context, {
    'run/NetworkManager/pid': '1',
    'etc/NetworkManager': 'a file',
    'run/systemd/netif/x': '',
  });
  const { written, problems } = await tellManagers(root, 'weft0', async () => fine);
  assert.deepEqual(written, ['/etc/systemd/network/05-weft.network']);
  assert.deepEqual(
    problems.map(({ code }) => code),
    ['host-manager-file'],
  );
});

test('nft is called when the text is another or the table is gone, and not otherwise', async () => {
  let kernel: string | null = null;
  const inputs: string[] = [];
  const run: Run = async (_, args, input = '') => {
    if (args[0] === '-s') return kernel === null ? { ...fine, status: 1 } : { ...fine, stdout: kernel };
    inputs.push(input);
    kernel = `listed ${input}`;
    return fine;
  };
  const nft = new Nft(run);
  const table = (text: string, look: boolean) => nft.apply(text, look);
  await table('one', false);
  await table('one', false);
  await table('one', true);
  assert.deepEqual(inputs, ['one']);
  kernel = null;
  await table('one', false);
  assert.deepEqual(inputs, ['one'], 'nobody looked');
  await table('one', true);
  kernel = 'changed by another hand';
  await table('one', true);
  await table('two', false);
  assert.deepEqual(inputs, ['one', 'one', 'one', 'two']);
});

test("nft's refusal is told in its words and tried again; without nft the remedy is told", async () => {
  let answer: Outcome = {
    ...fine,
    status: 1,
    stderr: 'Error: Could not process rule: No such file or directory\n',
  };
  const nft = new Nft(async () => answer);
  const refused = await nft.apply('text', false);
  assert.equal(refused?.code, 'host-nft');
  assert.match(refused?.message ?? '', /Could not process rule/);
  answer = fine;
  assert.equal(await nft.apply('text', false), null);
  assert.equal((await new Nft(async () => absent).apply('text', false))?.code, 'host-nft-missing');
});

test('UDP connections of a host port end when it goes or comes, and no others do', async () => {
  const calls: string[] = [];
  const run: Run = async (command, args) => {
    calls.push([command, ...args].join(' '));
    return { ...fine, status: 1 };
  };
  const web = { protocol: 'UDP', port: 53, at: null, to: address('10.42.0.5'), toPort: 53 } as const;
  const next = { ...web, to: address('10.42.0.6') };
  const tcp = { ...web, protocol: 'TCP' } as const;
  const node = [address('192.168.0.1'), address('fd00::1')];
  assert.equal(await endUdp(run, [web, tcp], [web, tcp], node), null);
  assert.deepEqual(calls, []);
  await endUdp(run, [web, tcp], [next], node);
  assert.deepEqual(calls, [
    'conntrack -D -f ipv4 -p udp --orig-port-dst 53 --reply-src 10.42.0.5',
    'conntrack -D -f ipv4 -p udp --orig-port-dst 53 --orig-dst 192.168.0.1',
  ]);
  assert.equal((await endUdp(async () => absent, [web], [], node))?.code, 'host-conntrack-missing');
});

function hostFixture(context: TestContext, run: Run, more: Partial<HostOptions> = {}) {
  const settingsRoot = folder(context, { ...settings, 'net/ipv4/conf/weft0/forwarding': '1\n' });
  const host = new Host({
    runDirectory: folder(context, {}),
    root: folder(context, {}),
    log: () => {},
    run,
    settings: settingsRoot,
    ...more,
  });
  context.after(() => host.stop());
  return { host, settingsRoot };
}

test('what fails is told and tried again by itself; the rest is done all the same', async (context) => {
  let refusals = 2;
  const run: Run = async (command, args) => {
    if (command === 'nft' && args[0] === '-f' && refusals-- > 0)
      return { ...fine, status: 1, stderr: 'busy' };
    return fine;
  };
  const { host, settingsRoot } = hostFixture(context, run);
  host.want(state);
  await eventually('it is told', () => host.problems.some(({ code }) => code === 'host-nft'));
  assert.equal(readFileSync(join(settingsRoot, 'net/ipv4/ip_forward'), 'utf8').trim(), '1');
  await eventually('it is mended', () => host.problems.length === 0, 15_000);
  assert.ok(refusals < 0);
});

test('one application at a time, and of what was wanted meanwhile only the latest', async (context) => {
  const texts: string[] = [];
  let under = 0;
  let release = () => {};
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  const run: Run = async (command, args, input = '') => {
    if (command !== 'nft' || args[0] !== '-f') return fine;
    assert.equal(++under, 1);
    texts.push(input);
    if (texts.length === 1) await held;
    under--;
    return fine;
  };
  const { host } = hostFixture(context, run);
  const withPods = (text: string): HostState => ({ ...state, pods: [cidr(text)] });
  host.want(withPods('10.1.0.0/24'));
  await eventually('the first is under way', () => texts.length === 1);
  for (const text of ['10.2.0.0/24', '10.3.0.0/24', '10.4.0.0/24']) host.want(withPods(text));
  release();
  await eventually('the latest is applied', () => texts.at(-1)?.includes('10.4.0.0/24') === true);
  assert.equal(texts.length, 2);
  host.want(withPods('10.4.0.0/24'));
  await host.stop();
  assert.equal(texts.length, 2);
});

test('in another network namespace than the interface nothing is touched', async (context) => {
  const calls: string[] = [];
  const run: Run = async (command) => {
    calls.push(command);
    return fine;
  };
  const { host, settingsRoot } = hostFixture(context, run);
  host.want({ ...state, interface: 'elsewhere0' });
  await eventually('it is told', () => host.problems.some(({ code }) => code === 'host-interface-missing'));
  assert.deepEqual(calls, []);
  assert.equal(readFileSync(join(settingsRoot, 'net/ipv4/ip_forward'), 'utf8'), '0\n');
});

test('a glance finds what others undid, brings it back, tells it once in a while, and forgets it in the end', async (context) => {
  let table = 0;
  let now = 0;
  const told: string[] = [];
  const touched: string[] = [];
  const run: Run = async (command, args) => {
    if (command === 'nft' && args[0] === '-f') table++;
    return { ...fine, stdout: `table ${table}` };
  };
  let mark = 'one';
  const asked: string[][] = [];
  const { host, settingsRoot } = hostFixture(context, run, {
    now: () => now,
    askMark: (name, chains) => {
      asked.push([name, ...chains]);
      return mark;
    },
    touched: (what) => touched.push(what),
    log: (_level, message, fields) => told.push(`${message} ${JSON.stringify(fields)}`),
  });
  host.glance();
  host.want(state);
  await eventually('it is set up', () => table === 1 && host.problems.length === 0 && asked.length > 0);
  assert.deepEqual(asked[0], ['weft', 'local-only', 'unforged', 'unmark', 'leaving']);
  const forward = join(settingsRoot, 'net/ipv4/ip_forward');
  await host.reconcile();
  host.glance();
  assert.deepEqual([touched, told], [[], []], 'all is as it was set');

  writeFileSync(forward, '0\n');
  host.glance();
  await eventually('it is on again', () => readFileSync(forward, 'utf8').trim() === '1');
  await host.reconcile();
  assert.deepEqual(touched, ['setting']);
  assert.match(told[0] ?? '', /somebody changed .*net\.ipv4\.ip_forward/);
  assert.match(host.problems[0]?.message ?? '', /1 times .*net\.ipv4\.ip_forward/);

  // A thorough look finds the table as it was listed, whatever has moved the mark: it is learned.
  mark = 'two';
  now = 1000;
  host.glance();
  assert.deepEqual(touched, ['setting', 'table']);
  await host.reconcile();
  host.glance();
  assert.deepEqual(touched, ['setting', 'table']);
  assert.equal(told.length, 1, 'within the minute nothing more is said');
  assert.deepEqual(
    host.problems.map(({ code }) => code),
    ['host-changed'],
  );
  now = 3_600_000;
  assert.deepEqual(host.problems, []);
});
