/**
 * Every metric that weft exports, in one table: name, type, labels, meaning. `config/metrics.md` is rendered from it and a test
 * holds them equal. Names follow the Prometheus conventions: base units (seconds, bytes), `_total` for counters.
 *
 * Cardinality: `reason` is one of the closed list of drop reasons, `verb`, `code`, `kind`, `limit`, `result`, `severity`, `status` and `verdict` are closed
 * too; `namespace` and `pod` are bounded by `telemetry.portLabels`, beyond which ports are summed as pod `other` of no namespace.
 */
export interface MetricDefinition {
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly labels: readonly string[];
  readonly help: string;
  /** Histograms: upper bounds, in the unit of the name. */
  readonly buckets?: readonly number[];
}

const gauge = (help: string, labels: readonly string[] = []): MetricDefinition => ({
  type: 'gauge',
  labels,
  help,
});
const counter = (help: string, labels: readonly string[] = []): MetricDefinition => ({
  type: 'counter',
  labels,
  help,
});
const histogram = (help: string, buckets: readonly number[]): MetricDefinition => ({
  type: 'histogram',
  labels: [],
  help,
  buckets,
});

const pod = ['namespace', 'pod'] as const;

export const metrics = {
  weft_build_info: gauge('1; the version is the label.', ['version']),
  weft_agent_ready: gauge(
    '1 when every source has synced and the switch enforces the latest policy, as /readyz says.',
  ),
  weft_agent_switch_connected: gauge('1 while the agent has a connection to the switch.'),
  weft_agent_revision: gauge('Desired states that this agent has made.'),
  weft_agent_revision_acknowledged: gauge(
    'The latest desired state that the switch has in force; lags behind weft_agent_revision while it is away.',
  ),
  weft_agent_start_seconds: gauge(
    'Time from the start of the agent process until what its sources told was in force.',
  ),
  weft_agent_compile_seconds: histogram(
    'Time to compile the world into an image.',
    [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5],
  ),
  weft_agent_image_bytes: gauge('Size of the latest image.'),
  weft_agent_attach_seconds: histogram(
    'Time of a successful CNI ADD: until the port is live with its policies in force.',
    [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30],
  ),
  weft_cni_requests_total: counter(
    'Calls of the CNI plugin that the agent answered, by verb and by the CNI error code that it gave, 0 for success.',
    ['verb', 'code'],
  ),
  weft_trial_flows: gauge(
    'Flows of the trial of policies that runs, each once: judged by both images; of these denied or allowed by what is tried and not by what is in force; of these unnamed, whose events came too fast. Absent while none runs.',
    ['verdict'],
  ),
  weft_agent_problems: gauge('What is wrong now with the sources or the latest compile, by severity.', [
    'severity',
  ]),
  weft_agent_resident_bytes: gauge('Memory of the agent process.'),
  weft_source_contact_seconds: gauge(
    'Seconds since the API server was heard last, by resource; grows while it is away, up to some minutes also while nothing happens on a server without bookmarks: weft_source_watching tells the two apart.',
    ['resource'],
  ),
  weft_source_watching: gauge(
    '1 while a watch of the resource is open, 0 while it is listed or the API server is away.',
    ['resource'],
  ),
  weft_source_lists_total: counter('Full lists of the resource: one at the start, others after gaps.', [
    'resource',
  ]),
  weft_source_failures_total: counter('Lists and watches that the API server refused or broke off.', [
    'resource',
  ]),
  weft_source_garbled_total: counter(
    'Events of the API that could not be read; each is made good by a new list.',
    ['resource'],
  ),
  weft_world_objects: gauge('Objects that the agent knows, by kind.', ['kind']),
  weft_limit: gauge('A configured bound of this node.', ['limit']),
  weft_limit_used: gauge('How much of the bound is used.', ['limit']),
  weft_ipam_addresses: gauge('Addresses of a pod CIDR that can be given to pods.', ['cidr']),
  weft_ipam_addresses_used: gauge('Addresses of a pod CIDR that pods have.', ['cidr']),
  weft_ipam_leaked_total: counter('Pods that went away without a CNI DEL, whose addresses were taken back.'),
  weft_host_applied: gauge(
    '1 while the host is as the agent wants it: nft table, kernel settings, forwarding; 0 while something of it has failed and is tried again.',
  ),
  weft_host_apply_seconds: histogram(
    'Time to bring the host to a new state.',
    [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10],
  ),
  weft_host_failures_total: counter('Attempts to set up the host that failed in part.'),
  weft_host_touched_total: counter(
    'Times that somebody had changed what weft set on the host, and it was brought back: the nft `table`, a kernel `setting`.',
    ['what'],
  ),
  weft_host_ports: gauge('Ports of the host that lead to pods, each address family by itself.'),
  weft_switch_starts_total: counter('Starts of the switch since boot; grows with each restart.'),
  weft_switch_workers: gauge('Threads that move packets.'),
  weft_switch_ports: gauge('Ports of the switch: live or failed.', ['status']),
  weft_switch_interface_touched_total: counter(
    "Times that somebody had changed the host port's interface, its addresses or its routes, and the switch brought it back.",
  ),
  weft_switch_lost_events_total: counter('Flow events that nobody read in time.'),
  weft_flow_events_total: counter('Flow events that the agent has taken, by verdict.', ['verdict']),
  weft_pod_events_total: counter(
    'Events on pods for denied traffic, by what became of them: sent, failed (tried again), unheard (more kinds of denials than are followed).',
    ['result'],
  ),
  weft_drops_total: counter('Packets that were dropped, by reason and kind of reason.', ['reason', 'kind']),
  weft_port_drops_total: counter('Packets that were dropped, by the port that they came in on.', [
    ...pod,
    'reason',
  ]),
  weft_port_received_packets_total: counter('Frames that the pod has sent into the switch.', pod),
  weft_port_received_bytes_total: counter('Bytes that the pod has sent into the switch.', pod),
  weft_port_sent_packets_total: counter('Frames that the switch has delivered to the pod.', pod),
  weft_port_sent_bytes_total: counter('Bytes that the switch has delivered to the pod.', pod),
  weft_port_worker_seconds_total: counter(
    "Time of the switch's workers that frames of the pod have cost.",
    pod,
  ),
  weft_port_throttled_seconds_total: counter(
    "Time for which the pod's frames waited in its own queue, to keep to its egress bandwidth.",
    pod,
  ),
  weft_port_policed_packets_total: counter(
    'Packets to the pod that were dropped for its ingress bandwidth; in weft_drops_total their reason is `bandwidth`.',
    pod,
  ),
} as const satisfies Readonly<Record<string, MetricDefinition>>;

