/**
 * What the suite measures: which contender runs which workload in the quick and in the full run, and the table of comparisons with the figure
 * each has to reach. Names only; the things behind them are looked up by the run, and a name that nothing has is a failing test.
 */

export type Scope = 'quick' | 'full';

/** One measure of one workload on one contender, or of one node measure of one subject. */
export interface Quantity {
  /** Contender, or subject of a node measure. */
  readonly of: string;
  /** Workload or node measure. */
  readonly workload: string;
  readonly measure: string;
}

export interface Reach {
  readonly at: 'least' | 'most';
  /** Of the ratio; of the value in its own unit where there is no peer. */
  readonly value: number;
}

export interface Comparison {
  /** `tcp-bulk-1.rate weft-10000/limit`. */
  readonly name: string;
  readonly subject: Quantity;
  readonly peer: Quantity | null;
  readonly reach: Reach;
}

/** A row of the plan's table: who runs a workload. */
export interface Row {
  readonly workload: string;
  readonly quick: readonly string[];
  /** Everybody of quick runs in full too. */
  readonly full: readonly string[];
}

const weft = ['weft-0', 'weft-100', 'weft-1000', 'weft-10000'];
const sizes = (name: string, ...counts: readonly number[]) => counts.map((count) => `${name}-${count}`);
const kernel = [
  'veth-bridge',
  'veth-route',
  'flannel',
  ...sizes('kube-router', 10, 1000, 10000),
  ...sizes('calico', 10, 1000, 10000),
  ...sizes('nft-maps', 10, 1000, 10000),
];
const ovs = ['ovs', 'ovs-tso', ...sizes('ovs-stateful', 10, 1000), ...sizes('ovs-tso-stateful', 10, 1000)];
const ends = ['weft-0', 'weft-10000'];
/** Through a ClusterIP: kube-proxy's rules, nftables' maps. */
const services = [...ends, 'flannel', 'kube-router-10000', 'nft-maps-10000'];
const polling = 'weft-10000-polling';
const scheduled = ['weft-10000-prompt', 'weft-10000-fifo'];

/** Pod to pod, in the order in which a round goes through them. */
export const rows: readonly Row[] = [
  {
    workload: 'tcp-bulk-1',
    quick: ['limit', ...ends, 'veth-bridge', 'ovs-tso-stateful-1000'],
    full: [
      'limit',
      'limit-coalescing',
      ...weft,
      'veth-bridge',
      'veth-route',
      'flannel',
      'kube-router-10000',
      'calico-10000',
      'nft-maps-10000',
      'ovs',
      'ovs-tso',
      'ovs-tso-stateful-10',
      'ovs-tso-stateful-1000',
    ],
  },
  { workload: 'tcp-bulk-service', quick: [], full: services },
  {
    workload: 'tcp-bulk-8',
    quick: [],
    full: [
      'limit',
      ...ends,
      'veth-bridge',
      'kube-router-10000',
      'nft-maps-10000',
      'ovs',
      'ovs-tso',
      'ovs-tso-stateful-1000',
    ],
  },
  {
    workload: 'udp-window',
    quick: ['limit-coalescing', ...ends, 'veth-bridge', 'kube-router-10000'],
    full: ['limit', 'limit-coalescing', ...weft, ...kernel, ...ovs],
  },
  {
    workload: 'udp-blast',
    quick: [],
    full: [
      'limit',
      'limit-coalescing',
      ...ends,
      'veth-bridge',
      'kube-router-10000',
      'nft-maps-10000',
      'ovs-tso',
    ],
  },
  {
    workload: 'udp-1400',
    quick: [],
    full: ['limit-coalescing', ...ends, 'veth-bridge', 'kube-router-10000', 'ovs-tso'],
  },
  {
    workload: 'udp-gso',
    quick: [],
    full: ['limit-coalescing', ...ends, 'veth-bridge', 'kube-router-10000', 'ovs-tso'],
  },
  {
    workload: 'tcp-rr',
    quick: ['limit', ...ends, 'veth-bridge'],
    full: [
      'limit',
      ...weft,
      polling,
      'veth-bridge',
      'veth-route',
      'flannel',
      'kube-router-10000',
      'calico-10000',
      'nft-maps-10000',
      'ovs-tso',
      'ovs-tso-stateful-1000',
    ],
  },
  { workload: 'tcp-rr-service', quick: [], full: services },
  {
    workload: 'udp-rr',
    quick: [],
    full: ['limit', ...ends, polling, 'veth-bridge', 'kube-router-10000', 'nft-maps-10000', 'ovs-tso'],
  },
  { workload: 'tcp-rr-fixed', quick: [], full: ['limit', ...ends, 'veth-bridge', 'kube-router-10000'] },
  { workload: 'udp-rr-fixed', quick: [], full: ['limit', ...ends, 'veth-bridge', 'kube-router-10000'] },
  {
    workload: 'connect',
    quick: ['limit', ...ends, 'kube-router-10000', 'ovs-tso-stateful-1000'],
    full: ['limit', ...weft, ...kernel, ...ovs],
  },
  { workload: 'connect-service', quick: [], full: services },
  {
    workload: 'flows-100000',
    quick: [],
    full: [
      'limit',
      ...ends,
      'veth-bridge',
      'kube-router-10000',
      'nft-maps-10000',
      'ovs-tso',
      'ovs-tso-stateful-1000',
    ],
  },
  {
    workload: 'busy-tcp-bulk',
    quick: [],
    full: ['limit', ...ends, ...scheduled, 'veth-bridge', 'kube-router-10000'],
  },
  {
    workload: 'busy-tcp-rr',
    quick: [],
    full: ['limit', ...ends, ...scheduled, 'veth-bridge', 'kube-router-10000'],
  },
  {
    workload: 'busy-besteffort-tcp-rr',
    quick: [],
    full: ['limit', ...ends, ...scheduled, 'veth-bridge'],
  },
];

