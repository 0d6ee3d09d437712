/**
 * Pods on veth pairs, the two ways that kernel CNIs join them on a node, offloads and queues as the driver has them, MTU 1500:
 *
 * - bridged, as flannel has the CNI bridge plugin do it: one bridge `cni0` with the gateway's address and the host ends in it, hairpin on;
 * - routed, as Calico does it: /32 on the pod, a link-local gateway that every host end answers ARP for, a /32 route for each pod.
 *
 * `veth-bridge` and `veth-route` are these and nothing else: no rule, no connection tracking, and for the bridge no call into iptables. They are
 * the kernel at its fastest. K3s with flannel is slower than its bare bridge: kube-proxy needs bridge-nf-call-iptables, so that bridged
 * packets pass netfilter and connection tracking; that is `flannel`.
 */
import type { Contender, Running, Site } from './contender.js';
import { loadKubeProxy } from './kube-proxy.js';
import { addresses, type Ground, ground, onStage, programPath, type Stage } from './site.js';
import { servicePorts } from './world.js';

/** A kernel contender that stands: its node's namespace is where its rules are. */
export interface KernelRunning extends Running {
  /** Path of the node's network namespace. */
  readonly node: string;
}

/** Names of the host ends; Calico's start with `cali`. */
export interface HostEnds {
  readonly client: string;
  readonly server: string;
}

const plainEnds: HostEnds = { client: 'veth-client', server: 'veth-server' };

export interface BridgeOptions {
  /** Whether bridged packets pass the node's iptables (net.bridge.bridge-nf-call-iptables), as K3s sets it. */
  readonly callIptables: boolean;
}

/** The bridge of flannel's CNI configuration, with both pods in it. */
async function bridgedPods(stage: Stage, { callIptables }: BridgeOptions): Promise<Ground> {
  const place = await ground(stage);
  const { node, client, server } = place;
  await stage.sysctl(node, { 'net.ipv4.ip_forward': 1 });
  await stage.ip(node, [
    'link add cni0 type bridge',
    `addr add ${addresses.gateway}/24 dev cni0`,
    'link set cni0 up',
  ]);
  // The setting belongs to the namespace, and is there as soon as a bridge is.
  await stage.sysctl(node, { 'net.bridge.bridge-nf-call-iptables': callIptables ? 1 : 0 });
  for (const [pod, end] of [
    [client, plainEnds.client],
    [server, plainEnds.server],
  ] as const) {
    await stage.veth(node, end, pod.netns);
    await stage.ip(node, [`link set ${end} master cni0`, `link set ${end} type bridge_slave hairpin on`]);
    await stage.ip(pod.netns, [
      `addr add ${pod.ipv4}/24 dev eth0`,
      `route add default via ${addresses.gateway} dev eth0`,
    ]);
  }
  return place;
}

/** Calico's way to route to pods. */
export async function routedPods(stage: Stage, ends: HostEnds = plainEnds): Promise<Ground> {
  const place = await ground(stage);
  const { node, client, server } = place;
  await stage.sysctl(node, { 'net.ipv4.ip_forward': 1 });
  // The kernel answers ARP for the gateway only where the node itself would route to it: nodes have a default route.
  await stage.ip(node, [
    'link add uplink type veth peer name wire',
    'addr add 192.0.2.1/24 dev uplink',
    'link set wire up',
    'link set uplink up',
    'route add default dev uplink',
  ]);
  for (const [pod, end] of [
    [client, ends.client],
    [server, ends.server],
  ] as const) {
    await stage.veth(node, end, pod.netns);
    await stage.ip(node, [
      `link set ${end} address ee:ee:ee:ee:ee:ee`,
      `route add ${pod.ipv4}/32 dev ${end} scope link`,
    ]);
    await stage.sysctl(node, {
      [`net.ipv4.conf.${end}.proxy_arp`]: 1,
      [`net.ipv4.neigh.${end}.proxy_delay`]: 0,
    });
    await stage.ip(pod.netns, [
      `addr add ${pod.ipv4}/32 dev eth0`,
      'route add 169.254.1.1 dev eth0 scope link',
      'route add default via 169.254.1.1 dev eth0',
    ]);
  }
  return place;
}

/** A kernel contender stands: no processes of its own. */
export function standing(stage: Stage, place: Ground, service: boolean): KernelRunning {
  return {
    node: place.node,
    client: place.client,
    server: place.server,
    ...(service && { clusterIP: { ipv4: addresses.clusterIP, ports: servicePorts } }),
    processes: () => [],
    stop: () => stage.end(),
  };
}

/** The first of these programs that is missing, as `unavailable()` says it; null when all are there. */
export function missing(...programs: readonly string[]): string | null {
  const name = programs.find((program) => programPath(program) === null);
  return name === undefined ? null : `${name} is not installed`;
}

const vethBridge: Contender = {
  name: 'veth-bridge',
  description:
    'veth pairs in a bridge, as flannel joins pods, without any rule or call into iptables: the kernel’s fastest',
  policies: 0,
  enforces: false,
  packages: [],
  unavailable: async () => missing('ip'),
  start: (site: Site) =>
    onStage(site, async (stage) => standing(stage, await bridgedPods(stage, { callIptables: false }), false)),
};

const vethRoute: Contender = {
  name: 'veth-route',
  description: 'veth pairs and a route for each pod, as Calico joins pods, without any rule',
  policies: 0,
  enforces: false,
  packages: [],
  unavailable: async () => missing('ip'),
  start: (site: Site) => onStage(site, async (stage) => standing(stage, await routedPods(stage), false)),
};

const flannel: Contender = {
  name: 'flannel',
  description:
    'What K3s has without policies: veth pairs in a bridge, bridged packets through iptables, kube-proxy’s rules',
  policies: 0,
  enforces: false,
  packages: ['iptables'],
  unavailable: async () => missing('ip', 'iptables-restore'),
  start: (site: Site) =>
    onStage(site, async (stage) => {
      const place = await bridgedPods(stage, { callIptables: true });
      await loadKubeProxy(place.node);
      return standing(stage, place, true);
    }),
};

export const vethContenders: readonly Contender[] = [vethBridge, vethRoute, flannel];
