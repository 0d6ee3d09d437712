/** The parts of an agent, made from its configuration and what the run directory holds, each tied to those it tells. Nothing runs yet. */
import { join } from 'node:path';
import type { Config } from '../config/options.js';
import { switchSocketName } from '../dataplane/protocol.js';
import { Host } from '../host/host.js';
import type { AskMark } from '../host/nft.js';
import { Leases } from '../ipam/leases.js';
import type { KubeClient } from '../kube/client.js';
import { keyOf } from '../model/event.js';
import { Directory } from '../policy/directory.js';
import type { Logger } from '../telemetry/log.js';
import { MetricsRegistry } from '../telemetry/registry.js';
import { Agent } from './agent.js';
import { type AttachmentDetails, isAttachmentDetails } from './attachment.js';
import { CniUpkeep } from './cni-upkeep.js';
import type { Compile } from './compile.js';
import { nextEpoch } from './epoch.js';
import { Flows } from './flows.js';
import { Heap, ownHeap } from './heap.js';
import { hostState, setsUpHost } from './host-state.js';
import { ImageFiles } from './image-files.js';
import type { HasWriter } from './manifest-source.js';
import { Names } from './names.js';
import { agentObserver } from './observer.js';
import { type Environment, openSource } from './open-source.js';
import { PodEvents } from './pod-events.js';
import { PodNetwork } from './pod-network.js';
import { SwitchLink } from './switch-link.js';
import { podCidrs } from './this-node.js';
import { Trials } from './trials.js';

/** How long the API server may take to accept an Event. Milliseconds. */
const eventPatience = 10_000;

export interface WireOptions {
  readonly config: Config;
  readonly compile: Compile;
  /** A compiler of its own for a trial, which follows another World. Absent: `compile`, which then serves both. */
  readonly trialCompiler?: () => Compile;
  /** Absent: unknown of every file, which then waits a moment before it is read. */
  readonly hasWriter?: HasWriter;
  /** Absent: a table that somebody has removed from the host is found at the next thorough look. */
  readonly askMark?: AskMark;
  /** The process's own where absent; it says whether this is a pod of a cluster. */
  readonly environment?: Environment;
  readonly log: Logger;
  readonly version: string;
}

/** Directories of the agent's. */
export interface Folders {
  readonly run: string;
  readonly manifests: string;
}

export interface Wired {
  readonly agent: Agent;
  readonly epoch: number;
  readonly leases: Leases<AttachmentDetails>;
  readonly registry: MetricsRegistry;
  readonly heap: Heap;
  /** null: this agent does not set up the host. */
  readonly host: Host | null;
  readonly cni: CniUpkeep;
  readonly directory: Directory;
  readonly names: Names;
  readonly flows: Flows;
  readonly trials: Trials;
  /** null: there is no API that could take them. */
  readonly podEvents: PodEvents | null;
  /** Settles when another agent has taken over. */
  readonly fenced: Promise<Error>;
}

/** Throws WeftErrors for what the operator can mend. Takes the next epoch: the agent before this one is fenced off from here on. */
export function wire(options: WireOptions, { run, manifests }: Folders): Wired {
  const { config, log } = options;
  const epoch = nextEpoch(run);
  const leases = new Leases<AttachmentDetails>(
    join(run, 'leases.jsonl'),
    podCidrs(config),
    (problem) => log.warn({ problem }, problem.message),
    isAttachmentDetails,
  );
  const heap = new Heap(ownHeap());
  const environment = options.environment ?? process.env;
  const { source, client } = openSource(
    config,
    manifests,
    options.hasWriter,
    environment,
    log,
    options.version,
  );
  const registry = new MetricsRegistry();
  registry.replace('weft_build_info', [{ labels: { version: options.version }, value: 1 }]);
  const host = setsUpHost(config, environment) ? openHost(options, run, registry) : null;
  const cni = new CniUpkeep(config, log);
  const images = new ImageFiles(run, epoch);
  let fence: (error: Error) => void = () => {};
  const fenced = new Promise<Error>((resolve) => {
    fence = resolve;
  });
  const agent: Agent = new Agent({
    config,
    epoch,
    sources: [source],
    leases,
    images,
    compile: options.compile,
    openSwitch: () => SwitchLink.open(join(run, switchSocketName)),
    network: new PodNetwork(config, leases, !source.assignsAddresses),
    hostProblems: () => [...(host?.problems ?? []), ...cni.problems],
    now: () => performance.now(),
    fenced: (error) => fence(error),
    observer: agentObserver({
      log,
      registry,
      heap,
      ready: () => agent.ready,
      connected: (link) => takeFlows(link),
      acknowledged: () => {
        if (agent.ready) cni.begin();
        if (host !== null) setUp(host, agent, registry);
      },
    }),
  });
  const directory = new Directory(agent.state.world);
  const names = new Names(directory);
  const flows = new Flows(names, () => agent.config.agent.flowHistory);
  const podEvents = client === null ? null : eventsTo(client, agent, registry, log);
  const takeFlows = (link: SwitchLink) => {
    const events = (...told: Parameters<Flows['take']>) => {
      const records = flows.take(...told);
      for (const { verdict } of records) registry.increment('weft_flow_events_total', { verdict });
      podEvents?.take(records);
    };
    link
      .flows({}, { events })
      .catch((error: Error) => log.warn({ error: error.message }, 'no flow events from the switch'));
  };
  const trials = new Trials({
    agent,
    names,
    images,
    compiler: options.trialCompiler ?? (() => options.compile),
    log: (message, fields) => log.info(fields, message),
  });
  return {
    agent,
    epoch,
    leases,
    registry,
    heap,
    host,
    cni,
    directory,
    names,
    flows,
    trials,
    podEvents,
    fenced,
  };
}

function openHost({ config, askMark, log }: WireOptions, run: string, registry: MetricsRegistry): Host {
  return new Host({
    runDirectory: run,
    root: config.host.root,
    settings: config.paths.sysctl,
    ...(askMark === undefined ? {} : { askMark }),
    log: (level, message, fields) => log[level](fields ?? {}, message),
    touched: (what) => registry.increment('weft_host_touched_total', { what }),
    applied: (seconds, failures) => {
      registry.observe('weft_host_apply_seconds', seconds);
      registry.set('weft_host_applied', failures === 0 ? 1 : 0);
      if (failures > 0) registry.increment('weft_host_failures_total', {}, 1);
    },
  });
}

/** Beside publication, never before it. */
function setUp(host: Host, agent: Agent, registry: MetricsRegistry): void {
  const state = hostState(agent);
  if (state === null) return;
  registry.set('weft_host_ports', state.hostPorts.length);
  host.want(state);
}

function eventsTo(client: KubeClient, agent: Agent, registry: MetricsRegistry, log: Logger): PodEvents {
  return new PodEvents({
    node: () => agent.state.node.name,
    pod: (namespace, name) => agent.state.world.get('pod', keyOf(namespace, name)),
    send: (method, path, body) => client.send(method, path, { body, timeout: eventPatience }),
    counted: (result) => registry.increment('weft_pod_events_total', { result }),
    log: (message, fields) => log.warn(fields, message),
    now: () => performance.now(),
    date: () => Date.now(),
    enabled: () => agent.config.telemetry.podEvents,
  });
}
