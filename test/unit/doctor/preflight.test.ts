/** deploy/preflight.sh against hosts made of files: one that is fine, and each thing that can be wrong with it. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, test } from 'node:test';
import { repositoryRoot } from '../../support/repository.js';

const script = join(repositoryRoot, 'deploy/preflight.sh');
const folder = mkdtempSync(join(tmpdir(), 'weft-preflight-'));
after(() => rmSync(folder, { recursive: true, force: true }));

type Files = Readonly<Record<string, string | null>>;

const program = (output: string, status = 0) => `#!/bin/sh\ncat <<'END'\n${output}\nEND\nexit ${status}\n`;
const route = (link: string) =>
  `Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\n${link}\t00000000\t0102A8C0\t0003\t0\t0\t100\t00000000\n`;
const zeros = '0'.repeat(32);
const route6 = (link: string, flags: string) =>
  `${zeros} 00 ${zeros} 00 fe800000000000000000000000000001 00000400 00000001 00000000 ${flags} ${link}\n`;

const healthy: Files = {
  '/proc/sys/kernel/osrelease': '6.6.31-v8\n',
  '/dev/net/tun': '',
  '/proc/self/ns/net': '',
  '/proc/self/smaps': 'KernelPageSize:       16 kB\n',
  '/proc/meminfo': 'MemTotal: 4000000 kB\nMemAvailable: 2000000 kB\n',
  '/sys/fs/cgroup/cgroup.controllers': 'cpuset cpu io memory pids\n',
  '/proc/mounts': '/dev/root / ext4 rw 0 0\ntmpfs /run tmpfs rw 0 0\n',
  '/proc/sys/net/ipv4/ip_forward': '1\n',
  '/proc/sys/net/ipv6/conf/all/forwarding': '1\n',
  '/proc/sys/net/ipv4/conf/all/rp_filter': '1\n',
  '/proc/net/route': route('eth0'),
  '/proc/net/ipv6_route': route6('eth0', '00450003'),
  '/proc/sys/net/ipv6/conf/eth0/forwarding': '1\n',
  '/proc/sys/net/ipv6/conf/eth0/accept_ra': '2\n',
  '/sys/class/net/eth0/mtu': '1500\n',
  '/sys/class/net/weft0/mtu': '1500\n',
  '/etc/cni/net.d/05-weft.conflist': '{"plugins":[{"type":"weft-cni"}]}',
  '/opt/cni/bin/weft-cni': program(''),
  '/opt/cni/bin/loopback': program(''),
  '/etc/rancher/k3s/config.yaml': 'flannel-backend: "none"\ndisable-network-policy: true\n',
  '/proc/7/cmdline': '/usr/local/bin/k3s server\0\0\0',
  '/bin/date': program('1780000000'),
  '/bin/nft': program('nftables v1.0.6 (Lester Gooch #5)'),
  '/bin/iptables-save': program('*filter\n:FORWARD ACCEPT [0:0]\nCOMMIT'),
  '/bin/runc': program('runc version 1.1.5+ds1'),
};

interface Finding {
  readonly level: string;
  readonly check: string;
  readonly seen: string;
  readonly remedy: string;
}

let hosts = 0;
function host(change: Files): string {
  hosts++;
  const root = join(folder, String(hosts));
  for (const [path, content] of Object.entries({ ...healthy, ...change })) {
    if (content === null) continue;
    const file = join(root, path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, content);
    if (content.startsWith('#!')) chmodSync(file, 0o755);
  }
  return root;
}

const shells: readonly (readonly string[])[] = [['dash'], ['busybox', 'sh']].filter(
  ([shell]) => spawnSync(shell!, ['-c', 'true']).error === undefined,
);

function preflight(
  change: Files,
  shell = shells[0]!,
  only: readonly string[] = [],
  environment: NodeJS.ProcessEnv = {},
) {
  const [command, ...first] = shell;
  const run = spawnSync(command!, [...first, script, '--lines', ...only], {
    encoding: 'utf8',
    env: { PATH: process.env.PATH, ROOT: host(change), ROOT_PROGRAMS: '1', ...environment },
  });
  assert.equal(run.stderr, '', `${command}: ${run.stderr}`);
  const findings = run.stdout
    .trimEnd()
    .split('\n')
    .map((line): Finding => {
      const [level = '', check = '', seen = '', remedy = ''] = line.split('\t');
      return { level, check, seen, remedy };
    });
  return { status: run.status, findings };
}

const checks = spawnSync('sh', [script, '--list'], { encoding: 'utf8' })
  .stdout.trim()
  .split('\n')
  .map((line) => line.split('\t')[0]!);

const drop = program('*filter\n:FORWARD DROP [0:0]\nCOMMIT');
const accepted = program(
  '*filter\n:FORWARD DROP [0:0]\n-A FORWARD -i weft0 -m comment --comment weft -j ACCEPT\n-A FORWARD -o weft0 -m comment --comment weft -j ACCEPT\nCOMMIT',
);
const k3s = (config: string | null, more: Files = {}): Files => ({
  '/etc/rancher/k3s/config.yaml': config,
  ...more,
});
const unit = (flags: string) => ({
  '/etc/systemd/system/k3s.service': `[Service]\nExecStart=/usr/local/bin/k3s \\\n    server \\\n${flags}\n`,
});

/** What of the host is different, which finding that gives. */
const cases: readonly (readonly [check: string, level: string, seen: RegExp, change: Files])[] = [
  ['kernel', 'error', /Linux 4\.19/, { '/proc/sys/kernel/osrelease': '4.19.0-arm\n' }],
  ['kernel', 'error', /cannot be read/, { '/proc/sys/kernel/osrelease': null }],
  ['kernel', 'ok', /needs 6\.2/, { '/proc/sys/kernel/osrelease': '6.1.0-18-arm64\n' }],
  ['kernel', 'ok', /Linux 10\.0/, { '/proc/sys/kernel/osrelease': '10.0.1\n' }],
  ['tun', 'error', /is not there/, { '/dev/net/tun': null }],
  ['tun', 'error', /cannot be opened/, { '/dev/net/tun': null, '/dev/net/tun/is-a-folder': '' }],
  ['namespaces', 'error', /CONFIG_NET_NS/, { '/proc/self/ns/net': null }],
  ['page-size', 'error', /8 KB/, { '/proc/self/smaps': 'KernelPageSize: 8 kB\n' }],
  ['page-size', 'ok', /unknown/, { '/proc/self/smaps': null }],
  ['memory', 'error', /48 MB/, { '/proc/meminfo': 'MemAvailable: 50000 kB\n' }],
  ['memory', 'warning', /195 MB/, { '/proc/meminfo': 'MemAvailable: 200000 kB\n' }],
  ['memory', 'warning', /cannot be read/, { '/proc/meminfo': null }],
  [
    'cgroup-memory',
    'error',
    /off \(cgroup v2\)/,
    { '/sys/fs/cgroup/cgroup.controllers': 'cpuset cpu io pids\n' },
  ],
  [
    'cgroup-memory',
    'error',
    /^off$/,
    { '/sys/fs/cgroup/cgroup.controllers': null, '/proc/cgroups': 'memory\t0\t1\t0\n' },
  ],
  [
    'cgroup-memory',
    'ok',
    /cgroup v1/,
    { '/sys/fs/cgroup/cgroup.controllers': null, '/proc/cgroups': 'cpu\t1\t1\t1\nmemory\t4\t90\t1\n' },
  ],
  ['clock', 'error', /earlier than 2025/, { '/bin/date': program('86400') }],
  ['run-directory', 'warning', /on ext4/, { '/proc/mounts': '/dev/root / ext4 rw 0 0\n' }],
  [
    'run-directory',
    'warning',
    /on ext4/,
    {
      '/proc/mounts':
        'tmpfs /run tmpfs rw 0 0\n/dev/sda1 /run/weft ext4 rw 0 0\ntmpfs /run/weftless tmpfs rw 0 0\n',
    },
  ],
  ['nft', 'warning', /no nft/, { '/bin/nft': null }],
  [
    'nft',
    'error',
    /the kernel refuses/,
    { '/bin/nft': '#!/bin/sh\n[ "$1" = --version ] && echo "nftables v1.0.6"\n' },
  ],
  ['forwarding', 'warning', /is off/, { '/proc/sys/net/ipv4/ip_forward': '0\n' }],
  ['forwarding', 'ok', /IPv6 off/, { '/proc/sys/net/ipv6/conf/all/forwarding': '0\n' }],
  ['router-adverts', 'warning', /ignored on eth0/, { '/proc/sys/net/ipv6/conf/eth0/accept_ra': '1\n' }],
  [
    'router-adverts',
    'ok',
    /no uplink/,
    { '/proc/sys/net/ipv6/conf/eth0/accept_ra': '1\n', '/proc/net/ipv6_route': route6('eth0', '00000003') },
  ],
  [
    'router-adverts',
    'ok',
    /no uplink/,
    { '/proc/sys/net/ipv6/conf/eth0/accept_ra': '1\n', '/proc/sys/net/ipv6/conf/eth0/forwarding': '0\n' },
  ],
  [
    'conntrack',
    'warning',
    /95 of 100/,
    {
      '/proc/sys/net/netfilter/nf_conntrack_count': '95\n',
      '/proc/sys/net/netfilter/nf_conntrack_max': '100\n',
    },
  ],
  [
    'conntrack',
    'ok',
    /5 of 100/,
    {
      '/proc/sys/net/netfilter/nf_conntrack_count': '5\n',
      '/proc/sys/net/netfilter/nf_conntrack_max': '100\n',
    },
  ],
  ['mtu', 'error', /eth0 takes 1400/, { '/sys/class/net/eth0/mtu': '1400\n' }],
  ['mtu', 'warning', /no default route/, { '/proc/net/route': 'Iface\n', '/proc/net/ipv6_route': null }],
  ['mtu', 'warning', /cannot be read/, { '/sys/class/net/eth0/mtu': null }],
  ['forward-chain', 'warning', /FORWARD drops/, { '/bin/iptables-save': drop }],
  ['forward-chain', 'ok', /nothing/, { '/bin/iptables-save': accepted }],
  [
    'forward-chain',
    'error',
    /inet strict forward/,
    {
      '/bin/nft': program(
        'table inet strict {\n\tchain forward {\n\t\ttype filter hook forward priority filter; policy drop;\n\t}\n}',
      ),
    },
  ],
  [
    'forward-chain',
    'ok',
    /nothing/,
    {
      '/bin/nft': program(
        'table inet strict {\n\tchain forward {\n\t\ttype filter hook forward priority filter; policy drop;\n\t\tiifname "weft0" counter packets 0 bytes 0 accept\n\t\toifname "weft0" accept\n\t}\n}',
      ),
    },
  ],
  [
    'forward-chain',
    'error',
    /ip filter FORWARD/,
    {
      '/bin/iptables-save': null,
      '/bin/nft': program(
        'table ip filter {\n\tchain FORWARD {\n\t\ttype filter hook forward priority filter; policy drop;\n\t}\n}',
      ),
    },
  ],
  [
    'forward-chain',
    'ok',
    /nothing/,
    {
      '/bin/nft': program(
        'table inet strict {\n\tchain input {\n\t\ttype filter hook input priority filter; policy drop;\n\t}\n}',
      ),
    },
  ],
  ['managers', 'warning', /NetworkManager/, { '/run/NetworkManager/x': '' }],
  ['managers', 'warning', /dhcpcd/, { '/etc/dhcpcd.conf': 'hostname\n' }],
  [
    'managers',
    'ok',
    /told: NetworkManager/,
    {
      '/run/NetworkManager/x': '',
      '/etc/NetworkManager/conf.d/90-weft.conf': 'unmanaged-devices+=interface-name:weft0\n',
    },
  ],
  ['interfaces', 'warning', /flannel\.1/, { '/sys/class/net/flannel.1/mtu': '1450\n' }],
  ['interfaces', 'warning', /cali12ab/, { '/sys/class/net/cali12ab/mtu': '1450\n' }],
  ['interfaces', 'warning', /cilium_host/, { '/sys/class/net/cilium_host/mtu': '1450\n' }],
  [
    'interfaces',
    'ok',
    /none/,
    { '/sys/class/net/docker0/mtu': '1500\n', '/sys/class/net/lxcbr0/mtu': '1500\n' },
  ],
  [
    'rules',
    'error',
    /2 chains.*KUBE-NWPLCY-ABC/,
    {
      '/bin/iptables-save': program(
        '*filter\n:KUBE-POD-FW-XYZ - [0:0]\n:KUBE-NWPLCY-ABC - [0:0]\n:KUBE-SERVICES - [0:0]\nCOMMIT',
      ),
    },
  ],
  [
    'rules',
    'error',
    /cali-FORWARD/,
    { '/bin/ip6tables-save': program('*filter\n:cali-FORWARD - [0:0]\nCOMMIT') },
  ],
  [
    'rules',
    'error',
    /KUBE-ROUTER-FORWARD/,
    {
      '/proc/net/ip_tables_names': 'filter\n',
      '/bin/iptables-legacy-save': program('*filter\n:KUBE-ROUTER-FORWARD - [0:0]\nCOMMIT'),
    },
  ],
  [
    'rules',
    'ok',
    /none/,
    { '/bin/iptables-legacy-save': program('*filter\n:KUBE-ROUTER-FORWARD - [0:0]\nCOMMIT') },
  ],
  [
    'rules',
    'warning',
    /flannel/,
    { '/bin/iptables-save': program('*nat\n:FLANNEL-POSTRTG - [0:0]\nCOMMIT') },
  ],
  ['rules', 'ok', /no iptables/, { '/bin/iptables-save': null }],
  ['ipsets', 'warning', /2 of another/, { '/bin/ipset': program('KUBE-SRC-ABC\nmine\ninet6:KUBE-DST-ABC') }],
  ['ipsets', 'ok', /none/, { '/bin/ipset': program('mine') }],
  ['conflist', 'error', /00-flannel.*comes first/, { '/etc/cni/net.d/00-flannel.conflist': '{}' }],
  ['conflist', 'warning', /after it 10-calico\.conflist/, { '/etc/cni/net.d/10-calico.conflist': '{}' }],
  ['conflist', 'ok', /weft's/, { '/etc/cni/net.d/README': '', '/etc/cni/net.d/10-old.conflist.bak': '' }],
  ['conflist', 'warning', /none yet/, { '/etc/cni/net.d/05-weft.conflist': null }],
  [
    'conflist',
    'error',
    /k3s\/agent.*10-flannel/,
    { '/var/lib/rancher/k3s/agent/etc/cni/net.d/10-flannel.conflist': '{}' },
  ],
  ['plugins', 'warning', /: loopback$/, { '/opt/cni/bin/loopback': null }],
  [
    'plugins',
    'ok',
    /there/,
    { '/opt/cni/bin/loopback': null, '/var/lib/rancher/k3s/data/cni/loopback': program('') },
  ],
  ['k3s-flags', 'warning', /cannot be seen/, k3s(null)],
  ['k3s-flags', 'error', /lacks: disable-network-policy/, k3s('flannel-backend: none\n')],
  [
    'k3s-flags',
    'error',
    /flannel-backend=none disable-network-policy/,
    k3s(null, unit('    --disable traefik')),
  ],
  [
    'k3s-flags',
    'error',
    /lacks: disable-network-policy$/,
    k3s('flannel-backend: none\n# disable-network-policy: true\n'),
  ],
  [
    'k3s-flags',
    'error',
    /lacks: disable-network-policy$/,
    k3s('flannel-backend: none\ndisable-network-policy: false\n'),
  ],
  [
    'k3s-flags',
    'error',
    /lacks: flannel-backend=none$/,
    k3s('flannel-backend: vxlan\ndisable-network-policy: true\n'),
  ],
  [
    'k3s-flags',
    'ok',
    /are set/,
    k3s(null, unit("    '--flannel-backend=none' \\\n    '--disable-network-policy' \\")),
  ],
  [
    'k3s-flags',
    'ok',
    /are set/,
    k3s(null, {
      '/proc/7/cmdline': '/usr/local/bin/k3s\0server\0--flannel-backend\0none\0--disable-network-policy\0',
    }),
  ],
  [
    'k3s-flags',
    'ok',
    /are set/,
    k3s('disable-network-policy: true\n', {
      '/etc/rancher/k3s/config.yaml.d/net.yaml': 'flannel-backend: none\n',
    }),
  ],
  ['k3s-flags', 'ok', /agent takes/, k3s(null, { '/proc/7/cmdline': '/usr/local/bin/k3s agent\0' })],
  ['k3s-flags', 'error', /lacks/, k3s(null, { '/proc/7/cmdline': null, ...unit('    --disable traefik') })],
  ['k3s-flags', 'ok', /no K3s/, k3s(null, { '/proc/7/cmdline': '/usr/bin/tail\0-f\0k3s server\0' })],
  ['runc', 'error', /1\.2\.2 denies/, { '/bin/runc': program('runc version 1.2.2') }],
  ['runc', 'ok', /1\.2\.4/, { '/bin/runc': program('runc version 1.2.4') }],
  ['runc', 'ok', /1\.2\.33/, { '/bin/runc': program('runc version 1.2.33') }],
  [
    'runc',
    'error',
    /1\.2\.3-k3s1/,
    { '/var/lib/rancher/k3s/data/current/bin/runc': program('runc version 1.2.3-k3s1') },
  ],
  ['runc', 'ok', /none/, { '/bin/runc': null }],
];

for (const shell of shells) {
  const name = shell.join(' ');
  test(`${name}: a host that is fine passes every check, and the exit status says so`, () => {
    const { status, findings } = preflight({}, shell);
    assert.deepEqual(
      findings.filter(({ level }) => level !== 'ok'),
      [],
    );
    assert.deepEqual([...new Set(findings.map(({ check }) => check))], checks);
    assert.equal(status, 0);
  });
  test(`${name}: each thing that can be wrong is found, with a remedy`, () => {
    const wrong: unknown[] = [];
    for (const [check, level, seen, change] of cases) {
      const { status, findings } = preflight(change, shell, [check]);
      const own = findings.find((finding) => finding.check === check && seen.test(finding.seen));
      const fine = own?.level === level && (level === 'ok') === (own.remedy === '');
      if (!fine || (status === 1) !== findings.some((one) => one.level === 'error'))
        wrong.push({ check, level, seen: String(seen), status, findings });
    }
    assert.deepEqual(wrong, []);
  });
}

test('every check has a case that fails it', () => {
  const failed = new Set(cases.filter(([, level]) => level !== 'ok').map(([check]) => check));
  // Every setting of rp_filter works, so that one only tells.
  assert.deepEqual(
    checks.filter((check) => !failed.has(check)),
    ['rp-filter'],
  );
  assert.ok(shells.length > 0);
});

test("the configuration's MTU, interface and run directory are what is compared", () => {
  const { findings } = preflight(
    { '/proc/mounts': 'tmpfs / tmpfs rw 0 0\n/dev/sda1 /data ext4 rw 0 0\n' },
    shells[0]!,
    [],
    {
      WEFT_MTU: '9000',
      WEFT_INTERFACE: 'pods0',
      WEFT_RUN: '/data/weft',
    },
  );
  const seen = Object.fromEntries(findings.map(({ check, seen: text }) => [check, text]));
  assert.match(seen.mtu ?? '', /network\.mtu is 9000/);
  assert.match(seen['rp-filter'] ?? '', /pods0/);
  assert.match(seen['run-directory'] ?? '', /\/data\/weft is on ext4/);
});

test('an argument that it does not know is refused', () => {
  const { status, stderr } = spawnSync('sh', [script, '--fix'], { encoding: 'utf8' });
  assert.equal(status, 2);
  assert.match(stderr, /--lines, --list/);
  assert.equal(spawnSync('sh', [script, 'everything'], { encoding: 'utf8' }).status, 2);
});
