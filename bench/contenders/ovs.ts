/**
 * Open vSwitch with its userspace (netdev) datapath, the userspace switch that exists: one bridge, the pods' interfaces are TAPs that it makes
 * and that are moved into the pods. Database, switch and sockets belong to one contender alone. Debian's DPDK build is used for all of
 * them, since userspace-tso-enable asks for dpdk-init; there are neither huge pages nor DPDK ports, so there are no polling threads: its main
 * thread serves the TAPs by poll(2).
 *
 * Without TSO its TAPs have no vnet header, so every segment goes by itself. Its TAPs keep the kernel's default queueing discipline.
 * Pods share a /24, with ARP, as in `veth-bridge`. Sources are not checked, and there is no translation of services.
 */
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { BenchPod, Contender, Running, Site } from './contender.js';
import { podPorts, policyFlows } from './ovs-flows.js';
import { type Ground, ground, onStage, programPath, run, type Stage } from './site.js';
import { benchWorld } from './world.js';

/** Debian's DPDK build; `ovs-vswitchd` itself is an alternative that may name the one without. */
const switchProgram = '/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk';
const schema = '/usr/share/openvswitch/vswitch.ovsschema';
const bridge = 'br0';

export interface OvsOptions {
  readonly tso: boolean;
  /** 0: the bridge forwards as a learning switch does, without connection tracking. */
  readonly policies: number;
}

function startOvs(site: Site, options: OvsOptions): Promise<Running> {
  return onStage(site, async (stage) => {
    const place = await ground(stage);
    const { client, server, node } = place;
    const environment = {
      OVS_RUNDIR: site.folder,
      OVS_LOGDIR: site.folder,
      OVS_DBDIR: site.folder,
      OVS_SYSCONFDIR: site.folder,
      // Where DPDK keeps its own.
      RUNTIME_DIRECTORY: site.folder,
    };
    const socket = join(site.folder, 'db.sock');
    const control = (...args: readonly string[]) =>
      run('ovs-vsctl', [`--db=unix:${socket}`, '--timeout=20', ...args], { netns: node, environment });

    const database = join(site.folder, 'conf.db');
    await run('ovsdb-tool', ['create', database, schema]);
    const daemon = { netns: node, environment };
    const ovsdb = await stage.start(
      'ovsdb-server',
      [
        database,
        `--remote=punix:${socket}`,
        `--unixctl=${join(site.folder, 'db.ctl')}`,
        '-vsyslog:off',
        '-vfile:off',
      ],
      daemon,
    );
    await control('--retry', '--no-wait', 'init');
    const settings = [
      'dpdk-init=true',
      // OVS itself would add --in-memory, which does not go with --no-huge, unless one of the two is named.
      'dpdk-extra="--no-huge --legacy-mem --no-pci --no-shconf --no-telemetry -m 256"',
      `userspace-tso-enable=${options.tso}`,
    ];
    await control(
      '--no-wait',
      'set',
      'Open_vSwitch',
      '.',
      ...settings.map((setting) => `other_config:${setting}`),
    );
    const vswitch = await stage.start(
      switchProgram,
      [`unix:${socket}`, `--unixctl=${join(site.folder, 'switch.ctl')}`, '-vsyslog:off', '-vfile:off'],
      daemon,
    );
    try {
      await makeBridge(control);
      await movePods(stage, place, options.tso);
      if (options.policies > 0) {
        const file = join(site.folder, 'flows');
        writeFileSync(file, `${policyFlows(benchWorld(options.policies)).join('\n')}\n`);
        await run('ovs-ofctl', ['-O', 'OpenFlow15', '--bundle', 'replace-flows', bridge, file], daemon);
      }
    } catch (error) {
      throw new Error(`${error instanceof Error ? error.message : error}\n${vswitch.said.slice(-500)}`);
    }
    return {
      client,
      server,
      processes: () => [vswitch, ovsdb].filter(({ running }) => running).map(({ pid }) => pid),
      stop: () => stage.end(),
    };
  });
}

const pods = ['client', 'server'] as const;
const tapName = (pod: (typeof pods)[number]): string => `tap-${pod}`;

/** All ports at once: moving a TAP away comes after the last change to the bridge. */
async function makeBridge(control: (...args: readonly string[]) => Promise<string>): Promise<void> {
  const ports = pods.flatMap((pod) => [
    ...['--', 'add-port', bridge, tapName(pod)],
    ...['--', 'set', 'interface', tapName(pod), 'type=tap', `ofport_request=${podPorts[pod]}`],
  ]);
  await control('add-br', bridge, '--', 'set', 'bridge', bridge, 'datapath_type=netdev', ...ports);
  for (const pod of pods) {
    const port = (await control('get', 'interface', tapName(pod), 'ofport')).trim();
    if (port !== String(podPorts[pod])) throw new Error(`${tapName(pod)} has OpenFlow port ${port}`);
  }
}

async function movePods(stage: Stage, place: Ground, tso: boolean): Promise<void> {
  for (const name of pods) {
    const pod: BenchPod = place[name];
    const target = pod.netns.slice('/run/netns/'.length);
    await stage.ip(place.node, [`link set ${tapName(name)} netns ${target} name ${pod.ifname}`]);
    await stage.ip(pod.netns, [`link set ${pod.ifname} up`, `address add ${pod.ipv4}/24 dev ${pod.ifname}`]);
    const words = ['-json', '-details', 'link', 'show', pod.ifname];
    const [link] = JSON.parse(await run('ip', words, { netns: pod.netns }));
    // Asked for and not there, it would be measured under a wrong name.
    if (link?.linkinfo?.info_data?.vnet_hdr !== tso)
      throw new Error(
        `the TAP ${tso ? 'lacks' : 'has'} a vnet header: userspace-tso-enable was not followed`,
      );
  }
}

function contender(name: string, description: string, options: OvsOptions): Contender {
  return {
    name,
    description,
    policies: options.policies,
    enforces: options.policies > 0,
    packages: ['openvswitch-switch-dpdk'],
    unavailable: async () => {
      const programs = ['ovsdb-server', 'ovsdb-tool', 'ovs-vsctl', 'ovs-ofctl'];
      const missing = programs.find((program) => programPath(program) === null);
      if (missing !== undefined) return `${missing} is not installed`;
      const file = [switchProgram, schema, '/dev/net/tun'].find((path) => !existsSync(path));
      return file === undefined ? null : `${file} is missing`;
    },
    start: (site) => startOvs(site, options),
  };
}

const stateful = (tso: boolean, policies: number): Contender =>
  contender(
    `ovs-${tso ? 'tso-' : ''}stateful-${policies}`,
    `\`ovs${tso ? '-tso' : ''}\` with ${policies} policies as connection-tracking and conjunctive flows; only new connections are looked up in them.`,
    { tso, policies },
  );

export const ovsContenders: readonly Contender[] = [
  contender(
    'ovs',
    'Open vSwitch, userspace datapath on TAPs without vnet header, a learning bridge without policy; no TSO, as it comes.',
    { tso: false, policies: 0 },
  ),
  contender(
    'ovs-tso',
    'The same with `userspace-tso-enable`: TCP segments of up to 64 KB stay whole; no USO.',
    {
      tso: true,
      policies: 0,
    },
  ),
  ...[false, true].flatMap((tso) => [10, 1000].map((policies) => stateful(tso, policies))),
];