/** Node measures, by name; all of their subjects run. */
export const nodeRows: readonly { readonly workload: string; readonly quick: boolean }[] = [
  { workload: 'micro-packet', quick: false },
  { workload: 'micro-verdict', quick: false },
  { workload: 'idle-100', quick: false },
  { workload: 'memory-0-pods', quick: false },
  { workload: 'memory-100-pods', quick: false },
  { workload: 'memory-250-pods', quick: false },
  { workload: 'memory-10000-policies', quick: false },
  { workload: 'policy-change', quick: false },
  { workload: 'compile', quick: false },
  { workload: 'port-create', quick: false },
];

/** Workloads that are compared with each other take their turns in one group. */
const companions: readonly (readonly string[])[] = [
  ['tcp-bulk-1', 'tcp-bulk-service'],
  ['tcp-rr', 'tcp-rr-service'],
  ['connect', 'connect-service'],
];

/** The group that a workload's lanes are sampled in. */
export function groupOf(workload: string): string {
  return companions.find((group) => group.includes(workload))?.[0] ?? workload;
}

const least = (value: number): Reach => ({ at: 'least', value });
const most = (value: number): Reach => ({ at: 'most', value });

function compare(workload: string, measure: string, of: string, peer: string, reach: Reach): Comparison {
  return {
    name: `${workload}.${measure} ${of}/${peer}`,
    subject: { of, workload, measure },
    peer: { of: peer, workload, measure },
    reach,
  };
}

function absolute(workload: string, measure: string, of: string, reach: Reach): Comparison {
  return {
    name: `${workload}.${measure} ${of}`,
    subject: { of, workload, measure },
    peer: null,
    reach,
  };
}

/** The same contender, two workloads. */
function against(workload: string, other: string, measure: string, of: string, reach: Reach): Comparison {
  return {
    name: `${workload}/${other}.${measure} ${of}`,
    subject: { of, workload, measure },
    peer: { of, workload: other, measure },
    reach,
  };
}

const loaded = 'weft-10000';
/** At a fixed rate what differs is the processor time; elsewhere the rate. */
const policiesCostNothing = rows.map(({ workload }) =>
  /-fixed$/.test(workload)
    ? compare(workload, 'cpu', loaded, 'weft-0', most(1.02))
    : compare(workload, 'rate', loaded, 'weft-0', least(0.98)),
);

/** Every figure to reach; met when the interval includes or passes it. */
export const comparisons: readonly Comparison[] = [
  ...['tcp-bulk-1', 'tcp-bulk-8'].map((w) => compare(w, 'rate', loaded, 'limit', least(0.95))),
  ...policiesCostNothing,
  compare('micro-packet', 'instructions', loaded, 'weft-0', most(1.02)),
  compare('udp-window', 'rate', loaded, 'limit-coalescing', least(0.9)),
  compare('udp-window', 'rate', loaded, 'veth-bridge', least(1.7)),
  compare('udp-window', 'rate', loaded, 'kube-router-10000', least(4)),
  compare('udp-window', 'rate', loaded, 'ovs-tso', least(2.2)),
  ...['tcp-rr', 'udp-rr'].flatMap((w) => [
    compare(w, 'p50', loaded, 'limit', most(1.1)),
    compare(w, 'p99', loaded, 'limit', most(1.25)),
    compare(w, 'p50', polling, 'limit', most(0.75)),
  ]),
  compare('connect', 'rate', loaded, 'limit', least(0.9)),
  compare('connect', 'rate', loaded, 'kube-router-10000', least(1)),
  ...['ovs-stateful-1000', 'ovs-tso-stateful-1000'].map((peer) =>
    compare('connect', 'rate', loaded, peer, least(1.25)),
  ),
  compare('micro-packet', 'instructions', 'weft-10000-service', loaded, most(1.03)),
  // Within noise: the interval includes 1 or passes it.
  against('tcp-bulk-service', 'tcp-bulk-1', 'rate', loaded, least(1)),
  against('tcp-rr-service', 'tcp-rr', 'rate', loaded, least(1)),
  against('connect-service', 'connect', 'rate', loaded, least(1)),
  ...['tcp-bulk-1', 'tcp-bulk-8'].flatMap((w) => [
    compare(w, 'rate', loaded, 'ovs-tso-stateful-1000', least(1.1)),
    compare(w, 'rate', loaded, 'ovs', least(6)),
  ]),
  compare('flows-100000', 'rate', loaded, 'limit', least(0.85)),
  ...[loaded, ...scheduled].flatMap((of) => [
    compare('busy-tcp-bulk', 'rate', of, 'veth-bridge', least(0.7)),
    compare('busy-tcp-rr', 'p99', of, 'veth-bridge', most(3)),
    compare('busy-besteffort-tcp-rr', 'p99', of, 'veth-bridge', most(3)),
  ]),
  absolute('policy-change', 'p99', 'weft-1000', most(20)),
  compare('policy-change', 'p99', 'weft-1000', 'kube-router-1000', most(0.1)),
  compare('micro-verdict', 'instructions', 'large', 'small', most(3)),
  absolute('idle-100', 'cpu', 'weft', most(0.5)),
  absolute('memory-100-pods', 'pss', 'weft', most(130)),
];
