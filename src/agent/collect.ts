/** Fills the metrics from what agent and switch know, when somebody asks for them. */
import type { CountersReport, SwitchStatus } from '../dataplane/protocol/answers.js';
import type { PortSpec } from '../dataplane/protocol/desired-state.js';
import { dropReasons } from '../errors/drop-reasons.js';
import type { PoolUse } from '../ipam/leases.js';
import { kinds } from '../model/event.js';
import type { WatchState } from '../model/source.js';
import type { MetricsRegistry } from '../telemetry/registry.js';
import type { Agent } from './agent.js';
import { limitsInUse } from './limits.js';
import type { TrialTotals } from './protocol/events.js';

export async function collect(
  registry: MetricsRegistry,
  agent: Agent,
  pools: readonly PoolUse[],
): Promise<void> {
  collectAgent(registry, agent, pools);
  const link = agent.link;
  if (link === null) {
    // The switch's counters stay what they were; weft_agent_switch_connected says why.
    collectLimits(registry, agent, null);
    return;
  }
  const [status, counters] = await Promise.all([
    link.query('status').catch(() => null),
    link.query('counters').catch(() => null),
  ]);
  collectLimits(registry, agent, status);
  if (status !== null) collectSwitch(registry, status);
  if (counters !== null)
    collectCounters(registry, counters, agent.attachments.ports, agent.config.telemetry.portLabels);
}

/** `totals`: of the trial that runs. */
export function collectTrial(registry: MetricsRegistry, totals: TrialTotals | null): void {
  const verdicts = ['judged', 'denied', 'allowed', 'unnamed'] as const;
  registry.replace(
    'weft_trial_flows',
    totals === null ? [] : verdicts.map((verdict) => ({ labels: { verdict }, value: totals[verdict] })),
  );
}

function collectAgent(registry: MetricsRegistry, agent: Agent, pools: readonly PoolUse[]): void {
  const { world } = agent.state;
  registry.set('weft_agent_ready', agent.ready ? 1 : 0);
  registry.set('weft_agent_switch_connected', agent.link === null ? 0 : 1);
  registry.set('weft_agent_revision', agent.progress.revision);
  registry.set('weft_agent_revision_acknowledged', agent.progress.acknowledged);
  registry.set('weft_agent_image_bytes', agent.compiles.imageBytes);
  registry.set('weft_agent_resident_bytes', process.memoryUsage.rss());
  registry.replace(
    'weft_agent_problems',
    (['error', 'warning', 'info'] as const).map((severity) => ({
      labels: { severity },
      value: agent.problems.filter((problem) => problem.severity === severity).length,
    })),
  );
  const watches = agent.sources.flatMap(({ watches = [] }) => watches);
  const byResource = (value: (watch: WatchState) => number | null) =>
    watches.flatMap((watch) => {
      const number = value(watch);
      return number === null ? [] : [{ labels: { resource: watch.resource }, value: number }];
    });
  registry.replace(
    'weft_source_contact_seconds',
    byResource(({ secondsSinceContact }) => secondsSinceContact),
  );
  registry.replace(
    'weft_source_watching',
    byResource(({ state }) => (state === 'watching' ? 1 : 0)),
  );
  registry.replace(
    'weft_source_lists_total',
    byResource(({ lists }) => lists),
  );
  registry.replace(
    'weft_source_failures_total',
    byResource(({ failures }) => failures),
  );
  registry.replace(
    'weft_source_garbled_total',
    byResource(({ garbled }) => garbled),
  );
  registry.replace(
    'weft_world_objects',
    kinds.map((kind) => ({ labels: { kind }, value: world.all(kind).size })),
  );
  registry.replace(
    'weft_ipam_addresses',
    pools.map(({ cidr, total }) => ({ labels: { cidr }, value: Number(total) })),
  );
  registry.replace(
    'weft_ipam_addresses_used',
    pools.map(({ cidr, used }) => ({ labels: { cidr }, value: used })),
  );
}

function collectSwitch(registry: MetricsRegistry, status: SwitchStatus): void {
  registry.set('weft_switch_starts_total', status.starts);
  registry.set('weft_switch_workers', status.workers);
  registry.set('weft_switch_interface_touched_total', status.hostRestored?.times ?? 0);
  registry.set('weft_switch_lost_events_total', status.lostEvents);
  registry.replace('weft_switch_ports', [
    { labels: { status: 'live' }, value: status.ports.live },
    { labels: { status: 'failed' }, value: status.ports.failed },
  ]);
}

function collectLimits(registry: MetricsRegistry, agent: Agent, status: SwitchStatus | null): void {
  const rows = limitsInUse(agent, status);
  registry.replace(
    'weft_limit_used',
    rows.map(({ limit, used }) => ({ labels: { limit }, value: used })),
  );
  registry.replace(
    'weft_limit',
    rows.map(({ limit, most }) => ({ labels: { limit }, value: most })),
  );
}

const kindOf = new Map<string, string>(dropReasons.map(({ name, kind }) => [name, kind]));

/** `most` ports have labels of their own, in the order in which the agent lists them; the others are one. Exported for its test. */
export function collectCounters(
  registry: MetricsRegistry,
  counters: CountersReport,
  ports: readonly PortSpec[],
  most: number,
): void {
  const labelled = new Map(
    ports
      .slice(0, most)
      .map(({ id, namespace, name, kind }) => [
        id,
        kind === 'host' ? { namespace: '', pod: 'host' } : { namespace, pod: name },
      ]),
  );
  const other = { namespace: '', pod: 'other' };
  const sums = new Map<
    string,
    { labels: { namespace: string; pod: string }; values: number[]; drops: Map<string, number> }
  >();
  const reasons = new Map<string, number>();
  for (const port of counters.ports) {
    const labels = labelled.get(port.id) ?? other;
    const key = `${labels.namespace}/${labels.pod}`;
    const sum = sums.get(key) ?? { labels, values: [0, 0, 0, 0, 0, 0, 0], drops: new Map<string, number>() };
    sums.set(key, sum);
    const values = [
      port.receivedPackets,
      port.receivedBytes,
      port.sentPackets,
      port.sentBytes,
      port.workerNanoseconds / 1e9,
      port.throttledNanoseconds / 1e9,
      port.policedPackets,
    ];
    sum.values = sum.values.map((value, index) => value + values[index]!);
    for (const [reason, count = 0] of Object.entries(port.drops)) {
      sum.drops.set(reason, (sum.drops.get(reason) ?? 0) + count);
      reasons.set(reason, (reasons.get(reason) ?? 0) + count);
    }
  }
  for (const [reason, count = 0] of Object.entries(counters.drops))
    reasons.set(reason, (reasons.get(reason) ?? 0) + count);
  const names = [
    'weft_port_received_packets_total',
    'weft_port_received_bytes_total',
    'weft_port_sent_packets_total',
    'weft_port_sent_bytes_total',
    'weft_port_worker_seconds_total',
    'weft_port_throttled_seconds_total',
    'weft_port_policed_packets_total',
  ] as const;
  for (const [index, name] of names.entries())
    registry.replace(
      name,
      [...sums.values()].map(({ labels, values }) => ({ labels, value: values[index]! })),
    );
  registry.replace(
    'weft_port_drops_total',
    [...sums.values()].flatMap(({ labels, drops }) =>
      [...drops].map(([reason, value]) => ({ labels: { ...labels, reason }, value })),
    ),
  );
  registry.replace(
    'weft_drops_total',
    [...reasons].map(([reason, value]) => ({ labels: { reason, kind: kindOf.get(reason) ?? '' }, value })),
  );
}
