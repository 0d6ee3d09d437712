/**
 * Network managers that run on the host, each on a machine of its own, set up to take every interface that appears: what they do to weft0 while
 * nobody has told them, that they let go of it once the agent has, also after a restart of their own, and that the host's own
 * uplink is not touched by the telling. A manager that is not installed is counted as skipped.
 */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { test } from 'node:test';
import { Machine } from '../support/machine.js';
import { type Config, NodeWeft } from '../support/node-weft.js';
import { until } from '../support/weft.js';

interface Manager {
  readonly name: string;
  readonly program: string;
  readonly prepare: (machine: Machine) => void;
  readonly start: (machine: Machine) => void;
  /** It has weft0 for its own; it has let go of it. */
  readonly took: (machine: Machine) => boolean;
  readonly left: (machine: Machine) => boolean;
  /** It reads its file at its next start only. */
  readonly restarts?: boolean;
}

const said = (machine: Machine, ...command: readonly string[]) => machine.try(command).stdout;
const withBus = (machine: Machine) => {
  // With a read-only /sys they do as in a container: they do not wait for udev.
  machine.run('bash', '-c', 'mount -o remount,bind,ro /sys && mkdir -p /run/dbus');
  machine.spawn('dbus', ['dbus-daemon', '--system', '--nofork', '--nopidfile']);
};

const managers: readonly Manager[] = [
  {
    name: 'systemd-networkd',
    program: '/lib/systemd/systemd-networkd',
    prepare: (machine) => {
      withBus(machine);
      machine.run(
        'bash',
        '-c',
        'mkdir -p /etc/systemd/network /run/systemd/netif/{links,leases,lldp} && chown -R systemd-network: /run/systemd/netif',
      );
      machine.write('/etc/systemd/network/80-all.network', '[Match]\nName=*\n\n[Network]\nDHCP=yes\n');
    },
    start: (machine) => machine.spawn('manager', ['env', 'container=test', '/lib/systemd/systemd-networkd']),
    took: (machine) => /weft0 .*configur/.test(said(machine, 'networkctl', 'list', '--no-pager')),
    left: (machine) => /weft0 .*unmanaged/.test(said(machine, 'networkctl', 'list', '--no-pager')),
  },
  {
    name: 'NetworkManager',
    program: '/usr/sbin/NetworkManager',
    prepare: withBus,
    start: (machine) => machine.spawn('manager', ['NetworkManager', '--debug']),
    took: (machine) => /^weft0:connected/m.test(said(machine, 'nmcli', '-t', '-f', 'DEVICE,STATE', 'device')),
    left: (machine) => /^weft0:unmanaged/m.test(said(machine, 'nmcli', '-t', '-f', 'DEVICE,STATE', 'device')),
  },
  {
    name: 'dhcpcd',
    program: '/usr/sbin/dhcpcd',
    // It takes TAPs when they are named; the last interface's block is where a line at the end of the file would belong to.
    prepare: (machine) =>
      machine.write(
        '/etc/dhcpcd.conf',
        'interface weft0\nnoipv6rs\ninterface up0\nstatic ip_address=192.0.2.2/24\nnoipv6rs\n',
      ),
    start: (machine) => {
      machine.run('bash', '-c', 'mkdir -p /run/dhcpcd /var/lib/dhcpcd; : >/run/machine/manager.log');
      machine.spawn('manager', ['dhcpcd', '--nobackground', '--debug', '--nodev']);
    },
    took: (machine) => /weft0: IAID/.test(machine.log('manager')),
    left: (machine) =>
      /up0: using static address/.test(machine.log('manager')) && !/weft0: IAID/.test(machine.log('manager')),
    restarts: true,
  },
];

const config = (host: 'on' | 'off'): Config => ({
  kubernetes: { mode: 'off' },
  network: { podCIDRs: ['10.99.0.0/24', 'fd99::/112'] },
  host: { enabled: host, root: '/' },
});

/** Addresses and routes of weft0; what the kernel makes by itself is left out, and so is a manager's link-local address. */
const ofInterface = (machine: Machine) =>
  said(
    machine,
    'bash',
    '-c',
    'ip -br addr show weft0 scope global; ip route show dev weft0; ip -6 route show dev weft0 proto static',
  );

for (const manager of managers) {
  const skip = existsSync(manager.program) ? false : `${manager.program} is not installed`;
  test(`${manager.name} lets go of weft0 when it is told, and the uplink keeps its addresses`, {
    skip,
  }, async () => {
    const machine = await Machine.start();
    const words = () => `${machine.words('manager', 30)}\n${machine.words('agent')}\n${ofInterface(machine)}`;
    try {
      manager.prepare(machine);
      manager.start(machine);
      const weft = await NodeWeft.start(machine, config('off'));
      await until('it takes the interface', 30, () => manager.took(machine)).catch((error: Error) =>
        assert.fail(`${error.message}\n${words()}`),
      );
      const wanted = /10\.99\.0\.1\/32 fd99::1\/128[\s\S]*10\.99\.0\.0\/24 via[\s\S]*fd99::\/112 via/;
      await until('weft0 has what it needs', 20, () => wanted.test(ofInterface(machine)));

      machine.spawn('monitor', ['ip', 'monitor', 'address', 'dev', 'up0']);
      await until('changes of addresses are told', 10, () => {
        machine.run('ip', 'addr', 'replace', '198.51.100.1/32', 'dev', 'up0');
        return machine.log('monitor').includes('198.51.100.1');
      });
      await weft.killAgent();
      weft.configure(config('on'));
      await weft.startAgent();
      await until('the agent has told it', 20, () => machine.log('agent').includes('managers were told'));
      if (manager.restarts === true) {
        // It answers: a signal that came before has been dealt with.
        machine.try(['dhcpcd', '--dumplease', 'up0']);
      } else {
        await until('it lets go', 20, () => manager.left(machine)).catch((error: Error) =>
          assert.fail(`${error.message}\n${words()}`),
        );
      }
      machine.run('ip', 'addr', 'replace', '198.51.100.2/32', 'dev', 'up0');
      await until('all before it is told', 10, () => machine.log('monitor').includes('198.51.100.2'));
      assert.doesNotMatch(machine.log('monitor'), /Deleted/);
      await until('weft0 has what it needs', 20, () => wanted.test(ofInterface(machine)));

      await machine.kill('manager', 'TERM');
      manager.start(machine);
      await until('it lets go from its start on', 30, () => manager.left(machine)).catch((error: Error) =>
        assert.fail(`${error.message}\n${words()}`),
      );
      await until('weft0 has what it needs', 20, () => wanted.test(ofInterface(machine)));
    } finally {
      await machine.end();
    }
  });
}