export type MetricName = keyof typeof metrics;

/** The table as Markdown: `config/metrics.md`. */
export function renderMetricsPage(): string {
  const rows = Object.entries(metrics as Readonly<Record<string, MetricDefinition>>).map(
    ([name, { type, labels, help }]) =>
      `| \`${name}\` | ${type} | ${labels.map((label) => `\`${label}\``).join(', ')} | ${help.replaceAll('|', '\\|')} |`,
  );
  return `# Metrics

The agent serves \`/metrics\`, \`/healthz\` and \`/readyz\` over HTTP at \`telemetry.address\`:\`telemetry.port\`, by default
127.0.0.1:9464, reachable from the node only; there is no authentication. \`weft metrics\` prints the same over the agent's socket.

- \`/healthz\` answers 200 while the agent lives.
- \`/readyz\` answers 200 when every source has synced and the switch enforces the latest policy, 503 and the reason otherwise.
  A pod's own readiness does not hang on it: the switch enforces the last published state also without an agent.

Cardinality: labels have closed sets of values, apart from \`namespace\` and \`pod\`, which are bounded by \`telemetry.portLabels\`
(default 128 pods); ports beyond it are summed as pod \`other\` of no namespace. Counters of the switch start from 0 when it restarts.

| metric | type | labels | meaning |
| --- | --- | --- | --- |
${rows.join('\n')}
`;
}
