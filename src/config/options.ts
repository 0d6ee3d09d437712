/**
 * Every option of weft: the single source. `config/default.yaml` is rendered from this table and a test holds them equal
 * (`node dist/native/generate/generate.js` writes the file); the type of the configuration is inferred from it.
 *
 * Microseconds for durations, see option.ts. A limit shows as a gauge of use in the metrics, and at its edge the new thing
 * fails with a clear error while the old things go on.
 */
import { isAddress, isCidr, podCidrs } from './address-checks.js';
import { choice, duration, flag, integer, list, section, text, type ValueOf } from './option.js';
import { switchOptions } from './switch-options.js';

const absolutePath = (value: string): string | null =>
  value.startsWith('/') ? null : 'it has to be an absolute path';

const optionalPath = (value: string): string | null => (value === '' ? null : absolutePath(value));

export const options = section('Configuration of weft: one file for the agent and the switch of a node.', {
  node: section('The node that this agent and switch serve.', {
    name: text({
      what: 'a node name',
      help: "Name of the node, as pods carry it in spec.nodeName. Empty: the host's name.",
      default: '',
      reload: 'restart',
      check: (value) =>
        value === '' || (/^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$/.test(value) && value.length <= 253)
          ? null
          : 'a node name holds lower-case letters, digits, dots and dashes, at most 253 characters',
    }),
    addresses: list({
      what: 'an IPv4 or IPv6 address',
      help: "The node's own addresses. Packets of the node's own sockets carry one of them; they are exempt from ingress policy. Empty: those of the host's interfaces.",
      default: [],
      reload: 'live',
      check: isAddress,
    }),
  }),
  network: section('Pod network.', {
    podCIDRs: list({
      what: 'a CIDR such as 10.42.0.0/24',
      help: "This node's share of the pod network: one IPv4 CIDR, one IPv6 CIDR, or one of each for dual-stack pods. Empty: `spec.podCIDRs` of this node's Node object, as soon as it has some; with manifests instead of the Kubernetes API, where no Node object says otherwise, 10.42.0.0/24.",
      default: [],
      reload: 'restart',
      check: isCidr,
      checkAll: podCidrs,
    }),
    mtu: integer({
      help: "MTU of the pods' interfaces. On one node it can be as large as 65521; between nodes it has to fit the link less the encapsulation.",
      unit: 'bytes',
      default: 1500,
      minimum: 1280,
      maximum: 65521,
      reload: 'restart',
    }),
    hostInterface: text({
      what: 'an interface name',
      help: "The node's own interface to the pod network, by which its processes and kubelet's probes reach pods. It has the second address of each pod CIDR. Empty: none, and the node does not reach pods.",
      default: 'weft0',
      reload: 'restart',
      check: (value) =>
        value === '' || /^[^/:\s]{1,15}$/.test(value)
          ? null
          : 'an interface name has at most 15 characters, no /, : or spaces',
    }),
  }),
  kubernetes: section('The Kubernetes API, where the agent learns of pods, policies and services.', {
    mode: choice({
      help: '`on`: objects come from the API server. `off`: from the folder paths.manifests. `auto`: from the API server in a pod of a cluster (KUBERNETES_SERVICE_HOST is set) or where kubernetes.kubeconfig is.',
      choices: ['auto', 'on', 'off'],
      default: 'auto',
      reload: 'restart',
    }),
    kubeconfig: text({
      what: 'an absolute path',
      help: 'File with server and credentials (token or client certificate), of which the current context is used. Empty: the service account of the pod that the agent runs in.',
      default: '',
      reload: 'restart',
      check: optionalPath,
    }),
    server: text({
      what: 'a URL such as https://127.0.0.1:6443',
      help: 'Where the API server is, in place of what the kubeconfig or the environment says. The address of the Service `kubernetes` is not reachable before the pod network is up; K3s has the API at port 6443 of servers and 6444 of agents, both on 127.0.0.1.',
      default: '',
      reload: 'restart',
      check: (value) =>
        value === '' || /^https?:\/\/[^/?#\s]+(\/[^?#\s]*)?$/.test(value)
          ? null
          : 'it has to be an http or https URL without query',
    }),
  }),
  host: section(
    "The host around the switch: masquerade, hostPort, what else keeps pods' traffic from passing the host.",
    {
      enabled: choice({
        help: '`on`: the agent sets the host up (nft table `weft`, kernel settings, rules for forwarding, network managers). `off`: it touches nothing of it. `auto`: where objects come from the Kubernetes API.',
        choices: ['auto', 'on', 'off'],
        default: 'auto',
        reload: 'restart',
      }),
      masquerade: flag({
        help: 'Give what pods send out of the cluster an address of the node. Off where the network around the node routes to pods.',
        default: true,
        reload: 'live',
      }),
      clusterCIDRs: list({
        what: 'a CIDR such as 10.42.0.0/16',
        help: 'What pods reach with their own address. Addresses of nodes are never part of it. Empty: the pod CIDRs of all nodes.',
        default: [],
        reload: 'live',
        check: isCidr,
      }),
      root: text({
        what: 'an absolute path',
        help: "Where the host's file system is seen: for the files that tell NetworkManager, systemd-networkd and dhcpcd to leave network.hostInterface alone, and for cni.install.",
        default: '/',
        reload: 'restart',
        check: absolutePath,
      }),
    },
  ),
  cni: section('What the container runtime of this node calls.', {
    install: flag({
      help: 'The agent puts the CNI programs and the network configuration in place once it is ready to serve them, below host.root, and puts back what of them is removed: what `weft install` does once. `weft uninstall` takes them away.',
      default: false,
      reload: 'restart',
    }),
    binDir: text({
      what: 'an absolute path',
      help: "Folder of the programs, as the host sees it. Empty: as the runtime's own configuration says, else /opt/cni/bin.",
      default: '',
      reload: 'restart',
      check: optionalPath,
    }),
    confDir: text({
      what: 'an absolute path',
      help: "Folder of the network configurations, likewise. Empty: as the runtime's own configuration says, else /etc/cni/net.d.",
      default: '',
      reload: 'restart',
      check: optionalPath,
    }),
  }),
  policy: section('What policies do where Kubernetes leaves it to the implementation.', {
    ownNodeEgress: choice({
      help: 'Traffic from a pod to its own node: `allow` it always (kubelet, node-local DNS and host-network pods stay reachable), or `judge` it by egress policy like any other.',
      choices: ['allow', 'judge'],
      default: 'allow',
      reload: 'live',
    }),
    denyAction: section(
      'What a denied packet is answered with: `drop` nothing, `reject` a TCP reset or ICMP administratively prohibited.',
      {
        egress: choice({
          help: "Denied by the source pod's policies.",
          choices: ['drop', 'reject'],
          default: 'drop',
          reload: 'live',
        }),
        ingress: choice({
          help: "Denied by the destination pod's policies. `reject` tells the client that something is there.",
          choices: ['drop', 'reject'],
          default: 'drop',
          reload: 'live',
        }),
      },
    ),
  }),
  switch: switchOptions,
  agent: section('The control plane process.', {
    scheduling: choice({
      help: 'Scheduling class of the threads that bring a policy change into force: the main threads of agent and switch, which sleep but for changes. `first`: before every pod (SCHED_RR, needs CAP_SYS_NICE), whatever its cgroup, for a quarter of a core at most: a thread that needs 25 ms of processor time within 100 ms is an ordinary one for the rest of them. Where all cores are busy, packets may wait for a change as long as it computes. `normal`: as any process, which makes changes slower and such waits shorter.',
      choices: ['normal', 'first'],
      default: 'normal',
      reload: 'restart',
    }),
    nice: integer({
      help: 'Nice value of the same threads while they are ordinary ones. Below 0 it needs CAP_SYS_NICE. It counts against processes of the same cgroup only.',
      unit: 'nice',
      default: -10,
      minimum: -20,
      maximum: 19,
      reload: 'restart',
    }),
    oomScoreAdjust: integer({
      help: 'As /proc/PID/oom_score_adj, for whom the kernel ends first when memory runs out; -1000 is never. Above that of the switch, since nothing but news stops when the agent ends. A lower one that the process was started with stays; 0 leaves it as it is. Below 0 needs CAP_SYS_RESOURCE.',
      unit: 'points',
      default: -900,
      minimum: -1000,
      maximum: 0,
      reload: 'restart',
    }),
    tick: duration({
      help: 'How long the agent gathers changes after it has taken up some: many events, one compile. The first change after a quiet tick is taken up at once.',
      default: '10ms',
      minimum: '0',
      maximum: '10s',
      reload: 'live',
    }),
    attachTimeout: duration({
      help: 'How long CNI ADD waits until its pod is known, its port live and its policies in force.',
      default: '30s',
      minimum: '1s',
      maximum: '10m',
      reload: 'live',
    }),
    reconnect: duration({
      help: 'The longest pause between two attempts to reach the switch; the first follows at once.',
      default: '500ms',
      minimum: '10ms',
      maximum: '60s',
      reload: 'live',
    }),
    flowHistory: integer({
      help: 'Flow events that the agent keeps for `weft flows` without --follow.',
      unit: 'events',
      default: 4096,
      minimum: 0,
      maximum: 1_048_576,
      reload: 'live',
    }),
    observers: integer({
      help: 'Clients that may follow flows, drops and captures at a time.',
      unit: 'clients',
      default: 16,
      minimum: 1,
      maximum: 1024,
      reload: 'live',
    }),
    trials: section('Trials of policies (`weft policy try`), one at a time.', {
      longest: duration({
        help: 'The longest that a trial may last. While one runs every change of policy is compiled twice.',
        default: '1h',
        minimum: '1s',
        maximum: '1d',
        reload: 'live',
      }),
      rows: integer({
        help: 'Rows of the report; flows that would be in further ones are only counted.',
        unit: 'rows',
        default: 1000,
        minimum: 1,
        maximum: 100_000,
        reload: 'live',
      }),
    }),
  }),
  limits: section('Bounds of what one node carries. At its edge the new thing fails, the old things go on.', {
    ports: integer({
      help: 'Pods on this node (kubelet allows 110 by default), and the host.',
      unit: 'ports',
      default: 512,
      minimum: 1,
      maximum: 16_384,
      reload: 'restart',
    }),
    identities: integer({
      help: 'Label identities that policies of this node can tell apart.',
      unit: 'identities',
      default: 65_536,
      minimum: 16,
      maximum: 4_194_304,
      reload: 'live',
    }),
    classes: integer({
      help: 'Peer classes: identities times the sets of ipBlocks that contain their addresses.',
      unit: 'classes',
      default: 262_144,
      minimum: 16,
      maximum: 16_777_216,
      reload: 'live',
    }),
    services: integer({
      help: 'Service addresses and ports that are translated.',
      unit: 'services',
      default: 65_536,
      minimum: 1,
      maximum: 1_048_576,
      reload: 'live',
    }),
  }),
  telemetry: section('Metrics and health over HTTP: /metrics, /healthz, /readyz.', {
    enabled: flag({
      help: 'Serve them at all.',
      default: true,
      reload: 'restart',
    }),
    address: text({
      what: 'an IPv4 or IPv6 address',
      help: 'Address to listen on. The default is reachable from the node itself only; there is no authentication.',
      default: '127.0.0.1',
      reload: 'restart',
      check: isAddress,
    }),
    port: integer({
      help: 'TCP port to listen on. 0: one that is free, told in the log.',
      unit: 'port',
      default: 9464,
      minimum: 0,
      maximum: 65_535,
      reload: 'restart',
    }),
    portLabels: integer({
      help: 'Ports that have series of their own; the others are summed as `other`. Each costs up to one series for each drop reason that it has met. 0: all are summed.',
      unit: 'ports',
      default: 128,
      minimum: 0,
      maximum: 65_535,
      reload: 'live',
    }),
    podEvents: flag({
      help: 'Write an Event on a pod whose connections policy denies, for `kubectl describe pod`: one for each kind of denial with its count, at most one write a minute for each, within a budget for the pod and the node. Needs the API, and the right to create and patch Events (deploy/rbac.yaml).',
      default: false,
      reload: 'live',
    }),
  }),
  log: section('Log, to standard error.', {
    level: choice({
      help: 'The least severe level that is written.',
      choices: ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'],
      default: 'info',
      reload: 'live',
    }),
    format: choice({
      help: '`json` one object a line, `pretty` for people, `auto` pretty on a terminal and JSON elsewhere.',
      choices: ['auto', 'json', 'pretty'],
      default: 'auto',
      reload: 'restart',
    }),
  }),
  paths: section('Where things are.', {
    run: text({
      what: 'an absolute path',
      help: 'Run directory: sockets, images, leases, connection table. It should be on tmpfs, so that a reboot empties it.',
      default: '/run/weft',
      reload: 'restart',
      check: absolutePath,
    }),
    sysctl: text({
      what: 'an absolute path',
      help: "Where kernel settings are written, by agent and switch. A container sees its own /proc/sys read-only; the host's, mounted elsewhere, shows the settings of whatever network namespace looks.",
      default: '/proc/sys',
      reload: 'restart',
      check: absolutePath,
    }),
    manifests: text({
      what: 'an absolute path',
      help: 'Folder of Kubernetes manifests that takes the place of the Kubernetes API. Empty: the folder `manifests` in the run directory.',
      default: '',
      reload: 'restart',
      check: optionalPath,
    }),
  }),
});

/** The configuration: validated, frozen; durations in microseconds. */
export type Config = ValueOf<typeof options>;
